/** The page of answers: read the data, put the sheets in place, keep them in step with the view. */

import { html, replace, visible } from "./dom.mjs";
import { createSheet } from "./sheet.mjs";
import { createBar, createHelp, listenToKeys } from "./sheet_bar.mjs";
import { VERDICTS, createSummary, tallyOf } from "./sheet_claims.mjs";
import { Store } from "./state.mjs";

const HOME = { sheet: "summary", verdict: "", hidden: "", zoom: "", sort: "" };

/** A view that the data can show, whatever an address asks for. */
function repaired(answers, view) {
  const keys = ["summary", ...answers.map(({ key }) => key)];
  const sheet = keys.includes(view.sheet) ? view.sheet : HOME.sheet;
  return { ...view, sheet, verdict: VERDICTS.includes(view.verdict) ? view.verdict : "" };
}

/** The heading, and how the claims stand. */
function createHead({ title, lede, answers }) {
  const claims = answers.flatMap((answer) => answer.claims);
  const counts = tallyOf(claims).filter(([, n]) => n).map(([verdict, n]) => `${n} ${verdict}`).join(", ");
  const sum = claims.length ? `Verdicts on ${claims.length} ${claims.length === 1 ? "claim" : "claims"}: ${counts}.` : "";
  return html("header", { class: "masthead" },
    html("p", { class: "kicker" }, claims.length ? "Studies of floating-point arithmetic" : "Questions about a model"),
    html("h1", {}, visible(title)),
    html("p", { class: "lede" }, visible(lede), lede && sum && " ", sum));
}

/** Draw what changed, once a frame, and go to the sheet that the view names when it is another. */
function animate({ store }, parts) {
  let [asked, at] = [false, HOME.sheet];
  const drawAll = () => {
    asked = false;
    for (const part of parts) part.update(store.view);
    if (store.view.sheet !== at) show(store.view.sheet);
    at = store.view.sheet;
  };
  const ask = () => {
    if (!asked) requestAnimationFrame(drawAll);
    asked = true;
  };
  store.listen(ask);
  addEventListener("resize", ask);
  drawAll();
}

/** Bring a sheet into view and mark it in the bar. */
function show(sheet) {
  const there = document.getElementById(sheet);
  if (there) there.scrollIntoView({ block: "start" });
  else scrollTo({ top: 0 });
  for (const link of document.querySelectorAll(".bar [data-sheet]")) {
    if (link.dataset.sheet === sheet) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}

/** Print in dark ink on paper, whatever the screen shows. */
function listenToPrinter(parts, store) {
  const root = document.documentElement;
  let theme = root.dataset.theme;
  const drawAll = () => parts.forEach((part) => part.update(store.view));
  addEventListener("beforeprint", () => {
    theme = root.dataset.theme;
    root.dataset.theme = "light";
    drawAll();
  });
  addEventListener("afterprint", () => {
    root.dataset.theme = theme;
    drawAll();
  });
}

/** Build the page. */
function start() {
  const payload = JSON.parse(document.getElementById("payload").textContent);
  const { answers, made } = payload;
  const context = { payload, store: new Store(HOME, (view) => repaired(answers, view)) };
  const summary = createSummary(context);
  const sheets = answers.map((answer) => createSheet(context, answer));
  const help = createHelp(answers.some(({ claims }) => claims.length));
  const foot = html("p", { class: "faint" }, `Page made by ${visible(made.by)} on ${visible(made.at)}. It holds every number to the last digit and shows four.`);
  const main = html("main", {}, createHead(payload), summary?.root, sheets.map(({ root }) => root), foot);
  replace(document.getElementById("page"), createBar(context, help), main, help.root);
  const parts = [summary, ...sheets].filter(Boolean);
  listenToKeys(context, help);
  listenToPrinter(parts, context.store);
  animate(context, parts);
  document.documentElement.dataset.ready = "yes";
}

try {
  start();
} catch (error) {
  replace(document.getElementById("page"), html("p", { class: "failure" }, `These answers could not be shown: ${error.message}`));
  throw error;
}
