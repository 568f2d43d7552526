/** Numbers as people read them. */

const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹";
const NARROW_SPACE = "\u202f";

/**
 * An integer as superscript digits.
 * @param {number} value
 * @returns {string}
 */
export function superscript(value) {
  const digits = [...String(Math.abs(value))].map((digit) => SUPERSCRIPTS[Number(digit)]);
  return (value < 0 ? "⁻" : "") + digits.join("");
}

/**
 * A power of two, written as one.
 * @param {number} exponent
 * @returns {string}
 */
export function powerOfTwo(exponent) {
  return `2${superscript(exponent)}`;
}

/**
 * An integer with groups of three digits.
 * @param {number} value
 * @returns {string}
 */
export function integer(value) {
  return String(Math.round(value)).replace(/\B(?=(\d{3})+(?!\d))/g, NARROW_SPACE);
}

/**
 * A number with three significant digits, in scientific notation far from one.
 * @param {number} value
 * @param {number} [digits]
 * @returns {string}
 */
export function decimal(value, digits = 3) {
  if (Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 1e-3 || size >= 1e5) return scientific(value, digits);
  const text = value.toPrecision(digits);
  return minus(text.includes("e") ? integer(Number(text)) : trimZeros(text));
}

/**
 * @param {number} value
 * @param {number} digits
 */
function scientific(value, digits) {
  const [significand, exponent] = value.toExponential(digits - 1).split("e");
  return minus(`${trimZeros(significand)}·10${superscript(Number(exponent))}`);
}

/** @param {string} text */
function trimZeros(text) {
  return text.includes(".") && !text.includes("e") ? text.replace(/\.?0+$/, "") : text;
}

/** @param {string} text */
function minus(text) {
  return text.replace("-", "−");
}

/**
 * A share as a percentage: exact ends are written plainly and nothing else is rounded to them.
 * @param {number} share
 * @returns {string}
 */
export function percent(share) {
  if (Number.isNaN(share)) return "–";
  const value = 100 * share;
  if (value === 0 || value === 100) return `${value}${NARROW_SPACE}%`;
  if (value < 0.01) return `${scientific(value, 2)}${NARROW_SPACE}%`;
  if (value > 99.99) return `>99.99${NARROW_SPACE}%`;
  if (Number.isInteger(value)) return `${value}${NARROW_SPACE}%`;
  const digits = value < 1 || value >= 99.9 ? 2 : 1;
  return `${value.toFixed(digits)}${NARROW_SPACE}%`;
}

/**
 * A share known to lie between two values.
 * @param {number} low
 * @param {number} high
 * @returns {string}
 */
export function percentBetween(low, high) {
  const [first, second] = [percent(low), percent(high)];
  return first === second ? first : `${first.replace(`${NARROW_SPACE}%`, "")}–${second}`;
}

/**
 * A signed difference of shares in percentage points.
 * @param {number} difference
 * @returns {string}
 */
export function points(difference) {
  if (Number.isNaN(difference)) return "–";
  const value = 100 * difference;
  const size = Math.abs(value);
  const text = size === 0 ? "0" : size < 0.01 ? scientific(size, 2) : size.toFixed(size < 1 ? 2 : 1);
  return `${value > 0 ? "+" : value < 0 ? "−" : ""}${text}${NARROW_SPACE}pp`;
}

/**
 * Binary logarithm with one digit, as a power of two.
 * @param {number} value
 * @returns {string}
 */
export function asPowerOfTwo(value) {
  if (!(value > 0)) return "–";
  if (!Number.isFinite(value)) return "∞";
  const log = Math.log2(value);
  return Number.isInteger(log) ? powerOfTwo(log) : `2^${minus(log.toFixed(1))}`;
}

/**
 * A duration in the largest unit that fits.
 * @param {number} seconds
 * @returns {string}
 */
export function duration(seconds) {
  if (!(seconds >= 0)) return "–";
  if (seconds < 60) return `${decimal(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
}
