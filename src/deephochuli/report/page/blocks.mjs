/** Which layers belong together: an activation and the parameters that feed it. */

import { flowRank } from "./data.mjs";

/**
 * @typedef {object} Block
 * @property {string | null} activation layer of z, a, dz, da
 * @property {string[]} parameters layers of w, g, dw and optimizer state, in order of execution
 */

const memo = new WeakMap();

/**
 * Blocks of a model: parameters are collected until the activation that follows them in the order of
 * execution. What follows the last activation is a block of its own.
 * @param {import("./context.mjs").Context} context
 * @returns {Block[]}
 */
export function blocksOf(context) {
  if (!memo.has(context)) memo.set(context, collect(context.runs));
  return memo.get(context);
}

/** @param {import("./data.mjs").Run[]} runs @returns {Block[]} */
function collect(runs) {
  const layers = new Map();
  for (const run of runs) {
    for (const tap of run.taps) {
      const found = layers.get(tap.layer) ?? { layer: tap.layer, order: tap.order, active: false };
      found.active ||= flowRank(tap.quantity) < flowRank("w");
      layers.set(tap.layer, found);
    }
  }
  const ordered = [...layers.values()].sort((a, b) => a.order - b.order || Number(a.active) - Number(b.active));
  const blocks = [];
  let waiting = [];
  for (const { layer, active } of ordered) {
    if (!active) waiting.push(layer);
    else {
      blocks.push({ activation: layer, parameters: waiting });
      waiting = [];
    }
  }
  return waiting.length ? [...blocks, { activation: null, parameters: waiting }] : blocks;
}

/**
 * The block that a layer is part of.
 * @param {import("./context.mjs").Context} context
 * @param {string} layer
 * @returns {Block}
 */
export function blockOf(context, layer) {
  const found = blocksOf(context).find(({ activation, parameters }) => activation === layer || parameters.includes(layer));
  return found ?? { activation: null, parameters: [layer] };
}

/**
 * The layer of a block that has a quantity: the layer itself, or its neighbour in the block.
 * @param {import("./context.mjs").Context} context
 * @param {string} layer
 * @param {string} quantity
 * @returns {string | null}
 */
export function neighbourWith(context, layer, quantity) {
  const has = (name) => name !== null && context.runs.some((run) => run.tap(name, quantity));
  if (has(layer)) return layer;
  const { activation, parameters } = blockOf(context, layer);
  return [activation, ...parameters].find(has) ?? null;
}
