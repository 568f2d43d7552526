/** The frame of a figure: its axes, where a number stands, and the grid behind it. */

import { axisBelow, axisLeft, line, text } from "./chart.mjs";
import { ink } from "./colors.mjs";
import { shortened, svg } from "./dom.mjs";
import { categoriesOf } from "./sheet_data.mjs";
import { domainOf, scaleOf, ticksOf } from "./sheet_scale.mjs";

const LETTER = 6.7;
const HEIGHT = 350;
const ROW = 22;
const NAME = 16;

/**
 * @typedef {object} Frame
 * @property {number} width
 * @property {number} height
 * @property {{left: number, right: number, top: number, bottom: number}} area inner edges, in pixels
 * @property {boolean} isFlipped whether categories are rows, because their names do not fit below
 * @property {boolean} isStacked whether the names of rows stand above them, because they are too long
 * @property {string[] | null} categories
 * @property {(x: number | string) => number} across pixel of a place along x
 * @property {(y: number) => number} along pixel of a number along y
 * @property {number} band width that belongs to one category, or to one x
 * @property {number} base pixel on which bars stand
 * @property {(u: number, v: number) => [number, number]} spot pixels of (x, y) on the page
 * @property {any} domains
 */

/**
 * Marks that need a width of their own beside each other.
 * @param {import("./sheet_data.mjs").Series} series
 */
export function isDodged({ mark }) {
  return mark === "points" || mark === "bars";
}

/** Numbers that the y axis must hold; far ends of intervals are cut rather than shown. */
function heightsOf(series) {
  const plain = series.flatMap(({ y, mark, x }) => (mark === "rule" && x.length ? [] : y));
  const sizes = plain.filter((y) => y > 0);
  const least = sizes.length ? sizes.reduce((a, b) => Math.min(a, b)) / 1000 : 0;
  const ends = series.flatMap(({ low, high, mark }) => [...high, ...(mark === "band" ? low : low.filter((value) => value < 0 || value > least))]);
  return [...plain, ...ends.filter((value) => value !== 0)];
}

/**
 * @param {import("./sheet_data.mjs").Figure} figure
 * @param {import("./sheet_data.mjs").Series[]} shown
 * @param {{width: number, nSlots: number, zoom: {x: [number, number], y: [number, number]} | null}} view
 * @returns {Frame}
 */
export function frameOf(figure, shown, { width, nSlots, zoom }) {
  const hasBars = shown.some(({ mark }) => mark === "bars");
  const axis = (each, ends) => (ends ? { ...each, low: ends[0], high: ends[1] } : each);
  const y = domainOf(axis(figure.y, zoom?.y), heightsOf(shown), hasBars);
  if (figure.x.scale === "category") return categoryFrame(figure, y, width, nSlots);
  const places = shown.filter(({ mark, y: heights }) => mark !== "rule" || heights.length === 0).flatMap((series) => series.x);
  const x = domainOf(axis(figure.x, zoom?.x), places);
  return numberFrame(x, y, width, hasBars ? spacing(shown, x) : 0);
}

/** Places on two axes of numbers. */
function numberFrame(x, y, width, gap) {
  const height = width < 480 ? 300 : HEIGHT;
  const area = { left: 14 + widest(ticksOf(y, 7)) * LETTER, right: width - 16, top: 30, bottom: height - 46 };
  const room = gap ? ((area.right - area.left) * gap) / (x.high - x.low + gap) / 2 : 0;
  const across = scaleOf(x, [area.left + room, area.right - room], 40);
  const along = scaleOf(y, [area.bottom, area.top]);
  return { width, height, area, isFlipped: false, isStacked: false, categories: null, across, along, band: 2 * room, base: baseOf(along, y), spot: (u, v) => [u, v], domains: { x, y } };
}

/** Places on an axis of categories: below, or as rows where the names do not fit. */
function categoryFrame(figure, y, width, nSlots) {
  const categories = categoriesOf(figure);
  const letters = categories.reduce((most, name) => Math.max(most, shortened(name, 60).length), 1);
  const left = 14 + widest(ticksOf(y, 7)) * LETTER;
  const isFlipped = categories.length * (letters * LETTER + 14) > width - left - 16;
  const names = letters * LETTER + 16;
  const isStacked = isFlipped && names > Math.min(width * 0.4, 320);
  const row = Math.max(ROW, 11 * nSlots + 8) + (isStacked ? NAME : 0);
  const height = isFlipped ? 30 + row * Math.max(1, categories.length) + 46 : width < 480 ? 300 : HEIGHT;
  const area = { left: isStacked ? 12 : isFlipped ? names : left, right: width - 16, top: 30, bottom: height - 46 };
  const length = isFlipped ? area.bottom - area.top : area.right - area.left;
  const band = length / Math.max(1, categories.length);
  const index = new Map(categories.map((name, i) => [name, i]));
  const start = (isFlipped ? area.top : area.left) + (isStacked ? NAME / 2 : 0);
  const across = (name) => (index.has(name) ? start + (index.get(name) + 0.5) * band : NaN);
  const along = isFlipped ? scaleOf(y, [area.left, area.right], 40) : scaleOf(y, [area.bottom, area.top]);
  return { width, height, area, isFlipped, isStacked, categories, across, along, band: band - (isStacked ? NAME : 0), base: baseOf(along, y), spot: (u, v) => (isFlipped ? [v, u] : [u, v]), domains: { x: null, y } };
}

/** Where bars stand: at zero, or at the low end of an axis without one. */
function baseOf(along, { scale, low, high }) {
  return scale === "linear" ? along(Math.min(Math.max(0, low), high)) : along.start;
}

/** Smallest distance of two places of bars, on the scale of their axis. */
function spacing(shown, { scale, low, high }) {
  const places = shown.filter(({ mark }) => mark === "bars").flatMap(({ x }) => x.map((each) => (scale === "linear" ? each : scale === "log2" ? Math.log2(each) : Math.log10(each)))).filter(Number.isFinite).sort((a, b) => a - b);
  const gaps = places.slice(1).map((place, i) => place - places[i]).filter((gap) => gap > 1e-12);
  return gaps.length ? Math.min(...gaps) : high - low;
}

/** @param {{text: string}[]} labels */
function widest(labels) {
  return labels.reduce((most, { text: content }) => Math.max(most, content.length), 1);
}

/**
 * Grid, numbers and labels of both axes.
 * @param {import("./sheet_data.mjs").Figure} figure
 * @param {Frame} frame
 * @returns {SVGElement}
 */
export function drawAxes(figure, frame) {
  const { area, domains, isFlipped, along } = frame;
  const size = isFlipped ? area.right - area.left : area.bottom - area.top;
  const marks = ticksOf(domains.y, size / (isFlipped ? 68 : 44));
  const texts = new Map(marks.map(({ value, text: content }) => [value, content]));
  const values = [...texts.keys()];
  const write = (value) => texts.get(value);
  const valueAxis = isFlipped ? axisBelow(along, area.bottom, values, write, area.top) : axisLeft(along, area.left, values, write, area.right);
  return svg("g", {}, isFlipped ? rowLines(frame) : null, valueAxis, zeroBreak(frame), isFlipped ? rowNames(frame) : placeAxis(frame), labels(figure, frame));
}

/** Numbers or names along x. */
function placeAxis({ area, categories, across, band, domains }) {
  if (categories) {
    return svg("g", {}, categories.map((name) => text(across(name), area.bottom + 17, shortened(name, Math.max(3, Math.floor(band / LETTER))), { "text-anchor": "middle" })),
      line(area.left, area.bottom, area.right, area.bottom));
  }
  const marks = ticksOf(domains.x, (area.right - area.left) / 68);
  const texts = new Map(marks.map(({ value, text: content }) => [value, content]));
  return axisBelow(across, area.bottom, [...texts.keys()], (value) => texts.get(value), area.top);
}

/** A faint line in each row for the eye to follow. */
function rowLines({ area, categories, across }) {
  return svg("g", {}, categories.map((name) => line(area.left, across(name), area.right, across(name), { "stroke-opacity": 0.6 })));
}

/** Names of rows beside them, or above them where they are long. */
function rowNames({ area, categories, across, band, isStacked, width }) {
  const most = Math.floor((isStacked ? width - 20 : area.left - 12) / LETTER);
  const above = { "font-size": 11, stroke: ink("card"), "stroke-width": 4, "paint-order": "stroke", "stroke-linejoin": "round" };
  return svg("g", {}, categories.map((name) => (isStacked
    ? text(area.left - 8, across(name) - band / 2 - 2, shortened(name, most), above)
    : text(area.left - 8, across(name) + 4, shortened(name, most), { "text-anchor": "end" }))));
}

/** A dashed line between zero and the numbers of a logarithmic axis. */
function zeroBreak({ area, along, isFlipped }) {
  if (along.zero === null) return null;
  const at = along.start + (along.zero - along.start) / 3;
  const [from, to] = isFlipped ? [[at, area.top], [at, area.bottom]] : [[area.left, at], [area.right, at]];
  return line(...from, ...to, { stroke: ink("faint"), "stroke-dasharray": "2 3", "stroke-opacity": 0.8 });
}

/** What is drawn along the axes: y above its numbers, x below. */
function labels(figure, { area, isFlipped, width, height }) {
  const [above, below] = isFlipped ? [figure.x.label, figure.y.label] : [figure.y.label, figure.x.label];
  const most = Math.floor((width - 20) / 6.2);
  return svg("g", { "font-weight": 600 },
    text(4, 14, shortened(above, most), { fill: ink("soft") }),
    text(area.right, height - 8, shortened(below, most), { fill: ink("soft"), "text-anchor": "end" }));
}
