/** Channel by time: which channels fire, which are silent, which come back. */

import { axisBelow, canvas, hatch, hideTooltip, linear, showTooltip, text, ticks, tooltipRows } from "./chart.mjs";
import { css, grey, ink } from "./colors.mjs";
import { neighbourWith } from "./blocks.mjs";
import { placesInside, shownRuns, stepWindow, stepsLabel } from "./context.mjs";
import { html, nameElement, replace, svg } from "./dom.mjs";
import { createPanel, segmented } from "./panel.mjs";
import { cellImage } from "./raster.mjs";
import { widthOf } from "./width.mjs";

const [SILENT, ALWAYS, UNKNOWN] = [0, 15, 255];
let order = "silence";

/**
 * @typedef {object} UnitStory
 * @property {number} channel
 * @property {number[]} levels by time bin in view
 * @property {boolean} silentAtEnd
 * @property {number} revivals how often it fired again after a silent bin
 * @property {number} silent number of silent bins
 */

/**
 * The life of each channel over some time bins.
 * @param {Uint8Array} codes channel by channel
 * @param {number} channels
 * @param {number} nBins
 * @param {number[]} places
 * @returns {UnitStory[]}
 */
export function storiesOf(codes, channels, nBins, places) {
  return Array.from({ length: channels }, (_, channel) => {
    const levels = places.map((place) => codes[channel * nBins + place]);
    const known = levels.filter((level) => level !== UNKNOWN);
    const revivals = known.filter((level, i) => i > 0 && level !== SILENT && known[i - 1] === SILENT).length;
    return { channel, levels, silentAtEnd: known.at(-1) === SILENT, revivals, silent: known.filter((level) => level === SILENT).length };
  });
}

/**
 * Create the panel.
 * @param {import("./context.mjs").Context} context
 */
export function createUnits(context) {
  const panel = createPanel("units", "Which channels fire");
  panel.explain("One row a channel, one column a span of steps. Red: no positive pre-activation at all, so nothing passes forward or back. The darker the rest, the more often the channel is positive. A channel that is silent here may still fire on data that was not recorded.",
    "level = share of z > 0 in the span; silent = none of them; always = all of them (the ReLU is then linear)");
  return { root: panel.root, update: (view) => draw(context, panel, view) };
}

/** Draw the panel for a view. */
function draw(context, panel, view) {
  const layer = neighbourWith(context, view.layer, "z");
  const found = layer === null ? [] : shownRuns(context, view).map((run) => unitsOf(context, view, run, layer)).filter(Boolean);
  replace(panel.controls, segmented("channels ordered by", [["silence", "most silent first"], ["index", "by index"]], order, (chosen) => {
    order = chosen;
    draw(context, panel, view);
  }));
  if (!found.length) {
    replace(panel.body, html("p", { class: "empty" }, "No channel counts were recorded for this layer. Choose an activation in the map."));
    return panel.offer(() => [], () => [[]]);
  }
  const width = Math.max(340, widthOf(panel.body) || 1100);
  const each = width >= 900 ? (width - 18 * (found.length - 1)) / found.length : width;
  const charts = found.map((one) => unitChart(context, view, one, layer, each));
  replace(panel.body, html("p", { class: "subject" }, nameElement(layer, 70), " z · pre-activation"), unitLegend(), html("div", { class: "row" }, charts));
  panel.offer(() => charts, () => rowsOf(found, layer));
}

/** Channels of one run. */
function unitsOf(context, view, run, layer) {
  const tap = run.tap(layer, "z");
  const activity = tap && run.activity(tap);
  if (!activity) return null;
  const places = placesInside(run.bins, stepWindow(context, view));
  const stories = storiesOf(activity.codes, activity.channels, run.bins.first.length, places);
  if (order === "silence") stories.sort((a, b) => b.silent - a.silent || a.channel - b.channel);
  return { run, places, stories };
}

/** What the colours mean. */
function unitLegend() {
  const key = (color, name) => html("span", { class: "key" }, html("i", { class: "swatch", style: { background: color } }), name);
  return html("div", { class: "legend" }, key(ink("critical"), "silent"), key(levelColor(1), "seldom"), key(levelColor(7), "half the time"), key(levelColor(14), "nearly always"), key(ink("accent"), "always"),
    html("span", { class: "key" }, html("i", { class: "swatch missing" }), "not measured"));
}

/** @param {number} level */
function levelColor(level) {
  if (level === SILENT) return ink("critical");
  if (level === ALWAYS) return ink("accent");
  return css(grey(level / ALWAYS));
}

/** One map. */
function unitChart(context, view, { run, places, stories }, layer, width) {
  const row = Math.max(3, Math.min(13, 360 / stories.length));
  const [left, top] = [34, 44];
  const bottom = top + row * stories.length;
  const chart = canvas(width, bottom + 28, `${run.name}: activity of the channels of ${layer} over steps`);
  const window = stepWindow(context, view);
  const x = linear(window, [left, width - 6]);
  const hatchId = `hatch-units-${run.index}`;
  const dead = stories.filter((story) => story.silentAtEnd).length;
  const revived = stories.filter((story) => story.revivals > 0).length;
  chart.append(svg("defs", {}, hatch(hatchId)), text(0, 14, run.name, { "font-weight": 600, fill: ink("ink"), "font-size": 12.5 }),
    text(0, 31, `${dead} of ${stories.length} silent at the end, ${revived} fired again after silence`, { "font-size": 11 }),
    svg("rect", { x: left, y: top, width: x.range[1] - left, height: bottom - top, fill: `url(#${hatchId})` }),
    ...unitPicture(run, places, stories, x, top, row), axisBelow(x, bottom, ticks(window, width / 90), String));
  const every = Math.ceil(14 / row);
  stories.forEach((story, i) => i % every === 0 && chart.append(text(left - 6, top + (i + 0.5) * row + 3.5, String(story.channel), { "text-anchor": "end", "font-size": 9.5 })));
  chart.addEventListener("pointermove", (event) => hover(event, chart, { run, places, stories }, x, top, row));
  chart.addEventListener("pointerleave", hideTooltip);
  return chart;
}

/** The cells as an image. */
function unitPicture(run, places, stories, x, top, row) {
  const inside = (step) => Math.min(x.range[1], Math.max(x.range[0], x(step)));
  const edges = [...places.map((place) => inside(run.bins.first[place])), inside(run.bins.first[(places.at(-1) ?? 0) + 1] ?? x.domain[1])];
  const colors = Array.from({ length: 16 }, (_, level) => levelColor(level));
  const colorOf = (r, column) => colors[stories[r].levels[column]] ?? null;
  return cellImage({ x, top, row, nRows: stories.length, edges, gap: row > 6 ? 0.5 : 0 }, colorOf);
}

/** What is under the pointer. */
function hover(event, chart, { run, places, stories }, x, top, row) {
  const box = chart.getBoundingClientRect();
  const factor = Number(chart.getAttribute("width")) / box.width;
  const story = stories[Math.floor(((event.clientY - box.top) * factor - top) / row)];
  const step = x.invert((event.clientX - box.left) * factor);
  const column = places.findLastIndex((place) => run.bins.first[place] <= step);
  if (!story || column < 0 || step > x.domain[1]) return hideTooltip();
  showTooltip(event, ...tooltipRows(`channel ${story.channel}`, [
    [run.name, stepsLabel(run.bins, places[column])], ["positive", levelText(story.levels[column])],
    ["silent spans in view", `${story.silent} of ${places.length}`], ["fired again", `${story.revivals} times`],
  ]));
}

/** @param {number} level */
function levelText(level) {
  if (level === UNKNOWN) return "not measured";
  if (level === SILENT) return "never";
  return level === ALWAYS ? "always" : `${Math.round(((level - 1) * 100) / 14)}–${Math.round((level * 100) / 14)} %`;
}

/** The numbers of the maps. */
function rowsOf(found, layer) {
  return [["run", "layer", "channel", "first step", "last step", "activity"],
    ...found.flatMap(({ run, places, stories }) => stories.flatMap(({ channel, levels }) =>
      levels.map((level, i) => [run.name, layer, channel, run.bins.first[places[i]], run.bins.last[places[i]], levelText(level)])))];
}
