/** One layer from forward to update: every quantity in one column, on one axis of exponents. */

import { binadeAxis, canvas, linear, smoothPath } from "./chart.mjs";
import { ink, runColor } from "./colors.mjs";
import { ask, eachMagnitude } from "./ask.mjs";
import { blockOf } from "./blocks.mjs";
import { formatOf, meaningOf, quantityLabel, shownRuns } from "./context.mjs";
import { byBinade, flowRank } from "./data.mjs";
import { html, nameElement, replace, shortened, svg, visible } from "./dom.mjs";
import { dot } from "./header.mjs";
import { decimal, percent, percentBetween } from "./numbers.mjs";
import { createPanel, dropDown } from "./panel.mjs";
import { exponentDomain, limitMarks } from "./ridges.mjs";

/**
 * Create the panel.
 * @param {import("./context.mjs").Context} context
 */
export function createLayer(context) {
  const panel = createPanel("layer", "One layer, from forward to update");
  return { root: panel.root, update: (view) => draw(context, panel, view) };
}

/** Draw the panel for a view. */
function draw(context, panel, view) {
  const format = formatOf(context, view);
  const block = blockOf(context, view.layer);
  const parameter = block.parameters.includes(view.layer) ? view.layer : block.parameters.find((name) => name.endsWith("weight")) ?? block.parameters[0] ?? null;
  panel.explain(`Whole run, exact counts. Every quantity on the same axis, in the order in which it arises; the shaded ranges are those that ${format.label} cannot hold.`,
    "share of the elements in each binade; “→ 0”, subnormal and overflow are shares of the nonzero finite elements");
  replace(panel.controls, ...chooser(context, view, block, parameter));
  const rows = quantitiesOf(context, view, block, parameter);
  const domain = domainOf(rows, format);
  const charts = rows.map((row) => quantityChart(row, domain, format, row === rows.at(-1)));
  replace(panel.body, rows.length ? html("div", { class: "column" }, rows.map((row, i) => quantityRow(context, view, row, charts[i], format))) : html("p", { class: "empty" }, "Nothing was recorded for this layer."));
  panel.offer(() => charts, () => rowsOf(rows, format));
}

/** Which parameter of the block is followed. */
function chooser(context, view, block, parameter) {
  const names = [block.activation, ...block.parameters].filter((name) => name !== null);
  return names.length > 1 && parameter !== null ? [dropDown("follows", names.map((name) => [name, shortened(name, 60)]), view.layer, (layer) => context.store.set({ layer }))] : [];
}

/** Quantities of the activation and of the parameter, in the order of a step. */
function quantitiesOf(context, view, block, parameter) {
  const runs = shownRuns(context, view);
  const found = new Map();
  for (const layer of [block.activation, parameter]) {
    for (const run of runs) {
      for (const tap of run.taps) {
        if (tap.layer !== layer) continue;
        const row = found.get(tap.quantity) ?? { quantity: tap.quantity, layer, parts: [] };
        row.parts.push({ run, tap, sketch: run.sketch(tap) });
        found.set(tap.quantity, row);
      }
    }
  }
  return [...found.values()].sort((a, b) => flowRank(a.quantity) - flowRank(b.quantity));
}

/** One axis for all rows. */
function domainOf(rows, format) {
  let [low, high] = [Infinity, -Infinity];
  for (const { parts } of rows) {
    for (const { sketch } of parts) eachMagnitude(sketch, (key) => ([low, high] = [Math.min(low, (key >> 4) - 1023), Math.max(high, (key >> 4) - 1023)]));
  }
  return exponentDomain(low <= high ? [low, high] : [-8, 0], format);
}

/** Histograms of one quantity, one line a run. */
function quantityChart({ quantity, layer, parts }, domain, format, isLast) {
  const [width, top, bottom] = [560, 6, 84];
  const chart = canvas(width, bottom + (isLast ? 26 : 4), `Exponents of ${quantity} of ${layer}`);
  const x = linear(domain, [6, width - 6]);
  chart.append(...limitMarks(format, x, top, bottom, { labels: false }));
  if (isLast) chart.append(binadeAxis(x, bottom, top));
  const histograms = parts.map(({ run, sketch }) => ({ run, counts: byBinade(sketch), n: total(sketch) }));
  const peak = Math.max(1e-12, ...histograms.flatMap(({ counts, n }) => [...counts.values()].map((count) => count / n)));
  for (const { run, counts, n } of histograms) {
    if (!counts.size) continue;
    const [low, high] = [Math.min(...counts.keys()), Math.max(...counts.keys())];
    const points = Array.from({ length: high - low + 3 }, (_, i) => low - 1 + i).map((e) => [x(e + 0.5), bottom - ((bottom - top - 6) * (counts.get(e) ?? 0)) / n / peak]);
    const path = smoothPath(points);
    chart.append(svg("path", { d: `${path}L${x(high + 1.5)} ${bottom}L${x(low - 0.5)} ${bottom}Z`, fill: runColor(run.index), "fill-opacity": 0.1 }),
      svg("path", { d: path, fill: "none", stroke: runColor(run.index), "stroke-width": 1.8 }));
  }
  chart.append(svg("line", { x1: 6, x2: width - 6, y1: bottom, y2: bottom, stroke: ink("line") }));
  return chart;
}

/** @param {import("./ask.mjs").Sketch} sketch */
function total(sketch) {
  let n = 0;
  for (let i = 0; i < sketch.counts.length; i++) n += sketch.counts[i];
  return n;
}

/** One quantity: its name, its histogram, its numbers. */
function quantityRow(context, view, row, chart, format) {
  const { quantity, layer, parts } = row;
  const select = () => context.store.set({ quantity, layer });
  return html("article", { class: `flow${quantity === view.quantity ? " chosen" : ""}` },
    html("div", { class: "flow-name" }, html("button", { type: "button", class: "link", title: "Show this quantity in the other panels", on: { click: select } }, html("b", {}, quantityLabel(quantity)), html("span", {}, meaningOf(quantity))), nameElement(layer, 34)),
    chart,
    html("table", { class: "flow-numbers" },
      html("thead", {}, html("tr", {}, ["", "zeros", "→ 0", "subnormal", "overflow", "headroom", "largest"].map((name) => html("th", { scope: "col" }, name)))),
      html("tbody", {}, parts.map(({ run, sketch }) => numbersRow(run, sketch, format)))),
  );
}

/** Numbers of one run. */
function numbersRow(run, sketch, format) {
  const answer = ask(sketch, format);
  const share = ({ low, high, of }) => (of ? briefly(low / of, high / of) : "–");
  const zeros = Array.from(sketch.keys).reduce((sum, key, i) => (key === 0 ? sum + sketch.counts[i] : sum), 0);
  const cell = (content, bad) => html("td", { class: bad ? "bad" : null }, content);
  return html("tr", {}, html("th", { scope: "row", title: visible(run.name) }, dot(run)),
    cell(briefly(zeros / Math.max(1, total(sketch)), zeros / Math.max(1, total(sketch)))), cell(share(answer.toZero), answer.toZero.low > 0), cell(share(answer.subnormal)),
    cell(share(answer.outOfRange), answer.outOfRange.low > 0), cell(decimal(answer.headroomBinades), answer.headroomBinades < 1), cell(decimal(sketch.maxAbs, 2)));
}

/** A share in a narrow column; the table twin has the counts. @param {number} low @param {number} high */
function briefly(low, high) {
  return high > 0 && high < 1e-4 ? `<${percent(1e-4)}` : percentBetween(low, high);
}

/** The numbers of the column. */
function rowsOf(rows, format) {
  const head = ["run", "layer", "quantity", "stored as", "elements", "nonzero finite", `to zero in ${format.label}, at least`, "at most", "subnormal, at least", "at most", "overflow, at least", "at most", "smallest", "largest"];
  return [head, ...rows.flatMap(({ parts }) => parts.map(({ run, tap, sketch }) => {
    const { n, toZero, subnormal, outOfRange } = ask(sketch, format);
    return [run.name, tap.layer, tap.quantity, tap.dtype, total(sketch), n, toZero.low, toZero.high, subnormal.low, subnormal.high, outOfRange.low, outOfRange.high, sketch.minAbs, sketch.maxAbs];
  }))];
}

