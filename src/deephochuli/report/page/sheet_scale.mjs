/**
 * Axes of figures: which numbers they hold, where each stands, and what is written beside them.
 * On a logarithmic axis zero has a place of its own below the smallest number.
 */

import { binadeTicks, ticks } from "./chart.mjs";
import { decimal, powerOfTwo, superscript } from "./numbers.mjs";

const ROOM = 0.045;

/**
 * @typedef {{scale: string, low: number, high: number, hasZero: boolean, nOutside: number}} Domain numbers of a logarithmic axis are exponents
 */

/** @param {string} scale @param {number} value @returns {number} */
export function forward(scale, value) {
  if (scale === "log2") return Math.log2(value);
  return scale === "log10" ? Math.log10(value) : value;
}

/** @param {string} scale @param {number} place @returns {number} */
export function backward(scale, place) {
  if (scale === "log2") return 2 ** place;
  return scale === "log10" ? 10 ** place : place;
}

/**
 * The part of an axis that shows all numbers, with a little room at ends that nobody fixed.
 * @param {import("./sheet_data.mjs").Axis} axis
 * @param {number[]} values NaN and infinities are left out
 * @param {boolean} fromZero whether bars stand on a linear axis
 * @returns {Domain}
 */
export function domainOf(axis, values, fromZero = false) {
  const isLog = axis.scale !== "linear";
  const finite = values.filter(Number.isFinite);
  const usable = isLog ? finite.filter((value) => value > 0) : finite;
  const ends = extent(usable.map((value) => forward(axis.scale, value)));
  const fixed = [axis.low, axis.high].map((end) => (end !== null && !(isLog && end <= 0) ? forward(axis.scale, end) : null));
  let [low, high] = ends ?? (isLog ? [-1, 0] : [0, 1]);
  if (fromZero && !isLog) [low, high] = [Math.min(0, low), Math.max(0, high)];
  const span = high - low;
  const room = span > 0 ? span * ROOM : isLog ? 0.5 : Math.abs(low) * 0.1 || 0.5;
  const stands = fromZero && !isLog;
  const [first, last] = [fixed[0] ?? (stands && low === 0 ? 0 : low - room), fixed[1] ?? (stands && high === 0 ? 0 : high + room)];
  const nOutside = finite.length - usable.length - (isLog ? finite.filter((value) => value === 0).length : 0);
  return { scale: axis.scale, low: first, high: last > first ? last : first + 1, hasZero: isLog && finite.includes(0), nOutside };
}

/** @param {number[]} values @returns {[number, number] | null} */
function extent(values) {
  if (!values.length) return null;
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return [low, high];
}

/**
 * A function from numbers to pixels; NaN for a number that the axis cannot show.
 * @param {Domain} domain
 * @param {[number, number]} range from the low end to the high end, in either direction
 * @param {number} [strip] pixels that zero takes where it has a place of its own
 * @returns {((value: number) => number) & {invert: (at: number) => number, zero: number | null, start: number, end: number}}
 */
export function scaleOf(domain, [start, end], strip = 24) {
  const direction = Math.sign(end - start) || 1;
  const first = domain.hasZero ? start + direction * strip : start;
  const zero = domain.hasZero ? start + direction * 9 : null;
  const span = domain.high - domain.low;
  const scale = (value) => {
    if (domain.scale === "linear") return place(value);
    if (value === 0) return zero ?? NaN;
    return value > 0 ? place(forward(domain.scale, value)) : NaN;
  };
  const place = (value) => (Number.isFinite(value) ? first + ((value - domain.low) / span) * (end - first) : NaN);
  const invert = (at) => backward(domain.scale, domain.low + ((at - first) / (end - first)) * span);
  return Object.assign(scale, { invert, zero, start: first, end });
}

/**
 * Numbers to write along an axis.
 * @param {Domain} domain
 * @param {number} about how many fit
 * @returns {{value: number, text: string}[]}
 */
export function ticksOf(domain, about) {
  const found = { linear: linearTicks, log2: log2Ticks, log10: log10Ticks }[domain.scale](domain, Math.max(2, about));
  return domain.hasZero ? [{ value: 0, text: "0" }, ...found] : found;
}

/** @param {Domain} domain @param {number} about */
function linearTicks({ low, high }, about) {
  return ticks([low, high], about).map((value) => ({ value, text: decimal(value, 6) }));
}

/** @param {Domain} domain @param {number} about */
function log2Ticks({ low, high }, about) {
  if (high - low < 2) return fineTicks(low, high, about, 2);
  return binadeTicks([low, high], about).map((exponent) => ({ value: 2 ** exponent, text: powerOfTwo(exponent) }));
}

/** @param {Domain} domain @param {number} about */
function log10Ticks({ low, high }, about) {
  if (high - low < 2) return fineTicks(low, high, about, 10);
  const step = Math.max(1, ticks([low, high], about).length > 1 ? Math.ceil((high - low) / about) : 1);
  const found = [];
  for (let exponent = Math.ceil(low / step) * step; exponent <= high; exponent += step) found.push({ value: 10 ** exponent, text: powerOfTen(exponent) });
  return found;
}

/** Round numbers on a short logarithmic axis. */
function fineTicks(low, high, about, base) {
  const [from, to] = [base ** low, base ** high];
  const steps = base === 2 ? [1, 1.5] : to / from > 4 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 7];
  const found = [];
  for (let exponent = Math.floor(low); exponent <= high; exponent++) {
    for (const step of steps) if (step * base ** exponent >= from && step * base ** exponent <= to) found.push(step * base ** exponent);
  }
  const every = Math.ceil(found.length / about);
  return found.filter((_, i) => i % every === 0).map((value) => ({ value, text: decimal(value, 4) }));
}

/** @param {number} exponent @returns {string} */
export function powerOfTen(exponent) {
  if (exponent >= -3 && exponent <= 4) return decimal(Number(`1e${exponent}`), 1);
  return `10${superscript(exponent)}`;
}
