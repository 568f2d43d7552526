/**
 * Colour scales. Sequential: the anchors of ColorBrewer's YlGnBu (Brewer, 2002), safe for
 * colour-deficient eyes and monotone in lightness, so that it also prints in grey. Runs: after Okabe
 * and Ito (2008). Differences: blue through grey to orange, which no common deficiency confuses.
 */

/** @typedef {[number, number, number]} Rgb */

const SEQUENTIAL = ["fdfde3", "edf8b1", "c7e9b4", "7fcdbb", "41b6c4", "1d91c0", "225ea8", "253494", "0b1f5c"].map(parse);
const SEQUENTIAL_DARK = ["1a2440", "253494", "225ea8", "1d91c0", "41b6c4", "7fcdbb", "c7e9b4", "edf8b1", "ffffe5"].map(parse);
const DIVERGING_LIGHT = ["0b4f8a", "4a90c4", "a9cfe6", "f1f1ef", "f4c58f", "d98632", "8f4a06"].map(parse);
const DIVERGING_DARK = ["8cc4f0", "4a8fc4", "2a567c", "23282f", "80501f", "cb8136", "ffc070"].map(parse);
const GREYS = ["eeefec", "c9cdd0", "939aa2"].map(parse);
const GREYS_DARK = ["242a31", "434b55", "7d8793"].map(parse);
const RUNS_LIGHT = ["#0072b2", "#d17a00", "#008f68", "#b8578c", "#c24a00", "#3d8fc0", "#6b6b6b"];
const RUNS_DARK = ["#56a9e6", "#f0a63a", "#35c79a", "#e39ac3", "#ff8650", "#9ad1f5", "#a8a8a8"];

/**
 * @param {string} hex
 * @returns {Rgb}
 */
function parse(hex) {
  return [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

/**
 * Colour at a place between the anchors of a scale.
 * @param {Rgb[]} anchors
 * @param {number} place in [0, 1]
 * @returns {Rgb}
 */
function between(anchors, place) {
  const scaled = Math.min(1, Math.max(0, place)) * (anchors.length - 1);
  const index = Math.min(anchors.length - 2, Math.floor(scaled));
  const rest = scaled - index;
  return anchors[index].map((low, channel) =>
    Math.round(low + rest * (anchors[index + 1][channel] - low)),
  );
}

/** @returns {boolean} */
export function isDark() {
  return document.documentElement.dataset.theme === "dark";
}

/**
 * More contrast for more: dark blue is much on paper, pale yellow is much on a dark page.
 * @param {number} place in [0, 1]
 * @returns {Rgb}
 */
export function sequential(place) {
  return between(isDark() ? SEQUENTIAL_DARK : SEQUENTIAL, place);
}

/**
 * Greys of the page, from barely there to strong.
 * @param {number} place in [0, 1]
 * @returns {Rgb}
 */
export function grey(place) {
  return between(isDark() ? GREYS_DARK : GREYS, place);
}

/**
 * @param {number} place in [-1, 1]
 * @returns {Rgb}
 */
export function diverging(place) {
  return between(isDark() ? DIVERGING_DARK : DIVERGING_LIGHT, (place + 1) / 2);
}

/**
 * @param {Rgb} rgb
 * @returns {string}
 */
export function css(rgb) {
  return `rgb(${rgb.join(" ")})`;
}

/**
 * The same run has the same colour in every chart.
 * @param {number} index
 * @returns {string}
 */
export function runColor(index) {
  const colors = isDark() ? RUNS_DARK : RUNS_LIGHT;
  return colors[index % colors.length];
}

const inks = new Map();

/**
 * A colour of the page by its name in the style sheet, resolved so that an exported chart keeps it.
 * Asking the style sheet makes the browser lay out what has changed, so each is asked for once.
 * @param {string} name
 * @returns {string}
 */
export function ink(name) {
  const root = document.documentElement;
  const key = `${root.dataset.theme} ${name}`;
  if (!inks.has(key)) inks.set(key, getComputedStyle(root).getPropertyValue(`--${name}`).trim());
  return inks.get(key);
}
