/** One table: sorted by a click, searched by a few letters, saved as CSV. */

import { html, replace, visible } from "./dom.mjs";
import { downloadCsv } from "./download.mjs";
import { decimal, integer } from "./numbers.mjs";
import { button } from "./panel.mjs";
import { numberOf } from "./sheet_data.mjs";
import { prose } from "./sheet_prose.mjs";

const LONG = 18;

/**
 * A cell as the page compares and shows it: infinities revived, the rest as it is.
 * @param {any} cell
 * @returns {string | number | boolean | null}
 */
export function cellOf(cell) {
  return cell === "inf" || cell === "-inf" ? numberOf(cell) : cell;
}

/**
 * Rows in the order of a column: numbers by size, texts by letter, what was not measured last.
 * @param {any[][]} rows
 * @param {number} column
 * @param {boolean} isDown largest first
 * @returns {any[][]}
 */
export function sorted(rows, column, isDown) {
  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true }));
  return [...rows].sort((first, second) => {
    const [a, b] = [first[column], second[column]];
    if (a === null || b === null) return Number(a === null) - Number(b === null);
    return isDown ? compare(b, a) : compare(a, b);
  });
}

/**
 * How a column is shown: aligned as numbers where it holds some, whole where all are.
 * @param {any[][]} rows
 * @param {number} column
 * @returns {{isNumber: boolean, isWhole: boolean}}
 */
export function kindOf(rows, column) {
  const cells = rows.map((row) => row[column]).filter((cell) => cell !== null);
  const isNumber = cells.length > 0 && cells.every((cell) => typeof cell === "number");
  return { isNumber, isWhole: isNumber && cells.every(Number.isInteger) };
}

/**
 * Columns as they are shown: "x", "x, low" and "x, high" in a row are a number and its interval.
 * @param {string[]} headings
 * @returns {{name: string, column: number, hasInterval: boolean}[]}
 */
export function columnsOf(headings) {
  const isEnd = (i) => /, (low|high)$/.test(headings[i]) && [1, 2].some((back) => headings[i - back] !== undefined && hasInterval(i - back));
  const hasInterval = (i) => headings[i + 1] === `${headings[i]}, low` && headings[i + 2] === `${headings[i]}, high`;
  return headings.map((name, column) => ({ name, column, hasInterval: hasInterval(column) })).filter(({ column }) => !isEnd(column));
}

/**
 * @param {{store: import("./state.mjs").Store}} context
 * @param {string} id
 * @param {any} table
 */
export function createTable(context, id, table) {
  const rows = table.rows.map((row) => row.map(cellOf));
  const columns = columnsOf(table.columns).map((each) => ({ ...each, ...kindOf(rows, each.column) }));
  const [head, body, count] = [html("thead"), html("tbody"), html("span", { class: "faint" })];
  const filter = html("input", { class: "filter", type: "search", placeholder: "Filter rows", "aria-label": `Filter the rows of ${visible(table.title)}`, on: { input: () => draw(context.store.view) } });
  const isLong = rows.length > LONG;
  const draw = (view) => {
    const order = orderOf(id, view.sort, table.columns.length);
    const found = matching(rows, filter.value);
    replace(head, headRow(context, id, columns, order));
    replace(body, ...(order ? sorted(found, order.column, order.isDown) : found).map((row) => html("tr", {}, columns.map((column) => cellElement(row, column)))));
    replace(count, found.length === rows.length ? `${rows.length} rows` : `${found.length} of ${rows.length} rows`);
  };
  const file = () => downloadCsv([table.columns, ...rows.map((row) => row.map(forFile))], `deephochuli-${id}`);
  const root = html("section", { class: "panel sheet-table", id, "aria-labelledby": `${id}-title` },
    html("header", { class: "panel-head" }, html("h3", { id: `${id}-title` }, visible(table.title)),
      html("div", { class: "panel-controls" }, isLong && count, isLong && filter, button("CSV", "Download the numbers as CSV", file))),
    table.note && html("p", { class: "reading" }, prose(table.note)),
    html("div", { class: `rows${isLong ? " long" : ""}`, tabindex: "0", role: "region", "aria-label": visible(table.title) }, html("table", { class: "cells" }, head, body)));
  let drawnFor = null;
  return { root, update: (view) => {
    const own = view.sort.startsWith(`${id},`) ? view.sort : "";
    if (own !== drawnFor) draw(view);
    drawnFor = own;
  } };
}

/** @param {any} cell @returns {string | number} */
function forFile(cell) {
  if (cell === null) return NaN;
  return typeof cell === "boolean" ? (cell ? "yes" : "no") : cell;
}

/** Rows of which some text holds the letters. */
function matching(rows, letters) {
  const wanted = letters.trim().toLowerCase();
  return wanted ? rows.filter((row) => row.some((cell) => typeof cell === "string" && cell.toLowerCase().includes(wanted))) : rows;
}

/** Column and direction that an address asks for; null for the order of the sheet. */
function orderOf(id, sort, nColumns) {
  const [name, column, direction] = sort.split(",");
  if (name !== id || !(Number(column) >= 0 && Number(column) < nColumns)) return null;
  return { column: Number(column), isDown: direction === "down" };
}

/** Headings that sort: first the end that matters, then the other, then as it was. */
function headRow({ store }, id, columns, order) {
  const next = ({ column, isNumber }) => {
    const now = order?.column === column ? (order.isDown ? "down" : "up") : "";
    const first = isNumber ? "down" : "up";
    if (!now) return `${id},${column},${first}`;
    return now === first ? `${id},${column},${first === "down" ? "up" : "down"}` : "";
  };
  return html("tr", {}, columns.map((each) => {
    const isOrder = order?.column === each.column;
    return html("th", { scope: "col", class: each.isNumber ? "number" : null, "aria-sort": isOrder ? (order.isDown ? "descending" : "ascending") : null },
      html("button", { type: "button", class: "sorter", on: { click: () => store.set({ sort: next(each) }, { quiet: true }) } }, visible(each.name), html("i", { "aria-hidden": "true" }, isOrder ? (order.isDown ? " ↓" : " ↑") : "")));
  }));
}

/** One cell, with its interval where it has one. */
function cellElement(row, { column, hasInterval, isNumber, isWhole }) {
  const [cell, low, high] = row.slice(column, column + 3);
  const tag = column === 0 ? "th" : "td";
  const attributes = { scope: column === 0 ? "row" : null, class: isNumber ? "number" : null };
  if (cell === null) return html(tag, { ...attributes, title: "not measured" }, "–");
  if (typeof cell === "boolean") return html(tag, attributes, cell ? "yes" : "no");
  if (typeof cell !== "number") return html(tag, attributes, visible(cell));
  const ends = hasInterval && typeof low === "number" && typeof high === "number" && low !== high && html("small", {}, `${decimal(low)} – ${decimal(high)}`);
  return html(tag, { ...attributes, title: String(cell) }, isWhole ? whole(cell) : decimal(cell, 4), ends);
}

/** @param {number} value */
function whole(value) {
  return Math.abs(value) < 1e15 ? integer(value).replace("-", "−") : decimal(value, 4);
}
