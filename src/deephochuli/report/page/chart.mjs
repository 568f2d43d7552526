/**
 * Chart primitives: scales, axes, lines, marks, the tooltip. Every chart is one SVG element with its
 * colours and fonts written out, so that a downloaded file looks like the page.
 */

import { ink } from "./colors.mjs";
import { html, replace, svg } from "./dom.mjs";
import { powerOfTwo } from "./numbers.mjs";

const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif';

/**
 * @typedef {((value: number) => number) & {invert: (at: number) => number, domain: [number, number], range: [number, number]}} Scale
 * @typedef {{left: number, right: number, top: number, bottom: number}} Margin
 */

/**
 * A linear scale.
 * @param {[number, number]} domain
 * @param {[number, number]} range
 * @returns {Scale}
 */
export function linear(domain, range) {
  const span = domain[1] - domain[0] || 1;
  const scale = (value) => range[0] + ((value - domain[0]) / span) * (range[1] - range[0]);
  const invert = (at) => domain[0] + ((at - range[0]) / (range[1] - range[0] || 1)) * span;
  return Object.assign(scale, { invert, domain, range });
}

/**
 * Round numbers inside a domain.
 * @param {[number, number]} domain
 * @param {number} about how many
 * @returns {number[]}
 */
export function ticks([low, high], about) {
  const raw = (high - low) / Math.max(1, about) || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= raw) ?? raw;
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-9; value += step) {
    found.push(Number(value.toPrecision(12)));
  }
  return found;
}

/**
 * Exponents inside a domain, a power of two apart.
 * @param {[number, number]} domain
 * @param {number} about
 * @returns {number[]}
 */
export function binadeTicks([low, high], about) {
  let step = 1;
  while ((high - low) / step > about) step *= 2;
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high; value += step) found.push(value);
  return found;
}

/**
 * An empty chart.
 * @param {number} width
 * @param {number} height
 * @param {string} label what a screen reader says
 * @returns {SVGElement}
 */
export function canvas(width, height, label) {
  return svg("svg", {
    viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label,
    "font-family": FONT, "font-size": 11.5,
  });
}

/**
 * Text of a chart.
 * @param {number} x
 * @param {number} y
 * @param {string} content
 * @param {Record<string, any>} [attributes]
 * @returns {SVGElement}
 */
export function text(x, y, content, attributes = {}) {
  return svg("text", { x: round(x), y: round(y), fill: ink("soft"), ...attributes }, content);
}

/** @param {number} value */
export function round(value) {
  return Math.round(value * 10) / 10;
}

/**
 * Straight line.
 * @param {number} x1
 * @param {number} y1
 * @param {number} x2
 * @param {number} y2
 * @param {Record<string, any>} [attributes]
 * @returns {SVGElement}
 */
export function line(x1, y1, x2, y2, attributes = {}) {
  return svg("line", { x1: round(x1), y1: round(y1), x2: round(x2), y2: round(y2), stroke: ink("line"), ...attributes });
}

/**
 * Horizontal axis with numbers below.
 * @param {Scale} scale
 * @param {number} y
 * @param {number[]} values
 * @param {(value: number) => string} format
 * @param {number} [gridTo] top end of grid lines
 * @returns {SVGElement}
 */
export function axisBelow(scale, y, values, format, gridTo = y - 4) {
  return svg("g", {}, values.flatMap((value) => [
    line(scale(value), y + 4, scale(value), gridTo, { "stroke-opacity": 0.7 }),
    text(scale(value), y + 17, format(value), { "text-anchor": "middle" }),
  ]));
}

/**
 * Vertical axis with numbers on the left and grid lines to the right.
 * @param {Scale} scale
 * @param {number} x
 * @param {number[]} values
 * @param {(value: number) => string} format
 * @param {number} gridTo
 * @returns {SVGElement}
 */
export function axisLeft(scale, x, values, format, gridTo) {
  return svg("g", {}, values.flatMap((value) => [
    line(x, scale(value), gridTo, scale(value), { "stroke-opacity": 0.7 }),
    text(x - 7, scale(value) + 4, format(value), { "text-anchor": "end" }),
  ]));
}

/**
 * Axis of binades below a chart.
 * @param {Scale} scale
 * @param {number} y
 * @param {number} gridTo
 * @returns {SVGElement}
 */
export function binadeAxis(scale, y, gridTo) {
  const width = Math.abs(scale.range[1] - scale.range[0]);
  return axisBelow(scale, y, binadeTicks(scale.domain, width / 52), powerOfTwo, gridTo);
}

/**
 * Path through points; a NaN breaks it.
 * @param {[number, number][]} points
 * @returns {string}
 */
export function pathOf(points) {
  let pen = "M";
  return points.reduce((path, [x, y]) => {
    if (Number.isNaN(y)) {
      pen = "M";
      return path;
    }
    const part = `${pen}${round(x)} ${round(y)}`;
    pen = "L";
    return path + part;
  }, "");
}

/**
 * Smooth path through points that never overshoots them (monotone cubic, Fritsch and Carlson).
 * @param {[number, number][]} points with increasing x
 * @returns {string}
 */
export function smoothPath(points) {
  if (points.length < 3) return pathOf(points);
  const slopes = tangents(points);
  return points.slice(1).reduce((path, [x, y], i) => {
    const [x0, y0] = points[i];
    const third = (x - x0) / 3;
    const first = `${round(x0 + third)} ${round(y0 + slopes[i] * third)}`;
    const second = `${round(x - third)} ${round(y - slopes[i + 1] * third)}`;
    return `${path}C${first} ${second} ${round(x)} ${round(y)}`;
  }, `M${round(points[0][0])} ${round(points[0][1])}`);
}

/** @param {[number, number][]} points @returns {number[]} */
function tangents(points) {
  const secants = points.slice(1).map(([x, y], i) => (y - points[i][1]) / (x - points[i][0] || 1));
  return points.map((_, i) => {
    const [before, after] = [secants[i - 1] ?? secants[0], secants[i] ?? secants.at(-1)];
    if (before * after <= 0) return 0;
    return (2 * before * after) / (before + after);
  });
}

let tooltip = null;

/**
 * Show the tooltip beside the pointer.
 * @param {PointerEvent | {clientX: number, clientY: number}} event
 * @param {...any} children
 */
export function showTooltip(event, ...children) {
  tooltip ??= document.body.appendChild(html("div", { class: "tooltip", role: "status" }));
  replace(tooltip, ...children);
  tooltip.hidden = false;
  const { width, height } = tooltip.getBoundingClientRect();
  const left = event.clientX + 16 + width > innerWidth ? event.clientX - width - 14 : event.clientX + 16;
  const top = Math.min(event.clientY + 14, innerHeight - height - 8);
  tooltip.style.left = `${Math.max(8, left)}px`;
  tooltip.style.top = `${Math.max(8, top)}px`;
}

/** Hide the tooltip. */
export function hideTooltip() {
  if (tooltip) tooltip.hidden = true;
}

/**
 * Rows of the tooltip: what and how much.
 * @param {string | Node} title
 * @param {[string, string][]} rows
 * @returns {HTMLElement[]}
 */
export function tooltipRows(title, rows) {
  return [
    html("div", { class: "tooltip-title" }, title),
    ...rows.map(([name, value]) =>
      html("div", { class: "tooltip-row" }, html("span", {}, name), html("b", {}, value)),
    ),
  ];
}

/**
 * A pattern for what was not measured, apart from every colour of a scale.
 * @param {string} id
 * @returns {SVGElement}
 */
export function hatch(id) {
  return svg("pattern", { id, width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    svg("rect", { width: 6, height: 6, fill: ink("paper") }),
    svg("rect", { width: 1.5, height: 6, fill: ink("faint"), "fill-opacity": 0.55 }),
  );
}
