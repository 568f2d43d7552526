/** The report: read the data that the file holds, and put the page together. */

import { contextOf, createPage } from "./assembly.mjs";
import { Run } from "./data.mjs";
import { html, replace } from "./dom.mjs";
import { unpack } from "./payload.mjs";

/** Text of a data element of the page. @param {string} id */
function dataOf(id) {
  return document.getElementById(id).textContent;
}

/** Build the page. */
async function start() {
  const payload = JSON.parse(dataOf("payload"));
  const arrays = await unpack(dataOf("blob"), payload.arrays);
  const runs = payload.runs.map((run, index) => new Run(run, index, arrays));
  const { formats, findings, title, made, start: begin } = payload;
  const page = createPage(contextOf({ runs, formats, findings, title, made, start: begin }));
  replace(document.getElementById("page"), ...page.roots);
  page.begin();
}

start().catch((error) => {
  replace(document.getElementById("page"), html("p", { class: "failure" }, `This report could not be shown: ${error.message}`));
  throw error;
});
