/** The bar that stays: the sections of the page, and light or dark. */

import { isDark } from "./colors.mjs";
import { html } from "./dom.mjs";

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
    html("button", { type: "button", class: "icon", title: "Light or dark", "aria-label": "Light or dark", on: { click: () => toggleTheme(context.store) } }, "◐")));
}

/** Light to dark and back, remembered. */
function toggleTheme(store) {
  const theme = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem("deephochuli-theme", theme);
  } catch {
    // A page opened from disk may have no storage; the choice then lasts as long as the page.
  }
  store.tell();
}
