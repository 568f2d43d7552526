/** The bar that stays: the sections of the page, and light or dark. */

import { html } from "./dom.mjs";
import { themeButton } from "./theme_switch.mjs";

const SECTIONS = [["verdict", "Verdict"], ["executions", "Executions"], ["pairs", "Side by side"], ["layers", "Layers"], ["kept", "Keep"], ["reading", "How to read"]];

/**
 * @param {{store: import("./state.mjs").Store}} context
 * @param {HTMLElement} main whose sections it leads to
 * @returns {HTMLElement}
 */
export function createNavigation(context, main) {
  const there = SECTIONS.filter(([id]) => main.querySelector(`#${id}`));
  return html("div", { class: "toolbar" }, html("div", { class: "bar" },
    html("nav", { "aria-label": "sections" }, there.map(([id, name]) => html("button", { type: "button", class: "link", on: { click: () => document.getElementById(id).scrollIntoView() } }, name))),
    themeButton(context.store)));
}
