/** Claims and what became of them: badges, the table of a sheet, the summary of all. */

import { html, replace, visible } from "./dom.mjs";
import { prose } from "./sheet_prose.mjs";

export const VERDICTS = ["confirmed", "refined", "refuted", "open"];
const SIGNS = { confirmed: "✓", refined: "≈", refuted: "✗", open: "?" };
const MEANING = {
  confirmed: "what was measured is what the claim expects",
  refined: "true in part; the better statement stands beside it",
  refuted: "what was measured contradicts it",
  open: "the measurement cannot decide; what could stands beside it",
};

/** A verdict as a word with a sign, so that colour is not needed. @param {string} verdict @param {string | number} [count] */
export function verdictBadge(verdict, count = "") {
  return html("span", { class: `verdict-badge ${verdict}`, title: MEANING[verdict] }, html("i", { "aria-hidden": "true" }, SIGNS[verdict]), `${count === "" ? "" : `${count} `}${verdict}`);
}

/**
 * How many claims have each verdict, in the order of the verdicts.
 * @param {{verdict: string}[]} claims
 * @returns {[string, number][]}
 */
export function tallyOf(claims) {
  return VERDICTS.map((verdict) => [verdict, claims.filter((claim) => claim.verdict === verdict).length]);
}

/** The tally as badges; verdicts that no claim has are left out. @param {any[]} claims */
export function tally(claims) {
  return html("div", { class: "tally" }, tallyOf(claims).filter(([, n]) => n).map(([verdict, n]) => verdictBadge(verdict, n)));
}

/**
 * The table of claims of one sheet.
 * @param {string} id
 * @param {any[]} claims
 * @returns {HTMLElement | null}
 */
export function claimTable(id, claims) {
  if (!claims.length) return null;
  const cell = (label, text) => html("td", { data: { label } }, prose(text));
  return html("section", { class: "panel claims", id: `${id}-claims`, "aria-labelledby": `${id}-claims-title` },
    html("header", { class: "panel-head" }, html("h3", { id: `${id}-claims-title` }, claims.length === 1 ? "The claim" : "Claims"), tally(claims)),
    html("table", {}, html("thead", {}, html("tr", {}, ["Verdict", "Claim", "Expected", "Measured", "Because"].map((name) => html("th", { scope: "col" }, name)))),
      html("tbody", {}, claims.map((claim) => html("tr", {},
        html("td", {}, verdictBadge(claim.verdict)),
        html("th", { scope: "row" }, prose(claim.text), html("small", {}, prose(claim.source))),
        cell("Expected", claim.expected), cell("Measured", claim.measured), cell("Because", claim.because))))));
}

/**
 * The summary: every answer in a line, and the claims of one verdict or of all.
 * @param {{payload: any, store: import("./state.mjs").Store}} context
 */
export function createSummary({ payload: { answers }, store }) {
  const all = answers.flatMap(({ claims }) => claims);
  if (answers.length < 2 && !all.length) return null;
  const [filters, list] = [html("div", { class: "filters", role: "group", "aria-label": "verdicts" }), html("div", { class: "claim-list" })];
  const root = html("section", { class: "panel summary-panel", id: "summary", "aria-labelledby": "summary-title" },
    html("header", { class: "panel-head" }, html("h2", { id: "summary-title" }, "In short"), all.length > 0 && filters),
    html("ol", { class: "answers" }, answers.map((answer) => html("li", {}, link(store, answer.key, answer.title), html("p", {}, prose(answer.answer)), tally(answer.claims)))), list);
  let drawnFor = null;
  return { root, update: ({ verdict }) => {
    if (verdict === drawnFor) return;
    drawnFor = verdict;
    replace(filters, ...tallyOf(all).filter(([, n]) => n).map(([name, n]) => html("button", {
      type: "button", class: "filter-button", "aria-pressed": String(name === verdict), title: "List these claims", on: { click: () => store.set({ verdict: name === verdict ? "" : name }) },
    }, verdictBadge(name, n))));
    replace(list, verdict && claimList(store, answers, verdict));
  } };
}

/** The claims of one verdict, below the sheets that judge them. */
function claimList(store, answers, verdict) {
  const found = answers.flatMap((answer) => answer.claims.filter((claim) => claim.verdict === verdict).map((claim) => ({ answer, claim })));
  return html("ul", {}, found.map(({ answer, claim }) => html("li", {}, verdictBadge(verdict),
    html("div", {}, html("b", {}, prose(claim.text)), html("p", {}, prose(claim.measured)), html("p", { class: "faint" }, prose(claim.source), " · ", link(store, answer.key, answer.title))))));
}

/** A title that leads to its sheet. */
function link(store, key, title) {
  return html("button", { type: "button", class: "link", on: { click: () => store.set({ sheet: key }) } }, visible(title));
}
