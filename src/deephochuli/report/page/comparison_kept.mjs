/** Which layers to keep in higher precision, with the code that does it. */

import { numberOf } from "./comparison_data.mjs";
import { html, nameElement, visible } from "./dom.mjs";
import { decimal } from "./numbers.mjs";
import { snippet } from "./snippet.mjs";

/** @param {any} context @returns {HTMLElement | null} */
export function createKept({ payload: { kept } }) {
  if (!kept) return null;
  return html("section", { class: "panel", id: "kept", "aria-labelledby": "kept-title" },
    html("header", { class: "panel-head" }, html("h2", { id: "kept-title" }, `Layers to keep out of ${visible(kept.low)}`)),
    html("p", { class: "reading" }, visible(kept.sentence), kept.is_within && kept.layers.length > 0 && " None of them can be left out.", " The search is over whole layers, and over blocks where layers do not suffice, on this batch."),
    html("div", { class: "kept" },
      html("div", {}, budgetTable(kept), html("p", { class: "faint" }, `${kept.n_runs} model runs, ${kept.n_candidates} layers tried.`),
        kept.layers.length > 0 && html("ol", { class: "kept-layers" }, kept.layers.map((layer) => html("li", {}, nameElement(layer, 60))))),
      html("div", {}, kept.is_autocast ? snippet(kept.snippet) : html("p", { class: "faint" }, `Autocast has no ${visible(kept.low)}: keep these layers out of it where you switch it on.`))));
}

/** Errors before, after, and what was allowed, as bars of one scale. */
function budgetTable({ low, budget, all_low: all, reached }) {
  const rows = [[`all in ${visible(low)}`, all], ["with these kept", reached], ["budget", budget]];
  const most = { output: Math.max(...rows.map(([, each]) => numberOf(each.output) || 0)), gradient: Math.max(...rows.map(([, each]) => numberOf(each.gradient) || 0)) };
  const cell = (each, name, isBudget) => {
    const value = numberOf(each[name]);
    const over = value > numberOf(budget[name]);
    return html("td", {}, html("span", { class: "budget-bar" }, html("i", { class: isBudget ? "allowed" : over ? "over" : "within", style: { width: `${(100 * (value || 0)) / (most[name] || 1)}%` } })), html("b", { class: over ? "bad" : null }, decimal(value)));
  };
  return html("table", { class: "numbers-table budget" },
    html("thead", {}, html("tr", {}, html("td"), html("th", { scope: "col" }, "output, relative error"), html("th", { scope: "col" }, "gradients, relative error"))),
    html("tbody", {}, rows.map(([name, each], i) => html("tr", {}, html("th", { scope: "row" }, name), cell(each, "output", i === 2), cell(each, "gradient", i === 2)))));
}
