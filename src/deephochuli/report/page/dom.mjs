/**
 * Elements made by calls. Text from a run enters the page here and only as text nodes: there is no
 * other door, so that a layer name is never markup.
 */

const SVG = "http://www.w3.org/2000/svg";

/**
 * @typedef {Node | string | number | null | undefined | false} Child
 * @typedef {Record<string, any>} Attributes
 */

/**
 * An HTML element.
 * @param {string} tag
 * @param {Attributes} [attributes] `on` holds listeners, `data` the dataset, `style` CSS properties
 * @param {...(Child | Child[])} children
 * @returns {HTMLElement}
 */
export function html(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/**
 * An SVG element.
 * @param {string} tag
 * @param {Attributes} [attributes]
 * @param {...(Child | Child[])} children
 * @returns {SVGElement}
 */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/**
 * @template {Element} T
 * @param {T} element
 * @param {Attributes} attributes
 * @param {(Child | Child[])[]} children
 * @returns {T}
 */
function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) assign(element, name, value);
  element.append(...children.flat().filter(isShown).map(asNode));
  return element;
}

/**
 * @param {any} element
 * @param {string} name
 * @param {any} value
 */
function assign(element, name, value) {
  if (value === null || value === undefined || value === false) return;
  if (name === "on") {
    for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
  } else if (name === "style") {
    for (const [property, text] of Object.entries(value)) element.style.setProperty(property, text);
  } else if (name === "data") {
    Object.assign(element.dataset, value);
  } else {
    element.setAttribute(name, value === true ? "" : String(value));
  }
}

/** @param {Child} child */
function isShown(child) {
  return child !== null && child !== undefined && child !== false;
}

/** @param {any} child */
function asNode(child) {
  return child instanceof Node ? child : document.createTextNode(String(child));
}

/**
 * Put new children in place of the old ones.
 * @param {Element} element
 * @param {...(Child | Child[])} children
 */
export function replace(element, ...children) {
  element.replaceChildren(...children.flat().filter(isShown).map(asNode));
}

/**
 * A name from a run, with everything invisible or direction-changing made visible.
 * @param {string} name
 * @returns {string}
 */
export function visible(name) {
  return name
    .replace(/[\u0000-\u001f]/g, (sign) => String.fromCharCode(0x2400 + sign.charCodeAt(0)))
    .replace(/[\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g, codePoint);
}

/** @param {string} sign */
function codePoint(sign) {
  return `[U+${sign.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}]`;
}

/**
 * A name that fits: of a layer's path initials from the left, as many as needed, since neighbours
 * often differ in a number in the middle only. Whatever is still too long is cut in the middle.
 * @param {string} name
 * @param {number} most
 * @returns {string}
 */
export function shortened(name, most) {
  const parts = visible(name).split(".");
  const isPath = parts.length > 2 && !/\s/.test(name);
  for (let i = 0; i < parts.length && isPath && [...parts.join(".")].length > most; i++) {
    parts[i] = parts[i].replace(/(\p{L})\p{L}*_?/gu, "$1");
  }
  return cut(parts.join("."), most);
}

/** A text cut in the middle: its ends say the most. */
function cut(shown, most) {
  const signs = [...shown];
  if (signs.length <= most) return signs.join("");
  const tail = Math.floor((most - 1) * 0.6);
  return `${signs.slice(0, most - 1 - tail).join("")}…${signs.slice(-tail).join("")}`;
}

/**
 * A layer name as an element of its own direction.
 * @param {string} name
 * @param {number} [most]
 * @returns {HTMLElement}
 */
export function nameElement(name, most = 80) {
  return html("bdi", { class: "name", title: cut(visible(name), 300) }, shortened(name, most));
}
