/** Zoom by dragging over a figure; the window is part of the address. */

import { ink } from "./colors.mjs";
import { svg } from "./dom.mjs";
import { inside } from "./sheet_hover.mjs";

const LEAST = 8;

/**
 * A window as text of an address.
 * @param {string} id of the figure
 * @param {{x: [number, number], y: [number, number]}} zoom
 * @returns {string}
 */
export function zoomText(id, { x, y }) {
  return [id, ...[...x, ...y].map((value) => Number(value.toPrecision(6)))].join(",");
}

/**
 * The window of a figure; null where the address names none, or an impossible one.
 * @param {string} id of the figure
 * @param {string} text
 * @returns {{x: [number, number], y: [number, number]} | null}
 */
export function zoomOf(id, text) {
  const [name, ...words] = text.split(",");
  const values = words.map(Number);
  if (name !== id || values.length !== 4 || !values.every(Number.isFinite)) return null;
  const [x0, x1, y0, y1] = values;
  return x0 < x1 && y0 < y1 ? { x: [x0, x1], y: [y0, y1] } : null;
}

/**
 * Listen to a drag with a mouse or a pen; a finger scrolls the page.
 * @param {{chart: SVGElement, frame: import("./sheet_frame.mjs").Frame}} plot with two axes of numbers
 * @param {(zoom: {x: [number, number], y: [number, number]} | null) => void} choose
 */
export function listenToDrag({ chart, frame }, choose) {
  const box = svg("rect", { fill: ink("accent"), "fill-opacity": 0.12, stroke: ink("accent"), visibility: "hidden", "pointer-events": "none" });
  chart.append(box);
  let start = null;
  chart.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "touch" || event.button !== 0) return;
    start = inside(chart, event);
    chart.setPointerCapture(event.pointerId);
  });
  chart.addEventListener("pointermove", (event) => {
    if (start) cover(box, start, inside(chart, event));
  });
  chart.addEventListener("pointerup", (event) => {
    const zoom = start && windowOf(frame, start, inside(chart, event));
    start = null;
    box.setAttribute("visibility", "hidden");
    if (zoom) choose(zoom);
  });
  chart.addEventListener("dblclick", () => choose(null));
}

/** Lay a box over what is being chosen. */
function cover(box, [x0, y0], [x1, y1]) {
  const place = { x: Math.min(x0, x1), y: Math.min(y0, y1), width: Math.abs(x1 - x0), height: Math.abs(y1 - y0), visibility: "visible" };
  for (const [name, value] of Object.entries(place)) box.setAttribute(name, String(value));
}

/** Numbers between two corners; null for a drag that was rather a click. */
function windowOf({ area, across, along }, [x0, y0], [x1, y1]) {
  const held = (value, low, high) => Math.min(high, Math.max(low, value));
  const [left, right] = [Math.min(x0, x1), Math.max(x0, x1)].map((x) => held(x, area.left, area.right));
  const [top, bottom] = [Math.min(y0, y1), Math.max(y0, y1)].map((y) => held(y, area.top, area.bottom));
  if (right - left < LEAST || bottom - top < LEAST) return null;
  return { x: [across.invert(left), across.invert(right)], y: [along.invert(bottom), along.invert(top)] };
}
