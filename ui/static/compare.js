// Compare: every run in a table; the chosen ones on one chart, with the settings in which they differ.

import { $, $$, fill, h, say } from "./dom.js";
import { bits, count, duration, loss, speed, statusName } from "./format.js";
import { fromSeries } from "./curves.js";
import { curveColour, token } from "./palette.js";
import { get, on, runById, state, writeAddress } from "./state.js";

const MOST = 8;
const AGAIN_MS = 10000;
const TITLES = { bits: "bits per byte of unseen text", loss: "validation loss, nats per token" };
const held = new Map();
let figures = new Map();
let what = "bits";
let asked = 0;
let readAt = 0;

export function mount() {
  for (const button of $$("#compare-what button")) {
    button.addEventListener("click", () => { what = button.dataset.what; draw(); });
  }
  on("tab", (tab) => tab === "compare" && load());
  on("runs", () => state.tab === "compare" && load());
  on("now", () => state.tab === "compare" && state.runs.some((one) => one.active) && Date.now() - readAt > AGAIN_MS && load());
  on("theme", () => state.tab === "compare" && draw());
  on("chosen", () => { writeAddress(); if (state.tab === "compare") load(); });
  new ResizeObserver(() => state.tab === "compare" && held.size && draw()).observe($("#compare-figure"));
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
    const [table, ...curves] = await Promise.all([get("/api/compare", { differ: ids.join(",") }),
      ...ids.map((id) => get("/api/series", { run: id, x: "tokens", points: 600 }))]);
    if (ticket !== asked) return;
    figures = new Map(table.runs.map((row) => [row.id, row]));
    held.clear();
    for (const answer of curves) held.set(answer.run, fromSeries(answer, 1));
    rows(ids);
    differences(ids, table.differences);
    draw();
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

function draw() {
  for (const button of $$("#compare-what button")) button.setAttribute("aria-pressed", button.dataset.what === what);
  if (!window.Plotly) { setTimeout(draw, 100); return; }
  const shown = [...held].map(([id, curves]) => [runById(id), curves.e[what]]).filter(([one, curve]) => one && curve && curve.x.length);
  say($("#compare-empty"), !own().length ? "Your runs are laid over each other here. Start one on the Train tab."
    : !held.size ? "Choose runs in the table below." : shown.length ? "" : "The chosen runs have no evaluation yet.");
  const box = $("#compare-chart .plot");
  $("#compare-chart").hidden = !shown.length;
  fill($("#compare-figure .legend"), shown.map(([one]) => h("span", { class: "key", style: `--c:${curveColour(one)}` }, one.name)));
  if (!shown.length) return;
  const ink = token("--muted");
  const last = Math.max(...shown.map(([, curve]) => curve.x[curve.x.length - 1])) || 100; // a little room, so that a dot on the edge is whole
  const axis = { gridcolor: token("--line"), zeroline: false, linecolor: token("--line"), tickfont: { size: 11, color: ink } };
  window.Plotly.react(box, shown.map(([one, curve]) => ({
    type: "scatter", mode: curve.x.length < 60 ? "lines+markers" : "lines", x: curve.x, y: curve.y, name: one.name, showlegend: false,
    line: { color: curveColour(one), width: 2 }, marker: { size: 5 }, hovertemplate: "%{y:.4g}" })), {
    autosize: true, margin: { l: 56, r: 12, t: 8, b: 40 }, paper_bgcolor: "transparent", plot_bgcolor: "transparent", hovermode: "x unified",
    uirevision: what, datarevision: Math.random(), font: { family: token("--sans"), size: 12, color: token("--ink") },
    hoverlabel: { bgcolor: token("--surface"), bordercolor: token("--line"), font: { size: 12, color: token("--ink") } },
    xaxis: { ...axis, showgrid: false, tickformat: "~s", title: { text: "tokens", font: { size: 11, color: ink } }, range: [-0.012 * last, 1.012 * last], hoverformat: ".3s" },
    yaxis: { ...axis, title: { text: TITLES[what], font: { size: 11, color: ink }, standoff: 4 } },
  }, { displayModeBar: false, responsive: false });
}
