/** A figure as one drawing, and the places in it that have something to tell. */

import { canvas, round, text } from "./chart.mjs";
import { ink, runColor } from "./colors.mjs";
import { shortened, svg, visible } from "./dom.mjs";
import { groupsOf } from "./sheet_data.mjs";
import { drawAxes, frameOf, isDodged } from "./sheet_frame.mjs";
import { drawSeries, shapeAt, spotOf } from "./sheet_marks.mjs";

const TELLING = ["points", "line", "steps", "bars", "band"];
const MOST_ROWS = 8;
let nClips = 0;

/**
 * @typedef {{x: number, y: number, series: import("./sheet_data.mjs").Series, index: number, color: string}} Spot
 * @typedef {{name: string, series: import("./sheet_data.mjs").Series[], color: string, shape: number, isShown: boolean}} Group
 */

/**
 * Groups of a figure with the looks that they keep, whatever is hidden.
 * @param {import("./sheet_data.mjs").Figure} figure
 * @param {(name: string) => boolean} isShown
 * @returns {Group[]}
 */
export function looksOf(figure, isShown) {
  return groupsOf(figure).map(({ name, series, color }) => ({
    name, series, isShown: isShown(name), color: color === null ? ink("soft") : runColor(color), shape: color ?? 0,
  }));
}

/**
 * @param {import("./sheet_data.mjs").Figure} figure
 * @param {Group[]} groups
 * @param {{width: number, zoom: any}} view
 * @returns {{chart: SVGElement, spots: () => Spot[], frame: import("./sheet_frame.mjs").Frame}}
 */
export function drawPlot(figure, groups, { width, zoom }) {
  const shown = groups.filter(({ isShown }) => isShown);
  const slots = figure.x.scale === "category" || shown.some((group) => group.series.some(({ mark }) => mark === "bars"))
    ? shown.filter((group) => group.series.some(isDodged)) : [];
  const frame = frameOf(figure, shown.flatMap((group) => group.series), { width, nSlots: Math.max(1, slots.length), zoom });
  const slot = (frame.band * 0.74) / Math.max(1, slots.length);
  const rules = shown.filter((group) => group.series.some(({ mark }) => mark === "rule"));
  const parts = shown.flatMap((group) => {
    const row = Math.max(0, rules.indexOf(group)) % MOST_ROWS;
    const shift = slots.includes(group) ? (slots.indexOf(group) - (slots.length - 1) / 2) * slot : 0;
    return group.series.map((series) => ({ series, look: { color: group.color, shape: group.shape, shift: isDodged(series) ? shift : 0, slot, row } }));
  });
  parts.sort((a, b) => figure.series.indexOf(a.series) - figure.series.indexOf(b.series));
  const chart = canvas(frame.width, frame.height, `${visible(figure.title)}. The table holds its numbers.`);
  const { area } = frame;
  const id = `clip-${++nClips}`;
  chart.append(
    svg("defs", {}, svg("clipPath", { id }, svg("rect", { x: area.left - 5, y: area.top - 5, width: Math.max(0, area.right - area.left + 10), height: Math.max(0, area.bottom - area.top + 10) }))),
    drawAxes(figure, frame),
    svg("g", { "clip-path": `url(#${id})` }, parts.map(({ series, look }) => drawSeries(frame, series, look))),
  );
  return { chart, frame, spots: once(() => parts.flatMap(({ series, look }) => spotsOf(frame, series, look))) };
}

/** A value that is made when it is first asked for. */
function once(make) {
  let made = null;
  return () => (made ??= make());
}

/** Places of a series that tell their number. */
function spotsOf(frame, series, look) {
  if (!TELLING.includes(series.mark)) return [];
  const { left, right, top, bottom } = frame.area;
  const values = series.y.length ? series.y : series.high;
  return series.x.map((_, index) => {
    const [x, y] = spotOf(frame, series, index, look, values[index]);
    return { x, y, series, index, color: look.color };
  }).filter(({ x, y }) => x >= left - 5 && x <= right + 5 && y >= top - 5 && y <= bottom + 5);
}

/**
 * The sample of a group in a legend.
 * @param {Group} group
 * @returns {SVGElement}
 */
export function sampleOf({ series, color, shape }) {
  const marks = new Set(series.map(({ mark }) => mark));
  const dashed = series.some((each) => each.dashed && each.mark !== "points") ? "4 3" : null;
  const isHollow = series.some((each) => each.dashed && each.mark === "points");
  const isStroke = ["line", "rule", "steps"].some((mark) => marks.has(mark));
  const isArea = ["band", "bars", "polygons"].some((mark) => marks.has(mark));
  return svg("svg", { width: 20, height: 12, viewBox: "0 0 20 12", "aria-hidden": "true" },
    isArea && svg("rect", { x: 2, y: 1, width: 16, height: 10, rx: 2, fill: color, "fill-opacity": marks.has("bars") ? 0.82 : 0.26 }),
    isStroke && svg("path", { d: "M0 6H20", stroke: color, "stroke-width": 2, "stroke-dasharray": dashed }),
    marks.has("points") && svg("path", { d: shapeAt(shape, 10, 6, 3.7), fill: isHollow ? "none" : color, stroke: color }));
}

/**
 * The drawing with its title and legend, as a file holds it.
 * @param {import("./sheet_data.mjs").Figure} figure
 * @param {Group[]} groups
 * @param {SVGElement} chart
 * @returns {SVGElement}
 */
export function filePlot(figure, groups, chart) {
  const [width, height] = [Number(chart.getAttribute("width")), Number(chart.getAttribute("height"))];
  const shown = groups.filter(({ isShown }) => isShown);
  const places = legendPlaces(shown, width);
  const legend = groups.length > 1 ? 14 + 20 * (places.at(-1)?.row + 1 || 0) : 0;
  const whole = canvas(width, height + 34 + legend, figure.title);
  const body = chart.cloneNode(true);
  body.setAttribute("y", "34");
  whole.append(text(4, 20, shortened(figure.title, Math.floor(width / 7.6)), { "font-size": 14, "font-weight": 650, fill: ink("ink") }), body);
  if (legend) whole.append(...shown.map((group, i) => legendEntry(group, places[i], height + 48)));
  return whole;
}

/** Rows of a legend that do not run over the edge. */
function legendPlaces(groups, width) {
  let [x, row] = [4, 0];
  return groups.map(({ name }) => {
    const size = 46 + shortened(name, 60).length * 6.4;
    if (x > 4 && x + size > width) [x, row] = [4, row + 1];
    const place = { x, row };
    x += size;
    return place;
  });
}

/** One entry of the legend in a file. */
function legendEntry(group, { x, row }, top) {
  const sample = sampleOf(group);
  sample.setAttribute("x", String(round(x)));
  sample.setAttribute("y", String(top + 20 * row));
  return svg("g", {}, sample, text(x + 26, top + 20 * row + 10, shortened(group.name, 60)));
}
