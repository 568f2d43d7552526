/** Code to copy. */

import { html, replace } from "./dom.mjs";

/**
 * Lines of code with a button that copies them.
 * @param {string} code
 * @returns {HTMLElement}
 */
export function snippet(code) {
  const button = html("button", { type: "button", class: "quiet copy" }, "Copy");
  button.addEventListener("click", async () => {
    replace(button, (await copied(code)) ? "Copied" : "Press Ctrl+C");
    setTimeout(() => replace(button, "Copy"), 1600);
  });
  return html("div", { class: "snippet" }, html("pre", {}, html("code", {}, code)), button);
}

/** @param {string} code @returns {Promise<boolean>} */
async function copied(code) {
  try {
    await navigator.clipboard.writeText(code);
    return true;
  } catch {
    return false;
  }
}
