/** One sheet: question, answer, claims, findings, figures, tables, notes. */

import { html, nameElement, visible } from "./dom.mjs";
import { LEVELS, inUnit, mark, numberElement } from "./finding.mjs";
import { claimTable } from "./sheet_claims.mjs";
import { createFigure } from "./sheet_figure.mjs";
import { prose } from "./sheet_prose.mjs";
import { createTable } from "./sheet_table.mjs";
import { snippet } from "./snippet.mjs";

/**
 * @param {{payload: any, store: import("./state.mjs").Store}} context
 * @param {any} answer
 */
export function createSheet(context, answer) {
  const { key } = answer;
  const figures = answer.figures.map((figure) => createFigure(context, `${key}.${figure.key}`, figure));
  const tables = answer.tables.map((table) => createTable(context, `${key}.table.${table.key}`, table));
  const root = html("section", { class: "sheet", id: key, "aria-labelledby": `${key}-title`, tabindex: "-1" },
    html("header", { class: "sheet-head" },
      html("h2", { id: `${key}-title` }, visible(answer.title)),
      html("p", { class: "question" }, prose(answer.question)),
      html("p", { class: "answer-text" }, prose(answer.answer))),
    claimTable(key, answer.claims),
    answer.findings.length > 0 && html("ol", { class: "findings" }, answer.findings.map((finding) => html("li", {}, card(finding)))),
    figures.length > 0 && html("div", { class: `figures${figures.length === 1 ? " lone" : ""}` }, figures.map((figure) => figure.root)),
    tables.map((table) => table.root),
    notes(key, answer.notes));
  const update = (view) => {
    for (const part of [...figures, ...tables]) part.update(view);
  };
  return { root, update };
}

/** One finding. */
function card(finding) {
  return html("article", { class: `finding plain ${finding.level}` },
    html("header", {}, mark(finding.level), html("span", { class: "level" }, LEVELS[finding.level] ?? finding.level),
      finding.layer && html("span", { class: "where" }, html("span", { class: "sep" }, "›"), nameElement(finding.layer, 48), finding.quantity && html("span", { class: "quantity" }, visible(finding.quantity)))),
    html("h3", {}, prose(finding.title)),
    html("p", { class: "summary" }, prose(finding.summary)),
    html("dl", { class: "numbers" }, finding.numbers.map(numberElement)),
    html("details", {}, html("summary", {}, "Why it matters, and what to change"),
      html("p", {}, prose(finding.why)), html("p", {}, prose(finding.advice)), finding.code && snippet(finding.code), places(finding)));
}

/** All places that a finding concerns. */
function places({ places: found, numbers }) {
  if (found.length < 2) return null;
  const most = found.reduce((size, { value }) => Math.max(size, value ?? 0), 0) || 1;
  const unit = numbers[0]?.unit ?? "";
  return html("div", { class: "places" }, html("h4", {}, `All ${found.length} places, worst first`), html("ol", {}, found.map((place) => html("li", {},
    nameElement(place.layer, 48), html("span", { class: "quantity" }, visible(place.quantity)),
    html("meter", { value: (place.value ?? 0) / most, "aria-hidden": "true" }), html("b", {}, inUnit(place.value, unit))))));
}

/** Method and limits. */
function notes(key, lines) {
  if (!lines.length) return null;
  return html("section", { class: "sheet-notes", "aria-labelledby": `${key}-notes-title` },
    html("h3", { id: `${key}-notes-title` }, "Method and limits"), html("ul", {}, lines.map((line) => html("li", {}, prose(line)))));
}
