/** The frame that every panel shares: title, how to read it, its formula, its files, its table. */

import { html, replace, visible } from "./dom.mjs";
import { downloadCsv, downloadPng, downloadSvg } from "./download.mjs";

const MOST_TABLE_ROWS = 400;

/**
 * @typedef {object} Panel
 * @property {HTMLElement} root
 * @property {HTMLElement} controls
 * @property {HTMLElement} body
 * @property {(reading: string, formula: string) => void} explain
 * @property {(charts: () => SVGElement[], rows: () => (string | number)[][]) => void} offer
 */

/**
 * @param {string} id
 * @param {string} title
 * @param {number} [level] of the heading
 * @returns {Panel}
 */
export function createPanel(id, title, level = 2) {
  const controls = html("div", { class: "panel-controls" });
  const body = html("div", { class: "panel-body" });
  const reading = html("p", { class: "reading" });
  const formula = html("p", { class: "formula" });
  const buttons = html("div", { class: "file-buttons" });
  const twin = createTwin();
  const files = html("div", { class: "files" }, buttons, twin.root);
  const root = html("section", { class: "panel", id, "aria-labelledby": `${id}-title` },
    html("header", { class: "panel-head" },
      html(`h${level}`, { id: `${id}-title` }, title), controls),
    reading, body,
    html("footer", { class: "panel-foot" }, formula, files),
  );
  return {
    root, controls, body,
    explain: (how, what) => {
      replace(reading, how);
      replace(formula, what && html("span", { class: "formula-mark", "aria-hidden": "true" }, "ƒ"), what);
      formula.hidden = !what;
    },
    offer: (charts, rows) => {
      replace(buttons, ...fileButtons(id, charts, rows));
      twin.show(rows);
    },
  };
}

/**
 * @param {string} id
 * @param {() => SVGElement[]} charts
 * @param {() => (string | number)[][]} rows
 * @returns {HTMLElement[]}
 */
function fileButtons(id, charts, rows) {
  const name = (index, count) => `deephochuli-${id}${count > 1 ? `-${index + 1}` : ""}`;
  const each = (save) => () => charts().forEach((chart, i, all) => save(chart, name(i, all.length)));
  return [
    charts().length > 0 && button("SVG", "Download as SVG", each(downloadSvg)),
    charts().length > 0 && button("PNG", "Download as PNG", each(downloadPng)),
    button("CSV", "Download the numbers as CSV", () => downloadCsv(rows(), name(0, 1))),
  ].filter(Boolean);
}

/**
 * @param {string} label
 * @param {string} title
 * @param {() => void} action
 * @returns {HTMLElement}
 */
export function button(label, title, action) {
  return html("button", { type: "button", class: "quiet", title, on: { click: action } }, label);
}

/** The same numbers as a table: built when it is opened, kept up to date while it is. */
function createTwin() {
  const holder = html("div", { class: "twin" });
  const root = html("details", { class: "twin-details" }, html("summary", {}, "Table"), holder);
  let rows = () => [[]];
  const fill = () => root.open && replace(holder, ...dataTable(rows()));
  root.addEventListener("toggle", fill);
  const show = (next) => {
    rows = next;
    fill();
  };
  return { root, show };
}

/**
 * @param {(string | number)[][]} rows first row is the head
 * @returns {HTMLElement[]}
 */
function dataTable([head, ...rows]) {
  const cell = (value) => html("td", {}, typeof value === "number" ? plain(value) : visible(value));
  const table = html("table", {},
    html("thead", {}, html("tr", {}, head.map((name) => html("th", { scope: "col" }, name)))),
    html("tbody", {}, rows.slice(0, MOST_TABLE_ROWS).map((row) => html("tr", {}, row.map(cell)))),
  );
  if (rows.length <= MOST_TABLE_ROWS) return [table];
  return [table, html("p", { class: "faint" }, `First ${MOST_TABLE_ROWS} of ${rows.length} rows; the CSV file holds all.`)];
}

/** @param {number} value */
function plain(value) {
  if (Number.isNaN(value)) return "not measured";
  return String(Number.isInteger(value) ? value : Number(value.toPrecision(6)));
}

/**
 * A row of mutually exclusive buttons.
 * @param {string} label
 * @param {[string, string][]} options value and text
 * @param {string} chosen
 * @param {(value: string) => void} choose
 * @returns {HTMLElement}
 */
export function segmented(label, options, chosen, choose) {
  return html("div", { class: "segmented", role: "group", "aria-label": label },
    options.map(([value, name]) => html("button", {
      type: "button", "aria-pressed": String(value === chosen), on: { click: () => choose(value) },
    }, name)),
  );
}

/**
 * A labelled drop-down.
 * @param {string} label
 * @param {[string, string][]} options value and text
 * @param {string} chosen
 * @param {(value: string) => void} choose
 * @returns {HTMLElement}
 */
export function dropDown(label, options, chosen, choose) {
  return html("label", { class: "drop-down" }, html("span", {}, label),
    html("select", { on: { change: (event) => choose(event.target.value) } },
      options.map(([value, name]) => html("option", { value, selected: value === chosen }, name))),
  );
}
