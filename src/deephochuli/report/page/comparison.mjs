/** The page of a comparison: read the data, put the panels in place, keep them in step with the view. */

import { createExecutions, createHead, createHeadline } from "./comparison_head.mjs";
import { createKept } from "./comparison_kept.mjs";
import { createLayers } from "./comparison_layers.mjs";
import { createNotes, createOnlyOne } from "./comparison_notes.mjs";
import { createNavigation } from "./comparison_bar.mjs";
import { html, replace, visible } from "./dom.mjs";
import { Store } from "./state.mjs";

const READING = "One row a layer, in the order of execution. The upper bar is the error that the layer makes itself, given exactly what this execution gave it; the lower one is what it makes of the errors it was given. Both on one axis of binades: one tick more is so many bits fewer.";
const PAIR_READING = "One row a call, in the order of the first execution. The upper bar is how far apart the two results lie, the lower one how far apart what they were given lay. A row with an upper bar and no lower one is where a difference arises.";

/** The panels of rows that the data allow. */
function specsOf({ comparison, pairs }) {
  return {
    layers: comparison && { id: "layers", title: "Layers", reading: READING, set: comparison.set, prefix: "", words: { own: "own", inherited: "inherited" }, formula: null, isJudged: true },
    pairs: pairs && { id: "pairs", title: visible(`${pairs.second} beside ${pairs.first}`), reading: PAIR_READING, set: pairs.set, prefix: "pair-", words: { own: "made", inherited: "given" }, formula: `made, given = those of ${visible(pairs.second)} − those of ${visible(pairs.first)}; relative to the latter`, isJudged: false },
  };
}

/** The view that the page opens with: the judged execution, at the direction where it starts. */
function homeOf(payload, specs) {
  const home = {};
  for (const spec of Object.values(specs).filter(Boolean)) {
    const start = spec.set.rows.mark.indexOf(2);
    const at = start < 0 ? { executor: spec.set.executors.length - 1, direction: 0 } : { executor: spec.set.rows.executor[start], direction: spec.set.rows.direction[start] };
    const judged = spec.isJudged && payload.verdict ? spec.set.executors.indexOf(payload.verdict.execution) : -1;
    const own = { executor: String(judged < 0 ? at.executor : judged), direction: spec.set.directions[at.direction] ?? "forward", measure: "rel", sort: "order", exact: "hide", filter: "" };
    for (const [name, value] of Object.entries(own)) home[spec.prefix + name] = value;
  }
  return home;
}

/** A view that the data can show, whatever an address asks for. */
function repaired(specs, home, view) {
  const found = { ...view };
  for (const spec of Object.values(specs).filter(Boolean)) {
    const allowed = { executor: spec.set.executors.map((_, i) => String(i)), direction: spec.set.directions, measure: ["rel", "ulps"], sort: ["order", "error"], exact: ["hide", "show"] };
    for (const [name, values] of Object.entries(allowed)) {
      const key = spec.prefix + name;
      if (!values.includes(found[key])) found[key] = home[key];
    }
  }
  return found;
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
function start() {
  const payload = JSON.parse(document.getElementById("payload").textContent);
  const specs = specsOf(payload);
  const home = homeOf(payload, specs);
  const context = { payload, specs, store: null };
  context.store = new Store(home, (view) => repaired(specs, home, view));
  const panels = [specs.pairs, specs.layers].filter(Boolean).map((spec) => createLayers(context, spec));
  const parts = [createHead(context), createHeadline(context), createExecutions(context), panels.map((panel) => panel.root), createOnlyOne(context), createKept(context), createNotes(context)];
  const main = html("main", {}, parts.flat());
  replace(document.getElementById("page"), createNavigation(context, main), main);
  animate(context, panels);
  document.documentElement.dataset.ready = "yes";
}

try {
  start();
} catch (error) {
  replace(document.getElementById("page"), html("p", { class: "failure" }, `This comparison could not be shown: ${error.message}`));
  throw error;
}
