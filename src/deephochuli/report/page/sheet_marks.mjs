/** The marks of figures: lines, points with intervals, steps, bars, bands, rules, polygons. */

import { round, text } from "./chart.mjs";
import { ink } from "./colors.mjs";
import { shortened, svg } from "./dom.mjs";

const DASH = "6 4";
const MANY = 300;
const LONG = 2000;

/**
 * @typedef {import("./sheet_frame.mjs").Frame} Frame
 * @typedef {import("./sheet_data.mjs").Series} Series
 * @typedef {{color: string, shape: number, shift: number, slot: number, row: number}} Look
 */

/**
 * Pixels of a number and its place; NaN where it is not on the axes.
 * @param {Frame} frame @param {Series} series @param {number} i @param {Look} look @param {number} value
 * @returns {[number, number]}
 */
export function spotOf(frame, series, i, { shift }, value = series.y[i]) {
  const [x, y] = frame.spot(frame.across(series.x[i]) + shift, frame.along(value));
  return Number.isFinite(x) && Number.isFinite(y) ? [x, y] : [NaN, NaN];
}

/**
 * Draw one series.
 * @param {Frame} frame @param {Series} series @param {Look} look
 * @returns {SVGElement}
 */
export function drawSeries(frame, series, look) {
  const drawn = { line: drawLine, points: drawPoints, steps: drawSteps, bars: drawBars, band: drawBand, rule: drawRule, polygons: drawPolygons }[series.mark];
  return svg("g", { class: "series" }, drawn(frame, series, look));
}

/** Pieces of a path between places that are not there. @param {[number, number][]} spots */
function pieces(spots) {
  const found = [[]];
  for (const spot of spots) {
    if (Number.isNaN(spot[0])) found.push([]);
    else found.at(-1).push(spot);
  }
  return found.filter((piece) => piece.length);
}

/** A path that leaves out what falls on the place before. @param {[number, number][]} piece */
function path(piece) {
  let last = "";
  const place = piece.length > LONG ? halfPixel : round;
  const words = piece.map(([x, y]) => `${place(x)} ${place(y)}`).filter((word) => {
    const isNew = word !== last;
    last = word;
    return isNew;
  });
  return words.length ? `M${words.join("L")}` : "";
}

/** @param {Series} series */
function dash({ dashed }) {
  return dashed ? DASH : null;
}

function drawLine(frame, series, look) {
  const spots = series.x.map((_, i) => spotOf(frame, series, i, look));
  const lone = pieces(spots).filter((piece) => piece.length === 1).map(([[x, y]]) => `M${round(x)} ${round(y)}h0`).join("");
  return [
    series.low.length > 0 && ribbon(frame, series, look, 0.14),
    svg("path", { d: pieces(spots).map(path).join(""), fill: "none", stroke: look.color, "stroke-width": 1.9, "stroke-linejoin": "round", "stroke-dasharray": dash(series) }),
    lone && svg("path", { d: lone, stroke: look.color, "stroke-width": 4, "stroke-linecap": "round" }),
  ];
}

/** Measured numbers, with their intervals behind them. */
function drawPoints(frame, series, look) {
  const spots = series.x.map((_, i) => spotOf(frame, series, i, look)).filter(([x]) => !Number.isNaN(x));
  if (spots.length > MANY) return [intervals(frame, series, look, 0.25), cloud(spots, look)];
  const outline = series.dashed ? { fill: ink("card"), stroke: look.color, "stroke-width": 1.5 } : { fill: look.color, stroke: ink("card"), "stroke-width": 1 };
  return [
    intervals(frame, series, look, 0.75),
    svg("path", { d: spots.map(([x, y]) => shapeAt(look.shape, round(x), round(y), 3.7)).join(""), ...outline }),
  ];
}

/** @param {number} value */
function halfPixel(value) {
  return Math.round(2 * value) / 2;
}

/** Many points as dots of one path; of those on one half pixel, one. */
function cloud(spots, { color }) {
  const places = new Set(spots.map(([x, y]) => `M${halfPixel(x)} ${halfPixel(y)}h0`));
  return svg("path", { d: [...places].join(""), stroke: color, "stroke-width": 3.6, "stroke-linecap": "round", "stroke-opacity": 0.7, fill: "none" });
}

/** A shape that tells a series apart without its colour. */
export function shapeAt(shape, x, y, size) {
  const wide = round(size * 1.2);
  return [
    () => `M${x - size} ${y}a${size} ${size} 0 1 0 ${2 * size} 0a${size} ${size} 0 1 0 ${-2 * size} 0Z`,
    () => `M${x - size} ${y - size}h${2 * size}v${2 * size}h${-2 * size}Z`,
    () => `M${x} ${y - wide}l${wide} ${2 * size}h${-2 * wide}Z`,
    () => `M${x} ${y - wide - 0.5}l${wide} ${wide + 0.5}l${-wide} ${wide + 0.5}l${-wide} ${-wide - 0.5}Z`,
  ][shape % 4]();
}

/** Bars from the low to the high end of each interval; fainter where they only bound a zero. */
function intervals(frame, series, look, opacity) {
  if (!series.low.length) return null;
  const isBound = (i) => frame.domains.y.scale !== "linear" && series.y[i] === 0;
  const own = { stroke: look.color, fill: "none", "stroke-linecap": "round" };
  const [plain, bounds] = [false, true].map((wanted) => intervalPath(frame, series, look, (i) => isBound(i) === wanted));
  return svg("g", {},
    svg("path", { ...own, d: bounds, "stroke-width": 1, "stroke-opacity": opacity * 0.5, "stroke-dasharray": "1 4" }),
    svg("path", { ...own, d: plain, "stroke-width": 1.7, "stroke-opacity": opacity }));
}

/** Path through the intervals of some numbers. */
function intervalPath(frame, series, look, isWanted) {
  return series.x.map((_, i) => {
    if (!isWanted(i)) return "";
    const [low, high] = [lowEnd(frame, series.low[i]), frame.along(series.high[i])];
    const u = frame.across(series.x[i]) + look.shift;
    if (![low, high, u].every(Number.isFinite) || Math.abs(high - low) < 0.5) return "";
    const [a, b] = [frame.spot(u, low), frame.spot(u, high)];
    return `M${round(a[0])} ${round(a[1])}L${round(b[0])} ${round(b[1])}`;
  }).join("");
}

/** Lower end of an interval: one that reaches zero ends where the axis does. */
function lowEnd({ along, domains }, value) {
  const place = along(value);
  return Number.isNaN(place) && value <= 0 && domains.y.scale !== "linear" ? along.start : place;
}

/** Each number holds until the next place. */
function drawSteps(frame, series, look) {
  const spots = series.x.map((_, i) => spotOf(frame, series, i, look));
  const stairs = pieces(spots).map((piece) => piece.flatMap(([x, y], i) => (i ? [[x, piece[i - 1][1]], [x, y]] : [[x, y]])));
  return [
    intervals(frame, series, look, 0.5),
    svg("path", { d: stairs.map(path).join(""), fill: "none", stroke: look.color, "stroke-width": 1.7, "stroke-dasharray": dash(series) }),
  ];
}

function drawBars(frame, series, look) {
  const width = Math.max(1.5, Math.min(44, look.slot * 0.86));
  const parts = series.x.map((_, i) => {
    const [u, v] = [frame.across(series.x[i]) + look.shift, frame.along(series.y[i])];
    if (!Number.isFinite(u) || !Number.isFinite(v)) return "";
    const [[x1, y1], [x2, y2]] = [frame.spot(u - width / 2, frame.base), frame.spot(u + width / 2, v)];
    return `M${round(x1)} ${round(y1)}H${round(x2)}V${round(y2)}H${round(x1)}Z`;
  });
  return [
    svg("path", { d: parts.join(""), fill: look.color, "fill-opacity": series.dashed ? 0.18 : 0.82, stroke: look.color, "stroke-dasharray": dash(series), "stroke-width": series.dashed ? 1.3 : 0.6 }),
    intervals(frame, series, { ...look, color: ink("ink") }, 0.7),
  ];
}

function drawBand(frame, series, look) {
  return [ribbon(frame, series, look, 0.2)];
}

/** The area between the low and the high ends. */
function ribbon(frame, series, look, opacity) {
  const ends = series.x.map((_, i) => [spotOf(frame, series, i, look, series.low[i]), spotOf(frame, series, i, look, series.high[i])]);
  const bottom = (i) => frame.spot(frame.across(series.x[i]) + look.shift, lowEnd(frame, series.low[i]));
  const whole = ends.map(([low, high], i) => (Number.isNaN(high[0]) ? null : [Number.isNaN(low[0]) ? bottom(i) : low, high]));
  const runs = [[]];
  for (const end of whole) {
    if (end === null || end.flat().some(Number.isNaN)) runs.push([]);
    else runs.at(-1).push(end);
  }
  const d = runs.filter((run) => run.length > 1).map((run) => `${path([...run.map(([, high]) => high), ...run.map(([low]) => low).reverse()])}Z`).join("");
  return svg("path", { d, fill: look.color, "fill-opacity": opacity, stroke: look.color, "stroke-opacity": 0.35, "stroke-width": 0.8 });
}

/** Lines right across, named where they stand. */
function drawRule(frame, series, look) {
  const isLevel = series.x.length === 0;
  return (isLevel ? series.y : series.x).flatMap((value, i) => {
    const place = isLevel ? frame.along(value) : frame.across(value);
    if (!Number.isFinite(place)) return [];
    return ruleAt(frame, place, isLevel !== frame.isFlipped, { name: i ? "" : series.name, color: look.color, dashed: dash(series), row: look.row ?? 0 });
  });
}

/** One rule; a level one has its name at the right, an upright one at the top, each a row lower. */
function ruleAt({ area }, place, isLevel, { name, color, dashed, row }) {
  const at = round(place);
  const d = isLevel ? `M${area.left} ${at}H${area.right}` : `M${at} ${area.top}V${area.bottom}`;
  const isRight = place > (area.left + area.right) / 2;
  const halo = { fill: color, stroke: ink("card"), "stroke-width": 3.5, "paint-order": "stroke", "stroke-linejoin": "round", "font-size": 11 };
  const most = Math.floor(((isLevel ? area.right - area.left : isRight ? place - area.left : area.right - place) - 12) / 6.2);
  const label = isLevel
    ? text(area.right - 4, at < area.top + 16 ? at + 13 : at - 5, shortened(name, Math.max(3, most)), { ...halo, "text-anchor": "end" })
    : text(isRight ? at - 5 : at + 5, area.top + 10 + 13 * row, shortened(name, Math.max(3, most)), { ...halo, "text-anchor": isRight ? "end" : "start" });
  return [svg("path", { d, stroke: color, "stroke-width": 1.4, "stroke-dasharray": dashed, fill: "none" }), name && label];
}

function drawPolygons(frame, series, look) {
  const spots = series.x.map((_, i) => spotOf(frame, series, i, look));
  const d = pieces(spots).filter((piece) => piece.length > 2).map((piece) => `${path(piece)}Z`).join("");
  return [svg("path", { d, fill: look.color, "fill-opacity": 0.22, stroke: look.color, "stroke-width": 0.9, "stroke-linejoin": "round", "stroke-dasharray": dash(series) })];
}
