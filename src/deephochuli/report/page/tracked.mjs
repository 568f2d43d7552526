/** Panels that draw again only when something has changed that they looked at while drawing. */

/**
 * @typedef {object} Drawn
 * @property {(view: any) => void} update
 */

/**
 * Draw a panel when it must be drawn.
 *
 * The panel gets the view as an object that notes which of its fields are read, and always gives
 * their present values, so that listeners that a drawing left behind are never out of date.
 * @param {Drawn} panel
 * @param {() => any} now the present view
 * @param {() => string} beside what else the drawings depend on: width, theme, version of the data
 * @returns {() => void}
 */
export function tracked(panel, now, beside) {
  const read = new Set();
  const view = new Proxy({}, {
    get: (_, name) => {
      read.add(name);
      return now()[name];
    },
    ownKeys: () => Reflect.ownKeys(now()),
    getOwnPropertyDescriptor: (_, name) => ({ configurable: true, enumerable: true, value: now()[name] }),
  });
  let drawnFor = null;
  return () => {
    const present = () => `${beside()}\n${[...read].map((name) => JSON.stringify(now()[name])).join("\n")}`;
    if (drawnFor !== null && drawnFor === present()) return;
    panel.update(view);
    drawnFor = present();
  };
}
