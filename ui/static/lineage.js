// The past of a forked run on its charts: the curves of the runs it comes from, faint, up to where each was left.

import { addLayer, redraw } from "./chart-extras.js";
import { unpack } from "./curves.js";
import { curveColour } from "./palette.js";
import { get, on, run, runById, state } from "./state.js";

const KINDS = {
  "loss-chart": [["m", "loss"], ["e", "loss"]], "ppl-chart": [["e", "perplexity"]], "accuracy-chart": [["e", "accuracy"]], "bits-chart": [["e", "bits"]],
  "rate-chart": [["m", "rate"]], "norm-chart": [["m", "norm"]], "speed-chart": [["m", "speed"]],
};
let past = { key: "", runs: [] };

export function mount() {
  addLayer(layer);
  for (const event of ["selected", "runs", "now"]) on(event, read);
}

/** Read once for each run and axis: what a run was before a fork does not change. */
async function read() {
  const one = run();
  const key = one?.parent_run_id ? `${one.id} ${state.axis}` : "";
  if (past.key === key) return;
  past = { key, runs: [] };
  if (!key) return;
  const answer = await get("/api/lineage", { run: one.id, x: state.axis }).catch(() => null);
  if (past.key !== key) return;
  if (!answer) { past = { key: "", runs: [] }; return; }
  past.runs = answer.past;
  redraw();
}

function layer(chart, axis, place) {
  read();
  if (!KINDS[chart] || past.key !== `${state.selected} ${axis}`) return null;
  return { traces: past.runs.flatMap((one) => KINDS[chart].flatMap(([table, name]) => trace(one, one[table][name], `${table}${name}`, place))) };
}

function trace(one, curve, label, place) {
  if (!curve) return [];
  const from = runById(one.run);
  return [{ type: "scatter", mode: "lines", x: unpack(curve.x).map(place), y: curve.y, name: `${one.name} before the fork`, meta: `past ${one.run} ${label}`,
    showlegend: false, hoverinfo: "skip", opacity: 0.55, line: { color: from ? curveColour(from) : "gray", width: 1.5, dash: "dot" } }];
}
