/** The help dialog and the keys. */

import { neighbourWith } from "./blocks.mjs";
import { allLayers, layersWith, quantitiesOf } from "./context.mjs";
import { html } from "./dom.mjs";

const KEYS = [
  ["/", "find a layer by name or regular expression"],
  ["↑ ↓", "previous, next layer of the map"],
  ["← →", "previous, next recorded step"],
  ["[ ]", "previous, next quantity"],
  ["Esc", "close, clear the search"],
  ["?", "this help"],
];
const WORDS = [
  ["swamped", "fl(w + dw) = w although dw ≠ 0: the sum was rounded back to the weight. Not the same as an update that was zero."],
  ["rounds to zero", "the magnitude is at most half the smallest subnormal of the format."],
  ["subnormal", "below the smallest normal number: the exponent is at its end and the significand loses bits."],
  ["binade", "the numbers from one power of two to the next. Headroom is counted in them."],
  ["unit roundoff", "u = 2⁻ᵖ, the largest relative error of rounding to nearest with p significand bits."],
  ["silent channel", "no positive pre-activation in the recorded batches. It may still fire on other data."],
  ["not measured", "hatched: nothing was recorded there. It is never drawn as zero."],
];
const HONESTY = [
  "Whole-run counts are exact integers. Counts over time are exact up to 92 and rounded, by at most 1.1 %, above; magnitudes over time to 0.14 %.",
  "A share that is a bracket, such as 1.2–1.4 %, comes from numbers recorded by their leading bits: the truth lies between the two.",
  "“What if it were” rounds the recorded numbers. A run in that format would have taken another path.",
];

/** The dialog. */
export function createHelp() {
  const root = html("dialog", { class: "help", "aria-labelledby": "help-title" },
    html("h2", { id: "help-title" }, "How to read this page"),
    html("h3", {}, "Keys"), html("dl", { class: "keys" }, KEYS.map(([key, what]) => html("div", {}, html("dt", {}, html("kbd", {}, key)), html("dd", {}, what)))),
    html("h3", {}, "Words"), html("dl", { class: "words" }, WORDS.map(([word, what]) => html("div", {}, html("dt", {}, word), html("dd", {}, what)))),
    html("h3", {}, "What the numbers are"), html("ul", {}, HONESTY.map((line) => html("li", {}, line))),
    html("form", { method: "dialog" }, html("button", { class: "primary" }, "Close")),
  );
  return { root, help: () => (root.open ? root.close() : root.showModal()) };
}

/**
 * Keys that work anywhere but in a field.
 * @param {import("./context.mjs").Context} context
 * @param {{help: () => void}} actions
 */
export function listenToKeys(context, actions) {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    const action = actionOf(context, actions, event.key);
    if (!action) return;
    event.preventDefault();
    action();
  });
}

/** What a key does. */
function actionOf(context, actions, key) {
  return {
    "/": () => document.getElementById("search").focus(),
    "?": actions.help,
    ArrowDown: () => moveLayer(context, 1),
    ArrowUp: () => moveLayer(context, -1),
    ArrowRight: () => moveStep(context, 1),
    ArrowLeft: () => moveStep(context, -1),
    "]": () => moveQuantity(context, 1),
    "[": () => moveQuantity(context, -1),
  }[key];
}

/** Select the next layer of the map. */
function moveLayer(context, by) {
  const { view } = context.store;
  const layers = layersWith(context, view.quantity, view.filter);
  const all = layers.length ? layers : allLayers(context);
  const next = all[Math.min(all.length - 1, Math.max(0, all.indexOf(view.layer) + by))];
  context.store.set({ layer: next }, { quiet: true });
}

/** Look at the next quantity, at the same place of the model. */
function moveQuantity(context, by) {
  const { view } = context.store;
  const all = quantitiesOf(context);
  const quantity = all[(all.indexOf(view.quantity) + by + all.length) % all.length];
  context.store.set({ quantity, layer: neighbourWith(context, view.layer, quantity) ?? view.layer }, { quiet: true });
}

/** Move the cursor to the next recorded step of the run in focus. */
function moveStep(context, by) {
  const { view } = context.store;
  const steps = context.runs[view.run].columns.first;
  const now = view.at === null ? -1 : steps.findLastIndex((step) => step <= view.at);
  context.store.set({ at: steps[Math.min(steps.length - 1, Math.max(0, now + by))] }, { quiet: true });
}
