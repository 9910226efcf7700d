// What happened to the selected run, as marks on its loss chart: saves, resumes, spikes, changed settings, forks.

import { eventCursor } from "./feed.js";
import { curveColour, token } from "./palette.js";
import { get, run, state } from "./state.js";

const MOST = 300;
/** Marks with a line through the chart; the others are ticks at its foot. */
const LINED = ["resumed", "rolled back", "changed", "forked"];
const LINES = 20;
/** Share of the width that a word takes. */
const APART = 0.09;
const SYMBOLS = { spike: "triangle-up", "left out": "x", changed: "diamond", forked: "star" };
let marks = { key: "", list: [] };

/** Read them again when there may be new ones, then call `redraw`. */
export async function readMarks(redraw) {
  const one = run();
  if (!one || one.kind === "published") { marks = { key: "", list: [] }; return; }
  const key = [one.id, state.axis, one.attempt, one.status, one.phase === "saving" || one.phase === "sampling", eventCursor()].join();
  if (marks.key === key) return;
  marks = { key, list: marks.key.startsWith(`${one.id},${state.axis},`) ? marks.list : [] };
  const answer = await get("/api/marks", { run: one.id, x: state.axis }).catch(() => null);
  if (!answer || marks.key !== key) return;
  marks.list = answer.marks.sort((a, b) => a.x - b.x);
  redraw();
}

const newest = () => marks.list.slice(-MOST);

/** What a mark says. */
export const markWords = (mark) => `${mark.kind} at step ${mark.step.toLocaleString("en")}${mark.message ? `: ${mark.message}` : ""}`;

/** The marks around `x` of the chart. */
export const marksNear = (x, reach, place) => newest().filter((mark) => Math.abs(place(mark.x) - x) <= reach).slice(0, 4);

/** The next mark after `x`, or the one before where `by` is negative. */
export function nextMark(x, by, place) {
  const list = newest();
  return by > 0 ? list.find((mark) => place(mark.x) > x) : list.findLast((mark) => place(mark.x) < x);
}

/** Ticks at the bottom of the chart: a trace on an axis of its own, `MARK_AXIS`. */
export function markTrace(place) {
  const list = newest();
  const colour = list.length ? curveColour(run()) : "";
  return list.length ? [{ type: "scatter", mode: "markers", name: "events", x: list.map((mark) => place(mark.x)), y: list.map(() => 0.02), yaxis: "y2", cliponaxis: false, hoverinfo: "skip",
    marker: { symbol: list.map((mark) => SYMBOLS[mark.kind] || "line-ns"), size: 9, color: colour, line: { width: list.map((mark) => (SYMBOLS[mark.kind] ? 0 : 2)), color: colour } } }] : [];
}

export const MARK_AXIS = { overlaying: "y", range: [0, 1], visible: false, fixedrange: true };

/** Dotted lines where the run was resumed, changed or forked, with a word where there is room; `place` turns their x into the chart's. */
export function markShapes(place, shareOf) {
  let last = -1;
  return newest().filter((mark) => LINED.includes(mark.kind)).slice(-LINES).map((mark) => {
    const x = place(mark.x);
    const room = shareOf(x) - last > APART;
    if (room) last = shareOf(x);
    return { type: "line", x0: x, x1: x, y0: 0, y1: 1, yref: "paper", line: { color: token("--muted"), width: 1, dash: "dot" },
      ...(room ? { label: { text: mark.kind, textposition: "end", yanchor: "top", textangle: 0, xanchor: "left", font: { size: 11, color: token("--muted") } } } : {}) };
  });
}
