// Saves and resumes of the selected run, as marks on its loss chart.

import { token } from "./palette.js";
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

/** Plotly's shapes: a tick at the bottom for a save, a dotted line for a resume; `place` turns their x into the chart's. */
export function markShapes(place) {
  const upright = (mark, top, line) => ({ type: "line", x0: place(mark.x), x1: place(mark.x), y0: 0, y1: top, yref: "paper", line });
  return marks.list.slice(-MOST).map((mark) => (mark.kind === "resumed"
    ? { ...upright(mark, 1, { color: token("--muted"), width: 1, dash: "dot" }),
      label: { text: "resumed", textposition: "end", yanchor: "top", textangle: 0, xanchor: "left", font: { size: 11, color: token("--muted") } } }
    : upright(mark, 0.035, { color: token("--accent"), width: 2 })));
}
