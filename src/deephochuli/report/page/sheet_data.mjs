/** Answers as the page holds them: infinities revived, series named once, figures as rows of a file. */

/**
 * @typedef {{label: string, scale: "linear" | "log2" | "log10" | "category", low: number | null, high: number | null}} Axis
 * @typedef {{name: string, mark: string, dashed: boolean, note: string, x: (number | string)[], y: number[], low: number[], high: number[]}} Series
 * @typedef {{key: string, title: string, how_to_read: string, x: Axis, y: Axis, series: Series[]}} Figure
 */

const INFINITIES = { inf: Infinity, "-inf": -Infinity };

/**
 * A number of the data; NaN where nothing was measured.
 * @param {number | string | null} value
 * @returns {number}
 */
export function numberOf(value) {
  return value === null ? NaN : INFINITIES[value] ?? Number(value);
}

/**
 * A figure with numbers where its data have numbers or words for them.
 * @param {any} figure
 * @returns {Figure}
 */
export function figureOf(figure) {
  const isText = figure.x.scale === "category";
  const series = figure.series.map((each) => ({
    ...each,
    x: isText ? each.x.map((x) => (x === null ? null : String(x))) : each.x.map(numberOf),
    y: each.y.map(numberOf), low: each.low.map(numberOf), high: each.high.map(numberOf),
  }));
  return { ...figure, series };
}

/**
 * What the legend names, each once: series of one name share a colour, and are shown or hidden
 * together. Rules without a namesake have no colour of their own.
 * @param {Figure} figure
 * @returns {{name: string, series: Series[], color: number | null}[]}
 */
export function groupsOf(figure) {
  const groups = new Map();
  for (const series of figure.series) {
    if (!groups.has(series.name)) groups.set(series.name, []);
    groups.get(series.name).push(series);
  }
  let color = 0;
  return [...groups].map(([name, series]) => ({ name, series, color: series.every(({ mark }) => mark === "rule") ? null : color++ }));
}

/**
 * Categories in the order in which the series name them.
 * @param {Figure} figure
 * @returns {string[]}
 */
export function categoriesOf(figure) {
  return [...new Set(figure.series.flatMap(({ x }) => x))].filter((x) => x !== null);
}

/**
 * The figure as rows of a file or a table, the head first; NaN where nothing was measured, nothing
 * where a series has no such number.
 * @param {Figure} figure
 * @returns {(string | number)[][]}
 */
export function rowsOf(figure) {
  const hasInterval = figure.series.some(({ low }) => low.length > 0);
  const at = (values, i) => (i < values.length ? values[i] ?? NaN : "");
  const head = ["series", figure.x.label || "x", figure.y.label || "y"];
  return [
    hasInterval ? [...head, "low", "high"] : head,
    ...figure.series.flatMap((series) => Array.from({ length: Math.max(series.x.length, series.y.length) }, (_, i) => {
      const row = [series.name, at(series.x, i), at(series.y, i)];
      return hasInterval ? [...row, at(series.low, i), at(series.high, i)] : row;
    })),
  ];
}
