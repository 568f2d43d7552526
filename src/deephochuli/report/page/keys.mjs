/**
 * The leading-bit key: the top 15 bits of a number's binary64 pattern, then one sticky bit.
 *
 * An even key stands for exactly one number (its edge), an odd key for the open interval between
 * its edge and the next one. Keys of magnitudes are in the order of the magnitudes.
 */

const MAGNITUDE = 0x7fff;
export const INFINITY_KEY = 0x7ff0;
export const NAN_KEY = 0x7ff8;

const words = new Uint32Array(2);
const pattern = new Float64Array(words.buffer);
pattern[0] = 1;
const HIGH_WORD = words[1] === 0 ? 0 : 1;

/**
 * Magnitude at the lower edge of a key.
 * @param {number} key
 * @returns {number}
 */
export function edgeOf(key) {
  words[1 - HIGH_WORD] = 0;
  words[HIGH_WORD] = ((key & MAGNITUDE) >> 1) << 17;
  return pattern[0];
}

/**
 * Key of a magnitude.
 * @param {number} magnitude
 * @returns {number}
 */
export function keyOf(magnitude) {
  pattern[0] = magnitude;
  const [high, low] = [words[HIGH_WORD], words[1 - HIGH_WORD]];
  const sticky = (high & 0x1ffff) !== 0 || low !== 0;
  return ((high >>> 17) << 1) | (sticky ? 1 : 0);
}

/**
 * Key of the magnitude, sign dropped.
 * @param {number} key
 * @returns {number}
 */
export function magnitudeKey(key) {
  return key & MAGNITUDE;
}

/**
 * Lower and upper edge of the numbers that share a key; equal for an even key.
 * @param {number} key
 * @returns {[number, number]}
 */
export function intervalOf(key) {
  const low = edgeOf(key);
  return key & 1 ? [low, edgeOf((key & MAGNITUDE) + 1)] : [low, low];
}
