/** The recorded runs as objects: taps, sketches, histograms over time, curves over steps. */

import { countOf, magnitudeOf } from "./payload.mjs";
import { edgeOf, intervalOf } from "./keys.mjs";

/** Order in which a number travels through a training step. */
const FLOW = ["z", "a", "da", "dz", "w", "g", "dw"];

/**
 * @typedef {object} Tap
 * @property {number} index
 * @property {string} layer
 * @property {string} quantity
 * @property {string} role
 * @property {string} module
 * @property {string} type
 * @property {string} dtype
 * @property {number} order
 *
 * @typedef {object} Timeline
 * @property {number[]} first
 * @property {number[]} last
 * @property {number[]} n
 *
 * @typedef {object} BinnedHistogram
 * @property {number} low first slot
 * @property {number} width number of slots
 * @property {Float64Array[]} slots counts by slot, then time bin
 */

/**
 * Place of a quantity in the flow of a training step.
 * @param {string} quantity
 * @returns {number}
 */
export function flowRank(quantity) {
  const rank = FLOW.indexOf(quantity);
  return rank < 0 ? FLOW.length : rank;
}

/** One recorded run. */
export class Run {
  /**
   * @param {any} payload
   * @param {number} index
   * @param {import("./payload.mjs").Arrays} arrays
   */
  constructor(payload, index, arrays) {
    this.index = index;
    this.name = payload.name;
    this.provenance = payload.provenance;
    this.notes = payload.notes ?? [];
    this.columns = payload.columns;
    this.bins = payload.bins;
    this.nRecorded = payload.n_recorded;
    this.taps = payload.taps.map((tap, number) => ({ ...tap, index: number }));
    this.units = withOffsets(payload.units, payload.bins.first.length);
    this.nCurves = payload.n_stored_curves;
    this.arrays = arrays;
    this.byPlace = new Map(this.taps.map((tap) => [placeOf(tap.layer, tap.quantity), tap]));
    this.cellStarts = startsOf(this.array("bins.width"), this.bins.first.length);
    this.ratioStarts = startsOf(this.array("ratio.bins.width") ?? [], this.bins.first.length);
    this.memo = new Map();
  }

  /**
   * @param {string} name
   * @returns {ArrayLike<number> | undefined}
   */
  array(name) {
    return this.arrays.get(`${this.index}.${name}`);
  }

  /**
   * @param {string} layer
   * @param {string} quantity
   * @returns {Tap | undefined}
   */
  tap(layer, quantity) {
    return this.byPlace.get(placeOf(layer, quantity));
  }

  /** First and last recorded step. @returns {[number, number]} */
  get span() {
    return [this.columns.first[0] ?? 0, this.columns.last.at(-1) ?? 0];
  }

  /**
   * Whole-run sketch of a tap: exact counts.
   * @param {Tap} tap
   * @returns {import("./ask.mjs").Sketch}
   */
  sketch(tap) {
    const [from, to] = this.slice("sketch.offsets", tap.index);
    return {
      keys: this.array("sketch.keys").subarray(from, to),
      counts: this.array("sketch.counts").subarray(from, to),
      minAbs: this.array("total.min_abs")[tap.index],
      maxAbs: this.array("total.max_abs")[tap.index],
      sumSq: this.array("total.sum_sq")[tap.index],
    };
  }

  /**
   * Exact whole-run number of a tap.
   * @param {string} name
   * @param {Tap} tap
   * @returns {number}
   */
  total(name, tap) {
    return this.array(`total.${name}`)[tap.index];
  }

  /**
   * A curve of a tap over the fine columns; NaN where nothing was measured.
   * @param {Tap} tap
   * @param {string} name
   * @returns {Float64Array | null}
   */
  curve(tap, name) {
    const codes = this.array(`series.${name}`);
    if (!codes || tap.index >= this.nCurves) return null;
    const decode = ["rms", "max"].includes(name) ? magnitudeOf : countOf;
    return this.decoded(`series.${name}`, tap.index, this.columns.first.length, decode);
  }

  /**
   * A number of a tap over the coarse bins: n, zero, inf, nan, min, max.
   * @param {Tap} tap
   * @param {string} name
   * @returns {Float64Array}
   */
  binned(tap, name) {
    const decode = name === "min" || name === "max" ? magnitudeOf : countOf;
    return this.decoded(`bins.${name}`, tap.index, this.bins.first.length, decode);
  }

  /**
   * Histogram over time by half binades (see `halfBinade`).
   * @param {Tap} tap
   * @returns {BinnedHistogram}
   */
  histogram(tap) {
    return this.cells("bins.", this.cellStarts, tap);
  }

  /**
   * Histogram over time of floor(log2|dw|) - floor(log2|w|), or null where there is none.
   * @param {Tap} tap
   * @returns {BinnedHistogram | null}
   */
  ratios(tap) {
    if (!this.array("ratio.bins.width")?.[tap.index]) return null;
    return this.cells("ratio.bins.", this.ratioStarts, tap);
  }

  /**
   * Activity of each channel over time (16 levels, 255 unknown), channel by channel.
   * @param {Tap} tap
   * @returns {{channels: number, codes: Uint8Array} | null}
   */
  activity(tap) {
    const found = this.units.find((unit) => unit.tap === tap.index);
    if (!found) return null;
    const codes = this.array("units.codes").subarray(found.start, found.end);
    return { channels: found.channels, codes };
  }

  /** @param {string} name @param {number} index @returns {[number, number]} */
  slice(name, index) {
    const offsets = this.array(name);
    return [offsets[index], offsets[index + 1]];
  }

  /**
   * @param {string} name
   * @param {number} row
   * @param {number} length
   * @param {(code: number) => number} decode
   * @returns {Float64Array}
   */
  decoded(name, row, length, decode) {
    return this.remember(`${name}/${row}`, () => {
      const codes = this.array(name).subarray(row * length, (row + 1) * length);
      return Float64Array.from(codes, decode);
    });
  }

  /** @param {string} prefix @param {number[]} starts @param {Tap} tap @returns {BinnedHistogram} */
  cells(prefix, starts, tap) {
    return this.remember(`${prefix}/${tap.index}`, () => {
      const nBins = this.bins.first.length;
      const width = this.array(`${prefix}width`)[tap.index];
      const codes = this.array(`${prefix}counts`);
      const slots = Array.from({ length: width }, (_, slot) => {
        const from = starts[tap.index] + slot * nBins;
        return Float64Array.from(codes.subarray(from, from + nBins), countOf);
      });
      return { low: this.array(`${prefix}low`)[tap.index], width, slots };
    });
  }

  /**
   * @template T
   * @param {string} key
   * @param {() => T} compute
   * @returns {T}
   */
  remember(key, compute) {
    if (!this.memo.has(key)) this.memo.set(key, compute());
    return this.memo.get(key);
  }
}

/** @param {string} layer @param {string} quantity */
function placeOf(layer, quantity) {
  return `${quantity}\u0000${layer}`;
}

/** @param {ArrayLike<number>} widths @param {number} nBins @returns {number[]} */
function startsOf(widths, nBins) {
  const starts = [];
  let at = 0;
  for (let i = 0; i < widths.length; i++) {
    starts.push(at);
    at += widths[i] * nBins;
  }
  return starts;
}

/** @param {{tap: number, channels: number}[]} units @param {number} nBins */
function withOffsets(units, nBins) {
  let at = 0;
  return units.map((unit) => {
    const start = at;
    at += unit.channels * nBins;
    return { ...unit, start, end: at };
  });
}

/**
 * Magnitudes of a slot of a histogram over time: even slots hold exactly a power of two, odd ones
 * the open binade above it.
 * @param {number} slot
 * @returns {{low: number, high: number, exact: boolean}}
 */
export function halfBinade(slot) {
  const key = (slot >> 1) << 4;
  if (slot & 1) return { low: edgeOf(key), high: edgeOf(key + 16), exact: false };
  return { low: edgeOf(key), high: edgeOf(key), exact: true };
}

/**
 * Exponent of the binade of a slot.
 * @param {number} slot
 * @returns {number}
 */
export function exponentOf(slot) {
  return (slot >> 1) - 1023;
}

/**
 * Counts of a sketch by binade: pairs of exponent and count.
 * @param {import("./ask.mjs").Sketch} sketch
 * @returns {Map<number, number>}
 */
export function byBinade(sketch) {
  const counts = new Map();
  for (let i = 0; i < sketch.keys.length; i++) {
    const key = sketch.keys[i];
    if (key === 0 || key >= 0x7ff0) continue;
    const exponent = (key >> 4) - 1023;
    counts.set(exponent, (counts.get(exponent) ?? 0) + sketch.counts[i]);
  }
  return counts;
}

/**
 * Quantile of the nonzero finite magnitudes, at the resolution of the keys (geometric middle).
 * @param {import("./ask.mjs").Sketch} sketch
 * @param {number} share
 * @returns {number}
 */
export function quantile(sketch, share) {
  const entries = [];
  let total = 0;
  for (let i = 0; i < sketch.keys.length; i++) {
    if (sketch.keys[i] === 0 || sketch.keys[i] >= 0x7ff0) continue;
    total += sketch.counts[i];
    entries.push([sketch.keys[i], total]);
  }
  const found = entries.find(([, sum]) => sum >= share * total);
  if (!found) return NaN;
  const [low, high] = intervalOf(found[0]);
  return Math.sqrt(low * high);
}
