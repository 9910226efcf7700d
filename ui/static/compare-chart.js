// The chart of the Compare tab: any number of runs laid over each other.

import { $, $$, say } from "./dom.js";
import { Board } from "./board.js";
import { boards } from "./boards.js";
import { axisButtons, tellAxis, viewMenu } from "./chart-tools.js";
import { legend } from "./legend.js";
import { on, runById, state, writeAddress } from "./state.js";
import { saveMenu } from "./save.js";

/** Choices of the chart and the kind of figure behind each. */
const WHAT = { bits: "bits", loss: "validation", training: "training" };
let board = null;
let view = null;
let what = "bits";
let chosen = () => [];

/** `runs` tells the ids to show. */
export function mount(runs) {
  chosen = runs;
  const figure = $("#compare-figure");
  board = new Board({ root: figure, charts: [{ name: "compare-chart", figure, kind: () => WHAT[what], wide: true }], runs: () => chosen().filter(runById),
    selected: () => chosen()[0], seen: () => state.tab === "compare", zoom: { get: () => state.compareZoom, set: (zoom) => { state.compareZoom = zoom; } }, after });
  boards.push(board);
  for (const button of $$("#compare-what button")) button.addEventListener("click", () => { what = button.dataset.what; draw(); });
  axisButtons($("#compare-axis"));
  view = viewMenu();
  $("#compare-axis").after(view, saveMenu(board));
  $("#compare-all").addEventListener("click", () => board.setZoom(null));
  for (const event of ["view", "zoom"]) on(event, draw);
  on("theme", () => board.redraw());
  on("tab", (tab) => tab === "compare" && draw());
}

/** Read what is missing and draw. */
export function draw() {
  board.load();
  board.redraw();
}

/** Of runs that grow, read all again. */
export function refresh() {
  board.curves.again(chosen().filter((id) => runById(id)?.active));
  draw();
}

function after() {
  for (const button of $$("#compare-what button")) button.setAttribute("aria-pressed", String(button.dataset.what === what));
  tellAxis($("#compare-axis"));
  view.tell(board.logX());
  $("#compare-all").hidden = !state.compareZoom;
  const runs = board.all();
  const here = runs.every((run) => board.curves.get(run.id));
  const any = board.charts[0].lines?.some(([, line]) => line?.x.length);
  const own = state.runs.some((one) => one.kind !== "published");
  say($("#compare-empty"), !own ? "Your runs are laid over each other here. Start one on the Train tab."
    : !runs.length ? "Choose runs in the table below." : here && !any && !state.hidden.size ? "The chosen runs have no evaluation yet." : "");
  $("#compare-chart").classList.toggle("nothing", !any);
  legend($("#compare-figure .legend"), runs, state.hidden, "", (ids) => { state.hidden = ids; writeAddress(); board.redraw(); });
}
