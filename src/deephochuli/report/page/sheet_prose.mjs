/** Sentences as people read them: powers with raised exponents. */

import { visible } from "./dom.mjs";
import { superscript } from "./numbers.mjs";

const POWER = /(?<![\w.])(\d+)\^(-?\d+)(?!\w|\.\d|\^)/g;
const SCIENTIFIC = /(?<![\w.])(\d+(?:\.\d+)?)e([+-]?\d+)(?!\w|\.\d)/g;

/**
 * Text of a sheet: 2^-24 becomes 2⁻²⁴, 6e-08 becomes 6·10⁻⁸, and everything else stays as it is.
 * @param {string} sentence
 * @returns {string}
 */
export function prose(sentence) {
  return visible(sentence)
    .replace(POWER, (_, base, exponent) => `${base}${superscript(Number(exponent))}`)
    .replace(SCIENTIFIC, (_, significand, exponent) => `${significand}·10${superscript(Number(exponent))}`);
}
