/** The bar that stays, the keys, and the help. */

import { html, visible } from "./dom.mjs";
import { VERDICTS, verdictBadge } from "./sheet_claims.mjs";
import { themeButton } from "./theme_switch.mjs";

const KEYS = [
  ["n p", "next, previous answer"],
  ["s", "back to the summary"],
  ["Tab", "to the next figure or switch"],
  ["← →", "walk along the numbers of the figure in focus"],
  ["Esc", "close, leave the figure's numbers"],
  ["?", "this help"],
];
const FIGURES = [
  "Filled marks are measured; the bar through a mark is its interval. Dashed lines and hollow marks are predictions, bounds or limits.",
  "On a logarithmic axis zero stands below a dashed line: it has no place among the powers.",
  "Drag over a figure to look closer, double-click to see all of it again. A click on a name of the legend hides it, with Shift everything else.",
  "Every figure can be saved as SVG, PNG and CSV, and “Table” shows its numbers. The address of the page keeps the view.",
  "“–” says that nothing was measured. It never stands for zero.",
];
const MEANING = {
  confirmed: "What was measured is what the claim expects, within its tolerance.",
  refined: "True in part. What is true stands under “Because”.",
  refuted: "What was measured contradicts the claim.",
  open: "The measurement cannot decide. What could, stands under “Because”.",
};

/**
 * @param {{payload: any, store: import("./state.mjs").Store}} context
 * @param {{help: () => void}} actions
 * @returns {HTMLElement}
 */
export function createBar({ payload: { answers }, store }, { help }) {
  const go = (sheet) => store.set({ sheet });
  const hasSummary = answers.length > 1 || answers.some(({ claims }) => claims.length);
  const link = (key, name) => html("button", { type: "button", class: "link", data: { sheet: key }, on: { click: () => go(key) } }, name);
  return html("div", { class: "toolbar" }, html("div", { class: "bar" },
    html("nav", { "aria-label": "answers" }, hasSummary && link("summary", "In short"), answers.map(({ key, title }) => link(key, visible(title)))),
    themeButton(store),
    html("button", { type: "button", class: "icon", title: "Help (?)", "aria-label": "Help", on: { click: help } }, "?")));
}

/** The dialog. @param {boolean} hasClaims */
export function createHelp(hasClaims) {
  const root = html("dialog", { class: "help", "aria-labelledby": "help-title" },
    html("h2", { id: "help-title" }, "How to read this page"),
    html("h3", {}, "Keys"), html("dl", { class: "keys" }, KEYS.map(([key, what]) => html("div", {}, html("dt", {}, html("kbd", {}, key)), html("dd", {}, what)))),
    html("h3", {}, "Figures and tables"), html("ul", {}, FIGURES.map((line) => html("li", {}, line))),
    hasClaims && html("h3", {}, "Verdicts"), hasClaims && html("dl", { class: "verdict-words" }, VERDICTS.map((verdict) => html("div", {}, html("dt", {}, verdictBadge(verdict)), html("dd", {}, MEANING[verdict])))),
    html("form", { method: "dialog" }, html("button", { class: "primary" }, "Close")));
  return { root, help: () => (root.open ? root.close() : root.showModal()) };
}

/**
 * Keys that work anywhere but in a field.
 * @param {{payload: any, store: import("./state.mjs").Store}} context
 * @param {{help: () => void}} actions
 */
export function listenToKeys({ payload: { answers }, store }, { help }) {
  const keys = ["summary", ...answers.map(({ key }) => key)];
  const move = (by) => store.set({ sheet: keys[Math.min(keys.length - 1, Math.max(0, keys.indexOf(store.view.sheet) + by))] });
  const actions = { "?": help, n: () => move(1), p: () => move(-1), s: () => store.set({ sheet: "summary" }) };
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
}
