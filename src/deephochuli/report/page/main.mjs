/** The page: read the data, put the panels in place, keep them in step with the view. */

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
import { Run } from "./data.mjs";
import { html, replace } from "./dom.mjs";
import { metricsFor } from "./metrics.mjs";
import { unpack } from "./payload.mjs";
import { Store } from "./state.mjs";
import { createHelp, listenToKeys } from "./help.mjs";

const PANELS = [
  createVerdict, createHeatmap, createRidges, createUpdates, createUnits, createLayer, createFit, createCompare,
];

/** Text of a data element of the page. @param {string} id */
function dataOf(id) {
  return document.getElementById(id).textContent;
}

/**
 * @param {any} payload
 * @param {import("./payload.mjs").Arrays} arrays
 * @returns {import("./context.mjs").Context}
 */
function contextOf(payload, arrays) {
  const runs = payload.runs.map((run, index) => new Run(run, index, arrays));
  const formats = payload.formats.map(withInfinities);
  const context = { runs, formats, findings: payload.findings, title: payload.title, made: payload.made, store: null };
  context.store = new Store(homeOf(context, payload.start), (view) => repaired(context, view));
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

/** Draw every panel now and after every change, once a frame. */
function animate(context, panels) {
  let asked = false;
  const drawAll = () => {
    asked = false;
    for (const panel of panels) panel.update(context.store.view);
  };
  const ask = () => {
    if (!asked) requestAnimationFrame(drawAll);
    asked = true;
  };
  context.store.listen(ask);
  addEventListener("resize", ask);
  drawAll();
}

/** Build the page. */
async function start() {
  const payload = JSON.parse(dataOf("payload"));
  const context = contextOf(payload, await unpack(dataOf("blob"), payload.arrays));
  const help = createHelp();
  const toolbar = createToolbar(context, help);
  const panels = PANELS.map((create) => create(context));
  const main = html("main", {}, createHeader(context), panels.map((panel) => panel.root), createProvenance(context));
  replace(document.getElementById("page"), toolbar.root, main, help.root);
  listenToKeys(context, help);
  animate(context, [toolbar, ...panels]);
  document.documentElement.dataset.ready = "yes";
}

start().catch((error) => {
  replace(document.getElementById("page"), html("p", { class: "failure" }, `This report could not be shown: ${error.message}`));
  throw error;
});
