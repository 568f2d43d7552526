/** One figure: its frame, its legend that hides and shows, its files, and the table behind it. */

import { html, replace, visible } from "./dom.mjs";
import { button, createPanel } from "./panel.mjs";
import { figureOf, rowsOf } from "./sheet_data.mjs";
import { listenToPointer } from "./sheet_hover.mjs";
import { prose } from "./sheet_prose.mjs";
import { drawPlot, filePlot, looksOf, sampleOf } from "./sheet_plot.mjs";
import { listenToDrag, zoomOf, zoomText } from "./sheet_zoom.mjs";

const LEAST_WIDTH = 300;
const MOST_WIDTH = 1240;
const LONG = 900;

/**
 * Names that an address hides, of one figure.
 * @param {string} hidden "figure:0,figure:2"
 * @param {string} id
 * @returns {Set<number>}
 */
export function hiddenOf(hidden, id) {
  return new Set(hidden.split(",").map((word) => word.split(":")).filter(([name]) => name === id).map(([, index]) => Number(index)));
}

/**
 * The same list with one name of a figure hidden or shown.
 * @param {string} hidden @param {string} id @param {number} index
 * @returns {string}
 */
export function toggled(hidden, id, index) {
  const word = `${id}:${index}`;
  const words = hidden.split(",").filter(Boolean);
  return (words.includes(word) ? words.filter((each) => each !== word) : [...words, word]).join(",");
}

/**
 * @param {{store: import("./state.mjs").Store}} context
 * @param {string} id
 * @param {any} data
 */
export function createFigure(context, id, data) {
  const figure = figureOf(data);
  const panel = createPanel(id, prose(figure.title), 3);
  panel.root.classList.add("figure");
  const legend = html("div", { class: "legend", role: "group", "aria-label": "series" });
  const stage = html("div", { class: "stage" });
  panel.body.append(legend, stage);
  panel.explain(prose(figure.how_to_read), "");
  let plot = null;
  let groups = [];
  panel.offer(() => (plot ? [filePlot(figure, groups, plot.chart)] : []), () => rowsOf(figure));
  let drawnFor = "";
  const update = (view) => {
    const width = Math.max(LEAST_WIDTH, Math.min(MOST_WIDTH, Math.floor(panel.body.clientWidth)));
    const [hidden, zoom] = [hiddenOf(view.hidden, id), zoomOf(id, view.zoom)];
    const key = JSON.stringify([width, [...hidden], zoom, document.documentElement.dataset.theme]);
    if (key === drawnFor) return;
    drawnFor = key;
    groups = looksOf(figure, () => true).map((group, i) => ({ ...group, isShown: !hidden.has(i) }));
    plot = drawPlot(figure, groups, { width, zoom });
    listen(context, figure, id, plot);
    stage.classList.toggle("long", plot.frame.height > LONG);
    replace(stage, plot.chart);
    drawLegend(context, legend, id, groups);
    replace(panel.controls, zoom && button("Whole figure", "Show the whole figure again", () => context.store.set({ zoom: "" })));
    panel.offer(() => [filePlot(figure, groups, plot.chart)], () => rowsOf(figure));
    showUnseen(stage, plot.frame);
  };
  return { root: panel.root, update };
}

/** Pointer, keyboard and drag. */
function listen(context, figure, id, plot) {
  listenToPointer(figure, plot);
  if (plot.frame.categories) return;
  listenToDrag(plot, (zoom) => context.store.set({ zoom: zoom ? zoomText(id, zoom) : "" }));
}

/** Numbers that a logarithmic axis cannot show are told, not dropped in silence. */
function showUnseen(stage, { domains }) {
  const n = (domains.x?.nOutside ?? 0) + domains.y.nOutside;
  if (n) stage.append(html("p", { class: "faint" }, `${n} negative ${n > 1 ? "numbers have" : "number has"} no place on a logarithmic axis; the table holds ${n > 1 ? "them" : "it"}.`));
}

/** Every name with its sample, as a switch. */
function drawLegend({ store }, legend, id, groups) {
  legend.hidden = groups.length < 2;
  const entry = (group, i) => html("button", {
    type: "button", class: "entry", "aria-pressed": String(group.isShown), title: "Hide or show; with Shift this one alone",
    on: { click: (event) => store.set({ hidden: event.shiftKey ? alone(store.view.hidden, id, i, groups.length) : toggled(store.view.hidden, id, i) }, { quiet: true }) },
  }, sampleOf(group), html("span", {}, visible(group.name)));
  replace(legend, ...groups.map(entry));
}

/** Everything of a figure hidden but one name; everything shown if that is so already. */
function alone(hidden, id, index, n) {
  const others = hidden.split(",").filter((word) => word && !word.startsWith(`${id}:`));
  const rest = Array.from({ length: n }, (_, i) => i).filter((i) => i !== index);
  const now = hiddenOf(hidden, id);
  const isAlone = !now.has(index) && rest.every((i) => now.has(i));
  return (isAlone ? others : [...others, ...rest.map((i) => `${id}:${i}`)]).join(",");
}
