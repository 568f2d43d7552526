/** Drawing so that the page answers at once: what is in view first, the rest when there is time. */

import { keepingFocus } from "./focus.mjs";

const MARGIN = 200;
const CALM = 120;

/**
 * @typedef {object} Task
 * @property {HTMLElement} root of what is drawn
 * @property {() => void} draw does nothing when nothing has changed
 */

/**
 * Whether an element is in the window, or nearly.
 * @param {{top: number, bottom: number}} box
 * @param {number} height of the window
 * @returns {boolean}
 */
export function isNear({ top, bottom }, height) {
  return bottom > -MARGIN && top < height + MARGIN;
}

/**
 * Draw everything now; afterwards, whenever the returned function is called, what is in view in the
 * next frame, and what is not once nothing has been asked for during a moment, one task at a time.
 * While something is left to draw, the page says so in `data-drawn`.
 * @param {Task[]} tasks
 * @returns {() => void}
 */
export function createSchedule(tasks) {
  const left = new Set();
  let [asked, timer] = [false, 0];
  const draw = (task) => {
    left.delete(task);
    task.draw();
  };
  const rest = () => {
    const [task] = left;
    if (task) keepingFocus(() => draw(task));
    if (left.size) timer = setTimeout(rest);
    else document.documentElement.dataset.drawn = "yes";
  };
  const frame = () => {
    asked = false;
    const near = [...left].filter(({ root }) => isNear(root.getBoundingClientRect(), innerHeight));
    keepingFocus(() => near.forEach(draw));
    clearTimeout(timer);
    timer = setTimeout(rest, left.size ? CALM : 0);
  };
  const soon = () => {
    if (!asked) requestAnimationFrame(frame);
    asked = true;
  };
  const ask = () => {
    tasks.forEach((task) => left.add(task));
    document.documentElement.dataset.drawn = "no";
    soon();
  };
  addEventListener("scroll", () => left.size && soon(), { passive: true });
  addEventListener("beforeprint", () => left.forEach(draw));
  tasks.forEach(draw);
  return ask;
}
