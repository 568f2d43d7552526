/** The live page: the panels of a report, kept in step with runs that are still being recorded. */

import { createPage, contextOf } from "./assembly.mjs";
import { html, replace, visible } from "./dom.mjs";
import { Holdings } from "./live_data.mjs";
import { LinkError, createLink, delayAfter } from "./live_link.mjs";
import { createMark } from "./live_mark.mjs";
import { createQuiet } from "./live_quiet.mjs";

/**
 * @typedef {object} RunState what the server says of one run
 * @property {string} name
 * @property {number} version of its data, 0 before there are any
 * @property {string} phase waiting, recording, ended, interrupted or unreadable
 * @property {string} note
 * @property {number} n_steps
 * @property {number | null} last_step
 * @property {number | null} steps_per_s
 * @property {number | null} loss
 * @property {number | null} chunk_age_s
 */

/** Data held, page shown, and how both follow the server. */
class Live {
  constructor() {
    this.link = createLink(new URLSearchParams(location.search).get("token") ?? "");
    this.holdings = new Holdings();
    this.mark = createMark();
    this.quiet = createQuiet();
    this.context = null;
    this.page = null;
  }

  /** Ask once, and show what has changed. */
  async look() {
    const { runs } = await this.link.json("/state");
    document.title = runs.map((run) => visible(run.name)).join(" · ");
    const stale = runs.flatMap((run, number) => (run.version > 0 && run.version !== this.holdings.version(number) ? [number] : []));
    const parts = await Promise.all(stale.map((number) => this.link.json(`/runs/${number}`)));
    this.mark.show(runs);
    if (stale.length) await this.take(stale, parts);
    else if (!this.page) wait(runs, this.mark);
  }

  /** Take new data over, when the reader is not in the middle of something. */
  async take(numbers, parts) {
    for (const [i, number] of numbers.entries()) await this.holdings.put(number, parts[i]);
    await this.quiet.wait();
    const data = this.holdings.data(document.title);
    if (!this.page) this.open(data);
    else this.renew(data);
  }

  /** Put the page together, with the first data. */
  open(data) {
    this.context = contextOf(data);
    this.page = createPage(this.context);
    this.page.roots[0].querySelector(".bar.second").prepend(this.mark.root);
    replace(document.getElementById("page"), ...this.page.roots);
    this.page.begin();
  }

  /** Draw changed data; the view stays where the reader has put it. */
  renew({ runs, findings, made, title, moved }) {
    const { store, version } = this.context;
    const patch = moved(store.view);
    Object.assign(this.context, { runs, findings, made, title, version: version + 1 });
    store.home = { ...store.home, shown: runs.map((run) => run.index) };
    this.page.renew();
    store.renew(patch);
  }
}

/** Said while there is nothing to draw. */
function wait(runs, mark) {
  const line = (run) => html("p", {}, visible(run.note || `${run.name}: no recorded step can be read yet.`));
  replace(document.getElementById("page"), html("div", { class: "loading" }, mark.root, runs.map(line)));
}

/** Look again and again; after a failure less and less often. */
async function follow(live) {
  for (let failures = 0; ; ) {
    try {
      await live.look();
      failures = 0;
    } catch (error) {
      failures += 1;
      live.mark.fail(error.message, delayAfter(failures));
      if (!document.documentElement.dataset.ready) replace(document.getElementById("page"), html("div", { class: "loading" }, live.mark.root));
      if (!(error instanceof LinkError)) throw error;
    }
    await pause(delayAfter(failures), live.mark);
  }
}

/** Wait; not longer when the page is shown again, or when the reader asks. */
function pause(milliseconds, mark) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    document.addEventListener("visibilitychange", done);
    mark.onRetry(done);
  });
}

follow(new Live());
