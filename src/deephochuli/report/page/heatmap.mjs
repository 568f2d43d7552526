/** Layer by step: one map a run, the same rows and the same colours in all. */

import { css, ink, sequential } from "./colors.mjs";
import { axisBelow, canvas, hatch, hideTooltip, line, linear, showTooltip, text, ticks, tooltipRows } from "./chart.mjs";
import { formatOf, layersWith, meaningOf, placesInside, quantitiesOf, quantityLabel, shownRuns, stepWindow, stepsLabel } from "./context.mjs";
import { html, nameElement, replace, shortened, svg } from "./dom.mjs";
import { metricOf, metricsFor } from "./metrics.mjs";
import { asPowerOfTwo, decimal, percent, percentBetween } from "./numbers.mjs";
import { neighbourWith } from "./blocks.mjs";
import { createPanel, dropDown } from "./panel.mjs";
import { cellImage } from "./raster.mjs";
import { widthOf } from "./width.mjs";

const LABELS = 190;
const RIM = 10;
const GAP = 16;
const RARE_FLOOR = -5;
const HIGHEST = 2100; // of a map of very many layers, in pixels
const LINE = 9; // that a name needs, in pixels

/**
 * @typedef {object} Matrix
 * @property {import("./data.mjs").Run} run
 * @property {import("./data.mjs").Timeline} timeline
 * @property {number[]} places columns inside the window
 * @property {(import("./metrics.mjs").Cell[] | null)[]} rows by layer
 */

/**
 * Place of a value on the colour scale of its metric, NaN where not measured.
 * @param {import("./metrics.mjs").Metric} metric
 * @param {number} value
 * @param {[number, number]} range of all finite values, for the scales without fixed ends
 * @returns {number}
 */
export function placeOnScale(metric, value, range) {
  if (Number.isNaN(value)) return NaN;
  if (metric.scale === "share") return value;
  if (metric.scale === "rare") return value > 0 ? Math.max(0.04, 1 - Math.log10(value) / RARE_FLOOR) : 0;
  if (metric.scale === "binades") return Math.min(1, Math.max(0, 1 - value / Math.max(16, range[1])));
  if (!(value > 0)) return 0;
  const [low, high] = range.map(Math.log2);
  return high > low ? (Math.log2(value) - low) / (high - low) : 0.5;
}

/**
 * A value of a metric as text.
 * @param {import("./metrics.mjs").Metric} metric
 * @param {import("./metrics.mjs").Cell} cell
 * @returns {string}
 */
export function cellText(metric, cell) {
  if (!cell || Number.isNaN(cell.value)) return "not measured";
  if (metric.scale === "share" || metric.scale === "rare") {
    return cell.low === undefined ? percent(cell.value) : percentBetween(cell.low, cell.high);
  }
  if (metric.scale === "binades") return `${decimal(cell.value)} binades`;
  return `${decimal(cell.value)} = ${asPowerOfTwo(cell.value)}`;
}

/**
 * @param {import("./context.mjs").Context} context
 * @param {import("./state.mjs").View} view
 * @param {string[]} layers
 * @returns {Matrix[]}
 */
export function matricesOf(context, view, layers) {
  const [metric, format] = [metricOf(view.metric), formatOf(context, view)];
  return shownRuns(context, view).map((run) => ({
    run,
    timeline: run[metric.axis],
    places: placesInside(run[metric.axis], stepWindow(context, view)),
    rows: layers.map((layer) => {
      const tap = run.tap(layer, view.quantity);
      return tap ? metric.cells(run, tap, format) : null;
    }),
  }));
}

/**
 * Smallest and largest positive value over all maps.
 * @param {Matrix[]} matrices
 * @returns {[number, number]}
 */
function rangeOf(matrices) {
  let [low, high] = [Infinity, -Infinity];
  for (const { rows, places } of matrices) {
    for (const row of rows) {
      for (const place of row ? places : []) {
        const value = row[place].value;
        if (value > 0 && Number.isFinite(value)) [low, high] = [Math.min(low, value), Math.max(high, value)];
      }
    }
  }
  return low <= high ? [low, high] : [1, 1];
}

/**
 * Create the panel.
 * @param {import("./context.mjs").Context} context
 */
export function createHeatmap(context) {
  const panel = createPanel("map", "Every layer, every step");
  const legend = html("div", { class: "legend" });
  const maps = html("div", { class: "maps" });
  panel.body.append(legend, maps);
  return { root: panel.root, update: (view) => draw(context, panel, legend, maps, view) };
}

/** Draw the maps for a view. */
function draw(context, panel, legend, maps, view) {
  const metric = metricOf(view.metric);
  const layers = layersWith(context, view.quantity, view.filter);
  const matrices = matricesOf(context, view, layers);
  const range = rangeOf(matrices);
  replace(panel.controls, ...controls(context, view));
  panel.explain(`${metric.reading} Each row is a layer, in the order of execution; each column a recorded step${grouping(matrices)}.`, metric.formula);
  replace(legend, ...legendOf(context, metric, range, view));
  const width = Math.max(360, widthOf(maps) || 1100);
  const charts = matrices.map((matrix, i) => mapOf(context, view, matrix, layers, range, layout(width, matrices.length, i, layers.length)));
  replace(maps, ...(layers.length ? charts : [html("p", { class: "empty" }, `No layer has ${meaningOf(view.quantity)}${view.filter ? " and matches the filter" : ""}.`)]));
  panel.offer(() => charts, () => rowsOf(matrices, layers, metric, view));
}

/** @param {Matrix[]} matrices */
function grouping(matrices) {
  const most = Math.max(1, ...matrices.flatMap(({ timeline }) => timeline.n));
  return most > 1 ? `, or up to ${most} of them merged` : "";
}

/**
 * Sizes of one of several maps: side by side where there is room, layer names on the first only.
 * @param {number} width
 * @param {number} count
 * @param {number} index
 * @param {number} nRows
 */
export function layout(width, count, index, nRows) {
  const sideBySide = width >= 900;
  const names = !sideBySide || index === 0;
  const left = Math.min(LABELS, width * 0.3);
  const others = count * RIM + (count - 1) * (RIM + GAP);
  const plot = sideBySide ? Math.floor((width - left - others) / count) : width - left - RIM;
  const least = Math.max(2, Math.min(7, HIGHEST / Math.max(1, nRows)));
  return { labels: names ? left : RIM, plot, rim: RIM, names, row: Math.max(least, Math.min(22, 560 / Math.max(1, nRows))) };
}

/**
 * Rows whose names have room: all, or every so many, and the chosen one instead of its neighbours.
 * @param {number} count
 * @param {number} row height of a row
 * @param {number} chosen its number, or -1
 * @returns {number[]}
 */
export function labelledRows(count, row, chosen) {
  const apart = Math.ceil(LINE / row);
  const isFree = (i) => i === chosen || (i % apart === 0 && (chosen < 0 || Math.abs(i - chosen) >= apart));
  return Array.from({ length: count }, (_, i) => i).filter(isFree);
}

/** Drop-downs of the panel. */
function controls(context, view) {
  const quantities = quantitiesOf(context).map((quantity) => [quantity, `${quantityLabel(quantity)} · ${meaningOf(quantity)}`]);
  const metrics = metricsFor(view.quantity).map((metric) => [metric.id, metric.label]);
  return [
    dropDown("quantity", quantities, view.quantity, (quantity) => context.store.set({ quantity, layer: neighbourWith(context, view.layer, quantity) ?? view.layer })),
    dropDown("shows", metrics, view.metric, (metric) => context.store.set({ metric })),
  ];
}

/** Colour scale with its ends, zero and not measured apart. */
function legendOf(context, metric, range, view) {
  const stops = Array.from({ length: 24 }, (_, i) => svg("rect", { x: i * 6, width: 6.5, height: 10, fill: css(sequential(i / 23)) }));
  const [low, high] = legendEnds(metric, range);
  const note = metric.usesFormat ? `in ${formatOf(context, view).label}` : null;
  return [
    note && html("span", { class: "chip-note" }, note),
    html("span", {}, low),
    svg("svg", { width: 144, height: 10, role: "img", "aria-label": "colour scale" }, stops),
    html("span", {}, high),
    metric.scale !== "binades" && html("span", { class: "key" }, html("i", { class: "swatch none" }), metric.scale === "log2" ? "zero" : "exactly none"),
    html("span", { class: "key" }, html("i", { class: "swatch missing" }), "not measured"),
  ];
}

/** @param {import("./metrics.mjs").Metric} metric @param {[number, number]} range */
function legendEnds(metric, range) {
  if (metric.scale === "share") return ["0 %", "100 %"];
  if (metric.scale === "rare") return ["≤ 0.001 %", "100 %"];
  if (metric.scale === "binades") return [`${decimal(Math.max(16, range[1]))} binades`, "overflow"];
  return range.map(asPowerOfTwo);
}

/** One map as an SVG element. */
function mapOf(context, view, matrix, layers, range, { labels, plot, rim, names, row }) {
  const metric = metricOf(view.metric);
  const top = 26;
  const height = top + row * layers.length + 24;
  const chart = canvas(labels + plot + rim, height, `${matrix.run.name}: ${metric.label} of ${meaningOf(view.quantity)} by layer and step`);
  const window = stepWindow(context, view);
  const x = linear(window, [labels, labels + plot]);
  const hatchId = `hatch-map-${matrix.run.index}`;
  chart.append(svg("defs", {}, hatch(hatchId)));
  chart.append(text(labels, 14, matrix.run.name, { "font-weight": 600, fill: ink("ink"), "font-size": 12.5 }));
  chart.append(svg("rect", { x: labels, y: top, width: plot, height: row * layers.length, fill: `url(#${hatchId})` }));
  chart.append(...picture(matrix, layers.length, metric, range, x, top, row));
  if (names) chart.append(...labelledRows(layers.length, row, layers.indexOf(view.layer)).map((i) => rowLabel(view, layers[i], labels, top + (i + 0.5) * row, row)));
  chart.append(axisBelow(x, top + row * layers.length, ticks(window, plot / 80), String));
  chart.append(...selection(view, layers, x, labels, plot, top, row));
  listen(context, view, chart, matrix, layers, metric, { x, top, row });
  return chart;
}

/** The cells, as an image. */
function picture(matrix, nRows, metric, range, x, top, row) {
  const none = ink("none");
  const colorOf = (r, column) => {
    const cell = matrix.rows[r]?.[matrix.places[column]];
    const where = cell ? placeOnScale(metric, cell.value, range) : NaN;
    if (Number.isNaN(where)) return null;
    return cell.value === 0 && metric.scale !== "binades" ? none : css(sequential(where));
  };
  return cellImage({ x, top, row, nRows, edges: columnEdges(matrix, x), gap: row > 9 ? 1 : 0 }, colorOf);
}

/** Left edge of each visible column and the right edge of the last. */
function columnEdges({ timeline, places }, x) {
  const inside = (value) => Math.min(x.range[1], Math.max(x.range[0], value));
  const starts = places.map((place) => inside(x(timeline.first[place])));
  const last = places.at(-1) ?? 0;
  const after = timeline.first[last + 1] ?? x.domain[1];
  return [...starts, inside(x(after))];
}

/** Name of a row; a click selects the layer. */
function rowLabel(view, layer, right, y, row) {
  const chosen = layer === view.layer;
  return text(right - 10, y + 4, shortened(layer, Math.floor((right - 16) / 6.4)), {
    "text-anchor": "end", class: "row-label", "font-size": labelSize(row), direction: "ltr", "unicode-bidi": "isolate",
    fill: ink(chosen ? "ink" : "soft"), "font-weight": chosen ? 650 : 400,
    "data-layer": layer,
  });
}

/** @param {number} row height of a row @returns {number} size of its name */
export function labelSize(row) {
  return Math.min(11.5, Math.ceil(LINE / row) * row - 0.5);
}

/** Frame around the selected row, and the step of the evidence. */
function selection(view, layers, x, labels, plot, top, row) {
  const marks = [];
  const index = layers.indexOf(view.layer);
  if (index >= 0) marks.push(svg("rect", { x: labels - 1, y: top + index * row - 0.5, width: plot + 2, height: row, fill: "none", stroke: ink("ink"), "stroke-width": 1.4, rx: 2 }));
  if (view.at !== null && view.at >= x.domain[0] && view.at <= x.domain[1]) {
    marks.push(line(x(view.at), top - 5, x(view.at), top + row * layers.length, { stroke: ink("critical"), "stroke-width": 1.5 }));
  }
  return marks;
}

/** Hover, click and arrow keys. */
function listen(context, view, chart, matrix, layers, metric, geometry) {
  const found = (event) => cellAt(event, chart, matrix, layers, geometry);
  chart.addEventListener("pointermove", (event) => {
    const cell = found(event);
    if (!cell) return hideTooltip();
    const value = matrix.rows[cell.row]?.[cell.place];
    showTooltip(event, ...tooltipRows(nameElement(layers[cell.row], 60), [
      [matrix.run.name, stepsLabel(matrix.timeline, cell.place)],
      [metric.label, cellText(metric, value)],
    ]));
  });
  chart.addEventListener("pointerleave", hideTooltip);
  chart.addEventListener("click", (event) => {
    const label = event.target.closest?.("[data-layer]");
    const cell = found(event);
    if (label) context.store.set({ layer: label.dataset.layer });
    else if (cell) context.store.set({ layer: layers[cell.row], run: matrix.run.index, at: matrix.timeline.first[cell.place] });
  });
}

/** Row and column under the pointer. */
function cellAt(event, chart, matrix, layers, { x, top, row }) {
  const box = chart.getBoundingClientRect();
  const factor = Number(chart.getAttribute("width")) / box.width;
  const [px, py] = [(event.clientX - box.left) * factor, (event.clientY - box.top) * factor];
  const r = Math.floor((py - top) / row);
  if (px < x.range[0] || px > x.range[1] || r < 0 || r >= layers.length) return null;
  const step = x.invert(px);
  const place = matrix.places.findLast((i) => matrix.timeline.first[i] <= step) ?? matrix.places[0];
  return place === undefined ? null : { row: r, place };
}

/** The numbers of the maps. */
function rowsOf(matrices, layers, metric, view) {
  const head = ["run", "layer", "quantity", "first step", "last step", metric.label, "at least", "at most"];
  const rows = matrices.flatMap(({ run, timeline, places, rows: all }) =>
    all.flatMap((cells, r) => (cells ? places : []).map((i) => {
      const { value, low = value, high = value } = cells[i];
      return [run.name, layers[r], view.quantity, timeline.first[i], timeline.last[i], value, low, high];
    })));
  return [head, ...rows];
}
