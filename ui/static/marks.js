// Saves, resumes and new epochs of the selected run, as marks on its loss chart.

import { curveColour, token } from "./palette.js";
import { get, run, state } from "./state.js";

const MOST = 200;
let marks = { key: "", list: [] };

/** Read them again when there may be new ones, then call `redraw`. */
export async function readMarks(redraw) {
  const one = run();
  if (!one || one.kind === "published") { marks = { key: "", list: [] }; return; }
  const key = [one.id, state.axis, one.attempt, one.status, one.phase === "saving" || one.phase === "sampling"].join();
  if (marks.key === key) return;
  marks = { key, list: marks.key.startsWith(`${one.id},${state.axis}`) ? marks.list : [] };
  const answer = await get("/api/marks", { run: one.id, x: state.axis }).catch(() => null);
  if (!answer || marks.key !== key) return;
  marks.list = answer.marks;
  redraw();
}

const newest = () => marks.list.slice(-MOST);

/** Ticks at the bottom of the chart that say on hover what was done there: a trace on an axis of its own, `MARK_AXIS`. */
export function markTrace(place) {
  const list = newest();
  return list.length ? [{ type: "scatter", mode: "markers", x: list.map((mark) => place(mark.x)), y: list.map(() => 0.02), yaxis: "y2", showlegend: false,
    cliponaxis: false, marker: { symbol: "line-ns", size: 9, line: { width: 2, color: curveColour(run()) } },
    customdata: list.map((mark) => `${mark.kind} at step ${mark.step.toLocaleString("en")}`), hovertemplate: "%{customdata}<extra></extra>" }] : [];
}

export const MARK_AXIS = { overlaying: "y", range: [0, 1], visible: false, fixedrange: true };

/** Dotted lines where the run was resumed; `place` turns their x into the chart's. */
export function markShapes(place) {
  return newest().filter((mark) => mark.kind === "resumed").map((mark) => ({
    type: "line", x0: place(mark.x), x1: place(mark.x), y0: 0, y1: 1, yref: "paper", line: { color: token("--muted"), width: 1, dash: "dot" },
    label: { text: "resumed", textposition: "end", yanchor: "top", textangle: 0, xanchor: "left", font: { size: 11, color: token("--muted") } } }));
}
