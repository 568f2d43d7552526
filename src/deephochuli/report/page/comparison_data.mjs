/** The rows of a comparison: read from columns, chosen, sorted, and laid on an axis of binades. */

const ERRORS = ["own", "inherited", "total"];

/**
 * @typedef {Record<string, number>} Numbers of an error: n, zeros, sign_flips, nonfinite, rel, rms,
 *   max_abs, mean_abs, median_abs, rms_ulps, max_ulps, apart
 * @typedef {object} Row
 * @property {number} index place in the set
 * @property {number} executor
 * @property {string} name layer, with the parameter if it is about one
 * @property {string} kind class of the module
 * @property {string} direction
 * @property {number} mark 0 plain, 1 above the floor, 2 where it starts
 * @property {number} ratio own error over that of binary32, NaN where there is none
 * @property {number | null} flips decisions of a kinked activation
 * @property {number} floor relative, NaN where there is none
 * @property {Numbers} own
 * @property {Numbers | null} inherited
 * @property {Numbers | null} total
 */

/**
 * A number of the page's data: null stands for NaN, a word for infinity.
 * @param {number | string | null | undefined} value
 * @returns {number}
 */
export function numberOf(value) {
  if (value === null || value === undefined) return NaN;
  if (typeof value === "number") return value;
  return value === "-inf" ? -Infinity : Infinity;
}

/**
 * Rows of a set of columns.
 * @param {any} set
 * @returns {Row[]}
 */
export function rowsOf(set) {
  const { rows } = set;
  return rows.layer.map((layer, index) => ({
    index,
    executor: rows.executor[index],
    name: set.layers[layer].name + (rows.parameter[index] === null ? "" : ` · ${rows.parameter[index]}`),
    kind: set.layers[layer].kind,
    direction: set.directions[rows.direction[index]],
    mark: rows.mark[index],
    ratio: numberOf(rows.ratio[index]),
    flips: rows.flips[index],
    floor: numberOf(rows.floor[index]),
    ...Object.fromEntries(ERRORS.map((name) => [name, errorAt(rows[name], index)])),
  }));
}

/** @param {any} columns @param {number} index @returns {Numbers | null} */
function errorAt(columns, index) {
  if (columns.n[index] === null) return null;
  return Object.fromEntries(Object.entries(columns).map(([name, values]) => [name, numberOf(values[index])]));
}

/**
 * Whether a row has nothing to show: no difference, and no decision that came out otherwise.
 * @param {Row} row
 * @returns {boolean}
 */
export function isExact(row) {
  return row.own.max_abs === 0 && row.own.nonfinite === 0 && !row.flips;
}

/**
 * Rows in view, in their order.
 * @param {Row[]} rows
 * @param {{executor: number, direction: string, sort: string, exact: string, measure: string}} view
 * @param {(name: string) => boolean} matches
 * @returns {Row[]}
 */
export function chosenRows(rows, view, matches) {
  const found = rows.filter((row) => row.executor === view.executor && row.direction === view.direction
    && (view.exact === "show" || !isExact(row)) && matches(row.name));
  if (view.sort !== "error") return found;
  return found.sort((a, b) => weight(b, view.measure) - weight(a, view.measure) || a.index - b.index);
}

/** Sort key of a row: what is not finite is worst, what was not measured least. */
function weight(row, measure) {
  if (row.own.nonfinite) return Infinity;
  const value = sizeOf(row.own, measure);
  return Number.isNaN(value) ? -1 : value;
}

/**
 * The size of an error in a measure.
 * @param {Numbers | null} error
 * @param {string} measure "rel" or "ulps"
 * @returns {number} NaN where there is none
 */
export function sizeOf(error, measure) {
  if (!error) return NaN;
  return measure === "ulps" ? error.rms_ulps : error.rel;
}

/**
 * The noise floor of a row in a measure: in ulps by the proportion of the errors.
 * @param {Row} row
 * @param {string} measure
 * @returns {number}
 */
export function floorOf(row, measure) {
  if (measure !== "ulps") return row.floor;
  return row.own.rel > 0 ? (row.floor / row.own.rel) * row.own.rms_ulps : NaN;
}

/**
 * The axis for some rows: exponents at both ends, a whole number of steps apart.
 * @param {Row[]} rows
 * @param {string} measure
 * @returns {{low: number, high: number, step: number}}
 */
export function axisOf(rows, measure) {
  const sizes = rows.flatMap((row) => [sizeOf(row.own, measure), sizeOf(row.inherited, measure), floorOf(row, measure)]);
  const logs = sizes.filter((size) => size > 0 && Number.isFinite(size)).map(Math.log2);
  const least = logs.reduce((a, b) => Math.min(a, b), logs.length ? Infinity : -24);
  const most = logs.reduce((a, b) => Math.max(a, b), logs.length ? -Infinity : 0);
  const step = [1, 2, 4, 8, 16, 32, 64].find((size) => (most - least) / size <= 7) ?? 128;
  const low = Math.floor((least - 0.5) / step) * step;
  return { low, high: Math.max(low + step, Math.ceil((most + 0.01) / step) * step), step };
}

/**
 * Place of a size on the axis.
 * @param {number} size
 * @param {{low: number, high: number}} axis
 * @returns {number} in [0, 1]; NaN for nothing to draw
 */
export function placeOn(size, { low, high }) {
  if (!(size > 0)) return NaN;
  return Math.min(1, Math.max(0, (Math.log2(size) - low) / (high - low)));
}

/**
 * A size in words, for those who hear the page: one digit of the binary logarithm.
 * @param {number} size
 * @param {string} zero what to say for none
 * @returns {string}
 */
export function powerText(size, zero) {
  if (size === 0) return zero;
  if (!(size > 0)) return "not measured";
  return Number.isFinite(size) ? `2^${Math.log2(size).toFixed(1).replace(/\.0$/, "")}` : "infinite";
}

/**
 * All rows as a table for files and for readers without eyes for charts; first the head.
 * @param {Row[]} rows
 * @param {{own: string, inherited: string}} words
 * @returns {(string | number)[][]}
 */
export function tableOf(rows, words) {
  const measures = [["rel", "relative"], ["rms", "rms"], ["max_abs", "max"], ["rms_ulps", "rms in ulps"], ["max_ulps", "max in ulps"], ["apart", "1 − cosine"], ["sign_flips", "sign flips"], ["zeros", "new zeros"], ["nonfinite", "not finite"]];
  const errors = [["own", words.own], ["inherited", words.inherited], ["total", "total"]].filter(([name]) => rows.some((row) => row[name]));
  const head = ["layer", "kind", "direction", "times fp32", "decisions flipped", "noise floor, relative", "elements",
    ...errors.flatMap(([, word]) => measures.map(([, name]) => `${word}: ${name}`))];
  return [head, ...rows.map((row) => [
    row.name, row.kind, row.direction, row.ratio, row.flips ?? NaN, row.floor, row.own.n,
    ...errors.flatMap(([name]) => measures.map(([key]) => row[name]?.[key] ?? NaN)),
  ])];
}
