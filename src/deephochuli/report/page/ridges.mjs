/** Where the numbers lie: exponent histograms over time, with the limits of a format drawn in. */

import { css, ink, runColor, sequential } from "./colors.mjs";
import { axisBelow, axisLeft, binadeAxis, binadeTicks, canvas, hideTooltip, line, linear, pathOf, showTooltip, smoothPath, text, ticks, tooltipRows } from "./chart.mjs";
import { formatOf, layersWith, meaningOf, placesInside, quantitiesOf, quantityLabel, shownRuns, stepWindow, stepsLabel } from "./context.mjs";
import { exponentOf } from "./data.mjs";
import { html, nameElement, replace, shortened, svg } from "./dom.mjs";
import { percent, percentBetween, powerOfTwo } from "./numbers.mjs";
import { neighbourWith } from "./blocks.mjs";
import { createPanel, dropDown, segmented } from "./panel.mjs";
import { widthOf } from "./width.mjs";

const QUANTILES = [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99];

/**
 * @typedef {object} Ridge
 * @property {number} place time bin
 * @property {Map<number, number>} shares of all elements, by exponent
 * @property {number} zero share of exact zeros
 * @property {number} nonfinite share of infinities and NaN
 */

/**
 * Histograms by binade of the time bins in view.
 * @param {import("./data.mjs").Run} run
 * @param {import("./data.mjs").Tap} tap
 * @param {number[]} places
 * @returns {Ridge[]}
 */
export function ridgesOf(run, tap, places) {
  const histogram = run.histogram(tap);
  const [n, zero, inf, nan] = ["n", "zero", "inf", "nan"].map((name) => run.binned(tap, name));
  return places.filter((place) => n[place] > 0).map((place) => {
    const shares = new Map();
    histogram.slots.forEach((counts, slot) => {
      if (!counts[place]) return;
      const exponent = exponentOf(histogram.low + slot);
      shares.set(exponent, (shares.get(exponent) ?? 0) + counts[place] / n[place]);
    });
    return { place, shares, zero: zero[place] / n[place], nonfinite: (inf[place] + nan[place]) / n[place] };
  });
}

/**
 * First and last exponent in use.
 * @param {Ridge[]} ridges
 * @returns {[number, number]}
 */
export function exponentRange(ridges) {
  const exponents = ridges.flatMap(({ shares }) => [...shares.keys()]);
  return exponents.length ? [Math.min(...exponents), Math.max(...exponents)] : [-8, 0];
}

/**
 * Axis of exponents that shows the numbers, and the limits of the format when they are near.
 * @param {[number, number]} used
 * @param {import("./ask.mjs").Format} format
 * @returns {[number, number]}
 */
export function exponentDomain([low, high], format) {
  const near = 14;
  const [zero, top] = [Math.log2(format.smallest_subnormal) - 2, format.emax + 2];
  return [low - zero < near && zero < low ? zero : low - 2, top - high < near && top > high ? top : high + 3];
}

/**
 * Limits of a format as labelled lines, and the ranges beyond them shaded.
 * @param {import("./ask.mjs").Format} format
 * @param {import("./chart.mjs").Scale} x over exponents
 * @param {number} top
 * @param {number} bottom
 * @param {{labels?: boolean}} [options]
 * @returns {SVGElement[]}
 */
export function limitMarks(format, x, top, bottom, { labels = true } = {}) {
  const [left, right] = x.range;
  const inside = (value) => Math.min(right, Math.max(left, value));
  const [zero, tiny] = [Math.log2(format.cuts.zero.value), Math.log2(format.smallest_normal)];
  const over = Math.log2(format.cuts.top.value);
  const shade = (from, to, name, opacity) => inside(to) > inside(from) &&
    svg("rect", { x: inside(from), y: top, width: inside(to) - inside(from), height: bottom - top, fill: ink(name), "fill-opacity": opacity });
  const marks = [
    [Math.log2(format.smallest_subnormal), "smallest subnormal"], [tiny, "smallest normal"], [Math.log2(format.max_finite), "max finite"],
  ].filter(([at], i) => x(at) >= left && x(at) <= right && (i > 0 || format.has_subnormals));
  return [
    shade(left, x(zero), "lost", 0.13), shade(x(zero), x(tiny), "lost", 0.05), shade(x(over), right, "critical", 0.12),
    ...marks.map(([at]) => line(x(at), top, x(at), bottom, { stroke: ink("soft"), "stroke-dasharray": "3 3", "stroke-opacity": 0.8 })),
    ...(labels ? [...markLabels(marks, x, top), ...rangeNames(x, zero, over, top)] : []),
  ].filter(Boolean);
}

/** What happens in the shaded ranges, written where there is room. */
function rangeNames(x, zero, over, top) {
  const [left, right] = x.range;
  const style = { "font-size": 10.5, "text-anchor": "middle", "font-weight": 600 };
  return [
    x(zero) - left > 60 && text((Math.min(right, x(zero)) + left) / 2, top + 14, "rounds to 0", { ...style, fill: ink("lost") }),
    right - x(over) > 60 && text((Math.max(left, x(over)) + right) / 2, top + 14, "overflows", { ...style, fill: ink("critical") }),
  ];
}

/** Labels above the lines, lifted where they would touch. */
function markLabels(marks, x, top) {
  const ends = [-Infinity, -Infinity, -Infinity];
  return marks.map(([at, name]) => {
    const width = name.length * 5.8;
    const anchor = x(at) + width > x.range[1] ? "end" : "start";
    const begin = anchor === "end" ? x(at) - width : x(at);
    const level = Math.max(0, ends.findIndex((end) => end < begin));
    ends[level] = begin + width + 6;
    return text(x(at) + (anchor === "end" ? -3 : 3), top - 4 - level * 12, name, { "font-size": 10, "text-anchor": anchor });
  });
}

/**
 * Create the panel.
 * @param {import("./context.mjs").Context} context
 */
export function createRidges(context) {
  const panel = createPanel("exponents", "Where the numbers lie");
  return { root: panel.root, update: (view) => draw(context, panel, view) };
}

/** Draw the panel for a view. */
function draw(context, panel, view) {
  const format = formatOf(context, view);
  replace(panel.controls, ...controls(context, view));
  panel.explain(readingOf(view, format), "One point a binade [2ᵏ, 2ᵏ⁺¹): share of all elements whose magnitude lies in it. Zeros, infinities and NaN have no binade and are written out.");
  const stories = shownRuns(context, view).map((run) => ({ run, tap: run.tap(view.layer, view.quantity) })).filter(({ tap }) => tap)
    .map(({ run, tap }) => ({ run, tap, ridges: ridgesOf(run, tap, placesInside(run.bins, stepWindow(context, view))) }));
  const width = Math.max(340, widthOf(panel.body) || 1100);
  const each = width >= 900 ? (width - 18 * (stories.length - 1)) / Math.max(1, stories.length) : width;
  const domain = exponentDomain(exponentRange(stories.flatMap(({ ridges }) => ridges)), format);
  const charts = stories.map((story) => (view.ridges === "bands" ? bandChart : ridgeChart)(context, view, story, format, domain, each));
  replace(panel.body,
    html("p", { class: "subject" }, nameElement(view.layer, 70), html("span", {}, ` ${quantityLabel(view.quantity)} · ${meaningOf(view.quantity)}`)),
    charts.length ? html("div", { class: "row" }, charts) : html("p", { class: "empty" }, "This layer does not have this quantity. Choose another in the map above."));
  panel.offer(() => charts, () => rowsOf(stories));
}

/** @param {import("./state.mjs").View} view @param {import("./ask.mjs").Format} format */
function readingOf(view, format) {
  const shape = {
    offset: "Each ridge is one span of steps, the first at the top; its height is the share of the numbers of that size.",
    overlay: "Each line is one span of steps, from pale (first) to strong (last).",
    bands: "Bands hold the middle 50, 90 and 98 % of the nonzero magnitudes at each step; the line is the median.",
  }[view.ridges];
  return `${shape} What lies in the shaded range on the left would round to zero in ${format.label}, paler: would be subnormal; on the right: would overflow.`;
}

/** Controls of the panel. */
function controls(context, view) {
  const layers = layersWith(context, view.quantity);
  const known = quantitiesOf(context).map((quantity) => [quantity, `${quantityLabel(quantity)} · ${meaningOf(quantity)}`]);
  return [
    segmented("drawn as", [["offset", "ridges"], ["overlay", "overlay"], ["bands", "bands"]], view.ridges, (ridges) => context.store.set({ ridges })),
    dropDown("layer", layers.map((layer) => [layer, shortened(layer, 60)]), view.layer, (layer) => context.store.set({ layer })),
    dropDown("quantity", known, view.quantity, (quantity) => context.store.set({ quantity, layer: neighbourWith(context, view.layer, quantity) ?? view.layer })),
  ];
}

/** Ridges one above the other, or all on one base line. */
function ridgeChart(context, view, { run, ridges }, format, domain, width) {
  const overlay = view.ridges === "overlay";
  const [left, top, rise] = [54, 58, overlay ? 250 : 64];
  const gap = overlay ? 0 : Math.min(16, 330 / Math.max(1, ridges.length));
  const bottom = top + (overlay ? rise : rise + gap * ridges.length);
  const chart = canvas(width, bottom + 28, `${run.name}: exponent histograms of ${view.layer} ${view.quantity} over time`);
  const x = linear(domain, [left, width - 10]);
  const peak = Math.max(1e-9, ...ridges.flatMap(({ shares }) => [...shares.values()]));
  chart.append(...chartTitle(run.name, ridges, width), ...limitMarks(format, x, top, bottom));
  chart.append(binadeAxis(x, bottom, top));
  if (!ridges.some(({ shares }) => shares.size)) chart.append(nothingText(left, width, (top + bottom) / 2));
  ridges.forEach((ridge, i) => {
    const base = overlay ? bottom : top + rise + gap * (i + 1);
    const age = ridges.length > 1 ? i / (ridges.length - 1) : 1;
    if (ridge.shares.size) chart.append(ridgePath(ridge, x, base, rise * (overlay ? 0.96 : 1) / peak, run, age, overlay, () => [nameElement(view.layer, 50), ridge, run]));
    if (!overlay && (i % Math.ceil(ridges.length / 8) === 0 || i === ridges.length - 1)) {
      chart.append(text(left - 6, base + 1, String(run.bins.first[ridge.place]), { "text-anchor": "end", "font-size": 10 }));
    }
  });
  if (!overlay) chart.append(text(left - 6, top - 4, "step", { "text-anchor": "end", "font-size": 10, fill: ink("faint") }));
  return chart;
}

/** Said in place of an empty chart. */
function nothingText(left, right, y) {
  return text((left + right) / 2, y, "no nonzero finite number in these steps", { "text-anchor": "middle", fill: ink("faint") });
}

/** Name of the run, and what has no binade. */
function chartTitle(name, ridges, width) {
  const range = (values) => (values.length ? percentBetween(Math.min(...values), Math.max(...values)) : "–");
  const outside = `zeros ${range(ridges.map(({ zero }) => zero))} · inf, NaN ${range(ridges.map(({ nonfinite }) => nonfinite))}`;
  return [
    text(0, 14, name, { "font-weight": 600, fill: ink("ink"), "font-size": 12.5 }),
    text(width - 10, 14, outside, { "text-anchor": "end", "font-size": 11 }),
  ];
}

/** One ridge. */
function ridgePath(ridge, x, base, height, run, age, overlay, about) {
  const exponents = [...ridge.shares.keys()].sort((a, b) => a - b);
  const [low, high] = [exponents[0] ?? 0, exponents.at(-1) ?? 0];
  const points = [];
  for (let e = low - 1; e <= high + 1; e++) points.push([x(e + 0.5), base - height * (ridge.shares.get(e) ?? 0)]);
  const path = smoothPath(points);
  const tint = css(sequential(0.18 + 0.74 * age));
  const shape = svg("path", {
    d: overlay ? path : `${path}L${x(high + 1.5)} ${base}L${x(low - 0.5)} ${base}Z`,
    fill: overlay ? "none" : tint, "fill-opacity": overlay ? 0 : 0.82,
    stroke: overlay ? tint : ink("card"), "stroke-width": overlay ? 1.6 : 1.1, class: "ridge",
  });
  shape.addEventListener("pointermove", (event) => ridgeTooltip(event, ...about()));
  shape.addEventListener("pointerleave", hideTooltip);
  return shape;
}

/** What a ridge says in numbers. */
function ridgeTooltip(event, name, ridge, run) {
  const ordered = [...ridge.shares].sort((a, b) => b[1] - a[1])[0];
  showTooltip(event, ...tooltipRows(name, [
    [run.name, stepsLabel(run.bins, ridge.place)],
    ["most in", ordered ? `[${powerOfTwo(ordered[0])}, ${powerOfTwo(ordered[0] + 1)})  ${percent(ordered[1])}` : "–"],
    ["exact zeros", percent(ridge.zero)],
    ["infinite or NaN", percent(ridge.nonfinite)],
  ]));
}

/**
 * Quantiles of the nonzero magnitudes in binades, linear inside a binade.
 * @param {Ridge} ridge
 * @param {number[]} shares
 * @returns {number[]}
 */
export function quantilesOf(ridge, shares) {
  const entries = [...ridge.shares].sort((a, b) => a[0] - b[0]);
  const total = entries.reduce((sum, [, share]) => sum + share, 0);
  return shares.map((wanted) => {
    let below = 0;
    for (const [exponent, share] of entries) {
      if (below + share >= wanted * total) return exponent + (wanted * total - below) / share;
      below += share;
    }
    return NaN;
  });
}

/** Bands of quantiles over steps. */
function bandChart(context, view, { run, ridges }, format, domain, width) {
  const [left, top, bottom] = [48, 28, 330];
  const chart = canvas(width, bottom + 30, `${run.name}: quantiles of the magnitudes of ${view.layer} ${view.quantity} over steps`);
  const window = stepWindow(context, view);
  const [x, y] = [linear(window, [left, width - 96]), linear(domain, [bottom, top])];
  const drawn = ridges.filter(({ shares }) => shares.size);
  const at = drawn.map(({ place }) => x((Math.max(window[0], run.bins.first[place]) + Math.min(window[1], run.bins.last[place])) / 2));
  const lines = drawn.map((ridge) => quantilesOf(ridge, QUANTILES).map((value) => y(value)));
  chart.append(...chartTitle(run.name, ridges, width));
  chart.append(axisLeft(y, left, binadeTicks(domain, 9), powerOfTwo, width - 96), axisBelow(x, bottom, ticks(window, width / 110), String));
  if (!drawn.length) chart.append(nothingText(left, width - 96, (top + bottom) / 2));
  [[0, 6, 0.14], [1, 5, 0.2], [2, 4, 0.28]].forEach(([low, high, opacity]) => {
    const upper = at.map((place, i) => [place, lines[i][high]]);
    const lower = at.map((place, i) => [place, lines[i][low]]).reverse();
    if (at.length) chart.append(svg("path", { d: `${pathOf(upper)}${pathOf(lower).replace("M", "L")}Z`, fill: runColor(run.index), "fill-opacity": opacity }));
  });
  chart.append(svg("path", { d: pathOf(at.map((place, i) => [place, lines[i][3]])), fill: "none", stroke: runColor(run.index), "stroke-width": 2 }));
  chart.append(...bandLimits(format, y, left, width - 96));
  return chart;
}

/** Limits of a format as horizontal lines. */
function bandLimits(format, y, left, right) {
  const limits = [
    [Math.log2(format.smallest_subnormal), "subnormal"], [Math.log2(format.smallest_normal), "normal"], [Math.log2(format.max_finite), "max finite"],
  ];
  return limits.filter(([at]) => at >= y.domain[0] && at <= y.domain[1]).flatMap(([at, name]) => [
    line(left, y(at), right, y(at), { stroke: ink("soft"), "stroke-dasharray": "3 3" }),
    text(right + 6, y(at) + 4, name, { "font-size": 10.5 }),
  ]);
}

/** The numbers of the charts. */
function rowsOf(stories) {
  const head = ["run", "layer", "quantity", "first step", "last step", "binade", "share of all elements"];
  return [head, ...stories.flatMap(({ run, tap, ridges }) => ridges.flatMap(({ place, shares }) =>
    [...shares].sort((a, b) => a[0] - b[0]).map(([exponent, share]) =>
      [run.name, tap.layer, tap.quantity, run.bins.first[place], run.bins.last[place], exponent, share])))];
}
