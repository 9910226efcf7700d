// A board: charts that share their runs, their horizontal axis, a crosshair and a legend. Only what can be seen is drawn and read.

import { $, h, say } from "./dom.js";
import { AXES, backFrom, fromPlotly, placeOn } from "./axes.js";
import { Curves } from "./chart-data.js";
import { smoothed } from "./curves.js";
import { clip } from "./clip.js";
import { Crosshair } from "./crosshair.js";
import { extras } from "./chart-extras.js";
import { hasLine, KINDS, layoutOf, lineOf, needs, tracesOf, yLog } from "./figure.js";
import { MARK_AXIS, markShapes, markTrace } from "./marks.js";
import { strokes } from "./palette.js";
import { plotly } from "./plotly.js";
import { runById, state, writeAddress } from "./state.js";

/** Longer than this nobody waits for a chart to answer a gesture. */
const PATIENCE_MS = 100;
/** Between two attempts to get the script of the charts. */
const RETRY_MS = 5000;

const whenIdle = (callback) => (window.requestIdleCallback ? requestIdleCallback(callback, { timeout: PATIENCE_MS }) : setTimeout(callback, 20));

export class Board {
  /**
   * `charts` are {name, figure, kind(), wide}; `runs()` ids, the selected one first; `selected()` an
   * id; `seen()` whether the board is on the screen; `zoom` is {get, set} of [low, high] in steps, tokens or seconds, or null; `after()` is called once something was drawn.
   */
  constructor({ root, charts, runs, selected, seen, zoom, marks = false, after = () => {} }) {
    Object.assign(this, { root, charts, runs, selected, seen, zoom, marks, after });
    this.curves = new Curves((names) => this.redraw(names));
    this.dirty = new Set();
    this.visible = new Set();
    this.wanted = new Set(["loss"]);
    this.cross = new Crosshair(this);
    const watcher = new IntersectionObserver((entries) => this.sight(entries), { rootMargin: "100px" });
    for (const chart of charts) {
      chart.box = $(".plot", chart.figure);
      chart.note = h("span", { class: "cut", hidden: true });
      $("figcaption", chart.figure).append(chart.note);
      Object.entries({ tabindex: 0, role: "application", "aria-roledescription": "chart", "aria-label": KINDS[chart.kind()].title }).forEach(([name, value]) => chart.box.setAttribute(name, value));
      this.cross.attach(chart);
      watcher.observe(chart.figure);
    }
    new ResizeObserver(() => this.redraw()).observe(root);
  }

  view = () => state.view;
  axis = () => state.axis;
  place = (value) => placeOn(state.axis)(value);
  /** Runs whose curves are here and not hidden, as [run, curves]. */
  held = () => this.all().filter((run) => !state.hidden.has(run.id)).map((run) => [run, this.curves.get(run.id)]).filter(([, curves]) => curves);
  /** All runs of the board as they are drawn. */
  all = () => strokes(this.runs().map(runById), this.selected());

  sight(entries) {
    for (const entry of entries) {
      const chart = this.charts.find((one) => one.figure === entry.target);
      this.visible[entry.isIntersecting ? "add" : "delete"](chart);
    }
    this.load();
    this.schedule();
  }

  /** Read what is shown and not here; resolves when it is. */
  load() {
    if (!this.seen() || !this.runs().length) return Promise.resolve();
    for (const chart of this.visible) for (const name of needs(chart.kind())) this.wanted.add(name);
    return this.curves.want(this.runs(), this.look(this.zoom.get()));
  }

  look = (zoom) => ({ axis: state.axis, zoom, smooth: state.view.smooth, names: this.wanted });
  /** A range of the chart as it is kept: in steps, tokens or seconds. */
  kept = (range) => range.map((value) => Number(backFrom(state.axis)(value).toPrecision(12)));

  /** What is here of runs that may have grown since: those that are on, and those that ended since they were read. */
  cursors() {
    this.last = this.runs().filter((id) => !runById(id).active); // when the answer is here, all of these is here
    return this.curves.cursors(this.runs().filter((id) => runById(id).active || !this.curves.get(id)?.ended));
  }

  /** New points from a refresh; what could not be read before is asked for again. */
  grow(news, axis) {
    this.curves.grow(news, axis);
    for (const id of this.last || []) { const curves = this.curves.get(id); if (curves) curves.ended = true; }
    this.load();
    if (Object.keys(news).some((id) => this.visiblyNew(id, news[id]))) this.redraw();
  }

  /** Whether new points would change a pixel: ten of a million do not, unless they are evaluations, no numbers, or off the line. */
  visiblyNew(id, { again, m, e }) {
    const curves = this.curves.get(id);
    if (again || e || !curves || !curves.drawnTo) return true;
    const [low, high] = this.xRange();
    const { x } = curves.m.loss || { x: [] };
    if ((x[x.length - 1] - curves.drawnTo) / (high - low) > 0.5 / (this.charts[0].box.clientWidth || 1)) return true;
    const line = smoothed(curves).y.at(-1);
    const range = this.charts[0].box._fullLayout?.yaxis?.range;
    const height = range && !state.view.logy ? Math.abs(range[1] - range[0]) : Math.abs(line);
    return (m?.loss || []).some((value) => value === null || Math.abs(value - line) > height / 20);
  }

  /** Draw all charts anew, or those that show one of these curves. */
  redraw(names = null) {
    for (const chart of this.charts) if (!names || needs(chart.kind()).some((name) => names.includes(name))) this.dirty.add(chart);
    this.schedule();
  }

  schedule() {
    if (this.drawing || !this.seen()) return;
    if (!window.Plotly) {
      if (!this.retry) this.waiting ||= plotly().then(() => true, (error) => this.without(error)).finally(() => { this.waiting = null; }).then((here) => here && this.schedule());
      return;
    }
    this.drawing = true;
    requestAnimationFrame(() => {
      this.drawing = false;
      for (const chart of this.charts) this.bare(chart);
      const [chart, ...later] = this.charts.filter((one) => this.dirty.has(one) && this.visible.has(one));
      if (chart) { this.dirty.delete(chart); this.draw(chart); }
      if (later.length) whenIdle(() => this.schedule()); // the first one is painted before the others are drawn
      else if (chart) this.cross.refresh();
      this.after();
    });
  }

  /** The script of the charts did not come: said in their place, and asked for again while somebody looks. */
  without(error) {
    const { note } = this.charts[0];
    say(note, error.message);
    note.hidden = false;
    this.retry = setTimeout(() => { this.retry = 0; this.schedule(); }, RETRY_MS);
    return false;
  }

  draw(chart) {
    const runs = this.held();
    const kind = chart.kind();
    for (const [, curves] of runs) curves.drawnTo = curves.m.loss?.x.at(-1);
    chart.lines = runs.map(([run, curves]) => [run, ...lineOf(kind, curves)]);
    const { data, layout, cut } = this.figure(chart, runs);
    say(chart.note, cut?.text || "");
    chart.note.hidden = !cut;
    window.Plotly.react(chart.box, data, layout, { displayModeBar: false, responsive: false, doubleClick: false });
    chart.box.setAttribute("aria-label", this.describe(kind, runs));
    if (chart.listening) return;
    chart.listening = true;
    chart.box.on("plotly_relayout", (change) => this.relayout(change));
    chart.box.on("plotly_relayouting", (change) => this.relayouting(change));
    chart.box.on("plotly_doubleclick", () => this.setZoom(null));
  }

  /** What Plotly shall draw, and what was cut off. */
  figure(chart, runs = this.held()) {
    const kind = chart.kind();
    const traces = tracesOf(kind, runs, { selected: this.selected(), zoomed: this.zoom.get() });
    const log = { x: this.logX(), y: state.view.logy };
    const range = this.xRange();
    const more = extras(chart.name, state.axis, this.place);
    const lines = more.traces.filter((trace) => trace.mode === "lines" && !trace.fill);
    const cut = state.view.clip ? clip([...traces, ...lines], runs, range, yLog(kind, { log: log.y })) : null;
    const layout = layoutOf(kind, traces, { wide: chart.wide, key: `${this.selected()} ${state.axis} ${kind}`,
      x: { axis: state.axis, log: log.x, range, title: this.title(chart.wide) }, y: { log: log.y, range: cut?.range } });
    const marked = this.marks && chart.wide;
    const data = [...traces, ...(cut?.marks || []), ...more.traces, ...(marked && traces.length ? markTrace((x) => this.onAxis(x)) : [])];
    layout.shapes = [...(marked ? markShapes((x) => this.onAxis(x), (x) => this.shareOf(x)) : []), ...more.shapes];
    layout.annotations = more.annotations;
    if (marked) layout.yaxis2 = MARK_AXIS;
    return { data, layout, cut };
  }

  /** A chart that has nothing to show says so in place of axes without a curve; the small ones go. */
  bare(chart) {
    const names = needs(chart.kind());
    const curves = this.runs().map((id) => this.curves.get(id));
    const ready = curves.every((one) => one && names.every((name) => one.names.has(name)));
    chart.figure.classList.toggle("bare", ready && !curves.some((one) => hasLine(chart.kind(), one)));
  }

  describe(kind, runs) {
    const names = runs.slice(0, 3).map(([run]) => run.name).join(", ");
    const more = runs.length > 3 ? ` and ${runs.length - 3} more` : "";
    return `${KINDS[kind].title} of ${names || "no run"}${more} over ${AXES[state.axis].title}. Left and right read values, up and down go to events, plus and minus zoom, Home shows everything.`;
  }

  title(wide) {
    const published = runById(this.selected())?.kind === "published";
    const title = !published ? AXES[state.axis].title : state.axis === "steps" ? "micro-steps of 8,192 tokens"
      : state.axis !== "tokens" ? AXES[state.axis].title : wide ? "counted tokens (500 M), published as 1 B" : "counted tokens";
    return title + (this.logX() ? ", log scale" : "");
  }

  // The horizontal axis.

  /** The published run is a hundred times longer than a seedling: beside it both can be seen on a logarithmic axis only. */
  logX() {
    if (state.axis === "date") return false;
    if (state.view.logx !== null) return state.view.logx;
    const kinds = this.runs().map((id) => runById(id)?.kind);
    return kinds.includes("published") && kinds.some((kind) => kind !== "published");
  }

  onAxis(x) {
    return this.logX() ? Math.max(this.place(x), 1e-3) : this.place(x);
  }

  /** The part that is shown, in the chart's own numbers. */
  xRange() {
    const zoom = this.zoom.get();
    return zoom ? zoom.map((value) => this.onAxis(value)) : this.extent();
  }

  /** All charts have one horizontal range: everything shown, from 0, with a little room, so that a ring on the edge is drawn whole. */
  extent() {
    const range = this.ends();
    if (!this.zoom.get()) this.whole = range;
    return range;
  }

  ends() {
    const curves = this.held().flatMap(([, { m, e }]) => [...Object.values(m), ...Object.values(e)]).filter((curve) => curve.x.length);
    const last = Math.max(...curves.map((curve) => curve.x[curve.x.length - 1]));
    const first = Math.min(...curves.map((curve) => curve.x[0]));
    if (state.axis === "date") return curves.length ? [first - 0.012 * (last - first || 60000), last + 0.012 * (last - first || 60000)] : [Date.now() - 3600000, Date.now()];
    const end = curves.length ? last : 0;
    if (!this.logX()) return [-0.012 * (end || 100), 1.012 * (end || 100)];
    const positive = Math.min(...curves.map((curve) => curve.x.find((x) => x > 0) ?? Infinity));
    return [Math.min(positive, end / 10) || 1, (end || 100) * 1.1];
  }

  scale = (x) => (this.logX() ? Math.log10(Math.max(x, 1e-3)) : x);

  /** Where x lies between the ends of the axis, 0 to 1, and back. */
  shareOf(x) {
    const [low, high] = this.xRange().map(this.scale);
    return (this.scale(x) - low) / (high - low);
  }

  xAt(share) {
    const [low, high] = this.xRange().map(this.scale);
    const at = low + share * (high - low);
    return this.logX() ? 10 ** at : at;
  }

  xPerPixel = (width) => Math.abs(this.xAt(0.5 + 1 / width) - this.xAt(0.5));

  /** The part that a change of the layout shows, in the chart's own numbers; null where it is none of the axis. */
  rangeOf(change) {
    const found = change["xaxis.range"] || (change["xaxis.range[0]"] !== undefined && [change["xaxis.range[0]"], change["xaxis.range[1]"]]);
    return found ? found.map((value) => fromPlotly(value, state.axis, this.logX())) : null;
  }

  /** While a part is being marked its curves are on their way already. */
  relayouting(change) {
    const range = this.rangeOf(change);
    if (range) this.curves.foresee(this.runs(), this.look(this.kept(range)));
  }

  relayout(change) {
    const range = this.rangeOf(change);
    if (!range) return;
    const shown = this.xRange();
    const same = range.every((value, at) => Math.abs(value - shown[at]) <= 1e-9 * Math.abs(shown[1] - shown[0]));
    if (!same) this.setZoom(range);
  }

  /** Show a part, in the chart's own numbers, or everything; going `out` beyond everything is everything. */
  setZoom(range, out = false) {
    const [first, last] = out ? this.whole || this.extent() : [];
    const all = !range || (out && range[0] <= first && range[1] >= last);
    this.zoom.set(all ? null : this.kept(range));
    writeAddress();
    this.refine();
  }

  /** Draw the new part once, with its finer curves; where those take longer, what is here is drawn meanwhile. */
  async refine() {
    await Promise.race([this.load(), new Promise((done) => setTimeout(done, PATIENCE_MS))]);
    this.redraw();
  }
}
