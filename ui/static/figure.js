// What one chart shows, as Plotly wants it: traces and layout. Nothing is drawn here.

import { AXES, logTicks, timeTicks } from "./axes.js";
import { band, broken, smoothed, spikes } from "./curves.js";
import { curveColour, curveDash, faint, isDark, token } from "./palette.js";

/** With more runs than this a band around each would be a fog: spikes are strokes, and only the selected run's validation is drawn. */
export const FEW = 6;

/** What a chart shows: `m` is measured at each step, `e` at evaluations. */
export const KINDS = {
  loss: { title: "Loss", m: "loss", e: "loss", noisy: true },
  training: { title: "Training loss, nats per token", m: "loss", noisy: true },
  validation: { title: "Validation loss, nats per token", e: "loss" },
  perplexity: { title: "Perplexity", e: "perplexity", grown: true, log: true },
  accuracy: { title: "Accuracy", e: "accuracy", zero: true, format: "~%", linear: true },
  bits: { title: "Bits per byte of unseen text", e: "bits" },
  rate: { title: "Learning rate", m: "rate", zero: true },
  norm: { title: "Gradient norm", m: "norm", noisy: true, zero: true },
  speed: { title: "Speed, tokens per second", m: "speed", noisy: true, zero: true, format: "~s", linear: true },
};

/** The curves that must be here for a chart. */
export const needs = (kind) => [KINDS[kind].m, KINDS[kind].e, KINDS[kind].grown && "loss"].filter(Boolean);

/** The line of a run on a chart, [{x, y}, measured]: what a reader reads, and each step behind it where that is another curve. */
export function lineOf(kind, curves) {
  const { m, e, grown, noisy } = KINDS[kind];
  const measured = m && curves.m[m];
  if (noisy && measured) return curves.percent ? [smoothed(curves, m), measured] : [measured, measured];
  if (measured) return [measured, null];
  if (curves.e[e]) return [curves.e[e], null];
  return [grown && curves.m.loss ? exp(smoothed(curves)) : undefined, null];
}

/** Whether a run has anything on a chart. */
export const hasLine = (kind, { m, e }) => [m[KINDS[kind].m], e[KINDS[kind].e], KINDS[kind].grown && m.loss].some((curve) => curve?.x.length);

const exp = ({ x, y }) => ({ x, y: y.map((value) => (value === null ? null : Math.exp(value))) });

/** Traces of a chart; `runs` are [run, curves] pairs, the selected one first. */
export function tracesOf(kind, runs, { selected, zoomed }) {
  const few = runs.length <= FEW;
  const behind = [];
  const lines = [];
  for (const [run, curves] of runs) {
    const pen = penOf(run, few, zoomed);
    const measured = { run, curves, pen, few, selected: run.id === selected, behind, lines };
    if (KINDS[kind].m) stepTraces(kind, measured);
    else lines.push(...evaluated(kind, run, curves, pen, few));
  }
  return [...behind, ...lines.reverse()]; // the selected run's line is drawn last, over the others
}

function penOf(run, few, zoomed) {
  const colour = curveColour(run);
  return (curve, label, { width = few ? 2 : 1.5, opacity = 1, dash = curveDash(run), ...more } = {}) => ({
    type: "scatter", mode: "lines", x: curve.x, y: curve.y, name: `${run.name} ${label}`.trim(), meta: run.id, opacity, hoverinfo: "skip",
    line: { color: colour, width, dash }, cliponaxis: Boolean(zoomed), ...more });
}

function stepTraces(kind, { run, curves, pen, few, selected, behind, lines }) {
  const { m, noisy } = KINDS[kind];
  const colour = curveColour(run);
  const curve = curves.m[m];
  if (curve && (!noisy || !curves.percent)) lines.push(pen(curve, "each step", { width: noisy ? 1 : 1.5 }));
  else if (curve) {
    if (few && curve.pairs) behind.push({ ...pen(band(curve), "each step, lowest to highest", { width: 1, dash: "solid" }), fill: "toself",
      fillcolor: faint(colour, isDark() ? 0.16 : 0.12), line: { width: 1, color: faint(colour, isDark() ? 0.4 : 0.35) } });
    else if (few) behind.push(pen(curve, "each step", { width: 1, dash: "solid", opacity: isDark() ? 0.35 : 0.4 }));
    else behind.push(pen(spikes(curves, m), "spikes", { width: 1, dash: "solid", opacity: 0.8 }));
    lines.push(pen(smoothed(curves, m), "smoothed", m === "loss" ? {} : { width: 1.5 }));
  }
  if (m !== "loss") return;
  const evals = KINDS[kind].e && curves.e.loss;
  if (evals && (few || selected || run.kind === "published")) {
    const rings = evals.x.length < 80 && run.kind !== "published";
    lines.push(pen(evals, "validation", rings ? { mode: "markers", marker: { size: 7, color: token("--surface"), line: { color: colour, width: 2 } } }
      : { width: 1.5 }));
  }
  const marks = broken(curve);
  if (marks.x.length) lines.push(pen(marks, "not a number", { mode: "markers", marker: { symbol: "x", size: 9, color: token("--bad") } }));
}

function evaluated(kind, run, curves, pen, few) {
  const { e, grown } = KINDS[kind];
  const traces = [];
  if (grown && few && curves.m.loss) traces.push(pen(exp(curves.percent ? smoothed(curves) : curves.m.loss), "training", { opacity: 0.35, width: 1.5 }));
  const curve = curves.e[e];
  if (curve) traces.push(pen(curve, grown && run.kind !== "published" ? "validation" : "", { mode: curve.x.length < 60 ? "lines+markers" : "lines", marker: { size: 5, color: curveColour(run) } }));
  return traces;
}

/** Margins of every chart, in pixels: the crosshair must know where the axes are. */
export const marginOf = (wide) => ({ l: 52, r: 12, t: 8, b: wide ? 40 : 34 });

/** The layout of a chart: `x` is {axis, log, range, title}, `y` {log, range or null}. */
export function layoutOf(kind, traces, { x, y, wide, key }) {
  const { zero, format, linear } = KINDS[kind];
  const ink = token("--muted");
  const grid = { gridcolor: token("--line"), zeroline: false, linecolor: token("--line"), tickfont: { size: 11, color: ink }, automargin: false };
  const log = yLog(kind, y);
  const range = y.range && (log ? y.range.map(Math.log10) : y.range);
  return {
    uirevision: key, datarevision: Math.random(), showlegend: false, autosize: true, hovermode: false, dragmode: "zoom",
    margin: marginOf(wide), paper_bgcolor: "transparent", plot_bgcolor: "transparent",
    font: { family: token("--sans"), size: 12, color: token("--ink") },
    xaxis: { ...grid, showgrid: false, ...xTicks(x), title: { text: x.axis === "date" ? "" : x.title, font: { size: 11, color: ink }, standoff: 8 },
      type: x.axis === "date" ? "date" : x.log ? "log" : "linear", range: x.log ? x.range.map(Math.log10) : x.range, autorange: false },
    yaxis: { ...grid, fixedrange: true, type: log ? "log" : "linear", nticks: wide ? 7 : 5, rangemode: zero && !linear ? "tozero" : "normal",
      ...(log ? logTicks(...(y.range || ends(traces))) : {}), ...(zero && !log ? fromZero(traces) : {}), ...(range ? { range, autorange: false } : { autorange: !zero || log }),
      tickformat: log ? undefined : format },
  };
}

const xTicks = ({ axis, log, range }) => (axis === "time" && !log ? timeTicks(range) : axis === "time" ? { ticksuffix: " min" } : { tickformat: AXES[axis].format });

export const yLog = (kind, { log }) => Boolean(KINDS[kind].log || (log && !KINDS[kind].linear));

/** Lowest and highest positive value of all traces. */
function ends(traces) {
  let [low, high] = [Infinity, 0];
  for (const trace of traces) for (const value of trace.y) if (value > 0) { low = Math.min(low, value); high = Math.max(high, value); }
  return high ? [low, high] : [1, 10];
}

/** A rate that never changes has no range of its own; Plotly would draw it from -1 to 1. */
function fromZero(traces) {
  const [, most] = ends(traces);
  return { autorange: false, range: [0, most * 1.08] };
}
