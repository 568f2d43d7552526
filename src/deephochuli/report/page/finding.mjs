/** Parts of findings that several pages show alike. */

import { html, visible } from "./dom.mjs";
import { decimal, integer, percent, percentBetween } from "./numbers.mjs";

export const LEVELS = { critical: "Critical", warning: "Warning", note: "Note" };

/** A shape for each level, so that colour is not needed to tell them apart. @param {string} level */
export function mark(level) {
  return html("i", { class: `mark ${level}`, "aria-hidden": "true" });
}

/** @param {{label: string, value: number, unit: string, low: number | null, high: number | null}} number */
export function numberElement({ label, value, unit, low, high }) {
  const interval = low !== null && high !== null && (low !== value || high !== value);
  return html("div", {}, html("dt", {}, visible(label)), html("dd", {}, unit === "" && Number.isInteger(value) ? integer(value) : inUnit(value, unit),
    interval && html("small", {}, unit === "share" ? percentBetween(low, high) : `${decimal(low)}–${decimal(high)}`)));
}

/** @param {number | string} value @param {string} unit */
export function inUnit(value, unit) {
  if (typeof value !== "number") return "–";
  if (unit === "share") return percent(value);
  return unit ? `${decimal(value)} ${visible(unit)}` : decimal(value);
}
