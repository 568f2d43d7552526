/** What the words mean, what the page does not say, and what could not be compared. */

import { html, nameElement, visible } from "./dom.mjs";

const WORDS = [
  ["own error", "what the layer made of exactly the numbers that this execution gave it, minus what the reference makes of the same numbers. Errors of earlier layers do not count."],
  ["inherited", "what the reference makes of the numbers that this execution gave the layer, minus what it makes of its own. Own and inherited add up to the total."],
  ["relative", "norm of the error over the norm of the reference. 2⁻¹¹ means that about 11 leading bits agree."],
  ["ulps", "the error in gaps between neighbouring numbers of the format it is stored in, rms. Results near zero can err by very many."],
  ["noise floor", "the largest own error of the same layer in executions that are sound: other order of sums, other number of threads, last bits perturbed. What errs several times as much errs for another reason."],
  ["× FP32", "own error over the own error of the same layer in FP32."],
  ["flips", "inputs of an activation on the other side of its kink; for other layers results with the other sign."],
  ["margin", "distance of the two largest outputs in units of this execution's rms error: a decision with a margin below about 3 is not safe."],
];
const HONESTY = [
  "One batch, one step: other batches have other errors, and other decisions that are close.",
  "The verdict names the first layer that errs more than sound executions do. It does not say that the error harms the training.",
  "An emulated arithmetic is a model of the hardware; its description says from which source and how sure it is.",
];

/** @param {any} context @returns {HTMLElement} */
export function createNotes({ payload: { made } }) {
  return html("section", { class: "panel", id: "reading", "aria-labelledby": "reading-title" },
    html("header", { class: "panel-head" }, html("h2", { id: "reading-title" }, "How to read this page")),
    html("dl", { class: "words" }, WORDS.map(([word, what]) => html("div", {}, html("dt", {}, word), html("dd", {}, what)))),
    html("ul", { class: "honesty" }, HONESTY.map((line) => html("li", {}, line))),
    html("p", { class: "faint" }, `Page made by ${visible(made.by)} on ${visible(made.at)}. Numbers have six digits; counts are exact.`));
}

/** Calls that only one of two executions has, and calls whose shapes differ. */
export function createOnlyOne({ payload: { pairs } }) {
  if (!pairs) return null;
  const lists = [
    ...pairs.only.filter(({ layers }) => layers.length).map(({ name, layers }) => [`Only in ${visible(name)}: ${layers.length}`, layers.map((layer) => nameElement(layer || "(model)", 60))]),
    pairs.shapes.length > 0 && [`With other shapes: ${pairs.shapes.length}`, pairs.shapes.map(([layer, how]) => html("span", {}, nameElement(layer, 60), ` ${visible(how)}`))],
  ].filter(Boolean);
  if (!lists.length) return null;
  return html("section", { class: "panel", id: "unmatched", "aria-labelledby": "unmatched-title" },
    html("header", { class: "panel-head" }, html("h2", { id: "unmatched-title" }, "Not compared")),
    lists.map(([title, items]) => html("details", { class: "quiet-layers", open: items.length <= 12 }, html("summary", {}, title), html("ul", {}, items.map((item) => html("li", {}, item))))));
}
