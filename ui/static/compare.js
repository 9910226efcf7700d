// Compare: the chosen runs on one chart. runs-table.js chooses them.

import { $, $$, fill, h, say } from "./dom.js";
import { MOST, chosen, own } from "./chosen.js";
import { fromSeries } from "./curves.js";
import { curveColour, token } from "./palette.js";
import { get, on, runById, state } from "./state.js";

const AGAIN_MS = 10000;
const TITLES = { bits: "bits per byte of unseen text", loss: "validation loss, nats per token" };
const held = new Map();
let what = "bits";
let asked = 0;
let readAt = 0;

export function mount() {
  for (const button of $$("#compare-what button")) {
    button.addEventListener("click", () => { what = button.dataset.what; draw(); });
  }
  on("tab", (tab) => tab === "compare" && load());
  on("runs", () => state.tab === "compare" && load());
  on("chosen", load);
  on("now", () => state.tab === "compare" && state.runs.some((one) => one.active) && Date.now() - readAt > AGAIN_MS && load());
  on("theme", () => state.tab === "compare" && draw());
  new ResizeObserver(() => state.tab === "compare" && held.size && draw()).observe($("#compare-figure"));
}

async function load() {
  const ticket = (asked += 1);
  readAt = Date.now();
  const ids = chosen();
  try {
    const curves = await Promise.all(ids.map((id) => get("/api/series", { run: id, x: "tokens", points: 600 })));
    if (ticket !== asked) return;
    held.clear();
    for (const answer of curves) held.set(answer.run, fromSeries(answer, 1));
    const many = own().length;
    say($("#compare-note"), !many ? "" : ids.length >= MOST ? `${MOST} runs at once, no more.` : "The published run had another tokenizer and corpus: its figures are here, its curve is not comparable.");
    draw();
  } catch (error) {
    say($("#compare-note"), error.message);
  }
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
