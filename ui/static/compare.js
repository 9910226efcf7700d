// Compare: every run in a table; the chosen ones on one chart, with the settings in which they differ.

import { $, fill, h, say } from "./dom.js";
import { bits, count, duration, loss, speed, statusName } from "./format.js";
import * as chart from "./compare-chart.js";
import { curveColour } from "./palette.js";
import { get, on, runById, state, writeAddress } from "./state.js";

/** Runs on the chart, and runs whose settings are laid side by side. */
const [MOST, BESIDE] = [200, 8];
const AGAIN_MS = 10000;
let figures = new Map();
let asked = 0;
let readAt = 0;

export function mount() {
  chart.mount(chosen);
  on("tab", (tab) => tab === "compare" && load());
  on("runs", () => state.tab === "compare" && load());
  on("now", () => state.tab === "compare" && state.runs.some((one) => one.active) && Date.now() - readAt > AGAIN_MS && load());
}

const own = () => state.runs.filter((one) => one.kind !== "published");

/** The runs on the chart: those in the address, else the two newest. */
function chosen() {
  const wanted = state.chosen ? [...state.chosen] : own().slice(0, 2).map((one) => one.id);
  return wanted.filter((id) => runById(id) && runById(id).kind !== "published").slice(0, MOST);
}

async function load() {
  const ticket = (asked += 1);
  readAt = Date.now();
  const ids = chosen();
  try {
    chart.refresh();
    const beside = ids.slice(0, BESIDE);
    const table = await get("/api/compare", { differ: beside.join(",") });
    if (ticket !== asked) return;
    figures = new Map(table.runs.map((row) => [row.id, row]));
    rows(ids);
    differences(beside, table.differences);
  } catch (error) {
    say($("#compare-note"), error.message);
  }
}

function choose(id, wanted) {
  const ids = new Set(chosen());
  ids[wanted ? "add" : "delete"](id);
  state.chosen = ids;
  writeAddress();
  load();
}

function rows(ids) {
  const head = ["", "Run", "Status", "Parameters", "Tokens", "Validation loss", "Bits per byte", "Speed", "Time"];
  const number = (value) => h("td", { class: "number" }, value);
  const focused = document.activeElement?.dataset?.choose;
  fill($("#runs-table"), h("thead", {}, h("tr", {}, head.map((label) => h("th", { scope: "col" }, label || h("span", { class: "sr" }, "Show on the chart"))))),
    h("tbody", {}, state.runs.map((one) => {
      const more = figures.get(one.id) || {};
      const published = one.kind === "published";
      const box = published ? null : h("input", { type: "checkbox", "data-choose": one.id, "aria-label": `Show ${one.name} on the chart`,
        checked: ids.includes(one.id), disabled: !ids.includes(one.id) && ids.length >= MOST,
        onchange: (event) => choose(one.id, event.target.checked) });
      return h("tr", {}, h("td", {}, box && h("label", { class: "pick" }, box)), h("th", { scope: "row" }, h("span", { class: "dot", style: `background:${curveColour(one)}` }), one.name),
        h("td", {}, statusName(one)), number(count(one.parameters)), number(count(more.tokens ?? one.tokens)), number(loss(more.val_loss)),
        number(bits(more.bits)), number(speed(more.speed)), number(duration(more.seconds || NaN)));
    })));
  if (focused) $(`[data-choose="${CSS.escape(focused)}"]`)?.focus();
  const many = own().length;
  say($("#compare-note"), !many ? "" : ids.length >= MOST ? `${MOST} runs at once, no more.` : "The published run had another tokenizer and corpus: its figures are here, its curve is not comparable.");
}

function differences(ids, found) {
  $("#differences").hidden = ids.length < 2;
  const table = $("#differences table");
  const value = (one) => (one === null || one === undefined ? "–" : typeof one === "boolean" ? (one ? "yes" : "no") : String(one));
  fill(table, found.length
    ? [h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Setting"), ids.map((id) => h("th", { scope: "col" }, runById(id)?.name || id)))),
      h("tbody", {}, found.map((row) => h("tr", {}, h("th", { scope: "row" }, h("code", {}, row.key)), row.values.map((one) => h("td", { class: "number" }, value(one))))))]
    : h("tbody", {}, h("tr", {}, h("td", {}, "None: the chosen runs have the same settings."))));
}
