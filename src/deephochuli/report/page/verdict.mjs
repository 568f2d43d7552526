/** The verdict: findings by harm, each with its evidence one click away. */

import { html, nameElement, replace, visible } from "./dom.mjs";
import { LEVELS, inUnit, mark, numberElement } from "./finding.mjs";
import { dot } from "./header.mjs";
import { meaningOf, quantityLabel } from "./context.mjs";
import { snippet } from "./snippet.mjs";

const OPEN_AT_FIRST = 8;

/**
 * Create the panel.
 * @param {import("./context.mjs").Context} context
 */
export function createVerdict(context) {
  const counts = html("div", { class: "tally" });
  const list = html("ol", { class: "findings" });
  const root = html("section", { class: "verdict", id: "findings", "aria-labelledby": "findings-title" },
    html("header", { class: "panel-head" }, html("h2", { id: "findings-title" }, "What was found"), counts), list);
  const folded = { open: false };
  let drawnFor = "";
  const update = (view) => {
    const key = `${view.shown}/${document.documentElement.dataset.theme}/${context.version}`;
    if (key !== drawnFor) draw(context, view, counts, list, folded);
    drawnFor = key;
  };
  return { root, update };
}

/** Draw the list for the runs in view. */
function draw(context, view, counts, list, folded) {
  const findings = context.findings.filter((finding) => view.shown.includes(finding.run));
  const redraw = () => {
    folded.open = true;
    draw(context, view, counts, list, folded);
  };
  const most = folded.open ? findings.length : OPEN_AT_FIRST;
  const opened = new Set([...list.querySelectorAll("details[open]")].map((details) => details.dataset.about));
  replace(counts, ...Object.keys(LEVELS).map((level) => tally(findings, level)));
  replace(list,
    ...findings.slice(0, most).map((finding) => html("li", {}, card(context, finding))),
    findings.length > most && html("li", { class: "more" }, html("button", { type: "button", class: "quiet", on: { click: redraw } }, `Show ${findings.length - most} more findings`)),
    html("li", {}, quietLayers(context, findings, view)),
  );
  for (const details of list.querySelectorAll("details")) details.open = opened.has(details.dataset.about);
}

/** @param {any[]} findings @param {string} level */
function tally(findings, level) {
  const count = findings.filter((finding) => finding.level === level).length;
  return html("span", { class: `badge ${level}${count ? "" : " empty"}` }, mark(level), `${count} ${LEVELS[level].toLowerCase()}`);
}

/** One finding. */
function card(context, finding) {
  const run = context.runs[finding.run];
  return html("article", { class: `finding ${finding.level}` },
    html("header", {}, mark(finding.level), html("span", { class: "level" }, LEVELS[finding.level] ?? finding.level),
      html("span", { class: "where" }, dot(run), visible(run.name), finding.layer && html("span", { class: "sep" }, "›"), finding.layer && nameElement(finding.layer, 48),
        finding.quantity && html("span", { class: "quantity", title: meaningOf(finding.quantity) }, quantityLabel(finding.quantity)))),
    html("h3", {}, visible(finding.title)),
    html("p", { class: "summary" }, visible(finding.summary)),
    html("dl", { class: "numbers" }, finding.numbers.map(numberElement)),
    html("details", { data: { about: `${finding.run}/${finding.kind}/${finding.layer}/${finding.quantity}` } }, html("summary", {}, "Why it matters, and what to change"),
      html("p", {}, visible(finding.why)), html("p", {}, visible(finding.advice)), finding.code && snippet(finding.code), placesOf(context, finding)),
    finding.layer && html("button", { type: "button", class: "evidence", on: { click: () => showEvidence(context, finding) } }, "Show evidence", html("span", { "aria-hidden": "true" }, " →")),
  );
}

/** All places that a finding concerns, each a click away. */
function placesOf(context, finding) {
  if (finding.places.length < 2) return null;
  const most = Math.max(...finding.places.map(({ value }) => value ?? 0)) || 1;
  const unit = finding.numbers[0]?.unit ?? "";
  return html("div", { class: "places" }, html("h4", {}, `All ${finding.places.length} places, worst first`), html("ol", {}, finding.places.map((place) => html("li", {},
    html("button", { type: "button", class: "link", on: { click: () => showEvidence(context, { ...finding, ...place }) } }, nameElement(place.layer, 48)),
    html("span", { class: "quantity" }, quantityLabel(place.quantity)),
    html("meter", { value: (place.value ?? 0) / most, "aria-hidden": "true" }), html("b", {}, inUnit(place.value, unit))))));
}

/** Go to the layer and step of a finding. */
function showEvidence(context, finding) {
  const shown = [...new Set([...context.store.view.shown, finding.run])].sort();
  context.store.set({
    run: finding.run, shown, layer: finding.layer, quantity: finding.quantity,
    at: finding.step_first, from: null, to: null, filter: "",
    ...(finding.evidence ? { metric: finding.evidence } : {}),
    ...(finding.format ? { format: finding.format } : {}),
  });
  document.getElementById("map").scrollIntoView({ block: "start" });
}

/** Layers that no finding names, folded with their number. */
function quietLayers(context, findings, view) {
  const named = new Set(findings.flatMap((finding) => [finding.layer, ...finding.places.map((place) => place.layer)]));
  const layers = new Set(context.runs.filter((run) => view.shown.includes(run.index)).flatMap((run) => run.taps.map((tap) => tap.layer)));
  const quiet = [...layers].filter((layer) => !named.has(layer));
  if (!quiet.length) return null;
  const open = (layer) => context.store.set({ layer });
  return html("details", { class: "quiet-layers", data: { about: "quiet" } },
    html("summary", {}, `${quiet.length} of ${layers.size} layers without findings`),
    html("ul", {}, quiet.map((layer) => html("li", {}, html("button", { type: "button", class: "link", on: { click: () => open(layer) } }, nameElement(layer, 60))))));
}
