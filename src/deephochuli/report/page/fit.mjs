/** Which format fits which tensor, at which scale, and what it would lose. */

import { ask, scaleRange } from "./ask.mjs";
import { formatOf, matcher, quantitiesOf, quantityLabel } from "./context.mjs";
import { flowRank } from "./data.mjs";
import { html, nameElement, replace, visible } from "./dom.mjs";
import { decimal, percent, powerOfTwo } from "./numbers.mjs";
import { createPanel, dropDown, segmented } from "./panel.mjs";

const FIRST_ROWS = 30;
const FIRST_FORMATS = ["fp16", "bf16", "fp8_e4m3fn", "fp8_e5m2"];
const TOLERANCES = [["0", "none"], ["0.0001", "0.01 %"], ["0.01", "1 %"]];

/**
 * @typedef {object} Choice what the reader set in this panel
 * @property {number} run
 * @property {string} quantity
 * @property {string} tolerance share that may become zero
 * @property {boolean} scaled whether a power of two may be applied
 * @property {Set<string>} formats
 * @property {boolean} all
 */

/**
 * @typedef {object} Fit
 * @property {boolean} fits
 * @property {number} exponent of the scale
 * @property {import("./ask.mjs").Answer} answer
 */

/**
 * What a format does to a tensor: at scale one, or at the power of two that leaves the most room
 * below without overflow.
 * @param {import("./ask.mjs").Sketch} sketch
 * @param {import("./ask.mjs").Format} format
 * @param {{tolerance: number, scaled: boolean, sourcePrecision: number}} options
 * @returns {Fit}
 */
export function fitOf(sketch, format, { tolerance, scaled, sourcePrecision }) {
  const plain = ask(sketch, format, 1, sourcePrecision);
  if (isFine(plain, tolerance) || !scaled) return { fits: isFine(plain, tolerance), exponent: 0, answer: plain };
  const { to } = scaleRange(sketch, format);
  if (Number.isNaN(to)) return { fits: true, exponent: 0, answer: plain };
  const answer = ask(sketch, format, 2 ** to, sourcePrecision);
  return { fits: isFine(answer, tolerance), exponent: to, answer };
}

/** @param {import("./ask.mjs").Answer} answer @param {number} tolerance */
function isFine({ outOfRange, toZero }, tolerance) {
  return outOfRange.high === 0 && toZero.high <= tolerance * toZero.of;
}

/**
 * Create the panel.
 * @param {import("./context.mjs").Context} context
 */
export function createFit(context) {
  const panel = createPanel("fit", "Which format fits");
  const known = FIRST_FORMATS.filter((name) => context.formats.some((format) => format.name === name));
  const choice = { run: 0, quantity: "", tolerance: "0.0001", scaled: true, formats: new Set(known), all: false };
  panel.explain("Whole run, exact counts. A tick: nothing overflows and no more than the tolerance becomes zero, at the power of two given (none: as it is). Otherwise the main loss is named. Below it, the estimated rounding error.",
    "error = √(Σ (fl(x) − x)² / Σ x²), uniform within half a unit in the last place; zeroed and saturated numbers as they are");
  return { root: panel.root, update: (view) => draw(context, panel, choice, view) };
}

/** Draw the table for a view and the reader's choice. */
function draw(context, panel, choice, view) {
  const redraw = (change) => draw(context, panel, Object.assign(choice, change), view);
  const run = context.runs[choice.run];
  const formats = context.formats.filter((format) => choice.formats.has(format.name) || format === formatOf(context, view));
  const taps = tapsOf(run, choice, view);
  const precisions = new Map(context.formats.map((format) => [format.name, format.precision]));
  const fits = (tap) => formats.map((format) => fitOf(run.sketch(tap), format, { tolerance: Number(choice.tolerance), scaled: choice.scaled, sourcePrecision: precisions.get(tap.format) ?? Infinity }));
  replace(panel.controls, ...controls(context, choice, redraw));
  const shown = choice.all ? taps : taps.slice(0, FIRST_ROWS);
  replace(panel.body, formatBoxes(context, choice, view, redraw),
    html("div", { class: "table-scroll" }, table(context, view, shown, formats, fits)),
    taps.length > shown.length && html("button", { type: "button", class: "quiet", on: { click: () => redraw({ all: true }) } }, `Show all ${taps.length} tensors`));
  panel.offer(() => [], () => rowsOf(run, taps, formats, fits));
}

/** Tensors in the order of the model. */
function tapsOf(run, choice, view) {
  const matches = matcher(view.filter);
  return run.taps.filter((tap) => (!choice.quantity || tap.quantity === choice.quantity) && matches(tap.layer))
    .sort((a, b) => a.order - b.order || a.layer.localeCompare(b.layer) || flowRank(a.quantity) - flowRank(b.quantity));
}

/** Drop-downs of the panel. */
function controls(context, choice, redraw) {
  const quantities = [["", "all quantities"], ...quantitiesOf(context).map((quantity) => [quantity, quantityLabel(quantity)])];
  return [
    context.runs.length > 1 && dropDown("run", context.runs.map((run) => [String(run.index), visible(run.name)]), String(choice.run), (run) => redraw({ run: Number(run) })),
    dropDown("of", quantities, choice.quantity, (quantity) => redraw({ quantity, all: false })),
    dropDown("may become zero", TOLERANCES, choice.tolerance, (tolerance) => redraw({ tolerance })),
    segmented("scale", [["no", "as it is"], ["yes", "best 2ᵏ"]], choice.scaled ? "yes" : "no", (scaled) => redraw({ scaled: scaled === "yes" })),
  ].filter(Boolean);
}

/** A box for each format of the catalogue. */
function formatBoxes(context, choice, view, redraw) {
  const toggle = (name) => {
    const formats = new Set(choice.formats);
    if (!formats.delete(name)) formats.add(name);
    redraw({ formats });
  };
  return html("div", { class: "boxes", role: "group", "aria-label": "formats in the table" }, context.formats.map((format) => {
    const chosen = choice.formats.has(format.name) || format === formatOf(context, view);
    return html("button", { type: "button", class: "box", "aria-pressed": String(chosen), title: format.description, on: { click: () => toggle(format.name) } }, format.label);
  }));
}

/** The table. */
function table(context, view, taps, formats, fits) {
  return html("table", { class: "fit" },
    html("thead", {}, html("tr", {}, ["layer", "", "stored as", ...formats.map((format) => format.label)].map((name) => html("th", { scope: "col" }, name)))),
    html("tbody", {}, taps.map((tap, i) => html("tr", { class: tap.layer === view.layer && tap.quantity === view.quantity ? "chosen" : null },
      html("th", { scope: "row" }, tap.layer !== taps[i - 1]?.layer && html("button", { type: "button", class: "link", on: { click: () => context.store.set({ layer: tap.layer, quantity: tap.quantity }) } }, nameElement(tap.layer, 40))),
      html("td", {}, html("span", { class: "quantity" }, quantityLabel(tap.quantity))), html("td", { class: "faint" }, visible(tap.dtype)), fits(tap).map(cell)))));
}

/** @param {Fit} fit */
function cell({ fits, exponent, answer }) {
  if (answer.n === 0) return html("td", { class: "faint" }, "no nonzero number");
  return html("td", { class: fits ? "fits" : "loses" },
    html("span", {}, fits ? "✓" : mainLoss(answer), exponent !== 0 && html("em", {}, ` × ${powerOfTwo(exponent)}`)),
    html("small", {}, Number.isFinite(answer.relErrorRms) ? `error ${decimal(answer.relErrorRms, 2)}` : "no finite error"));
}

/** The larger of the two losses. @param {import("./ask.mjs").Answer} answer */
function mainLoss({ toZero, outOfRange, n }) {
  return outOfRange.high > toZero.high ? `${percent(outOfRange.high / n)} over` : `${percent(toZero.high / n)} → 0`;
}

/** The numbers of the table. */
function rowsOf(run, taps, formats, fits) {
  const head = ["run", "layer", "quantity", "stored as", "format", "fits", "scale", "to zero, at most", "subnormal, at most", "out of range, at most", "nonzero finite", "headroom in binades", "relative error"];
  return [head, ...taps.flatMap((tap) => fits(tap).map(({ fits: good, exponent, answer }, i) =>
    [run.name, tap.layer, tap.quantity, tap.dtype, formats[i].name, good ? "yes" : "no", 2 ** exponent, answer.toZero.high, answer.subnormal.high, answer.outOfRange.high, answer.n, answer.headroomBinades, answer.relErrorRms]))];
}

