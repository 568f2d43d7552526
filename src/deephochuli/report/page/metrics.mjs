/** What can be mapped over layers and steps: one number a cell, with its definition. */

import { halfBinade } from "./data.mjs";

/**
 * @typedef {object} Cell
 * @property {number} value NaN where nothing was measured
 * @property {number} [low] ends of the bracket, where the value is not exact
 * @property {number} [high]
 *
 * @typedef {(low: number, high: number, exact: boolean, format: import("./ask.mjs").Format) => [boolean, boolean]} Judge
 *
 * @typedef {object} Metric
 * @property {string} id
 * @property {string} label
 * @property {"share" | "rare" | "log2" | "binades"} scale how values become colours
 * @property {boolean} usesFormat
 * @property {"columns" | "bins"} axis
 * @property {(quantity: string) => boolean} suits
 * @property {(run: import("./data.mjs").Run, tap: import("./data.mjs").Tap, format: any) => Cell[]} cells
 * @property {string} reading
 * @property {string} formula
 */

const isUpdate = (quantity) => quantity === "dw";
const isPreActivation = (quantity) => quantity === "z";
const isAny = () => true;

/**
 * Quotient of two curves as cells.
 * @param {string} part
 * @param {string} whole
 */
function shareOfCurves(part, whole) {
  return (run, tap) => {
    const [top, bottom] = [run.curve(tap, part), run.curve(tap, whole)];
    return run.columns.first.map((_, i) => ({
      value: top && bottom && bottom[i] > 0 ? Math.min(1, top[i] / bottom[i]) : NaN,
    }));
  };
}

/** Share of the elements of a class, by time bin; also for derived taps. @param {...string} classes */
function shareOfBins(...classes) {
  return (run, tap) => {
    const n = run.binned(tap, "n");
    return Array.from(n, (all, bin) => {
      const part = classes.reduce((sum, name) => sum + run.binned(tap, name)[bin], 0);
      return { value: all > 0 ? Math.min(1, part / all) : NaN };
    });
  };
}

/**
 * Share of the nonzero finite elements on one side of thresholds, with brackets.
 * @param {Judge} judge
 */
function shareByFormat(judge) {
  return (run, tap, format) => {
    const histogram = run.histogram(tap);
    const [smallest, largest] = [run.binned(tap, "min"), run.binned(tap, "max")];
    const sides = histogram.slots.map((_, slot) => halfBinade(histogram.low + slot));
    return run.bins.first.map((_, bin) =>
      run.binned(tap, "n")[bin] > 0
        ? bracket(histogram, sides, bin, smallest[bin], largest[bin], (...range) => judge(...range, format))
        : { value: NaN },
    );
  };
}

/** Slack of a recorded extreme, which is rounded to 1/256 of a binade. */
const SLACK = 2 ** (1 / 256);

/**
 * @param {import("./data.mjs").BinnedHistogram} histogram
 * @param {{low: number, high: number, exact: boolean}[]} sides
 * @param {number} bin
 * @param {number} smallest
 * @param {number} largest
 * @param {(low: number, high: number, exact: boolean) => [boolean, boolean]} judge
 * @returns {Cell}
 */
function bracket(histogram, sides, bin, smallest, largest, judge) {
  let [surely, perhaps, all] = [0, 0, 0];
  sides.forEach((side, slot) => {
    const count = histogram.slots[slot][bin];
    if (!count) return;
    const low = side.exact ? side.low : Math.max(side.low, smallest / SLACK || 0);
    const high = side.exact ? side.high : Math.min(side.high, largest * SLACK || Infinity);
    const [yes, maybe] = judge(low, high, side.exact);
    all += count;
    if (yes) surely += count;
    if (maybe) perhaps += count;
  });
  if (all === 0) return { value: 0, low: 0, high: 0 };
  return { value: (surely + perhaps) / (2 * all), low: surely / all, high: perhaps / all };
}

/**
 * Whether numbers between two bounds lie below a cut: surely, perhaps.
 * @param {number} low
 * @param {number} high
 * @param {boolean} exact whether the bounds are the number itself, or open ends
 * @param {import("./ask.mjs").Cut} cut
 * @returns {[boolean, boolean]}
 */
function below(low, high, exact, { value, inclusive }) {
  const surely = high < value || (high === value && (inclusive || !exact));
  return [surely, low < value || (exact && low === value && inclusive)];
}

/** @type {Judge} */
export function roundsToZero(low, high, exact, format) {
  return format.cuts.zero.value === 0 ? [false, false] : below(low, high, exact, format.cuts.zero);
}

/** @type {Judge} */
export function becomesSubnormal(low, high, exact, format) {
  if (!format.has_subnormals) return [false, false];
  const [zeroSurely, zeroPerhaps] = roundsToZero(low, high, exact, format);
  const [smallSurely, smallPerhaps] = below(low, high, exact, format.cuts.normal);
  return [smallSurely && !zeroPerhaps, smallPerhaps && !zeroSurely];
}

/** @type {Judge} */
export function overflows(low, high, exact, format) {
  const [inSurely, inPerhaps] = below(low, high, exact, format.cuts.top);
  return [!inPerhaps, !inSurely];
}

/** Updates that a format of precision p would swamp, by time bin. */
function swampedByFormat(run, tap, format) {
  const histogram = run.ratios(tap);
  return run.bins.first.map((_, bin) =>
    histogram ? swampedShare(histogram, (slot) => histogram.slots[slot][bin], format.precision) : { value: NaN },
  );
}

/**
 * Share of moved elements whose update a sum of precision p would swallow.
 *
 * With d = floor(log2|dw|) - floor(log2|w|), an update with d <= -p-2 is lost whatever w is, one
 * with d = -p-1 unless |w| is a power of two that shrinks, one with d = -p only at a tie.
 * @param {{low: number, width: number}} histogram
 * @param {(slot: number) => number} countOf
 * @param {number} precision
 * @returns {Cell}
 */
export function swampedShare(histogram, countOf, precision) {
  let [low, likely, high, all] = [0, 0, 0, 0];
  for (let slot = 0; slot < histogram.width; slot++) {
    const [difference, count] = [histogram.low + slot, countOf(slot)];
    all += count;
    if (difference <= -precision - 2) low += count;
    if (difference <= -precision - 1) likely += count;
    if (difference <= -precision) high += count;
  }
  return all ? { value: likely / all, low: low / all, high: high / all } : { value: NaN };
}

/** @type {Metric[]} */
export const METRICS = [
  {
    id: "unmoved", label: "updates swamped", scale: "share", usesFormat: false, axis: "columns",
    suits: isUpdate, cells: shareOfCurves("unmoved", "updatable"),
    reading: "Share of the weights that had a gradient and a learning rate, and whose stored bits did not change in the step.",
    formula: "#{ fl(w + dw) = w, g ≠ 0, lr ≠ 0 } / #{ g ≠ 0, lr ≠ 0 }, counted on the stored bits",
  },
  {
    id: "swamped-in", label: "updates swamped in the format", scale: "share", usesFormat: true, axis: "bins",
    suits: isUpdate, cells: swampedByFormat,
    reading: "Of the updates that moved a weight here, the share that a sum in the chosen format would have swallowed.",
    formula: "d = ⌊log₂|dw|⌋ − ⌊log₂|w|⌋ ≤ −p − 1; certain from −p − 2 down, possible at −p (ties)",
  },
  {
    id: "to-zero", label: "rounds to zero in the format", scale: "rare", usesFormat: true, axis: "bins",
    suits: isAny, cells: shareByFormat(roundsToZero),
    reading: "Share of the nonzero finite numbers that the chosen format would round to zero.",
    formula: "|x| ≤ ½ smallest subnormal (ties go to even, which is zero)",
  },
  {
    id: "subnormal", label: "subnormal in the format", scale: "share", usesFormat: true, axis: "bins",
    suits: isAny, cells: shareByFormat(becomesSubnormal),
    reading: "Share of the nonzero finite numbers that would keep only part of their significand in the chosen format.",
    formula: "½ smallest subnormal < |x| < smallest normal",
  },
  {
    id: "overflow", label: "overflows in the format", scale: "rare", usesFormat: true, axis: "bins",
    suits: isAny, cells: shareByFormat(overflows),
    reading: "Share of the nonzero finite numbers that would round beyond the largest finite number of the chosen format.",
    formula: "|x| ≥ overflow threshold (half way to the next number after max finite)",
  },
  {
    id: "headroom", label: "headroom in the format", scale: "binades", usesFormat: true, axis: "columns",
    suits: (quantity) => quantity !== "a", cells: headroom,
    reading: "Doublings left before the largest magnitude passes the largest finite number of the chosen format; below zero it has overflowed.",
    formula: "log₂(max finite) − log₂(max |x|), in binades",
  },
  {
    id: "zero", label: "exact zeros", scale: "share", usesFormat: false, axis: "bins",
    suits: isAny, cells: shareOfBins("zero"),
    reading: "Share of the elements that are exactly +0 or −0.",
    formula: "#{ x = 0 } / n",
  },
  {
    id: "nonfinite", label: "infinite or NaN", scale: "rare", usesFormat: false, axis: "bins",
    suits: isAny, cells: shareOfBins("inf", "nan"),
    reading: "Share of the elements that are infinite or not a number.",
    formula: "#{ x = ±∞ or NaN } / n",
  },
  {
    id: "rms", label: "root mean square", scale: "log2", usesFormat: false, axis: "columns",
    suits: (quantity) => quantity !== "a", cells: (run, tap) => magnitudes(run, tap, "rms"),
    reading: "Typical size of the finite elements.",
    formula: "√(Σ x² / n) over finite elements, sums in binary64",
  },
  {
    id: "max", label: "largest magnitude", scale: "log2", usesFormat: false, axis: "columns",
    suits: (quantity) => quantity !== "a", cells: (run, tap) => magnitudes(run, tap, "max"),
    reading: "Largest finite magnitude in the step.",
    formula: "max |x| over finite elements",
  },
  {
    id: "silent", label: "silent channels", scale: "share", usesFormat: false, axis: "columns",
    suits: isPreActivation, cells: shareOfCurves("silent", "channels"),
    reading: "Share of the channels with no positive pre-activation in the recorded batches: their ReLU passes nothing, forward or backward.",
    formula: "#{ channels with max z ≤ 0 } / channels, over the data of the step only",
  },
];

/** @param {import("./data.mjs").Run} run @param {import("./data.mjs").Tap} tap @param {any} format */
function headroom(run, tap, format) {
  const largest = run.curve(tap, "max");
  return run.columns.first.map((_, i) => ({
    value: largest && largest[i] > 0 ? Math.log2(format.max_finite / largest[i]) : NaN,
  }));
}

/** @param {import("./data.mjs").Run} run @param {import("./data.mjs").Tap} tap @param {string} name */
function magnitudes(run, tap, name) {
  const curve = run.curve(tap, name);
  return run.columns.first.map((_, i) => ({ value: curve ? curve[i] : NaN }));
}

/**
 * @param {string} id
 * @returns {Metric}
 */
export function metricOf(id) {
  return METRICS.find((metric) => metric.id === id) ?? METRICS[0];
}

/**
 * Metrics that make sense for a quantity.
 * @param {string} quantity
 * @returns {Metric[]}
 */
export function metricsFor(quantity) {
  return METRICS.filter((metric) => metric.suits(quantity));
}
