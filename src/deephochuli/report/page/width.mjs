/** Widths of elements, known without making the browser lay out the page in the middle of drawing. */

const known = new WeakMap();
let observer = null;

/**
 * Width of an element inside its padding; 0 while it is hidden.
 * @param {HTMLElement} element
 * @returns {number}
 */
export function widthOf(element) {
  const found = known.get(element);
  if (found && found.window === innerWidth) return found.width;
  observer ??= new ResizeObserver((entries) => entries.forEach(({ target }) => note(target)));
  if (!found) observer.observe(element);
  return note(element);
}

/** Measure now. @param {Element} element */
function note(element) {
  const width = element.clientWidth;
  if (width > 0) known.set(element, { width, window: innerWidth });
  return width;
}
