/** The top of the page: what was compared, the verdict in one sentence, and every execution in a line. */

import { rowsOf, numberOf } from "./comparison_data.mjs";
import { sentenceParts, showRow, sizeElement } from "./comparison_layers.mjs";
import { html, nameElement, visible } from "./dom.mjs";
import { decimal, integer } from "./numbers.mjs";

const LEVELS = { clean: "good", rounding: "warning", "not rounding": "critical" };
const WORDS = { clean: "Sound", rounding: "Rounding", "not rounding": "Not rounding" };
const MOST_SUSPECTS = 8;

/** @param {any} context @returns {HTMLElement} */
export function createHead({ payload }) {
  return html("header", { class: "masthead" },
    html("p", { class: "kicker" }, "Comparison of executions"),
    html("h1", {}, visible(payload.title)),
    html("p", { class: "lede" }, visible(lede(payload))));
}

/** @param {any} payload @returns {string} */
function lede({ comparison, pairs }) {
  if (!comparison) return `Two saved executions, call by call: what each layer was given, and what it made of that.`;
  const n = comparison.set.layers.length;
  return `${comparison.model}, ${n} layers, ${comparison.executions.map(({ name }) => name).join(", ")}: each layer's own error, and the error it inherited, against ${comparison.reference}.${pairs ? " Below, the two saved executions side by side." : ""}`;
}

/** The headline: the verdict, or where two executions part, or where each execution errs most. */
export function createHeadline(context) {
  const { verdict, pairs, comparison } = context.payload;
  const cards = [
    pairs && pairsCard(context, pairs),
    verdict && verdictCard(context, verdict),
    !verdict && comparison && comparison.executions.length > 0 && plainCard(context, comparison),
  ].filter(Boolean);
  return html("section", { class: "verdict", id: "verdict", "aria-labelledby": "verdict-title" },
    html("header", { class: "panel-head" }, html("h2", { id: "verdict-title" }, verdict ? "Verdict" : "In short")),
    html("div", { class: "findings" }, cards));
}

/** A card with a level. */
function card(level, word, children) {
  return html("article", { class: `finding answer ${level}` },
    html("header", {}, html("i", { class: `mark ${level}`, "aria-hidden": "true" }), html("span", { class: "level" }, word)), children);
}

/** The verdict on one execution. */
function verdictCard(context, verdict) {
  const { culprit, mechanism, suspects, floor } = verdict;
  const subject = visible(verdict.execution || "the execution");
  const samples = `Sound executions that make the floor: ${floor.samples.map(visible).join(", ")}. ${verdict.n_runs} model runs.`;
  if (!culprit) {
    return card("good", WORDS.clean, [html("h3", {}, `No layer of ${subject} errs more than sound executions do.`), html("p", { class: "faint" }, samples)]);
  }
  const title = html("h3", {}, verdict.kind === "rounding" ? "Rounding starts at " : "It starts at ", nameElement(culprit.layer, 60), ` in the ${placeOf(culprit)} (${subject})`);
  return card(LEVELS[verdict.kind], WORDS[verdict.kind], [
    title,
    mechanism && html("p", { class: "summary" }, visible(mechanism.text)),
    html("dl", { class: "numbers" }, number("own error, relative", sizeElement(numberOf(culprit.own))), number("times the noise floor", decimal(culprit.times_floor ?? Infinity)), number("places above the floor", integer(suspects.length))),
    mechanism && html("p", { class: "advice" }, html("b", {}, "What to do: "), visible(mechanism.advice)),
    button(context, culprit, verdict.execution),
    suspects.length > 1 && html("details", {}, html("summary", {}, `All ${suspects.length} places above the floor, in the order of the computation`), html("ol", { class: "suspects" }, suspects.slice(0, 200).map((suspect) => html("li", {}, link(context, suspect, verdict.execution), html("span", { class: "quantity" }, placeOf(suspect)), html("b", {}, `${decimal(suspect.times_floor ?? Infinity)} × floor`))))),
    html("p", { class: "faint" }, samples),
  ].filter(Boolean));
}

/** @param {any} suspect @returns {string} */
function placeOf({ direction, parameter }) {
  return parameter ? `${direction} of ${visible(parameter)}` : direction;
}

/** @param {string} label @param {string} value */
function number(label, value) {
  return html("div", {}, html("dt", {}, label), html("dd", {}, value));
}

/** A button that goes to the row of a suspect. */
function button(context, suspect, execution) {
  const row = rowOf(context, suspect, execution);
  return row && html("button", { type: "button", class: "evidence", on: { click: () => showRow(context, context.specs.layers, row) } }, "Show the layer", html("span", { "aria-hidden": "true" }, " →"));
}

/** The name of a suspect, which goes to its row. */
function link(context, suspect, execution) {
  const row = rowOf(context, suspect, execution);
  if (!row) return nameElement(suspect.layer, 60);
  return html("button", { type: "button", class: "link", on: { click: () => showRow(context, context.specs.layers, row) } }, nameElement(suspect.layer, 60));
}

/** The row of a suspect in the set. */
function rowOf({ specs }, { layer, direction, parameter }, execution) {
  if (!specs.layers) return null;
  const name = parameter ? `${layer} · ${parameter}` : layer;
  const executor = Math.max(0, specs.layers.set.executors.indexOf(execution));
  return rowsOf(specs.layers.set).find((row) => row.name === name && row.direction === direction && row.executor === executor) ?? null;
}

/** Without a verdict: where each execution errs most. */
function plainCard(context, comparison) {
  return card("note", "Largest own errors", [
    html("ul", { class: "sentences" }, comparison.executions.map(({ sentence }) => html("li", {}, sentenceParts(sentence)))),
    html("p", { class: "faint" }, "Whether that is more than rounding in FP32 explains, a verdict says: deephochuli compare MODEL --verdict EXECUTION."),
  ]);
}

/** Where two executions begin to differ. */
function pairsCard(context, pairs) {
  const row = rowsOf(context.specs.pairs.set).find(({ mark }) => mark === 2);
  const level = pairs.weights_differ ? "critical" : pairs.is_same ? "good" : "warning";
  return card(level, pairs.weights_differ ? "Not the same start" : pairs.is_same ? "Equal" : "Different", [
    html("h3", {}, sentenceParts(pairs.sentence)),
    pairs.weights_differ && html("p", { class: "summary" }, "The two did not begin with the same weights and the same batch, so this is no statement about arithmetic: save both with equal weights and an equal batch."),
    pairs.environment.length > 0 && environment(pairs),
    row && html("button", { type: "button", class: "evidence", on: { click: () => showRow(context, context.specs.pairs, row) } }, "Show the layer", html("span", { "aria-hidden": "true" }, " →")),
  ].filter(Boolean));
}

/** What differs of the two machines. */
function environment({ first, second, environment: rows }) {
  return html("div", { class: "table-scroll" }, html("table", { class: "numbers-table" },
    html("thead", {}, html("tr", {}, html("th", { scope: "col" }, "what differs"), [first, second].map((name) => html("th", { scope: "col" }, visible(name))))),
    html("tbody", {}, rows.map(([name, ...values]) => html("tr", {}, html("th", { scope: "row" }, visible(name)), values.map((value) => html("td", {}, visible(value))))))));
}

/** Every execution in a line: output, loss, decisions. */
export function createExecutions({ payload: { comparison } }) {
  if (!comparison) return null;
  const heads = [["execution", ""], ["output off by", "norm of the output's error over its norm"], ["loss", ""], ["argmax flips", "outputs whose largest element is another one"], ["top-k flips", "outputs whose set of the k largest is another one"], ["margin", "median distance of the two largest outputs, in units of this execution's rms error"], ["of flips", "largest such distance among the flipped decisions"], ["largest own error", "layer that errs most by itself in the forward"]];
  return html("section", { class: "panel", id: "executions", "aria-labelledby": "executions-title" },
    html("header", { class: "panel-head" }, html("h2", { id: "executions-title" }, "Executions")),
    html("p", { class: "reading" }, `Each beside ${visible(comparison.reference)}. A decision with a margin below about 3 noise units is not safe in that execution.`),
    html("div", { class: "table-scroll" }, html("table", { class: "numbers-table executions" },
      html("thead", {}, html("tr", {}, heads.map(([name, title]) => html("th", { scope: "col", title: title || null }, name)))),
      html("tbody", {}, referenceRow(comparison), comparison.executions.map(executionRow)))),
    unmatched(comparison));
}

/** @param {any} comparison */
function referenceRow({ reference, loss }) {
  return html("tr", { class: "reference" }, html("th", { scope: "row" }, visible(reference)), html("td", {}, "reference"), html("td", {}, decimal(numberOf(loss), 6)), Array.from({ length: 5 }, () => html("td", {})));
}

/** @param {any} execution */
function executionRow({ name, output, loss, loss_difference: difference, decisions, worst, worst_own: own, worst_ratio: ratio }) {
  const flips = (n) => (decisions ? html("td", { class: n ? "bad" : null }, `${integer(n)} of ${integer(decisions.n)}`) : html("td", {}, "–"));
  return html("tr", {},
    html("th", { scope: "row" }, visible(name)),
    html("td", {}, output === null ? "–" : sizeElement(numberOf(output))),
    html("td", {}, decimal(numberOf(loss), 6), difference !== null && html("small", {}, ` ${numberOf(difference) > 0 ? "+" : ""}${decimal(numberOf(difference), 2)}`)),
    flips(decisions?.argmax_flips), flips(decisions?.top_k_flips),
    html("td", {}, decisions ? decimal(decisions.margin ?? Infinity, 2) : "–"), html("td", {}, decisions?.argmax_flips ? decimal(decisions.margin_of_flips ?? NaN, 2) : ""),
    worst === null ? html("td", {}, "none") : html("td", {}, nameElement(worst, 40), html("small", {}, " ", sizeElement(numberOf(own)), numberOf(ratio) >= 0 && `, ${decimal(numberOf(ratio))} × FP32`)));
}

/** Layers that only one side has, or whose shapes differ. */
function unmatched({ executions }) {
  return executions.filter((each) => each.unmatched.length).map(({ name, unmatched: layers }) =>
    html("details", { class: "quiet-layers" }, html("summary", {}, `Not compared in ${visible(name)}, being on one side only or of another shape: ${layers.length}`),
      html("ul", {}, layers.map((layer) => html("li", {}, nameElement(layer, 60))))));
}
