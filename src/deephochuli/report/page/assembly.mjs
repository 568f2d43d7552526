/** Runs, formats and findings as one page: what every panel draws from, and the panels in place. */

import { createHeader, createProvenance } from "./header.mjs";
import { createCompare } from "./compare.mjs";
import { createFit } from "./fit.mjs";
import { createHeatmap } from "./heatmap.mjs";
import { createLayer } from "./layer.mjs";
import { createRidges } from "./ridges.mjs";
import { createToolbar } from "./toolbar.mjs";
import { createUnits } from "./units.mjs";
import { createUpdates } from "./updates.mjs";
import { createVerdict } from "./verdict.mjs";
import { layersWith, quantitiesOf } from "./context.mjs";
import { html } from "./dom.mjs";
import { metricsFor } from "./metrics.mjs";
import { createSchedule } from "./schedule.mjs";
import { Store } from "./state.mjs";
import { tracked } from "./tracked.mjs";
import { createHelp, listenToKeys } from "./help.mjs";

const PANELS = [
  createVerdict, createHeatmap, createRidges, createUpdates, createUnits, createLayer, createFit, createCompare,
];

/**
 * @typedef {object} Data
 * @property {import("./data.mjs").Run[]} runs
 * @property {any[]} findings
 * @property {any[]} formats as a payload holds them
 * @property {{format: string}} start
 * @property {string} title
 * @property {any} made
 */

/**
 * What every panel gets.
 * @param {Data} data
 * @returns {import("./context.mjs").Context}
 */
export function contextOf({ formats, start, ...data }) {
  const context = { ...data, formats: formats.map(withInfinities), version: 0, store: null };
  context.store = new Store(homeOf(context, start), (view) => repaired(context, view));
  return context;
}

/** JSON has no infinity: null stands for it as the top of a format that nothing leaves. */
function withInfinities(format) {
  const { top, ...cuts } = format.cuts;
  return { ...format, cuts: { ...cuts, top: { ...top, value: top.value ?? Infinity } } };
}

/** The view that the page opens with: the worst finding, or the first layer. */
function homeOf(context, start) {
  const worst = context.findings.find((finding) => finding.layer) ?? {};
  const quantities = quantitiesOf(context);
  const quantity = worst.quantity ?? (quantities.includes("dw") ? "dw" : quantities[0]);
  return {
    run: worst.run ?? 0, shown: context.runs.map((run) => run.index), base: 0,
    layer: worst.layer ?? layersWith(context, quantity)[0] ?? "", quantity,
    metric: worst.evidence ?? metricsFor(quantity)[0].id, format: worst.format ?? start.format,
    from: null, to: null, at: null, ridges: "offset", filter: "",
  };
}

/** A view that the data can show, whatever an address asks for. */
function repaired(context, view) {
  const shown = view.shown.filter((index) => context.runs[index]);
  const quantities = quantitiesOf(context);
  const quantity = quantities.includes(view.quantity) ? view.quantity : quantities[0];
  const layers = layersWith(context, quantity);
  const metrics = metricsFor(quantity).map((metric) => metric.id);
  return {
    ...view, quantity,
    shown: shown.length ? shown : context.runs.map((run) => run.index),
    run: context.runs[view.run] ? view.run : 0,
    base: context.runs[view.base] ? view.base : 0,
    layer: view.layer || layers[0] || "",
    metric: metrics.includes(view.metric) ? view.metric : metrics[0],
    format: context.formats.some((format) => format.name === view.format) ? view.format : context.formats[0].name,
    ridges: ["offset", "overlay", "bands"].includes(view.ridges) ? view.ridges : "offset",
  };
}

/**
 * The page of a context: its elements, and a function that draws what changed data left behind.
 * @param {import("./context.mjs").Context} context
 * @returns {{roots: HTMLElement[], begin: () => void, renew: () => void}}
 */
export function createPage(context) {
  const help = createHelp();
  const toolbar = createToolbar(context, help);
  const panels = PANELS.map((create) => create(context));
  let [header, provenance] = [createHeader(context), createProvenance(context)];
  const main = html("main", {}, header, panels.map((panel) => panel.root), provenance);
  const renew = () => {
    const old = [header, provenance];
    [header, provenance] = [createHeader(context), createProvenance(context)];
    old.forEach((element, i) => element.replaceWith([header, provenance][i]));
  };
  const begin = () => {
    listenToKeys(context, help);
    animate(context, [toolbar, ...panels]);
    document.documentElement.dataset.ready = "yes";
  };
  return { roots: [toolbar.root, main, help.root], begin, renew };
}

/** Draw every panel now, and after every change those that it concerns. */
function animate(context, panels) {
  const beside = () => `${context.version} ${innerWidth} ${document.documentElement.dataset.theme}`;
  const ask = createSchedule(panels.map((panel) => ({
    root: panel.root, draw: tracked(panel, () => context.store.view, beside),
  })));
  context.store.listen(ask);
  addEventListener("resize", ask);
}
