/** The whole model at a glance: own and inherited error over the layers, and where it starts. */

import { axisLeft, binadeTicks, canvas, hideTooltip, line, linear, pathOf, showTooltip, text, tooltipRows } from "./chart.mjs";
import { ink } from "./colors.mjs";
import { floorOf, powerText, sizeOf } from "./comparison_data.mjs";
import { replace, shortened, svg } from "./dom.mjs";
import { powerOfTwo } from "./numbers.mjs";

const FEWEST_ROWS = 8;
const HEIGHT = 168;
const MARGIN = { left: 52, right: 12, top: 22, bottom: 10 };
const COLORS = ["accent", "warning", "critical"];

/**
 * Draw the overview in a holder; few rows need none.
 * @param {HTMLElement} holder
 * @param {import("./comparison_layers.mjs").Spec} spec
 * @param {import("./comparison_data.mjs").Row[]} rows
 * @param {{measure: string, sort: string}} view
 * @param {{low: number, high: number}} axis
 * @param {(row: import("./comparison_data.mjs").Row) => void} choose
 * @returns {SVGElement | null}
 */
export function drawProfile(holder, spec, rows, view, axis, choose) {
  if (rows.length < FEWEST_ROWS) {
    replace(holder);
    return null;
  }
  const width = Math.max(320, holder.clientWidth || 1180);
  const x = linear([0, rows.length], [MARGIN.left, width - MARGIN.right]);
  const y = linear([axis.low, axis.high], [HEIGHT - MARGIN.bottom, MARGIN.top]);
  const chart = canvas(width, HEIGHT, `${spec.title}: errors of ${rows.length} rows on an axis of binades from ${powerOfTwo(axis.low)} to ${powerOfTwo(axis.high)}`);
  const at = (size) => (size > 0 && Number.isFinite(size) ? y(Math.max(axis.low, Math.log2(size))) : NaN);
  chart.append(
    axisLeft(y, MARGIN.left, binadeTicks([axis.low, axis.high], 5), powerOfTwo, width - MARGIN.right),
    ...rows.map((row, i) => stem(row, i, x, at(row.own.nonfinite ? 2 ** axis.high : sizeOf(row.own, view.measure)), y.range[0])).filter(Boolean),
    stepLine(rows.map((row) => at(sizeOf(row.inherited, view.measure))), x, { stroke: ink("soft"), "stroke-width": 1.4, "stroke-opacity": 0.9 }),
    stepLine(rows.map((row) => at(floorOf(row, view.measure))), x, { stroke: ink("ink"), "stroke-width": 1.2, "stroke-dasharray": "3 2.5", "stroke-opacity": 0.75 }),
    ...startOf(rows, x, width),
    cover(spec, rows, x, width, choose, view),
  );
  replace(holder, chart);
  return chart;
}

/** The own error of one row. */
function stem(row, i, x, top, bottom) {
  if (Number.isNaN(top)) return null;
  const gap = x(1) - x(0) > 4 ? 0.18 : 0;
  return svg("rect", { x: x(i + gap).toFixed(1), y: top.toFixed(1), width: Math.max(0.8, x(1 - gap) - x(gap)).toFixed(1), height: Math.max(1, bottom - top).toFixed(1), fill: ink(COLORS[row.mark]), "fill-opacity": row.mark === 0 ? 0.72 : 0.9 });
}

/** A line with one level for each row. */
function stepLine(levels, x, attributes) {
  const points = levels.flatMap((level, i) => [[x(i), level], [x(i + 1), level]]);
  return svg("path", { d: pathOf(points), fill: "none", ...attributes });
}

/** The row where it starts, by name. */
function startOf(rows, x, width) {
  const i = rows.findIndex((row) => row.mark === 2);
  if (i < 0) return [];
  const middle = x(i + 0.5);
  const end = middle > width * 0.6;
  return [
    line(middle, MARGIN.top - 8, middle, HEIGHT - MARGIN.bottom, { stroke: ink("critical"), "stroke-dasharray": "2 2" }),
    text(middle + (end ? -6 : 6), MARGIN.top - 9, `${shortened(rows[i].name, 48)} starts it`, { fill: ink("critical"), "font-weight": 600, "text-anchor": end ? "end" : "start" }),
  ];
}

/** Takes the pointer: a tooltip for the row below it, a click to go there. */
function cover(spec, rows, x, width, choose, view) {
  const rowAt = (event) => {
    const box = event.currentTarget.ownerSVGElement.getBoundingClientRect();
    const place = x.invert(((event.clientX - box.left) * width) / box.width);
    return rows[Math.min(rows.length - 1, Math.max(0, Math.floor(place)))];
  };
  const tell = (event) => {
    const row = rowAt(event);
    const [own, inherited] = [row.own, row.inherited].map((error) => sizeOf(error, view.measure));
    showTooltip(event, ...tooltipRows(shortened(row.name, 60), [[spec.words.own, powerText(own, "exact")], [spec.words.inherited, powerText(inherited, "none")]]));
  };
  return svg("rect", {
    x: MARGIN.left, y: 0, width: width - MARGIN.left - MARGIN.right, height: HEIGHT, fill: "transparent", class: "cover",
    on: { pointermove: tell, pointerleave: hideTooltip, click: (event) => choose(rowAt(event)) },
  });
}
