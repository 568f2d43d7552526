/** Layers as rows: own and inherited error as two bars on one axis of binades, and the numbers. */

import { hideTooltip, showTooltip } from "./chart.mjs";
import { axisOf, chosenRows, floorOf, isExact, placeOn, powerText, rowsOf, sizeOf, tableOf } from "./comparison_data.mjs";
import { drawProfile } from "./comparison_profile.mjs";
import { matcher } from "./context.mjs";
import { html, nameElement, replace, visible } from "./dom.mjs";
import { decimal, integer, powerOfTwo } from "./numbers.mjs";
import { createPanel, dropDown, segmented } from "./panel.mjs";

const DIRECTIONS = { forward: "Forward", backward: "Backward", gradient: "Gradients", update: "Updates" };
const FORMULAS = {
  forward: "own = what the layer made of the numbers it was given − what the reference makes of the same numbers",
  backward: "own = gradients by the inputs, made of the gradients it was given − what the reference makes of these",
  gradient: "own = gradient of the parameter − what the reference makes of the same activations and gradients",
  update: "own = what the step added to the parameter − what the reference's step makes of the same gradients",
};
const MOST_SEGMENTS = 4;
const MANY_ROWS = 24;
const ROWS_AT_ONCE = 80;

/**
 * @typedef {object} Spec what a panel of rows shows
 * @property {string} id
 * @property {string} title
 * @property {string} reading
 * @property {any} set
 * @property {string} prefix of its entries in the view
 * @property {{own: string, inherited: string}} words
 * @property {string | null} formula in the place of that of the direction
 * @property {boolean} isJudged whether there is a reference: ratios, floors and totals
 */

/**
 * Create a panel of rows.
 * @param {{store: import("./state.mjs").Store}} context
 * @param {Spec} spec
 */
export function createLayers(context, spec) {
  const panel = createPanel(spec.id, spec.title);
  const rows = rowsOf(spec.set);
  const field = filterField(context, spec);
  const switches = html("div", { class: "panel-controls" });
  const [profile, legend, holder] = [html("div", { class: "profile" }), html("div", { class: "legend" }), html("div", { class: "rows", tabindex: "-1" })];
  panel.controls.append(switches, field);
  panel.body.append(profile, legend, holder);
  let drawnFor = "";
  const update = (view) => {
    const own = viewOf(view, spec.prefix);
    const key = `${JSON.stringify(own)}${innerWidth}${document.documentElement.dataset.theme}`;
    if (key === drawnFor) return;
    drawnFor = key;
    draw(context, spec, panel, rows, own, { switches, profile, legend, holder });
    if (document.activeElement !== field) field.value = own.filter;
  };
  return { root: panel.root, update };
}

/** The part of the view that one panel goes by. */
function viewOf(view, prefix) {
  const own = Object.fromEntries(["executor", "direction", "measure", "sort", "exact", "filter"].map((name) => [name, view[prefix + name]]));
  return { ...own, executor: Number(own.executor) };
}

/** Draw the switches, the overview and the table. */
function draw(context, spec, panel, rows, view, { switches, profile, legend, holder }) {
  const set = (patch) => context.store.set(Object.fromEntries(Object.entries(patch).map(([name, value]) => [spec.prefix + name, value])));
  replace(switches, ...switchesOf(spec, view, set));
  const shown = chosenRows(rows, view, matcher(view.filter));
  const axis = axisOf(shown, view.measure);
  const table = tableElement(spec, shown, view, axis, holder);
  const goTo = (row) => reveal(holder, shown.indexOf(row));
  const chart = drawProfile(profile, spec, shown, view, axis, goTo);
  replace(legend, ...legendOf(spec, shown, rows, view, set));
  replace(holder, shown.length ? table : html("p", { class: "empty" }, emptyText(rows, view)));
  holder.classList.toggle("long", shown.length > MANY_ROWS);
  panel.explain(spec.reading, spec.formula ?? FORMULAS[view.direction]);
  panel.offer(() => (chart ? [chart] : []), () => tableOf(shown, spec.words));
}

/** @returns {string} */
function emptyText(rows, view) {
  const all = chosenRows(rows, { ...view, exact: "show" }, () => true);
  if (!all.length) return "Nothing was compared in this direction.";
  return view.filter ? "No layer has this name." : `All ${all.length} rows are equal to the last bit.`;
}

/** The switches of a panel. */
function switchesOf(spec, view, set) {
  const { executors, directions } = spec.set;
  const names = executors.map((name, index) => [String(index), visible(name)]);
  const executor = names.length > MOST_SEGMENTS ? dropDown : segmented;
  return [
    names.length > 1 && executor("execution", names, String(view.executor), (value) => set({ executor: value })),
    segmented("direction", directions.map((name) => [name, DIRECTIONS[name]]), view.direction, (direction) => set({ direction })),
    segmented("measure", [["rel", "relative"], ["ulps", "ulps"]], view.measure, (measure) => set({ measure })),
    segmented("order", [["order", "in order"], ["error", "worst first"]], view.sort, (sort) => set({ sort })),
  ].filter(Boolean);
}

/** The field that filters by name; typing keeps it where it is. */
function filterField(context, spec) {
  const choose = (event) => context.store.set({ [`${spec.prefix}filter`]: event.target.value }, { quiet: true });
  return html("input", {
    type: "search", class: "filter", placeholder: "Filter layers", "aria-label": "Show only layers whose name matches, text or regular expression",
    autocomplete: "off", spellcheck: "false", on: { input: choose },
  });
}

/** What the colours mean, and how many rows are hidden. */
function legendOf(spec, shown, rows, view, set) {
  const key = (name, label) => html("span", { class: "key" }, html("i", { class: `sample ${name}`, "aria-hidden": "true" }), label);
  const exact = chosenRows(rows, { ...view, exact: "show" }, matcher(view.filter)).filter(isExact).length;
  const toggle = html("button", { type: "button", class: "quiet", "aria-pressed": String(view.exact === "hide"), on: { click: () => set({ exact: view.exact === "hide" ? "show" : "hide" }) } },
    `${view.exact === "hide" ? "Show" : "Hide"} ${integer(exact)} exact ${exact === 1 ? "row" : "rows"}`);
  return [
    key("own", spec.words.own), key("inherited", spec.words.inherited),
    shown.some((row) => row.floor > 0) && key("floor", view.measure === "ulps" ? "noise floor, in proportion" : "noise floor of sound executions"),
    shown.some((row) => row.mark === 1) && key("own above", spec.isJudged ? "above the floor" : "same bits given"),
    shown.some((row) => row.mark === 2) && key("own start", "starts here"),
    exact > 0 && toggle,
  ].filter(Boolean);
}

/** The table: each row a layer. */
function tableElement(spec, rows, view, axis, holder) {
  const columns = columnsOf(spec, rows, view);
  const body = html("tbody");
  fillSlowly(body, holder, rows.length, (place) => rowElement(spec, rows[place], place, view, axis, columns));
  const table = html("table", { class: "layers", style: { "--tick": `${(100 * axis.step) / (axis.high - axis.low)}%` } },
    html("caption", { class: "unseen" }, `${spec.title}: ${rows.length} rows, ${DIRECTIONS[view.direction].toLowerCase()}. Arrow keys move from row to row.`),
    html("thead", {}, html("tr", {}, html("th", { scope: "col", class: "first" }, view.direction === "gradient" || view.direction === "update" ? "parameter" : "layer"),
      html("th", { scope: "col", class: "axis" }, html("span", { class: "unseen" }, "errors as bars"), ticksOf(axis, view.measure)),
      columns.map(({ name, title, bold: wide }) => html("th", { scope: "col", class: wide ? "number wide" : "number", title }, name)))),
    body,
  );
  table.addEventListener("keydown", (event) => moveFocus(event));
  return table;
}

/**
 * Rows a window at a time, so that a switch answers at once; all of them where a row is looked for.
 * The holder knows the table of today: one that was replaced is filled no further.
 */
function fillSlowly(body, holder, n, make) {
  let done = 0;
  const fill = (until) => {
    const from = done;
    done = Math.min(n, until);
    body.append(...Array.from({ length: done - from }, (_, i) => make(from + i)));
  };
  const goOn = () => {
    if (done >= n || !body.isConnected) return;
    fill(done + ROWS_AT_ONCE);
    setTimeout(goOn);
  };
  fill(ROWS_AT_ONCE);
  requestAnimationFrame(() => setTimeout(goOn));
  holder.addEventListener("complete", () => body.isConnected && fill(n), { once: true });
}

/** Numbers of the axis. */
function ticksOf({ low, high, step }, measure) {
  const values = [];
  for (let value = low; value <= high; value += step) values.push(value);
  const last = values.length - 1;
  return html("div", { class: "ticks", "aria-hidden": "true" }, values.map((value, i) =>
    html("span", { class: i === 0 ? "first" : i === last ? "last" : null, style: { left: `${(100 * (value - low)) / (high - low)}%` } }, powerOfTwo(value), i === last && measure === "ulps" && " ulps")));
}

/** Columns of numbers that the rows have. */
function columnsOf(spec, rows, view) {
  const has = (test) => rows.some(test);
  const ownText = (row) => (row.own.nonfinite ? `${integer(row.own.nonfinite)} not finite` : row.own.max_abs === 0 ? "exact" : size(row.own));
  const size = (error) => (error ? sizeElement(sizeOf(error, view.measure), view.measure) : "");
  return [
    { name: spec.words.own, title: "own error, as the bar", text: ownText, bold: true },
    { name: spec.words.inherited, title: "what was passed on to it, as the bar", text: (row) => size(row.inherited) },
    has((row) => row.ratio >= 0) && { name: "× FP32", title: "own error over that of the FP32 execution", text: (row) => decimal(row.ratio).replace("–", "") },
    { name: "max", title: "largest own error of an element", text: (row) => nonzero(row.own.max_abs) },
    { name: view.measure === "ulps" ? "max ulps" : "ulps", title: view.measure === "ulps" ? "largest own error in ulps of the stored format" : "own error, rms in ulps of the stored format", text: (row) => nonzero(view.measure === "ulps" ? row.own.max_ulps : row.own.rms_ulps) },
    has((row) => row.flips || row.own.sign_flips) && { name: "flips", title: "decisions of an activation that came out otherwise; for other layers own sign flips", text: (row) => count(row.flips ?? row.own.sign_flips) },
    has((row) => row.own.zeros) && { name: "zeros", title: "elements that became zero and should not be", text: (row) => count(row.own.zeros) },
    { name: "1 − cos", title: "one minus the cosine of the angle to the reference", text: (row) => nonzero(row.own.apart) },
  ].filter(Boolean);
}

/** @param {number} value @returns {string} */
function nonzero(value) {
  return value ? decimal(value, 2).replace("–", "") : "";
}

/** @param {number} value @returns {string} */
function count(value) {
  return value ? integer(value) : "";
}

/**
 * A size as the table writes it: powers of two on the axis of binades.
 * @param {number} value
 * @param {string} [measure]
 * @returns {Node | string}
 */
export function sizeElement(value, measure = "rel") {
  if (value === 0) return "0";
  if (measure === "ulps" || !(value > 0) || !Number.isFinite(value)) return decimal(value, 2);
  const exponent = Math.log2(value).toFixed(1).replace(/\.0$/, "").replace("-", "−");
  return html("span", {}, "2", html("sup", {}, exponent));
}

/**
 * A sentence in which powers of two are set as such.
 * @param {string} sentence
 * @returns {(Node | string)[]}
 */
export function sentenceParts(sentence) {
  return visible(sentence).split(/(2\^-?\d+(?:\.\d+)?)/).map((part, i) => (i % 2 ? html("span", {}, "2", html("sup", {}, part.slice(2).replace("-", "−"))) : part));
}

/** One row. */
function rowElement(spec, row, place, view, axis, columns) {
  const name = html("th", { scope: "row" }, html("span", { class: "layer-name" }, nameElement(row.name, 40)), html("span", { class: "layer-kind" }, visible(row.kind)),
    row.mark === 2 && html("span", { class: "chip-start" }, "starts here"));
  const show = (event) => showTooltip(pointOf(event, tr), ...details(spec, row));
  const tr = html("tr", {
    class: ["plain", "above", "start"][row.mark], tabindex: place === 0 ? "0" : "-1", data: { row: String(row.index) },
    on: { pointermove: show, pointerleave: hideTooltip, focus: show, blur: hideTooltip },
  }, name, html("td", { class: "bars" }, bars(spec, row, view, axis)), columns.map(({ text, bold }) => html("td", { class: bold && row.own.max_abs !== 0 ? "number strong" : "number" }, text(row))));
  return tr;
}

/** Where to show the tooltip: at the pointer, or below a focused row. */
function pointOf(event, row) {
  if (event.type !== "focus") return event;
  const box = row.getBoundingClientRect();
  return { clientX: box.left + box.width / 3, clientY: box.bottom };
}

/** The two bars and the floor. */
function bars(spec, row, view, axis) {
  const bar = (name, size) => {
    const place = placeOn(size, axis);
    return place >= 0 && html("i", { class: `stroke ${name}`, style: { width: `${(100 * Math.max(place, 0.004)).toFixed(2)}%` } });
  };
  const floor = placeOn(floorOf(row, view.measure), axis);
  const [own, inherited] = [sizeOf(row.own, view.measure), sizeOf(row.inherited, view.measure)];
  const parts = [`${spec.words.own} ${powerText(own, "none")}`, `${spec.words.inherited} ${powerText(inherited, "none")}`];
  const label = [...parts, ...(floor >= 0 ? [`floor ${powerText(floorOf(row, view.measure), "none")}`] : [])].join(", ");
  return html("div", { class: "track", role: "img", "aria-label": label },
    row.own.nonfinite ? html("i", { class: "stroke own broken", style: { width: "100%" } }) : bar("own", own), bar("inherited", inherited),
    floor >= 0 && html("i", { class: "floor", style: { left: `${(100 * floor).toFixed(2)}%` } }),
  );
}

/** All numbers of a row. */
function details(spec, row) {
  const errors = [["own", spec.words.own], ["inherited", spec.words.inherited], ["total", "total"]].filter(([name]) => row[name]);
  const line = (label, text) => html("tr", {}, html("th", { scope: "row" }, label), errors.map(([name]) => html("td", {}, text(row[name]))));
  const plain = (key) => (error) => decimal(error[key]);
  return [
    html("div", { class: "tooltip-title" }, nameElement(row.name, 60), html("span", { class: "layer-kind" }, visible(row.kind))),
    html("table", { class: "detail" },
      html("thead", {}, html("tr", {}, html("td"), errors.map(([, word]) => html("th", { scope: "col" }, word)))),
      html("tbody", {}, line("relative", (error) => [sizeElement(error.rel), html("small", {}, ` ${decimal(error.rel)}`)]), line("rms", plain("rms")), line("max", plain("max_abs")), line("mean", plain("mean_abs")), line("median", plain("median_abs")),
        line("ulps, rms", plain("rms_ulps")), line("ulps, max", plain("max_ulps")), line("1 − cosine", plain("apart")),
        line("sign flips", plain("sign_flips")), line("new zeros", plain("zeros")), line("not finite", plain("nonfinite")))),
    html("div", { class: "tooltip-row" }, html("span", {}, "elements"), html("b", {}, integer(row.own.n))),
    row.ratio >= 0 && html("div", { class: "tooltip-row" }, html("span", {}, "own error over FP32's"), html("b", {}, decimal(row.ratio))),
    row.floor > 0 && html("div", { class: "tooltip-row" }, html("span", {}, "own error over the floor"), html("b", {}, decimal(row.own.rel / row.floor))),
    row.flips !== null && html("div", { class: "tooltip-row" }, html("span", {}, "decisions that came out otherwise"), html("b", {}, integer(row.flips))),
  ].filter(Boolean);
}

/** Arrow keys move from row to row. */
function moveFocus(event) {
  const by = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10 }[event.key];
  const rows = [...event.currentTarget.tBodies[0].rows];
  const at = rows.indexOf(document.activeElement);
  if (!by || at < 0) return;
  event.preventDefault();
  focusRow(rows, Math.min(rows.length - 1, Math.max(0, at + by)));
}

/** Only the row that was last in focus can be reached with Tab. */
function focusRow(rows, at) {
  for (const row of rows) row.tabIndex = -1;
  rows[at].tabIndex = 0;
  rows[at].focus();
}

/** Bring a row into view and into focus. */
function reveal(holder, at) {
  holder.dispatchEvent(new Event("complete"));
  const rows = [...holder.querySelectorAll("tbody tr")];
  if (!rows[at]) return;
  rows[at].scrollIntoView({ block: "center" });
  focusRow(rows, at);
}

/**
 * Bring the row of a layer into view, whatever the switches hide.
 * @param {{store: import("./state.mjs").Store}} context
 * @param {Spec} spec
 * @param {Row} row
 */
export function showRow(context, spec, row) {
  const patch = { executor: String(row.executor), direction: row.direction, filter: "", ...(isExact(row) ? { exact: "show" } : {}) };
  context.store.set(Object.fromEntries(Object.entries(patch).map(([name, value]) => [spec.prefix + name, value])));
  requestAnimationFrame(() => requestAnimationFrame(() => {
    const panel = document.getElementById(spec.id);
    const holder = panel.querySelector(".rows");
    panel.scrollIntoView();
    holder.dispatchEvent(new Event("complete"));
    const found = holder.querySelector(`tr[data-row="${row.index}"]`);
    if (found) reveal(holder, [...found.parentElement.rows].indexOf(found));
  }));
}
