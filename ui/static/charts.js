// The live charts: Plotly in our own boxes, so that zoom and hover survive every refresh.

import { $, $$, fill, h, say } from "./dom.js";
import { get, on, run, runById, state, writeAddress } from "./state.js";
import { count } from "./format.js";
import { broken, extend as grow, fromSeries, smoothed } from "./curves.js";
import { MARK_AXIS, markShapes, markTrace, readMarks } from "./marks.js";
import { curveColour, isDark, token } from "./palette.js";

const POINTS = 2000;
const AXES = {
  steps: { title: "steps", scale: 1, format: "~s", hover: ",d" },
  tokens: { title: "tokens", scale: 1, format: "~s", hover: ".3s" },
  time: { title: "minutes", scale: 1 / 60, format: "~f", hover: ".1f" },
};
const METRIC_CHARTS = { "rate-chart": "rate", "norm-chart": "norm", "speed-chart": "speed" };
const EVAL_CHARTS = { "ppl-chart": "perplexity", "accuracy-chart": "accuracy", "bits-chart": "bits" };
const held = new Map();
const loading = new Map();
const visible = new Set();
let first = null;
let drawing = false;
let dirty = new Set();

export function mount() {
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) visible[entry.isIntersecting ? "add" : "delete"](entry.target.dataset.chart);
    schedule();
  }, { rootMargin: "100px" });
  $$(".chart").forEach((figure) => watcher.observe(figure));
  new ResizeObserver(() => redraw()).observe($("#watch"));
  for (const button of $$("#axis button")) button.addEventListener("click", () => setAxis(button.dataset.axis));
  const menu = $("#compare");
  document.addEventListener("pointerdown", (event) => { if (!menu.contains(event.target)) menu.open = false; });
  menu.addEventListener("keydown", (event) => { if (event.key === "Escape" && menu.open) { menu.open = false; $("summary", menu).focus(); } });
  $("#reset-zoom").addEventListener("click", () => setZoom(null));
  on("selected", () => { first = load(); redraw(); });
  on("now", () => readMarks(redraw));
  on("runs", () => { choices(); load(); });
  on("theme", redraw);
  on("zoom", () => { held.clear(); load(); redraw(); });
  on("tab", (tab) => tab === "train" && redraw());
  whenPlotly(redraw);
}

/** When the curves of the first run are here. */
export const settled = () => first;

function whenPlotly(callback) {
  if (window.Plotly) callback();
  else setTimeout(() => whenPlotly(callback), 50);
}

/** The runs on the charts: the selected one first. */
function shown() {
  return [state.selected, ...state.compare].filter((id, at, all) => runById(id) && all.indexOf(id) === at);
}

/** What the page has, for /api/live. */
export function cursors() {
  return shown().filter((id) => held.has(id) && held.get(id).x === state.axis).map((id) => [id, held.get(id).attempt, ...held.get(id).at].join(":")).join(",");
}

/** New points from /api/live. */
export function extend(news, axis) {
  for (const [id, one] of Object.entries(news)) {
    const curves = held.get(id);
    if (one.again) { load(id, true); continue; }
    if (!curves || curves.x !== axis) continue;
    grow(curves, one, AXES[axis].scale, state.zoom ? state.zoom[1] : Infinity);
    // A thinned curve is read anew once it has grown by a tenth; a whole one when it becomes too long to send whole.
    const most = curves.whole ? POINTS - (curves.rows - curves.grown) : Math.max(POINTS / 4, curves.rows / 10);
    if (curves.grown > most) load(id, true);
    bare();
    redraw();
  }
}

/** Read whole curves of the runs shown that are not here yet, or of one again. */
async function load(id = null, anew = false) {
  const wanted = id ? [id] : shown().filter((one) => !held.has(one) || held.get(one).x !== state.axis);
  for (const one of wanted) {
    if (loading.has(one) && !anew) continue;
    const ticket = Symbol(one);
    loading.set(one, ticket);
    const axis = AXES[state.axis];
    try {
      const answer = await get("/api/series", {
        run: one, x: state.axis, points: POINTS,
        lo: state.zoom && state.zoom[0] / axis.scale, hi: state.zoom && state.zoom[1] / axis.scale });
      if (loading.get(one) === ticket && answer.x === state.axis) {
        held.set(one, fromSeries(answer, axis.scale));
        bare();
      }
    } catch (error) {
      console.warn(error.message);
    }
    if (loading.get(one) === ticket) loading.delete(one);
    redraw();
  }
}

function setAxis(axis) {
  state.axis = axis;
  readMarks(redraw);
  setZoom(null);
}

function setZoom(zoom) {
  state.zoom = zoom;
  writeAddress();
  for (const id of shown()) load(id, true);
  redraw();
}

/** Charts that have nothing to show say so in place of axes without a curve. */
function bare() {
  const ready = shown().every((id) => held.has(id));
  for (const figure of $$(".chart")) {
    const name = figure.dataset.chart;
    figure.classList.toggle("bare", ready && !shown().some((id) => hasPoints(name, held.get(id))));
  }
}

function hasPoints(name, { m, e }) {
  if (name === "loss-chart") return Boolean(m.loss || e.loss);
  if (name === "ppl-chart") return Boolean(e.perplexity || m.loss);
  return Boolean(m[METRIC_CHARTS[name]] || e[EVAL_CHARTS[name]]);
}

function redraw() {
  dirty = new Set($$(".chart").map((figure) => figure.dataset.chart));
  schedule();
}

function schedule() {
  if (drawing || state.tab !== "train" || !window.Plotly) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    toolbar();
    for (const name of dirty) {
      if (!visible.has(name)) continue;
      dirty.delete(name);
      draw(name);
    }
  });
}

function toolbar() {
  for (const button of $$("#axis button")) button.setAttribute("aria-pressed", button.dataset.axis === state.axis);
  $("#reset-zoom").hidden = !state.zoom;
  const published = shown().map(runById).filter((one) => one.kind === "published");
  const alone = published.length && state.selected === published[0].id;
  say($("#chart-note"), !published.length ? ""
    : alone ? "" : "Dashed: Blueberry-Nano. A different tokenizer and corpus: not comparable with your losses.");
}

function choices() {
  const order = (one) => (one.kind === "published" ? 0 : 1);
  const others = state.runs.filter((one) => one.id !== state.selected).sort((a, b) => order(a) - order(b)).slice(0, 30);
  fill($("#compare .choices"), others.map((one) => h("label", {},
    h("input", { type: "checkbox", checked: state.compare.has(one.id), onchange: (event) => {
      state.compare[event.target.checked ? "add" : "delete"](one.id);
      writeAddress();
      load();
      redraw();
    } }), h("span", { class: "dot", style: `background:${curveColour(one)}` }),
    h("span", {}, one.name), one.kind === "published" ? h("small", {}, "different tokenizer and corpus: not comparable") : null)));
  $("#compare").hidden = !others.length;
}

on("selected", choices);

function draw(name) {
  const box = $(`#${name} .plot`);
  const figure = box.closest(".chart");
  const runs = shown().filter((id) => held.has(id)).map((id) => [runById(id), held.get(id)]);
  const traces = runs.flatMap(([one, curves]) => tracesOf(name, one, curves, one.id === state.selected));
  if (name === "loss-chart" && traces.length) traces.push(...markTrace(markPlace));
  window.Plotly.react(box, traces, layout(name, traces), { displayModeBar: false, responsive: false, doubleClick: false });
  if (!box.dataset.listening) {
    box.dataset.listening = "yes";
    box.on("plotly_relayout", relayout);
    box.on("plotly_doubleclick", () => setZoom(null));
  }
  legend(figure, name, runs);
}

function relayout(change) {
  const range = change["xaxis.range"] || (change["xaxis.range[0]"] !== undefined && [change["xaxis.range[0]"], change["xaxis.range[1]"]]);
  if (range && String(range) !== String(axisRange())) setZoom(range.map((value) => (logAxis() ? 10 ** Number(value) : Number(value))));
}

function tracesOf(name, one, curves, selected) {
  const colour = curveColour(one);
  const dash = one.kind === "published" ? "dash" : "solid";
  const line = (curve, label, more = {}) => ({
    type: "scatter", mode: "lines", x: curve.x, y: curve.y, name: `${one.name} ${label}`.trim(), showlegend: false,
    line: { color: colour, width: 2, dash }, cliponaxis: Boolean(state.zoom), hovertemplate: "%{y:.4g}", ...more });
  if (name === "loss-chart") return lossTraces(one, curves, selected, line, colour);
  if (name in METRIC_CHARTS) {
    const curve = curves.m[METRIC_CHARTS[name]];
    return curve ? [line(curve, "", { line: { color: colour, width: 1.5, dash } })] : [];
  }
  const curve = curves.e[EVAL_CHARTS[name]];
  const traces = [];
  if (name === "ppl-chart" && curves.m.loss) {
    const { x, y } = smoothed(curves);
    traces.push(line({ x, y: y.map((value) => (value === null ? null : Math.exp(value))) }, "training, smoothed", { opacity: 0.35, line: { color: colour, width: 1.5 } }));
  }
  if (curve) traces.push(line(curve, one.kind === "published" ? "" : "validation", { mode: curve.x.length < 60 ? "lines+markers" : "lines", marker: { size: 5, color: colour } }));
  return traces;
}

function lossTraces(one, curves, selected, line, colour) {
  const traces = [];
  if (curves.m.loss && selected) traces.push(line(curves.m.loss, "each step", { opacity: isDark() ? 0.35 : 0.4, line: { color: colour, width: 1 } }));
  if (curves.m.loss) traces.push(line(smoothed(curves), "smoothed"));
  if (curves.e.loss) {
    const few = curves.e.loss.x.length < 80 && one.kind !== "published";
    traces.push(line(curves.e.loss, "validation", few
      ? { mode: "markers", marker: { size: 7, color: token("--surface"), line: { color: colour, width: 2 } } } : {}));
  }
  const marks = broken(curves.m.loss);
  if (marks.x.length) {
    traces.push(line(marks, "not a number", { mode: "markers", hovertemplate: "not a number",
      marker: { symbol: "x", size: 9, color: token("--bad") } }));
  }
  return traces;
}

function layout(name, traces) {
  const axis = AXES[state.axis];
  const one = run();
  const published = one && one.kind === "published";
  const wide = name === "loss-chart";
  const titles = { steps: published ? "micro-steps of 8,192 tokens" : "steps",
    tokens: !published ? "tokens" : wide ? "counted tokens (500 M), published as 1 B" : "counted tokens", time: "minutes" };
  const ink = token("--muted");
  const grid = { gridcolor: token("--line"), zeroline: false, linecolor: token("--line"), tickfont: { size: 11, color: ink }, automargin: false };
  return {
    uirevision: `${state.selected} ${state.axis}`, datarevision: Math.random(), showlegend: false, autosize: true,
    margin: { l: 52, r: 12, t: 8, b: wide ? 40 : 34 }, paper_bgcolor: "transparent", plot_bgcolor: "transparent",
    font: { family: token("--sans"), size: 12, color: token("--ink") }, hovermode: "x unified", dragmode: "zoom",
    shapes: wide ? markShapes(markPlace) : [], ...(wide ? { yaxis2: MARK_AXIS } : {}),
    hoverlabel: { bgcolor: token("--surface"), bordercolor: token("--line"), font: { size: 12, color: token("--ink") } },
    xaxis: { ...grid, showgrid: false, tickformat: axis.format, hoverformat: axis.hover, title: { text: titles[state.axis] + (logAxis() ? ", log scale" : ""), font: { size: 11, color: ink }, standoff: 8 },
      type: logAxis() ? "log" : "linear", range: axisRange(), autorange: false },
    yaxis: { ...grid, fixedrange: true, type: name === "ppl-chart" ? "log" : "linear", nticks: wide ? 7 : 5, autorange: true,
      rangemode: ["accuracy-chart", "speed-chart", "norm-chart"].includes(name) ? "tozero" : "normal", ...(name === "ppl-chart" ? logTicks(traces) : {}), ...(name === "rate-chart" ? fromZero(traces) : {}), tickformat: name === "accuracy-chart" ? "~%" : name === "speed-chart" ? "~s" : undefined },
  };
}

/** Where a mark's x lies on the axis. */
function markPlace(x) {
  const at = x * AXES[state.axis].scale;
  return logAxis() ? Math.max(at, 1e-3) : at;
}

/** A rate that never changes has no range of its own; Plotly would draw it from -1 to 1. */
function fromZero(traces) {
  const most = Math.max(0, ...traces.flatMap((trace) => trace.y));
  return most ? { autorange: false, range: [0, most * 1.08] } : {};
}

/** All charts have one horizontal range: everything shown, from 0. */
function extent() {
  const curves = shown().filter((id) => held.has(id)).flatMap((id) => [...Object.values(held.get(id).m), ...Object.values(held.get(id).e)]);
  const last = Math.max(0, ...curves.map((curve) => curve.x[curve.x.length - 1] ?? 0));
  const first = Math.min(...curves.flatMap((curve) => curve.x.find((x) => x > 0) ?? []));
  // A little room at both ends, so that a ring on the edge is drawn whole.
  return logAxis() ? [Math.min(first, last / 10) || 1, last * 1.1] : [-0.012 * (last || 100), 1.012 * (last || 100)];
}

/** The published run is a hundred times longer than a seedling: beside it both can be seen on a logarithmic axis only. */
function logAxis() {
  const kinds = shown().map((id) => runById(id).kind);
  return kinds.includes("published") && kinds.some((kind) => kind !== "published");
}

function axisRange() {
  const range = state.zoom || extent();
  return logAxis() ? range.map((value) => Math.log10(Math.max(value, 1e-3))) : range;
}

/** 1, 2 and 5 of each power of ten that the curves reach; Plotly's own are too many or unlabelled. */
function logTicks(traces) {
  const values = traces.flatMap((trace) => trace.y).filter((value) => value > 0);
  if (!values.length) return {};
  const [low, high] = [Math.log10(Math.min(...values)) - 0.1, Math.log10(Math.max(...values)) + 0.1];
  const steps = high - low > 3 ? [1] : high - low > 1.2 ? [1, 3] : [1, 2, 3, 5, 7];
  const ticks = [];
  for (let power = Math.floor(low); power <= high; power += 1) ticks.push(...steps.map((step) => step * 10 ** power));
  return { tickmode: "array", tickvals: ticks, ticktext: ticks.map((tick) => count(tick)) };
}

function legend(figure, name, runs) {
  const place = $(".legend", figure);
  const parts = runs.map(([one]) => `${one.id}${one.name}`).join() + document.body.className;
  if (place.dataset.drawn === parts) return;
  place.dataset.drawn = parts;
  const own = runs.some(([one]) => one.kind !== "published");
  fill(place, ...runs.map(([one]) => h("span", { class: one.kind === "published" ? "key dashed" : "key", style: `--c:${curveColour(one)}` }, one.name)),
    name === "loss-chart" && own ? h("span", { class: "how" }, "line: smoothed, faint: each step, rings: validation, ticks: saves") : null);
}

