/** The focus of the keyboard, kept where drawing puts a new element in the place of the focused one. */

const FOCUSABLE = "button, select, input, summary, a[href], [tabindex]";

/**
 * Draw, and give the focus to what has taken the place of the focused element.
 * @param {() => void} draw
 */
export function keepingFocus(draw) {
  const focused = document.activeElement;
  const home = focused?.closest("[id]");
  const place = home ? [...home.querySelectorAll(FOCUSABLE)].indexOf(focused) : -1;
  draw();
  if (place < 0 || focused.isConnected) return;
  const heir = document.getElementById(home.id)?.querySelectorAll(FOCUSABLE)[place];
  if (heir?.tagName === focused.tagName) heir.focus({ preventScroll: true });
}
