// Compare: the settings in which the chosen runs differ, one column a run.

import { BESIDE, chosen } from "./chosen.js";
import { $, fill, h, say } from "./dom.js";
import { curveColour } from "./palette.js";
import { on, runById } from "./state.js";

let shown = "";

export function mount() {
  on("differences", ({ ids, found }) => draw(ids, found));
  on("theme", () => { shown = ""; });
}

const words = (value) => (value === null || value === undefined ? "–" : typeof value === "boolean" ? (value ? "yes" : "no")
  : Number.isInteger(value) && value >= 10000 ? value.toLocaleString("en") : String(value));

/** The value that most of them have, if more than one has it: the others stand out. */
function usual(values) {
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) || 0) + 1);
  const [value, most] = [...counts].reduce((best, one) => (one[1] > best[1] ? one : best));
  const tied = [...counts.values()].filter((count) => count === most).length > 1;
  return most > 1 && !tied ? value : undefined;
}

function draw(ids, found) {
  const runs = ids.map(runById).filter(Boolean);
  $("#differences").hidden = runs.length < 2;
  const signature = JSON.stringify([runs.map((one) => [one.id, one.name]), found]);
  if (signature === shown) return; // so that a refresh moves nothing
  shown = signature;
  const few = chosen().length > BESIDE ? `Of the first ${BESIDE}. ` : "";
  say($("#differ-note"), few + (found.length && runs.length > 2 ? "Bold is what most of them do not have." : ""));
  fill($("#differences table"), found.length
    ? [h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Setting"), runs.map((one) => h("th", { scope: "col" },
      h("span", { class: "dot", style: `background:${curveColour(one)}` }), one.name)))),
    h("tbody", {}, found.map((row) => {
      const most = runs.length > 2 ? usual(row.values) : undefined;
      return h("tr", {}, h("th", { scope: "row" }, row.label, h("code", {}, row.key)),
        row.values.map((value) => h("td", { class: most !== undefined && value !== most ? "number odd" : "number" }, words(value))));
    }))]
    : h("tbody", {}, h("tr", {}, h("td", {}, `None: the ${runs.length} chosen runs have the same settings.`))));
}
