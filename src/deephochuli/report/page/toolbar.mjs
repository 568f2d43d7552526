/** The bar that stays: runs, format, search, theme, and the window of steps shared by all panels. */

import { runColor, ink } from "./colors.mjs";
import { canvas, linear, pathOf, text } from "./chart.mjs";
import { allLayers, matcher, shownRuns, stepSpan, stepWindow } from "./context.mjs";
import { html, nameElement, replace, svg, visible } from "./dom.mjs";
import { dot } from "./header.mjs";
import { dropDown } from "./panel.mjs";
import { themeButton } from "./theme_switch.mjs";
import { widthOf } from "./width.mjs";

const SECTIONS = [
  ["findings", "Findings"], ["map", "Map"], ["exponents", "Exponents"], ["updates", "Updates"], ["units", "Units"],
  ["layer", "Layer"], ["fit", "Formats"], ["compare", "Compare"], ["provenance", "Provenance"],
];
const MOST_HITS = 12;

/**
 * Create the bar.
 * @param {import("./context.mjs").Context} context
 * @param {{help: () => void}} actions
 */
export function createToolbar(context, actions) {
  const [runs, format, brush] = [html("div", { class: "runs", role: "group", "aria-label": "runs" }), html("div"), html("div", { class: "brush" })];
  const root = html("div", { class: "toolbar" },
    html("div", { class: "bar" },
      html("nav", { "aria-label": "sections" }, SECTIONS.map(([id, name]) => html("button", { type: "button", class: "link", on: { click: () => document.getElementById(id)?.scrollIntoView() } }, name))),
      search(context),
      themeButton(context.store),
      html("button", { type: "button", class: "icon", title: "Help (?)", "aria-label": "Help", on: { click: actions.help } }, "?"),
    ),
    html("div", { class: "bar second" }, runs, format, brush),
  );
  return { root, update: (view) => draw(context, view, runs, format, brush) };
}

/** Draw what depends on the view. */
function draw(context, view, runs, format, brush) {
  const formats = context.formats.map(({ name, label }) => [name, label]);
  replace(runs, ...context.runs.map((run) => runToggle(context, run, view)));
  replace(format, dropDown("what if it were", formats, view.format, (name) => context.store.set({ format: name })));
  drawBrush(context, view, brush);
}

/** One run: shown or hidden. */
function runToggle(context, run, view) {
  const shown = view.shown.includes(run.index);
  const toggle = () => {
    const next = shown ? view.shown.filter((index) => index !== run.index) : [...view.shown, run.index].sort();
    if (next.length) context.store.set({ shown: next });
  };
  return html("button", { type: "button", class: "run", "aria-pressed": String(shown), title: shown ? "Hide this run" : "Show this run", on: { click: toggle } }, dot(run), visible(run.name));
}

/** The search box: layers by text or regular expression; Enter goes to the first. */
function search(context) {
  const hits = html("ul", { class: "hits", hidden: true });
  const field = html("input", { type: "search", id: "search", placeholder: "Find a layer  /", "aria-label": "Find a layer, text or regular expression", autocomplete: "off", spellcheck: "false" });
  const close = () => (hits.hidden = true);
  const choose = (layer) => {
    close();
    field.value = "";
    context.store.set({ layer, ...quantityFor(context, layer) });
    document.getElementById("layer").scrollIntoView();
  };
  field.addEventListener("input", () => {
    const found = field.value ? allLayers(context).filter(matcher(field.value)) : [];
    replace(hits, ...found.slice(0, MOST_HITS).map((layer) => html("li", {}, html("button", { type: "button", class: "link", on: { click: () => choose(layer) } }, nameElement(layer, 60)))),
      found.length > 0 && html("li", { class: "more" }, html("button", { type: "button", class: "link", on: { click: () => { close(); context.store.set({ filter: field.value }); } } }, `Show only these ${found.length} in the map`)));
    hits.hidden = found.length === 0;
  });
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { field.value = ""; close(); context.store.set({ filter: "" }); field.blur(); }
    if (event.key === "Enter") hits.querySelector("button")?.click();
  });
  return html("div", { class: "search" }, field, hits);
}

/** A quantity that the layer has, where it lacks the current one. */
function quantityFor(context, layer) {
  const has = (quantity) => context.runs.some((run) => run.tap(layer, quantity));
  if (has(context.store.view.quantity)) return {};
  const tap = context.runs.flatMap((run) => run.taps).find((candidate) => candidate.layer === layer);
  return tap ? { quantity: tap.quantity } : {};
}

/** The window of steps, over the curves of the loss. */
function drawBrush(context, view, holder) {
  const width = Math.max(200, widthOf(holder) || 420);
  const height = 38;
  const span = stepSpan(context);
  const x = linear(span, [6, width - 6]);
  const [from, to] = stepWindow(context, view).map(x);
  const chart = canvas(width, height, `steps ${stepWindow(context, view).join(" to ")} of ${span.join(" to ")}`);
  chart.append(svg("rect", { x: 6, y: 4, width: width - 12, height: 22, rx: 4, fill: ink("well") }));
  chart.append(...shownRuns(context, view).map((run) => lossCurve(run, x)).filter(Boolean));
  chart.append(
    svg("rect", { x: 6, y: 4, width: Math.max(0, from - 6), height: 22, fill: ink("card"), "fill-opacity": 0.78 }),
    svg("rect", { x: to, y: 4, width: Math.max(0, width - 6 - to), height: 22, fill: ink("card"), "fill-opacity": 0.78 }),
    ...[from, to].map((at) => svg("rect", { x: at - 3, y: 3, width: 6, height: 24, rx: 2, fill: ink("accent"), class: "handle" })),
    text(6, 37, `step ${stepWindow(context, view)[0]}`, { "font-size": 10 }),
    text(width - 6, 37, String(stepWindow(context, view)[1]), { "font-size": 10, "text-anchor": "end" }),
    text(width / 2, 37, view.from === null ? "all steps · drag to choose" : "double click for all", { "font-size": 10, "text-anchor": "middle", fill: ink("faint") }),
  );
  chart.addEventListener("pointerdown", (event) => drag(context, event, chart, x, span));
  chart.addEventListener("dblclick", () => context.store.set({ from: null, to: null }));
  replace(holder, chart);
}

/** The loss of one run, scaled to the height of the brush. */
function lossCurve(run, x) {
  const loss = run.array("steps.loss");
  const finite = loss ? Array.from(loss).filter(Number.isFinite) : [];
  if (finite.length < 2) return null;
  const y = linear([Math.min(...finite), Math.max(...finite)], [24, 7]);
  const points = run.columns.first.map((step, i) => [x(step), Number.isFinite(loss[i]) ? y(loss[i]) : NaN]);
  return svg("path", { d: pathOf(points), fill: "none", stroke: runColor(run.index), "stroke-width": 1.3, "stroke-opacity": 0.85 });
}

/** Drag an end of the window, or a new window where there is no end near. */
function drag(context, event, chart, x, span) {
  const box = chart.getBoundingClientRect();
  const stepAt = (move) => Math.round(Math.min(span[1], Math.max(span[0], x.invert(((move.clientX - box.left) * Number(chart.getAttribute("width"))) / box.width))));
  const window = stepWindow(context, context.store.view);
  const start = stepAt(event);
  const near = window.findIndex((end) => Math.abs(x(end) - x(start)) < 9);
  const anchor = near < 0 ? start : window[1 - near];
  const move = (next) => {
    const [low, high] = [anchor, stepAt(next)].sort((a, b) => a - b);
    if (high > low) context.store.set({ from: low === span[0] ? null : low, to: high === span[1] ? null : high }, { quiet: true });
  };
  const stop = () => {
    removeEventListener("pointermove", move);
    removeEventListener("pointerup", stop);
  };
  addEventListener("pointermove", move);
  addEventListener("pointerup", stop);
  event.preventDefault();
}
