// Without outliers: the vertical range in which nearly all of the curves lie, and marks at the edge for what is beyond.

import { curveColour } from "./palette.js";

/** Shares of all drawn values below and above which they may be cut off. */
const [LOW, HIGH] = [0.005, 0.98];
const ROOM = 0.06;
/** Marks closer than this share of the width are one mark. */
const APART = 1 / 150;

/** {range, marks, text}: the range, traces of marks at its edges, and words about what is not shown; null for nothing to cut. */
export function clip(traces, runs, xRange, log) {
  const from = log ? Math.log10 : (value) => value;
  const back = log ? (value) => 10 ** value : (value) => value;
  const seen = traces.filter((trace) => trace.yaxis !== "y2");
  const points = seen.flatMap(({ x, y, meta }) => y.flatMap((value, at) =>
    (value === null || (log && value <= 0) || x[at] < xRange[0] || x[at] > xRange[1] ? [] : [{ x: x[at], y: from(value), meta }])));
  if (points.length < 20) return null;
  const sorted = points.map((point) => point.y).sort((a, b) => a - b);
  const [low, high] = [sorted[Math.floor(LOW * (sorted.length - 1))], sorted[Math.ceil(HIGH * (sorted.length - 1))]];
  const room = ROOM * (high - low || Math.abs(high) || 1);
  const [bottom, top] = [Math.max(low - room, sorted[0] - room), Math.min(high + room, sorted[sorted.length - 1] + room)];
  const beyond = points.filter((point) => point.meta && (point.y < bottom || point.y > top));
  if (!beyond.length) return null;
  const worst = beyond.reduce((one, other) => (Math.abs(other.y - (bottom + top) / 2) > Math.abs(one.y - (bottom + top) / 2) ? other : one));
  const edges = [["triangle-up", top, beyond.filter((point) => point.y > top)], ["triangle-down", bottom, beyond.filter((point) => point.y < bottom)]];
  return {
    range: [back(bottom), back(top)],
    marks: edges.filter(([, , list]) => list.length).map(([symbol, edge, list]) => edgeMarks(symbol, back(edge), thinned(list, xRange), runs)),
text: `cut off, marked at the edge: up to ${Number(back(worst.y).toPrecision(3)).toLocaleString("en")}`,
  };
}

function edgeMarks(symbol, edge, list, runs) {
  const colours = new Map(runs.map(([run]) => [run.id, curveColour(run)]));
  return { type: "scatter", mode: "markers", name: "beyond the edge", x: list.map((point) => point.x), y: list.map(() => edge), hoverinfo: "skip", cliponaxis: false,
    marker: { symbol, size: 8, color: list.map((point) => colours.get(point.meta) || "gray") } };
}

/** One mark where several of a run are too close to be told apart. */
function thinned(list, [low, high]) {
  const seen = new Set();
  return list.filter((point) => {
    const place = `${point.meta} ${Math.round((point.x - low) / ((high - low) * APART))}`;
    return !seen.has(place) && seen.add(place);
  });
}
