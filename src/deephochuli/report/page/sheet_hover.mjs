/** What a figure tells under the pointer, and to the keyboard. */

import { hideTooltip, showTooltip, tooltipRows } from "./chart.mjs";
import { ink } from "./colors.mjs";
import { html, svg, visible } from "./dom.mjs";
import { asPowerOfTwo, decimal, integer } from "./numbers.mjs";

const REACH = 48;
const MOST_ROWS = 12;

/**
 * A number of an axis in words.
 * @param {number} value
 * @param {string} scale
 * @returns {string}
 */
export function wordOf(value, scale) {
  if (Number.isInteger(value) && Math.abs(value) < 1e7) return integer(value).replace("-", "−");
  const plain = decimal(value, 4);
  return scale === "log2" && value > 0 ? `${plain} = ${asPowerOfTwo(value)}` : plain;
}

/** @typedef {import("./sheet_plot.mjs").Spot} Spot */

/**
 * The spot that the pointer means; null where none is near.
 * @param {Spot[]} spots @param {number} x @param {number} y
 * @returns {Spot | null}
 */
export function nearest(spots, x, y, reach = REACH) {
  let [best, least] = [null, reach];
  for (const spot of spots) {
    const away = Math.hypot(spot.x - x, spot.y - y);
    if (away < least) [best, least] = [spot, away];
  }
  return best;
}

/** Interval and number of a spot. */
function valueText({ series, index }, scale) {
  const [low, high] = [series.low[index], series.high[index]];
  const interval = Number.isNaN(low ?? NaN) || Number.isNaN(high ?? NaN) || low === high ? "" : `${decimal(low, 3)} – ${decimal(high, 3)}`;
  if (!series.y.length || Number.isNaN(series.y[index])) return interval;
  return interval ? `${wordOf(series.y[index], scale)} (${interval})` : wordOf(series.y[index], scale);
}

/**
 * All that is known at the place of a spot, its own series first.
 * @param {import("./sheet_data.mjs").Figure} figure
 * @param {Spot[]} spots
 * @param {Spot} spot
 * @returns {HTMLElement[]}
 */
export function told(figure, spots, spot) {
  const place = spot.series.x[spot.index];
  const others = spots.filter((each) => each.series !== spot.series && each.series.x[each.index] === place);
  const title = typeof place === "number" ? `${visible(figure.x.label)}: ${wordOf(place, figure.x.scale)}` : visible(place);
  const rows = [spot, ...others].slice(0, MOST_ROWS).map((each) => [visible(each.series.name), valueText(each, figure.y.scale)]);
  const more = others.length + 1 - MOST_ROWS;
  return [
    ...tooltipRows(title, rows),
    more > 0 && html("div", { class: "tooltip-row" }, html("span", {}, `and ${more} more here`)),
    spot.series.note && html("div", { class: "tooltip-note" }, visible(spot.series.note)),
  ].filter(Boolean);
}

/**
 * Listen to pointer and keyboard over a drawing.
 * @param {import("./sheet_data.mjs").Figure} figure
 * @param {{chart: SVGElement, spots: () => Spot[]}} plot
 */
export function listenToPointer(figure, { chart, spots }) {
  const ring = svg("circle", { r: 6.5, fill: "none", stroke: ink("ink"), "stroke-width": 1.4, visibility: "hidden", "pointer-events": "none" });
  chart.append(ring);
  let at = -1;
  const show = (spot, event) => {
    ring.setAttribute("visibility", spot ? "visible" : "hidden");
    if (!spot) return hideTooltip();
    ring.setAttribute("cx", spot.x);
    ring.setAttribute("cy", spot.y);
    return showTooltip(event ?? pointerAt(chart, spot), ...told(figure, spots(), spot));
  };
  const walk = (by) => {
    const ordered = [...spots()].sort((a, b) => a.x - b.x || a.y - b.y);
    at = Math.min(ordered.length - 1, Math.max(0, at + by));
    show(ordered[at] ?? null);
  };
  chart.setAttribute("tabindex", "0");
  chart.addEventListener("pointermove", (event) => show(nearest(spots(), ...inside(chart, event)), event));
  chart.addEventListener("pointerleave", () => show(null));
  chart.addEventListener("blur", () => show(null));
  chart.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") show(null);
    else if (by) {
      event.preventDefault();
      walk(by);
    }
  });
}

/** Where a pointer is inside of a drawing. @returns {[number, number]} */
export function inside(chart, { clientX, clientY }) {
  const box = chart.getBoundingClientRect();
  const size = Number(chart.getAttribute("width")) / box.width;
  return [(clientX - box.left) * size, (clientY - box.top) * size];
}

/** Where a spot is on the screen. */
function pointerAt(chart, { x, y }) {
  const box = chart.getBoundingClientRect();
  const size = box.width / Number(chart.getAttribute("width"));
  return { clientX: box.left + x * size, clientY: box.top + y * size };
}
