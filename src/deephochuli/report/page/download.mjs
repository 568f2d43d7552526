/** Charts and tables as files. */

import { html } from "./dom.mjs";
import { ink } from "./colors.mjs";

/**
 * @param {Blob} blob
 * @param {string} name
 */
function save(blob, name) {
  const address = URL.createObjectURL(blob);
  html("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

/**
 * A chart as a file of its own: with a background, so that it reads on any page.
 * @param {SVGElement} chart
 * @returns {string}
 */
export function svgText(chart) {
  const copy = /** @type {SVGElement} */ (chart.cloneNode(true));
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  const background = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  for (const [name, value] of [["width", "100%"], ["height", "100%"], ["fill", ink("card")]]) {
    background.setAttribute(name, value);
  }
  copy.prepend(background);
  return new XMLSerializer().serializeToString(copy);
}

/**
 * @param {SVGElement} chart
 * @param {string} name
 */
export function downloadSvg(chart, name) {
  save(new Blob([svgText(chart)], { type: "image/svg+xml" }), `${name}.svg`);
}

/**
 * @param {SVGElement} chart
 * @param {string} name
 */
export async function downloadPng(chart, name) {
  const [width, height] = [Number(chart.getAttribute("width")), Number(chart.getAttribute("height"))];
  const image = new Image();
  image.src = `data:image/svg+xml,${encodeURIComponent(svgText(chart))}`;
  await image.decode();
  const target = html("canvas", { width: 2 * width, height: 2 * height });
  target.getContext("2d").drawImage(image, 0, 0, 2 * width, 2 * height);
  target.toBlob((blob) => save(blob, `${name}.png`));
}

/**
 * One cell of a CSV file: quoted where needed, and never a formula in a spreadsheet.
 * @param {string | number} value
 * @returns {string}
 */
export function csvCell(value) {
  if (typeof value === "number") return Number.isNaN(value) ? "" : String(value);
  const safe = /^\s*[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\n\r;]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/**
 * @param {(string | number)[][]} rows
 * @returns {string}
 */
export function csvText(rows) {
  return rows.map((row) => row.map(csvCell).join(",")).join("\r\n") + "\r\n";
}

/**
 * @param {(string | number)[][]} rows
 * @param {string} name
 */
export function downloadCsv(rows, name) {
  save(new Blob(["\ufeff", csvText(rows)], { type: "text/csv;charset=utf-8" }), `${name}.csv`);
}
