/** What every panel gets: the runs, the formats, the findings, the view, and how to name things. */

import { flowRank } from "./data.mjs";

const MEANINGS = {
  z: "pre-activation", a: "activation", da: "gradient of a", dz: "gradient of z",
  w: "weight", g: "weight gradient", dw: "update really added",
};

/**
 * @typedef {object} Context
 * @property {import("./data.mjs").Run[]} runs
 * @property {import("./ask.mjs").Format[]} formats
 * @property {any[]} findings
 * @property {string} title
 * @property {any} made
 * @property {number} version grows when the data change
 * @property {import("./state.mjs").Store} store
 */

/**
 * @param {string} quantity
 * @returns {string}
 */
export function meaningOf(quantity) {
  if (quantity.startsWith("state:")) return "optimizer state";
  return MEANINGS[quantity] ?? quantity;
}

/**
 * @param {string} quantity
 * @returns {string}
 */
export function quantityLabel(quantity) {
  return quantity.startsWith("state:") ? quantity.slice(6) : quantity;
}

/**
 * @param {Context} context
 * @param {import("./state.mjs").View} view
 * @returns {import("./ask.mjs").Format}
 */
export function formatOf(context, view) {
  return context.formats.find((format) => format.name === view.format) ?? context.formats[0];
}

/**
 * Runs that are drawn, in their order.
 * @param {Context} context
 * @param {import("./state.mjs").View} view
 * @returns {import("./data.mjs").Run[]}
 */
export function shownRuns(context, view) {
  return context.runs.filter((run) => view.shown.includes(run.index));
}

/**
 * Window of steps in view.
 * @param {Context} context
 * @param {import("./state.mjs").View} view
 * @returns {[number, number]}
 */
export function stepWindow(context, view) {
  const [first, last] = stepSpan(context);
  return [view.from ?? first, view.to ?? last];
}

/**
 * First and last recorded step over all runs.
 * @param {Context} context
 * @returns {[number, number]}
 */
export function stepSpan(context) {
  const spans = context.runs.map((run) => run.span);
  return [Math.min(...spans.map(([first]) => first)), Math.max(...spans.map(([, last]) => last))];
}

/**
 * Quantities that any run recorded, in the order of a training step.
 * @param {Context} context
 * @returns {string[]}
 */
export function quantitiesOf(context) {
  const found = new Set(context.runs.flatMap((run) => run.taps.map((tap) => tap.quantity)));
  return [...found].sort((a, b) => flowRank(a) - flowRank(b) || a.localeCompare(b));
}

/**
 * Layers that have a quantity, in the order of execution, filtered by name.
 * @param {Context} context
 * @param {string} quantity
 * @param {string} [filter] plain text or a regular expression
 * @returns {string[]}
 */
export function layersWith(context, quantity, filter = "") {
  const order = new Map();
  for (const run of context.runs) {
    for (const tap of run.taps) {
      if (tap.quantity === quantity && !order.has(tap.layer)) order.set(tap.layer, tap.order);
    }
  }
  const matches = matcher(filter);
  return [...order].filter(([layer]) => matches(layer)).sort((a, b) => a[1] - b[1]).map(([layer]) => layer);
}

/**
 * Every layer in the order of execution.
 * @param {Context} context
 * @returns {string[]}
 */
export function allLayers(context) {
  const order = new Map();
  for (const run of context.runs) {
    for (const tap of run.taps) if (!order.has(tap.layer)) order.set(tap.layer, tap.order);
  }
  return [...order].sort((a, b) => a[1] - b[1]).map(([layer]) => layer);
}

/**
 * @param {string} filter
 * @returns {(name: string) => boolean}
 */
export function matcher(filter) {
  if (!filter) return () => true;
  try {
    const expression = new RegExp(filter, "iu");
    return (name) => expression.test(name);
  } catch {
    return (name) => name.toLowerCase().includes(filter.toLowerCase());
  }
}

/**
 * Columns or bins of a timeline that touch the window.
 * @param {import("./data.mjs").Timeline} timeline
 * @param {[number, number]} window
 * @returns {number[]}
 */
export function placesInside(timeline, [from, to]) {
  return timeline.first.map((_, i) => i).filter((i) => timeline.last[i] >= from && timeline.first[i] <= to);
}

/**
 * Name of a span of steps.
 * @param {import("./data.mjs").Timeline} timeline
 * @param {number} place
 * @returns {string}
 */
export function stepsLabel(timeline, place) {
  const [first, last] = [timeline.first[place], timeline.last[place]];
  return first === last ? `step ${first}` : `steps ${first}–${last} (${timeline.n[place]} recorded)`;
}
