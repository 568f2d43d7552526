/** What the reader is looking at: one object, mirrored in the address, so that a view is a link. */

/**
 * @typedef {object} View
 * @property {number} run run in focus
 * @property {number[]} shown runs drawn
 * @property {number} base run that the others are compared with
 * @property {string} layer
 * @property {string} quantity
 * @property {string} metric
 * @property {string} format
 * @property {number | null} from first step of the window, null for all steps
 * @property {number | null} to
 * @property {number | null} at step under the cursor of evidence
 * @property {"offset" | "overlay" | "bands"} ridges
 * @property {string} filter layers whose name matches
 */

const NUMBERS = ["run", "base", "from", "to", "at"];

/**
 * @param {View} view
 * @param {View} home only what differs from it is written
 * @returns {string}
 */
export function toHash(view, home) {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(view)) {
    if (String(value) !== String(home[name])) parameters.set(name, value === null ? "" : String(value));
  }
  return parameters.size ? `#${parameters}` : "#";
}

/**
 * @param {string} hash
 * @param {View} home
 * @returns {View}
 */
export function fromHash(hash, home) {
  const view = { ...home };
  for (const [name, text] of new URLSearchParams(hash.replace(/^#/, ""))) {
    if (!(name in home)) continue;
    if (name === "shown") view.shown = text.split(",").map(Number).filter(Number.isInteger);
    else if (!NUMBERS.includes(name)) view[name] = text;
    else if (text === "") view[name] = null;
    else if (Number.isFinite(Number(text))) view[name] = Number(text);
  }
  return view;
}

/** Holds the view and tells everybody who listens when it changes. */
export class Store {
  /**
   * @param {View} home
   * @param {(view: View) => View} repair makes a view from an old link possible again
   */
  constructor(home, repair) {
    this.home = home;
    this.repair = repair;
    this.listeners = [];
    this.view = repair(fromHash(location.hash, home));
    addEventListener("hashchange", () => this.adopt());
  }

  /** @param {(view: View) => void} listener */
  listen(listener) {
    this.listeners.push(listener);
  }

  /**
   * Change the view.
   * @param {Partial<View>} patch
   * @param {{quiet?: boolean}} [options] quiet changes make no entry for the back button
   */
  set(patch, { quiet = false } = {}) {
    const view = this.repair({ ...this.view, ...patch });
    if (toHash(view, this.home) === toHash(this.view, this.home)) return;
    this.view = view;
    const address = toHash(view, this.home);
    if (quiet) location.replace(address);
    else location.hash = address;
    this.tell();
  }

  /** Take over the address, after the back button or a pasted link. */
  adopt() {
    const view = this.repair(fromHash(location.hash, this.home));
    if (toHash(view, this.home) === toHash(this.view, this.home)) return;
    this.view = view;
    this.tell();
  }

  /**
   * Make the view possible again after the data have changed; no entry for the back button.
   * @param {Partial<View>} [patch]
   */
  renew(patch = {}) {
    this.view = this.repair({ ...this.view, ...patch });
    const address = toHash(this.view, this.home);
    if (address !== (location.hash || "#")) location.replace(address);
    this.tell();
  }

  /** Tell every listener. */
  tell() {
    for (const listener of this.listeners) listener(this.view);
  }
}
