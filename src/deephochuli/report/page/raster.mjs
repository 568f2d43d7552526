/** Many coloured cells as one small image: a pixel high for each row, drawn out by the browser. */

import { ink } from "./colors.mjs";
import { line } from "./chart.mjs";
import { html, svg } from "./dom.mjs";

/**
 * Cells in rows of one height and columns of any width, with lines of the ground between the rows.
 * @param {object} grid
 * @param {import("./chart.mjs").Scale} grid.x
 * @param {number} grid.top
 * @param {number} grid.row height of a row
 * @param {number} grid.nRows
 * @param {number[]} grid.edges left edge of each column, and right edge of the last
 * @param {number} grid.gap width of the lines between rows, 0 for none
 * @param {(row: number, column: number) => string | null} colorOf null where the ground shows
 * @returns {SVGElement[]}
 */
export function cellImage({ x, top, row, nRows, edges, gap }, colorOf) {
  const [left, right] = x.range;
  const surface = html("canvas", { width: Math.max(1, Math.round(right - left)), height: Math.max(1, nRows) });
  const brush = surface.getContext("2d");
  const pixels = edges.map((edge) => Math.round(edge - left));
  for (let r = 0; r < nRows; r++) paintRow(brush, r, pixels, (column) => colorOf(r, column));
  const image = svg("image", { x: left, y: top, width: right - left, height: nRows * row, href: surface.toDataURL(), preserveAspectRatio: "none", "image-rendering": "pixelated" });
  const between = Array.from({ length: gap > 0 ? nRows : 0 }, (_, r) => {
    const y = top + (r + 1) * row - gap / 2;
    return line(left, y, right, y, { stroke: ink("card"), "stroke-width": gap });
  });
  return [image, ...between];
}

/** One row; neighbours of one colour are painted at once. */
function paintRow(brush, y, pixels, colorOf) {
  const n = pixels.length - 1;
  for (let column = 0; column < n; ) {
    const color = colorOf(column);
    let end = column + 1;
    while (end < n && color === colorOf(end)) end++;
    if (color !== null) {
      brush.fillStyle = color;
      brush.fillRect(pixels[column], y, Math.max(1, pixels[end] - pixels[column]), 1);
    }
    column = end;
  }
}
