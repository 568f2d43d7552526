/** The mark that says whether the page is live, how old its data are, and what is wrong. */

import { html, replace, visible } from "./dom.mjs";
import { decimal, integer } from "./numbers.mjs";

const ORDER = ["recording", "waiting", "interrupted", "unreadable", "ended"];
const WORDS = { recording: "live", waiting: "waiting", interrupted: "interrupted", unreadable: "unreadable", ended: "ended" };

/**
 * A span of time in one or two units.
 * @param {number} seconds
 * @returns {string}
 */
export function spanOf(seconds) {
  const whole = Math.floor(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/**
 * The phase that says the most about several runs.
 * @param {{phase: string}[]} runs
 * @returns {string}
 */
export function phaseOf(runs) {
  return ORDER.find((phase) => runs.some((run) => run.phase === phase)) ?? "waiting";
}

/**
 * @returns {{root: HTMLElement, show: (runs: import("./live.mjs").RunState[]) => void,
 *   fail: (reason: string, delay: number) => void, onRetry: (retry: () => void) => void}}
 */
export function createMark() {
  const state = { runs: [], heard: 0, failure: "", nextAt: 0, retry: () => {} };
  const [word, age, rows] = [html("b", { role: "status" }, "connecting"), html("span", { class: "age" }), html("tbody")];
  const again = html("button", { type: "button", class: "quiet", hidden: true, on: { click: () => state.retry() } }, "Try now");
  const root = html("div", { class: "live", id: "live", data: { phase: "waiting" } },
    html("details", {}, html("summary", {}, html("i", { class: "pulse", "aria-hidden": "true" }), word, age),
      html("table", {}, html("thead", {}, html("tr", {}, ["run", "", "steps", "last step", "steps/s", "loss", "last chunk"].map((name) => html("th", { scope: "col" }, name)))), rows)), again);
  const draw = () => {
    const passed = (Date.now() - state.heard) / 1000;
    root.dataset.phase = state.failure ? "lost" : phaseOf(state.runs);
    say(word, state.failure || WORDS[root.dataset.phase]);
    say(age, state.failure ? nextText(state) : ageText(state.runs, passed) + notesText(state.runs));
    root.toggleAttribute("data-noted", !state.failure && notesText(state.runs) !== "");
    again.hidden = !state.failure;
    if (root.querySelector("details").open) replace(rows, ...state.runs.flatMap((run) => runRows(run, passed)));
  };
  setInterval(draw, 1000);
  root.querySelector("details").addEventListener("toggle", draw);
  const set = (change) => {
    Object.assign(state, change);
    draw();
  };
  return {
    root,
    show: (runs) => set({ runs, heard: Date.now(), failure: "" }),
    fail: (reason, delay) => set({ failure: reason, nextAt: Date.now() + delay }),
    onRetry: (retry) => (state.retry = retry),
  };
}

/** Change a text only where it differs, so that a screen reader is not told the same again. */
function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** When the next attempt is made. */
function nextText({ nextAt }) {
  return ` · next try in ${spanOf(Math.max(0, (nextAt - Date.now()) / 1000))}`;
}

/** Age of the newest chunk of the runs that are being recorded. */
function ageText(runs, passed) {
  const ages = runs.filter((run) => run.phase === "recording" && run.chunk_age_s !== null).map((run) => run.chunk_age_s);
  return ages.length ? ` · last chunk ${spanOf(Math.min(...ages) + passed)} ago` : "";
}

/**
 * That there is more to say of runs that are over, or that cannot be read.
 * @param {{phase: string, note: string}[]} runs
 * @returns {string}
 */
export function notesText(runs) {
  const n = runs.filter((run) => run.note && run.phase !== "waiting" && run.phase !== "recording").length;
  return n ? ` · ${n} ${n === 1 ? "note" : "notes"}` : "";
}

/** One run in numbers, and a sentence where there is more to say. */
function runRows(run, passed) {
  const number = (value, text = integer) => (value === null ? "–" : text(value));
  const age = run.chunk_age_s === null ? "–" : spanOf(run.chunk_age_s + passed);
  const cells = [run.phase, integer(run.n_steps), number(run.last_step), number(run.steps_per_s, decimal), number(run.loss, decimal), age];
  const row = html("tr", {}, html("th", { scope: "row" }, html("bdi", {}, visible(run.name))), cells.map((text) => html("td", {}, text)));
  return run.note ? [row, html("tr", { class: "reason" }, html("td", { colspan: cells.length + 1 }, visible(run.note)))] : [row];
}
