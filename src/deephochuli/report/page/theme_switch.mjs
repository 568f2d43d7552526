/** Light or dark: a button that changes it and remembers. */

import { isDark } from "./colors.mjs";
import { html } from "./dom.mjs";

/**
 * @param {{tell: () => void}} store whose listeners draw again
 * @returns {HTMLElement}
 */
export function themeButton(store) {
  return html("button", { type: "button", class: "icon", title: "Light or dark", "aria-label": "Light or dark", on: { click: () => toggle(store) } }, "◐");
}

/** Light to dark and back, remembered. */
function toggle(store) {
  const theme = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem("deephochuli-theme", theme);
  } catch {
    // A page opened from disk may have no storage; the choice then lasts as long as the page.
  }
  store.tell();
}
