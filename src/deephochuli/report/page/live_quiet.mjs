/** Waiting until the reader is not in the middle of something: dragging, or choosing from a list. */

const MOMENT = 400;
const LIST = 5000;
const LONGEST = 15_000;

/**
 * Milliseconds for which an update should still wait.
 * @param {{sinceInput: number, sinceAsked: number, pressed: boolean, inList: boolean}} now times in milliseconds
 * @returns {number}
 */
export function remaining({ sinceInput, sinceAsked, pressed, inList }) {
  if (sinceAsked >= LONGEST) return 0;
  return pressed ? MOMENT : Math.max(0, (inList ? LIST : MOMENT) - sinceInput);
}

/**
 * Listen to what the reader does.
 * @returns {{wait: () => Promise<void>}}
 */
export function createQuiet() {
  const reader = { last: -Infinity, pressed: false };
  const note = () => (reader.last = performance.now());
  for (const kind of ["pointerdown", "keydown", "wheel", "pointerup", "pointercancel"]) {
    addEventListener(kind, note, { capture: true, passive: true });
  }
  addEventListener("pointerdown", () => (reader.pressed = true), true);
  for (const kind of ["pointerup", "pointercancel", "blur"]) addEventListener(kind, () => (reader.pressed = false), true);
  addEventListener("change", () => (reader.last = -Infinity), true);
  const wait = async () => {
    const asked = performance.now();
    for (;;) {
      const now = performance.now();
      const inList = document.activeElement?.tagName === "SELECT";
      const rest = remaining({ sinceInput: now - reader.last, sinceAsked: now - asked, pressed: reader.pressed, inList });
      if (rest <= 0) return;
      await new Promise((done) => setTimeout(done, Math.min(rest, MOMENT)));
    }
  };
  return { wait };
}
