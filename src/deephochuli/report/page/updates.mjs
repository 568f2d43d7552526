/** Updates against the weights they are added to: too small to count, in this format and in others. */

import { axisBelow, axisLeft, canvas, hideTooltip, line, linear, pathOf, showTooltip, text, ticks, tooltipRows } from "./chart.mjs";
import { ink, runColor } from "./colors.mjs";
import { formatOf, placesInside, shownRuns, stepWindow, stepsLabel } from "./context.mjs";
import { neighbourWith } from "./blocks.mjs";
import { html, nameElement, replace, svg, visible } from "./dom.mjs";
import { dot } from "./header.mjs";
import { swampedShare } from "./metrics.mjs";
import { integer, percent, percentBetween, superscript } from "./numbers.mjs";
import { createPanel } from "./panel.mjs";
import { widthOf } from "./width.mjs";

const MARKED = ["fp32", "fp16", "bf16", "fp8_e4m3fn"];

/**
 * Create the panel.
 * @param {import("./context.mjs").Context} context
 */
export function createUpdates(context) {
  const panel = createPanel("updates", "Do the updates arrive?");
  panel.explain("Left: by how many binades an update is smaller than its weight. What lies left of a format’s line would be swamped by a sum in that format. Right: the share that really was, at each step.",
    "d = ⌊log₂|dw|⌋ − ⌊log₂|w|⌋ of the weights that moved; swamped when d ≤ −p − 1 (p significand bits). Updates that were lost already have no d and are counted apart.");
  return { root: panel.root, update: (view) => draw(context, panel, view) };
}

/** Draw the panel for a view. */
function draw(context, panel, view) {
  const layer = neighbourWith(context, view.layer, "dw");
  const stories = layer === null ? [] : shownRuns(context, view).map((run) => storyOf(context, view, run, run.tap(layer, "dw"))).filter(Boolean);
  if (!stories.length) {
    replace(panel.body, html("p", { class: "empty" }, "No update was recorded for this layer."));
    return panel.offer(() => [], () => [[]]);
  }
  const width = Math.max(340, widthOf(panel.body) || 1100);
  const half = width >= 900 ? (width - 24) / 2 : width;
  const charts = [ratioChart(context, view, stories, half), unmovedChart(context, view, stories, half)];
  replace(panel.body, html("p", { class: "subject" }, nameElement(layer, 70), " dw · update really added"),
    html("div", { class: "row" }, charts), statistics(context, view, stories));
  panel.offer(() => charts, () => rowsOf(stories, layer));
}

/** Ratios and lost updates of one run inside the window. */
function storyOf(context, view, run, tap) {
  if (!tap) return null;
  const binned = run.ratios(tap);
  const places = placesInside(run.bins, stepWindow(context, view));
  const counts = new Map();
  binned?.slots.forEach((slot, i) => {
    const sum = places.reduce((total, place) => total + slot[place], 0);
    if (sum > 0) counts.set(binned.low + i, sum);
  });
  return { run, tap, counts, moved: [...counts.values()].reduce((a, b) => a + b, 0), unmoved: run.curve(tap, "unmoved"), updatable: run.curve(tap, "updatable") };
}

/** Histogram of the differences, one line a run, with a line for each format. */
function ratioChart(context, view, stories, width) {
  const [left, top, bottom] = [52, 58, 310];
  const chart = canvas(width, bottom + 44, "Histogram of the binades between update and weight");
  const differences = stories.flatMap(({ counts }) => [...counts.keys()]);
  const domain = [Math.min(-26, ...differences) - 1, Math.max(2, ...differences) + 2];
  const x = linear(domain, [left, width - 8]);
  const peak = Math.max(1e-9, ...stories.flatMap(({ counts, moved }) => [...counts.values()].map((count) => count / moved)));
  const y = linear([0, peak * 1.08], [bottom, top]);
  chart.append(axisLeft(y, left, ticks(y.domain, 4), percent, width - 8), axisBelow(x, bottom, ticks(domain, width / 70), (value) => `2${superscript(value)}`));
  chart.append(...formatLines(context, view, x, top, bottom));
  for (const { run, counts, moved } of stories) {
    const points = Array.from({ length: domain[1] - domain[0] }, (_, i) => domain[0] + i).map((d) => [x(d + 0.5), y((counts.get(d) ?? 0) / Math.max(1, moved))]);
    chart.append(svg("path", { d: pathOf(points), fill: "none", stroke: runColor(run.index), "stroke-width": 2, "stroke-linejoin": "round" }));
  }
  chart.append(text((left + width) / 2, bottom + 37, "|dw| / |w|", { "text-anchor": "middle" }));
  chart.append(text(0, 14, "Size of the updates that moved a weight", { "font-weight": 600, fill: ink("ink"), "font-size": 12.5 }));
  return chart;
}

/** A line at 2^-p for each usual format and the chosen one; what it would swamp is shaded. */
function formatLines(context, view, x, top, bottom) {
  const chosen = formatOf(context, view);
  const shown = context.formats.filter((format) => MARKED.includes(format.name) || format === chosen);
  const edge = Math.min(x.range[1], Math.max(x.range[0], x(-chosen.precision)));
  const begins = [Infinity, Infinity, Infinity];
  const marks = [...shown].sort((a, b) => a.precision - b.precision).map((format) => {
    const at = x(-format.precision);
    if (at < x.range[0]) return null;
    const level = Math.max(0, begins.findIndex((begin) => at < begin));
    begins[level] = at - format.label.length * 6.4 - 8;
    const strong = format === chosen;
    return svg("g", {},
      line(at, top - 2 - level * 12, at, bottom, { stroke: ink(strong ? "ink" : "faint"), "stroke-dasharray": strong ? null : "3 3", "stroke-width": strong ? 1.4 : 1 }),
      text(at - 4, top - 4 - level * 12, format.label, { "font-size": 10, "text-anchor": "end", fill: ink(strong ? "ink" : "soft"), "font-weight": strong ? 650 : 400 }));
  });
  return [svg("rect", { x: x.range[0], y: top, width: edge - x.range[0], height: bottom - top, fill: ink("lost"), "fill-opacity": 0.08 }), ...marks.filter(Boolean)];
}

/** Share of unmoved weights over steps, one line a run. */
function unmovedChart(context, view, stories, width) {
  const [left, top, bottom] = [52, 58, 310];
  const chart = canvas(width, bottom + 44, "Share of updates swamped over steps");
  const window = stepWindow(context, view);
  const [x, y] = [linear(window, [left, width - 8]), linear([0, 1], [bottom, top])];
  chart.append(axisLeft(y, left, [0, 0.25, 0.5, 0.75, 1], percent, width - 8), axisBelow(x, bottom, ticks(window, width / 90), String));
  chart.append(text(0, 14, "Updates swamped, step by step", { "font-weight": 600, fill: ink("ink"), "font-size": 12.5 }));
  chart.append(text((left + width) / 2, bottom + 37, "step", { "text-anchor": "middle" }));
  for (const { run, unmoved, updatable } of stories) {
    if (!unmoved || !updatable) continue;
    const points = placesInside(run.columns, window).map((i) => [x(Math.max(window[0], run.columns.first[i])), y(Math.min(1, unmoved[i] / updatable[i]))]);
    chart.append(svg("path", { d: pathOf(points), fill: "none", stroke: runColor(run.index), "stroke-width": 2, "stroke-linejoin": "round" }));
  }
  if (view.at !== null && view.at >= window[0] && view.at <= window[1]) chart.append(line(x(view.at), top, x(view.at), bottom, { stroke: ink("critical") }));
  chart.addEventListener("pointermove", (event) => hover(event, chart, x, stories));
  chart.addEventListener("pointerleave", hideTooltip);
  return chart;
}

/** Values of all runs at the step under the pointer. */
function hover(event, chart, x, stories) {
  const box = chart.getBoundingClientRect();
  const step = x.invert(((event.clientX - box.left) * Number(chart.getAttribute("width"))) / box.width);
  if (step < x.domain[0] || step > x.domain[1]) return hideTooltip();
  const rows = stories.filter(({ unmoved }) => unmoved).map(({ run, unmoved, updatable }) => {
    const i = Math.max(0, run.columns.first.findLastIndex((first) => first <= step));
    return [`${visible(run.name)}, ${stepsLabel(run.columns, i)}`, percent(Math.min(1, unmoved[i] / updatable[i]))];
  });
  showTooltip(event, ...tooltipRows("updates swamped", rows));
}

/** The same in numbers, with the answer for the chosen format. */
function statistics(context, view, stories) {
  const format = formatOf(context, view);
  const head = ["", "stored as", "updates that should move a weight", "swamped here (whole run)", `of the rest, swamped in ${format.label} (steps in view)`];
  return html("div", { class: "table-scroll" }, html("table", { class: "numbers-table" },
    html("thead", {}, html("tr", {}, head.map((name) => html("th", { scope: "col" }, name)))),
    html("tbody", {}, stories.map((story) => {
      const { run, tap, counts } = story;
      const [low, width] = [Math.min(...counts.keys()), Math.max(...counts.keys()) - Math.min(...counts.keys()) + 1];
      const share = counts.size ? swampedShare({ low, width }, (slot) => counts.get(low + slot) ?? 0, format.precision) : { value: NaN, low: NaN, high: NaN };
      const [updatable, unmoved] = [run.total("n_updatable", tap), run.total("n_unmoved", tap)];
      return html("tr", {}, html("th", { scope: "row" }, dot(run), visible(run.name)), html("td", {}, visible(tap.dtype)), html("td", {}, integer(updatable)),
        html("td", {}, updatable ? `${percent(unmoved / updatable)}  (${integer(unmoved)})` : "–"), html("td", {}, percentBetween(share.low, share.high)));
    }))));
}

/** The numbers of the histogram. */
function rowsOf(stories, layer) {
  return [["run", "layer", "d = floor(log2|dw|) - floor(log2|w|)", "updates"],
    ...stories.flatMap(({ run, counts }) => [...counts].sort((a, b) => a[0] - b[0]).map(([d, count]) => [run.name, layer, d, count]))];
}
