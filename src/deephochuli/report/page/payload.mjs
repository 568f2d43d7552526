/** Reading the packed data of a report: base64, deflate, byte planes, differences, codes. */

const NOT_MEASURED = 0xffff;
const MAGNITUDE_OFFSET = 1 << 19;

/** Stored element types: bytes a piece, and how the bytes are read. */
const KINDS = {
  u1: Uint8Array, u2: Uint16Array, i2: Int16Array, u4: Uint32Array, i4: Int32Array,
  f4: Float32Array, f8: Float64Array,
};
const WIDTH = { u1: 1, u2: 2, i2: 2, u4: 4, i4: 4, i8: 8, f4: 4, f8: 8 };

/** @typedef {Map<string, ArrayLike<number>>} Arrays */

/**
 * @param {string} text base64
 * @returns {Uint8Array}
 */
function bytesOf(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/**
 * @param {Uint8Array} bytes
 * @returns {Promise<Uint8Array>}
 */
async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/**
 * All arrays of a report by name.
 * @param {string} text base64 of the deflated blob
 * @param {Record<string, [string, number, number]>} directory
 * @returns {Promise<Arrays>}
 */
export async function unpack(text, directory) {
  const bytes = await inflate(bytesOf(text.trim()));
  const arrays = new Map();
  let at = 0;
  for (const [name, [kind, length, delta]] of Object.entries(directory)) {
    const size = length * WIDTH[kind];
    arrays.set(name, readArray(bytes.subarray(at, at + size), kind, length, Boolean(delta)));
    at += size;
  }
  return arrays;
}

/**
 * @param {Uint8Array} planes all lowest bytes, then all second bytes, ...
 * @param {string} kind
 * @param {number} length
 * @param {boolean} delta
 * @returns {ArrayLike<number>}
 */
function readArray(planes, kind, length, delta) {
  if (kind === "i8") return readWide(planes, length);
  const width = WIDTH[kind];
  const bytes = new Uint8Array(planes.length);
  for (let plane = 0; plane < width; plane++) {
    for (let i = 0; i < length; i++) bytes[i * width + plane] = planes[plane * length + i];
  }
  const array = new KINDS[kind](bytes.buffer);
  if (delta) for (let i = 1; i < length; i++) array[i] += array[i - 1];
  return array;
}

/**
 * Counts of 64 bits as doubles, exact below 2^53.
 * @param {Uint8Array} planes
 * @param {number} length
 * @returns {Float64Array}
 */
function readWide(planes, length) {
  const values = new Float64Array(length);
  for (let plane = 7; plane >= 0; plane--) {
    for (let i = 0; i < length; i++) values[i] = values[i] * 256 + planes[plane * length + i];
  }
  return values;
}

/**
 * A count code back to a count: exact up to 92, within 1.1 % above; NaN where not measured.
 * @param {number} code
 * @returns {number}
 */
export function countOf(code) {
  if (code === NOT_MEASURED) return NaN;
  return code === 0 ? 0 : Math.round(2 ** ((code - 1) / 64));
}

/**
 * A magnitude code back to a magnitude; NaN where not measured.
 * @param {number} code
 * @returns {number}
 */
export function magnitudeOf(code) {
  if (code === 0) return NaN;
  return code === 1 ? 0 : 2 ** ((code - MAGNITUDE_OFFSET) / 256);
}

/**
 * The same as plain lists, for programs that read a report.
 * @param {string} text
 * @param {Record<string, [string, number, number]>} directory
 * @returns {Promise<Record<string, number[]>>}
 */
export async function unpackPlain(text, directory) {
  const arrays = await unpack(text, directory);
  return Object.fromEntries([...arrays].map(([name, array]) => [name, Array.from(array)]));
}
