// The charts of the Train tab: the selected run and those it is compared with.

import { $, $$, fill, h, say } from "./dom.js";
import { Board } from "./board.js";
import { addLayer, onRedraw, redraw } from "./chart-extras.js";
import { axisButtons, closing, tellAxis, viewMenu } from "./chart-tools.js";
import { FEW } from "./figure.js";
import { legend, swatch } from "./legend.js";
import { readMarks } from "./marks.js";
import { boards } from "./boards.js";
import { on, runById, state, writeAddress } from "./state.js";
import { saveMenu } from "./save.js";

export { addLayer, redraw };

const KINDS = { "loss-chart": "loss", "ppl-chart": "perplexity", "accuracy-chart": "accuracy", "bits-chart": "bits", "rate-chart": "rate", "norm-chart": "norm", "speed-chart": "speed" };
/** As many as the server takes for one chart. */
const MOST = 200;
/** From so many runs on they can be searched by name. */
const MANY = 8;
let board = null;
let view = null;
let first = null;

export function mount() {
  const charts = $$(".chart").filter((figure) => figure.dataset.chart in KINDS).map((figure) => ({
    name: figure.dataset.chart, figure, kind: () => KINDS[figure.dataset.chart], wide: figure.classList.contains("wide") }));
  board = new Board({ root: $("#watch"), charts, runs: shown, selected: () => state.selected, seen: () => state.tab === "train", marks: true,
    zoom: { get: () => state.zoom, set: (zoom) => { state.zoom = zoom; } }, after });
  boards.push(board);
  onRedraw(() => boards.forEach((one) => one.redraw()));
  axisButtons($("#axis"));
  view = viewMenu();
  $("#compare").after(view, saveMenu(board));
  closing($("#compare")).addEventListener("toggle", choices);
  $("#reset-zoom").addEventListener("click", () => board.setZoom(null));
  on("selected", () => { first = board.load(); again(); });
  on("now", () => readMarks(() => board.redraw()));
  on("runs", again);
  on("zoom", again); // the back button
  on("view", again);
  on("theme", () => board.redraw());
  on("tab", (tab) => tab === "train" && again());
}

/** When the curves of the first run are here. */
export const settled = () => first;

/** The runs on the charts: the selected one first. */
function shown() {
  return [...new Set([state.selected, ...state.compare])].filter(runById).slice(0, MOST);
}

/** What the page has of runs that may have grown, for /api/live. */
export const cursors = () => board.cursors();
/** The selected run's metrics that are on the screen. */
export const wanted = () => [...board.wanted].join(",");
/** New points from /api/live. */
export const extend = (news, axis) => board.grow(news, axis);

function again() {
  choices();
  readMarks(() => board.redraw());
  board.load();
  board.redraw();
}

/** What stands around the charts. */
function after() {
  tellAxis($("#axis"));
  view.tell(board.logX());
  $("#reset-zoom").hidden = !state.zoom;
  const runs = board.all();
  const published = runs.find((one) => one.kind === "published");
  say($("#chart-note"), published && state.selected !== published.id ? "Dashed: Blueberry-Nano. A different tokenizer and corpus: not comparable with your losses." : "");
  const figure = $("#loss-chart").closest(".chart");
  legend($(".legend", figure), runs, state.hidden, words(runs), (ids) => { state.hidden = ids; writeAddress(); redraw(); });
}

function words(runs) {
  if (runs.every((one) => one.kind === "published")) return "";
  if (runs.length > FEW) return state.view.smooth ? "lines: smoothed, strokes: spikes" : "lines: each step";
  return state.view.smooth ? "line: smoothed, faint: each step, rings: validation, ticks: saves" : "line: each step, rings: validation, ticks: saves";
}

/** "Compare with": every other run, the published one first; drawn when it is open. */
function choices() {
  const others = state.runs.filter((one) => one.id !== state.selected && (!one.away || state.compare.has(one.id))).sort((a, b) => (b.kind === "published") - (a.kind === "published"));
  $("#compare").hidden = !others.length;
  const place = $("#compare .choices");
  if (!$("#compare").open) { fill(place); return; }
  const typed = $("input[type=search]", place)?.value || "";
  const focused = place.contains(document.activeElement) ? document.activeElement.dataset.run : null;
  const list = h("div", { class: "runs" });
  const show = (text) => {
    const found = others.filter((one) => one.name.toLowerCase().includes(text.toLowerCase()));
    fill(list, found.map(choice), found.length ? null : h("p", { class: "note" }, "No run has this in its name."));
    return found;
  };
  const search = h("input", { type: "search", "aria-label": "Find runs by name", placeholder: "Find by name", value: typed, oninput: () => show(search.value) });
  const every = (on) => { for (const one of show(search.value)) if (one.kind !== "published") state.compare[on ? "add" : "delete"](one.id); compared(); };
  fill(place, others.length >= MANY ? h("div", { class: "row" }, search, h("button", { type: "button", class: "quiet", onclick: () => every(true) }, "All"),
    h("button", { type: "button", class: "quiet", onclick: () => every(false) }, "None")) : null, list);
  show(typed);
  if (focused) $$("input", list).find((one) => one.dataset.run === focused)?.focus();
}

const choice = (one) => h("label", {},
  h("input", { type: "checkbox", "data-run": one.id, checked: state.compare.has(one.id), onchange: (event) => {
    state.compare[event.target.checked ? "add" : "delete"](one.id);
    compared();
  } }), swatch(one), h("span", {}, one.name), one.kind === "published" ? h("small", {}, "different tokenizer and corpus: not comparable") : null);

function compared() {
  writeAddress();
  again();
}
