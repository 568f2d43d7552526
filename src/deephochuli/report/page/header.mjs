/** What was run, where, how, and what this page leaves out. */

import { runColor } from "./colors.mjs";
import { html, visible } from "./dom.mjs";

/**
 * The head of the page.
 * @param {import("./context.mjs").Context} context
 * @returns {HTMLElement}
 */
export function createHeader(context) {
  return html("header", { class: "masthead" },
    html("p", { class: "kicker" }, "Floating-point report"),
    html("h1", {}, visible(context.title)),
    html("p", { class: "lede" }, summary(context)),
  );
}

/** @param {import("./context.mjs").Context} context */
function summary({ runs }) {
  const one = (run) => `${run.nRecorded} recorded steps of ${visible(run.name)}`;
  const taps = new Set(runs.flatMap((run) => run.taps.map((tap) => `${tap.quantity} ${tap.layer}`))).size;
  const layers = new Set(runs.flatMap((run) => run.taps.map((tap) => tap.layer))).size;
  return `${runs.map(one).join(", ")}: ${taps} places in ${layers} layers.`;
}

/**
 * Provenance of every run, side by side.
 * @param {import("./context.mjs").Context} context
 * @returns {HTMLElement}
 */
export function createProvenance(context) {
  return html("section", { class: "panel", id: "provenance", "aria-labelledby": "provenance-title" },
    html("header", { class: "panel-head" }, html("h2", { id: "provenance-title" }, "Provenance")),
    html("p", { class: "reading" }, "What produced these numbers. Two runs that differ here may differ for that reason alone."),
    html("div", { class: "table-scroll" }, provenanceTable(context)),
    html("p", { class: "faint" }, `Page made by ${context.made.by} on ${context.made.at}.`),
  );
}

/** One column a run; a row where the runs differ is marked. */
function provenanceTable({ runs }) {
  const labels = [...new Set(runs.flatMap((run) => run.provenance.map(([label]) => label)))];
  const valueOf = (run, label) => run.provenance.find(([name]) => name === label)?.[1] ?? "–";
  return html("table", { class: "provenance" },
    html("thead", {}, html("tr", {}, html("th", { scope: "col" }, ""), runs.map((run) => html("th", { scope: "col" }, dot(run), visible(run.name))))),
    html("tbody", {}, labels.map((label) => {
      const values = runs.map((run) => valueOf(run, label));
      const differs = new Set(values).size > 1;
      return html("tr", { class: differs ? "differs" : null }, html("th", { scope: "row" }, visible(label)), values.map((value) => html("td", {}, visible(value))));
    })),
  );
}

/**
 * The colour of a run as a dot.
 * @param {import("./data.mjs").Run} run
 * @returns {HTMLElement}
 */
export function dot(run) {
  return html("i", { class: "dot", "aria-hidden": "true", style: { background: runColor(run.index) } });
}
