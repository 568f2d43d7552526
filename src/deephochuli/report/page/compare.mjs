/** Runs against a baseline: the losses, and the difference of whatever the map shows. */

import { axisBelow, axisLeft, canvas, hatch, hideTooltip, line, linear, pathOf, showTooltip, text, ticks, tooltipRows } from "./chart.mjs";
import { css, diverging, ink, runColor } from "./colors.mjs";
import { layersWith, meaningOf, quantityLabel, shownRuns, stepWindow, stepsLabel } from "./context.mjs";
import { html, nameElement, replace, shortened, svg, visible } from "./dom.mjs";
import { dot } from "./header.mjs";
import { cellText, labelSize, labelledRows, layout, matricesOf } from "./heatmap.mjs";
import { metricOf } from "./metrics.mjs";
import { decimal, points } from "./numbers.mjs";
import { createPanel, dropDown } from "./panel.mjs";
import { widthOf } from "./width.mjs";

const PARTED = 0.01;
const MOST_RANKED = 8;

/**
 * Create the panel.
 * @param {import("./context.mjs").Context} context
 */
export function createCompare(context) {
  const panel = createPanel("compare", "Runs against each other");
  const update = (view) => {
    panel.root.hidden = context.runs.length < 2;
    if (!panel.root.hidden) draw(context, panel, view);
  };
  return { root: panel.root, update };
}

/** Draw the panel for a view. */
function draw(context, panel, view) {
  const metric = metricOf(view.metric);
  const base = context.runs[view.base];
  const others = shownRuns(context, view).filter((run) => run !== base);
  panel.explain(`Above: the loss of each run. Below: ${metric.label} of ${meaningOf(view.quantity)}, minus that of ${visible(base.name)}; the panel follows the map.`,
    differenceFormula(metric));
  replace(panel.controls, dropDown("baseline", context.runs.map((run) => [String(run.index), visible(run.name)]), String(base.index), (index) => context.store.set({ base: Number(index) })));
  const width = Math.max(340, widthOf(panel.body) || 1100);
  const layers = layersWith(context, view.quantity, view.filter);
  const { quantity, format, from, to } = view;
  const shown = [base.index, ...others.map((run) => run.index)];
  const all = matricesOf(context, { metric: metric.id, quantity, format, from, to, shown }, layers);
  const baseMatrix = all.find(({ run }) => run === base);
  const differences = all.filter(({ run }) => run !== base).map((matrix) => differenceOf(matrix, baseMatrix, metric));
  const reach = reachOf(differences, metric);
  const charts = [lossChart(context, view, width), ...differences.map((difference, i) => differenceMap(context, view, difference, layers, reach, layout(width, differences.length, i, layers.length)))];
  replace(panel.body, charts[0], parting(context, view, base, others), differences.length > 0 && legendOf(metric, reach),
    html("div", { class: "maps" }, charts.slice(1)), ranking(context, view, differences, layers, metric));
  panel.offer(() => charts.filter(Boolean), () => rowsOf(differences, layers, metric, base));
}

/** @param {import("./metrics.mjs").Metric} metric */
function differenceFormula(metric) {
  if (metric.scale === "log2") return "log₂(run / baseline) at the same step, in binades";
  return metric.scale === "binades" ? "run − baseline at the same step, in binades" : "run − baseline at the same step, in percentage points";
}

/** Loss of each run over steps. */
function lossChart(context, view, width) {
  const curves = shownRuns(context, view).map((run) => ({ run, loss: run.array("steps.loss") })).filter(({ loss }) => loss && Array.from(loss).some(Number.isFinite));
  const [left, top, bottom] = [52, 24, 170];
  const chart = canvas(width, bottom + 28, "Loss of each run over steps");
  const window = stepWindow(context, view);
  const finite = curves.flatMap(({ loss }) => Array.from(loss).filter(Number.isFinite));
  if (!finite.length) return html("p", { class: "empty" }, "No loss was told to the recorder: pass it with recording.log(loss=value).");
  const [x, y] = [linear(window, [left, width - 8]), linear([Math.min(0, ...finite), Math.max(...finite)], [bottom, top])];
  chart.append(axisLeft(y, left, ticks(y.domain, 4), (value) => decimal(value), width - 8), axisBelow(x, bottom, ticks(window, width / 100), String));
  chart.append(text(left, 12, "loss", { fill: ink("ink"), "font-weight": 600 }));
  for (const { run, loss } of curves) {
    const path = run.columns.first.map((step, i) => [x(step), step >= window[0] && step <= window[1] && Number.isFinite(loss[i]) ? y(loss[i]) : NaN]);
    chart.append(svg("path", { d: pathOf(path), fill: "none", stroke: runColor(run.index), "stroke-width": 1.8, "stroke-linejoin": "round" }));
  }
  return chart;
}

/**
 * First step at which two losses differ by more than a share of the larger one.
 * @param {import("./data.mjs").Run} run
 * @param {import("./data.mjs").Run} base
 * @returns {number | null}
 */
export function partingStep(run, base) {
  const [mine, theirs] = [run.array("steps.loss"), base.array("steps.loss")];
  if (!mine || !theirs) return null;
  const steps = new Map(base.columns.first.map((step, i) => [step, theirs[i]]));
  const at = run.columns.first.findIndex((step, i) => {
    const other = steps.get(step);
    return Number.isFinite(other) && !(Math.abs(mine[i] - other) <= PARTED * Math.max(Math.abs(mine[i]), Math.abs(other)));
  });
  return at < 0 ? null : run.columns.first[at];
}

/** When the losses part. */
function parting(context, view, base, others) {
  return html("ul", { class: "parting" }, others.map((run) => {
    const step = partingStep(run, base);
    return html("li", {}, dot(run), step === null
      ? `${visible(run.name)}: the loss stays within 1 % of ${visible(base.name)} at every common step, or was not recorded`
      : html("button", { type: "button", class: "link", on: { click: () => context.store.set({ at: step }) } }, `${visible(run.name)}: the loss first differs by more than 1 % at step ${step}`));
  }));
}

/** Differences of one run to the baseline, at the same steps. */
function differenceOf(matrix, base, metric) {
  const placeAt = matrix.timeline.first.map((step) => base.timeline.first.findLastIndex((first) => first <= step));
  const rows = matrix.rows.map((cells, r) => {
    const others = base.rows[r];
    if (!cells || !others) return null;
    return cells.map((cell, i) => (placeAt[i] < 0 || matrix.timeline.first[i] > base.timeline.last[placeAt[i]] + gapOf(base.timeline) ? NaN : minus(cell.value, others[placeAt[i]].value, metric)));
  });
  return { ...matrix, base, rows, cells: matrix.rows, baseCells: base.rows, placeAt };
}

/** Largest distance between recorded steps of a timeline: a run that ended is not compared further. */
function gapOf({ first }) {
  return Math.max(1, ...first.slice(1).map((step, i) => step - first[i]));
}

/** @param {number} mine @param {number} theirs @param {import("./metrics.mjs").Metric} metric */
function minus(mine, theirs, metric) {
  if (metric.scale !== "log2") return mine - theirs;
  return mine > 0 && theirs > 0 ? Math.log2(mine / theirs) : NaN;
}

/** Largest difference, for the ends of the colour scale. */
function reachOf(differences, metric) {
  let reach = metric.scale === "share" || metric.scale === "rare" ? 0.05 : 1;
  for (const { rows, places } of differences) {
    for (const row of rows) for (const place of row ? places : []) if (Math.abs(row[place]) > reach) reach = Math.abs(row[place]);
  }
  return Number.isFinite(reach) ? reach : 1;
}

/** @param {number} value @param {import("./metrics.mjs").Metric} metric */
function differenceText(value, metric) {
  if (Number.isNaN(value)) return "not measured";
  if (metric.scale === "share" || metric.scale === "rare") return points(value);
  return `${value > 0 ? "+" : ""}${decimal(value)} binades`;
}

/** Colour scale. */
function legendOf(metric, reach) {
  const stops = Array.from({ length: 31 }, (_, i) => svg("rect", { x: i * 5, width: 5.5, height: 10, fill: css(diverging(i / 15 - 1)) }));
  return html("div", { class: "legend" }, html("span", {}, differenceText(-reach, metric)), svg("svg", { width: 155, height: 10, role: "img", "aria-label": "colour scale of differences" }, stops), html("span", {}, differenceText(reach, metric)),
    html("span", { class: "key" }, html("i", { class: "swatch missing" }), "not measured in both"));
}

/** One map of differences. */
function differenceMap(context, view, difference, layers, reach, { labels, plot, rim, names, row }) {
  const { run, timeline, places, rows } = difference;
  const metric = metricOf(view.metric);
  const top = 24;
  const chart = canvas(labels + plot + rim, top + row * layers.length + 28, `${run.name} minus ${difference.base.run.name}: ${metric.label}`);
  const window = stepWindow(context, view);
  const x = linear(window, [labels, labels + plot]);
  const id = `hatch-compare-${run.index}`;
  chart.append(svg("defs", {}, hatch(id)), text(labels, 13, `${run.name} − ${difference.base.run.name}`, { "font-weight": 600, fill: ink("ink"), "font-size": 12.5 }),
    svg("rect", { x: labels, y: top, width: plot, height: row * layers.length, fill: `url(#${id})` }));
  const inside = (step) => Math.min(x.range[1], Math.max(x.range[0], x(step)));
  rows.forEach((cells, r) => {
    for (const place of cells ? places : []) {
      if (Number.isNaN(cells[place])) continue;
      const [from, to] = [inside(timeline.first[place]), inside(timeline.first[place + 1] ?? window[1])];
      chart.append(svg("rect", { x: from, y: top + r * row, width: Math.max(0.5, to - from + 0.4), height: row, fill: css(diverging(cells[place] / reach)) }));
    }
    if (row > 9) chart.append(line(labels, top + (r + 1) * row - 0.5, labels + plot, top + (r + 1) * row - 0.5, { stroke: ink("card") }));
  });
  const label = (r) => text(labels - 10, top + (r + 0.5) * row + 4, shortened(layers[r], Math.floor((labels - 16) / 6.4)), { "text-anchor": "end", class: "row-label", "font-size": labelSize(row) });
  if (names) chart.append(...labelledRows(layers.length, row, -1).map(label));
  chart.append(axisBelow(x, top + row * layers.length, ticks(window, plot / 80), String));
  if (view.at !== null && view.at >= window[0] && view.at <= window[1]) chart.append(line(x(view.at), top, x(view.at), top + row * layers.length, { stroke: ink("critical") }));
  listen(context, chart, difference, layers, metric, { x, top, row });
  return chart;
}

/** Hover and click. */
function listen(context, chart, { run, base, timeline, places, rows, cells, baseCells, placeAt }, layers, metric, { x, top, row }) {
  const found = (event) => {
    const box = chart.getBoundingClientRect();
    const factor = Number(chart.getAttribute("width")) / box.width;
    const r = Math.floor(((event.clientY - box.top) * factor - top) / row);
    const step = x.invert((event.clientX - box.left) * factor);
    const place = places.findLast((i) => timeline.first[i] <= step);
    return layers[r] !== undefined && step >= x.domain[0] && place !== undefined ? { r, place } : null;
  };
  chart.addEventListener("pointermove", (event) => {
    const at = found(event);
    if (!at) return hideTooltip();
    showTooltip(event, ...tooltipRows(nameElement(layers[at.r], 50), [
      ["", stepsLabel(timeline, at.place)], [run.name, cellText(metric, cells[at.r]?.[at.place])],
      [base.run.name, cellText(metric, baseCells[at.r]?.[placeAt[at.place]])], ["difference", differenceText(rows[at.r]?.[at.place] ?? NaN, metric)],
    ]));
  });
  chart.addEventListener("pointerleave", hideTooltip);
  chart.addEventListener("click", (event) => {
    const at = found(event);
    if (at) context.store.set({ layer: layers[at.r], run: run.index, at: timeline.first[at.place] });
  });
}

/** Layers that differ most, on average over the steps in view. */
function ranking(context, view, differences, layers, metric) {
  const found = differences.flatMap(({ run, rows, places }) => rows.map((cells, r) => {
    const values = cells ? places.map((place) => cells[place]).filter((value) => !Number.isNaN(value)) : [];
    return { run, layer: layers[r], mean: values.reduce((a, b) => a + b, 0) / Math.max(1, values.length) };
  })).filter(({ mean }) => mean !== 0).sort((a, b) => Math.abs(b.mean) - Math.abs(a.mean)).slice(0, MOST_RANKED);
  if (!found.length) return null;
  return html("div", { class: "ranking" }, html("h3", {}, "Largest differences on average over the steps in view"),
    html("ol", {}, found.map(({ run, layer, mean }) => html("li", {}, dot(run), html("button", { type: "button", class: "link", on: { click: () => context.store.set({ layer, run: run.index }) } }, nameElement(layer, 50)), html("span", { class: "quantity" }, quantityLabel(view.quantity)), html("b", {}, differenceText(mean, metric))))));
}

/** The numbers of the maps. */
function rowsOf(differences, layers, metric, base) {
  return [["run", "baseline", "layer", "first step", "last step", `difference of ${metric.label}`],
    ...differences.flatMap(({ run, timeline, places, rows }) => rows.flatMap((cells, r) => (cells ? places : []).map((i) => [run.name, base.name, layers[r], timeline.first[i], timeline.last[i], cells[i]])))];
}
