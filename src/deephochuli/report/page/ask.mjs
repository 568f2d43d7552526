/**
 * What a number format would do to recorded numbers, from their leading bits alone.
 *
 * The answers are brackets of integer counts, and the same ones that `deephochuli.sketch.ask` gives:
 * the two ends agree wherever the threshold is an edge of the keys, which it nearly always is.
 */

import { INFINITY_KEY, edgeOf, keyOf, magnitudeKey } from "./keys.mjs";

const LARGEST_FINITE_KEY = 0x7fef;

/**
 * @typedef {object} Cut a magnitude, and whether it belongs to what lies below it
 * @property {number} value
 * @property {boolean} inclusive
 *
 * @typedef {object} Format
 * @property {string} name
 * @property {string} label
 * @property {string} description
 * @property {number} precision
 * @property {number} emin
 * @property {number} emax
 * @property {number} max_finite
 * @property {number} smallest_normal
 * @property {number} smallest_subnormal
 * @property {boolean} has_subnormals
 * @property {string} overflow infinity, saturate, nan
 * @property {{zero: Cut, normal: Cut, top: Cut}} cuts what lies below becomes zero, is not normal, stays in range
 *
 * @typedef {object} Sketch
 * @property {ArrayLike<number>} keys
 * @property {ArrayLike<number>} counts
 * @property {number} minAbs smallest nonzero finite magnitude, NaN if there is none
 * @property {number} maxAbs largest finite magnitude, NaN if there is none
 * @property {number} sumSq sum of the squares of the finite numbers
 *
 * @typedef {object} Share
 * @property {number} low
 * @property {number} high
 * @property {number} of
 *
 * @typedef {object} Answer
 * @property {number} n nonzero finite numbers
 * @property {Share} toZero
 * @property {Share} subnormal
 * @property {Share} outOfRange
 * @property {number} headroomBinades
 * @property {number} footroomBinades
 * @property {number} relErrorRms
 */

/**
 * Ask a sketch what a format would do to its numbers.
 * @param {Sketch} sketch
 * @param {Format} format
 * @param {number} [scale] factor applied first, a power of two
 * @param {number} [sourcePrecision] precision of the numbers as stored, if known
 * @returns {Answer}
 */
export function ask(sketch, format, scale = 1, sourcePrecision = Infinity) {
  const n = countNonzeroFinite(sketch);
  const { zero, normal, top } = format.cuts;
  const toZero = zero.value === 0 ? [0, 0] : countBelow(sketch, zero, scale);
  const within = countBelow(sketch, top, scale);
  const outOfRange = { low: n - within[1], high: n - within[0], of: n };
  return {
    n,
    toZero: { low: toZero[0], high: toZero[1], of: n },
    subnormal: subnormalShare(sketch, format, normal, scale, toZero, n),
    outOfRange,
    headroomBinades: binadesBetween(format.max_finite, sketch.maxAbs * scale),
    footroomBinades: binadesBetween(sketch.minAbs * scale, format.smallest_subnormal),
    relErrorRms: relErrorRms(sketch, format, scale, sourcePrecision, outOfRange),
  };
}

/**
 * Visit the nonzero finite magnitudes of a sketch.
 * @param {Sketch} sketch
 * @param {(key: number, count: number) => void} visit
 */
export function eachMagnitude(sketch, visit) {
  for (let i = 0; i < sketch.keys.length; i++) {
    const key = magnitudeKey(sketch.keys[i]);
    if (key > 0 && key < INFINITY_KEY) visit(key, sketch.counts[i]);
  }
}

/** @param {Sketch} sketch @returns {number} */
function countNonzeroFinite(sketch) {
  let n = 0;
  eachMagnitude(sketch, (_, count) => (n += count));
  return n;
}

/**
 * Bounds on the number of nonzero finite magnitudes below a cut.
 * @param {Sketch} sketch
 * @param {Cut} cut
 * @param {number} scale
 * @returns {[number, number]}
 */
function countBelow(sketch, { value, inclusive }, scale) {
  const bound = value / scale;
  if (sketch.maxAbs < bound || (inclusive && sketch.maxAbs === bound)) {
    const n = countNonzeroFinite(sketch);
    return [n, n];
  }
  if (!(sketch.minAbs <= bound) || (!inclusive && sketch.minAbs === bound)) return [0, 0];
  const key = keyOf(bound);
  let [below, at] = [0, 0];
  eachMagnitude(sketch, (candidate, count) => {
    if (candidate < key) below += count;
    else if (candidate === key) at = at + count;
  });
  if (key % 2 === 1) return [below, below + at];
  const total = below + (inclusive ? at : 0);
  return [total, total];
}

/**
 * Nonzero results below the smallest normal number; the tie just below it rounds up to it.
 * @param {Sketch} sketch
 * @param {Format} format
 * @param {Cut} normal
 * @param {number} scale
 * @param {[number, number]} toZero
 * @param {number} n
 * @returns {Share}
 */
function subnormalShare(sketch, format, normal, scale, toZero, n) {
  if (!format.has_subnormals || format.smallest_subnormal === format.smallest_normal) {
    return { low: 0, high: 0, of: n };
  }
  const [low, high] = countBelow(sketch, normal, scale);
  return { low: Math.max(low - toZero[1], 0), high: Math.max(high - toZero[0], 0), of: n };
}

/**
 * Estimated root mean square of the rounding error over that of the numbers: uniform within half a
 * unit in the last place; zeroed and saturated numbers are charged as they are.
 * @param {Sketch} sketch
 * @param {Format} format
 * @param {number} scale
 * @param {number} sourcePrecision
 * @param {Share} outOfRange
 * @returns {number}
 */
function relErrorRms(sketch, format, scale, sourcePrecision, outOfRange) {
  if (!(sketch.sumSq > 0)) return NaN;
  if (outOfRange.low && format.overflow !== "saturate") return Infinity;
  const unscaled = {
    precision: format.precision,
    emin: format.emin - Math.log2(scale),
    smallestNormal: format.smallest_normal / scale,
    smallest: format.smallest_subnormal / scale,
    largest: format.max_finite / scale,
    hasSubnormals: format.has_subnormals,
    exactSource: sourcePrecision <= format.precision,
  };
  let total = 0;
  eachMagnitude(sketch, (key, count) => {
    total += (squaredError(key, middleOf(key), unscaled) / sketch.sumSq) * count;
  });
  return Math.sqrt(total);
}

/** Middle of the interval of a key; an even key is its own middle. @param {number} key */
function middleOf(key) {
  const upper = key % 2 === 0 ? key : Math.min(key + 1, LARGEST_FINITE_KEY);
  return 0.5 * edgeOf(key) + 0.5 * edgeOf(upper);
}

/**
 * @typedef {object} Limits limits of a format divided by the scale
 * @property {number} precision
 * @property {number} emin
 * @property {number} smallestNormal
 * @property {number} smallest
 * @property {number} largest
 * @property {boolean} hasSubnormals
 * @property {boolean} exactSource whether the numbers had no more bits than the format
 */

/**
 * @param {number} key
 * @param {number} x
 * @param {Limits} limits
 */
function squaredError(key, x, limits) {
  if (x > limits.largest) return (x - limits.largest) ** 2;
  if (x <= limits.smallest / 2) return x * x;
  if (limits.exactSource && x >= limits.smallestNormal) return 0;
  const step = stepAt(x, limits);
  return key % 2 === 0 && x % step === 0 ? 0 : (step * step) / 12;
}

/** Gap between the numbers of a format at x. @param {number} x @param {Limits} limits */
function stepAt(x, { precision, emin, smallestNormal, hasSubnormals }) {
  if (!hasSubnormals && x < smallestNormal) return smallestNormal;
  return 2 ** (Math.max(Math.floor(Math.log2(x)), emin) - (precision - 1));
}

/** @param {number} numerator @param {number} denominator */
function binadesBetween(numerator, denominator) {
  if (!(numerator > 0 && denominator > 0)) return NaN;
  return Math.log2(numerator) - Math.log2(denominator);
}

/**
 * Powers of two that bring the numbers of a sketch into the range of a format, as exponents.
 * @param {Sketch} sketch
 * @param {Format} format
 * @returns {{from: number, to: number}} nothing becomes zero from, nothing overflows up to; NaN
 *   without a nonzero number
 */
export function scaleRange(sketch, format) {
  if (!(sketch.maxAbs > 0 && sketch.minAbs > 0)) return { from: NaN, to: NaN };
  const { zero, top } = format.cuts;
  const to = highestPower((scale) => inside(sketch.maxAbs * scale, top), Math.log2(top.value / sketch.maxAbs));
  if (zero.value === 0) return { from: -1022, to };
  const from = lowestPower((scale) => !inside(sketch.minAbs * scale, zero), Math.log2(zero.value / sketch.minAbs));
  return { from, to };
}

/** @param {number} x @param {Cut} cut */
function inside(x, { value, inclusive }) {
  return x < value || (inclusive && x === value);
}

/** @param {(scale: number) => boolean} holds @param {number} near */
function highestPower(holds, near) {
  let exponent = Math.min(1023, Math.floor(near) + 2);
  while (exponent > -1022 && !holds(2 ** exponent)) exponent--;
  return exponent;
}

/** @param {(scale: number) => boolean} holds @param {number} near */
function lowestPower(holds, near) {
  let exponent = Math.max(-1022, Math.ceil(near) - 2);
  while (exponent < 1023 && !holds(2 ** exponent)) exponent++;
  return exponent;
}
