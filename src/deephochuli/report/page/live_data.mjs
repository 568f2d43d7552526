/** The newest data of each run, and one page's data made of them. */

import { Run } from "./data.mjs";
import { unpack } from "./payload.mjs";

const HARM = ["critical", "warning", "note"];

/** What was received, by the number that the server gives a run. */
export class Holdings {
  constructor() {
    this.parts = new Map();
    this.shown = [];
  }

  /**
   * Version of the data held of a run; 0 when there are none.
   * @param {number} number
   * @returns {number}
   */
  version(number) {
    return this.parts.get(number)?.version ?? 0;
  }

  /**
   * Take over what the server sent of a run.
   * @param {number} number
   * @param {{version: number, payload: any, blob: string}} part
   */
  async put(number, { version, payload, blob }) {
    this.parts.set(number, { version, payload, arrays: await unpack(blob, payload.arrays) });
  }

  /**
   * The data of a page of all runs that have any.
   * @param {string} title
   */
  data(title) {
    const [before, now] = [this.shown, [...this.parts.keys()].sort((a, b) => a - b)];
    this.shown = now;
    const parts = now.map((number) => this.parts.get(number));
    const { formats, start, made } = parts[0].payload;
    return {
      runs: parts.map(({ payload, arrays }, index) => new Run(payload.runs[0], index, numbered(arrays, index))),
      findings: parts.flatMap(({ payload }, index) => payload.findings.map((finding) => ({ ...finding, run: index }))).sort(byHarm),
      formats, start, made, title,
      moved: (view) => movedView(view, before, now),
    };
  }
}

/** Arrays of a part under the names that the run of an index looks for. */
function numbered(arrays, index) {
  return new Map([...arrays].map(([name, array]) => [name.replace(/^0\./, `${index}.`), array]));
}

/** Worst first, as in a report. */
function byHarm(a, b) {
  return HARM.indexOf(a.level) - HARM.indexOf(b.level) || (b.score ?? 0) - (a.score ?? 0);
}

/**
 * What changes in a view when runs have joined: a run keeps its place in it, whatever its index.
 * @param {import("./state.mjs").View} view
 * @param {number[]} before numbers of the runs, by index
 * @param {number[]} now
 * @returns {Partial<import("./state.mjs").View>}
 */
export function movedView({ run, base, shown }, before, now) {
  const at = (index) => Math.max(0, now.indexOf(before[index]));
  const joined = now.filter((number) => !before.includes(number)).map((number) => now.indexOf(number));
  return { run: at(run), base: at(base), shown: [...shown.map(at), ...joined].sort((a, b) => a - b) };
}
