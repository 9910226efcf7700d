// One line through all charts of a board, and what the curves are there: by mouse, finger or keys. The nearest curve is told first.

import { fill, h, say } from "./dom.js";
import { AXES } from "./axes.js";
import { measuredAt, nearest, valueAt } from "./curves.js";
import { marginOf, yLog } from "./figure.js";
import { percent, speed } from "./format.js";
import { swatch } from "./legend.js";
import { marksNear, nextMark, markWords } from "./marks.js";

/** Rows of the table, and runs in a spoken sentence. */
const [ROWS, SPOKEN] = [10, 4];
const NEAR_PX = 6;
const FAR = 10;

export class Crosshair {
  constructor(board) {
    this.board = board;
    this.x = null;
    this.readout = h("div", { class: "readout", "aria-hidden": "true", hidden: true });
    this.spoken = h("p", { class: "sr", "aria-live": "polite" });
    board.root.append(this.spoken);
  }

  /** Listen to one chart. */
  attach(chart) {
    const { box } = chart;
    chart.line = h("i", { class: "crosshair", hidden: true });
    box.parentElement.append(chart.line);
    const follow = (event) => {
      if (event.pointerType === "mouse" && event.buttons) return;
      this.later(() => this.point(chart, event.clientX, event.clientY));
    };
    box.addEventListener("pointermove", follow);
    box.addEventListener("pointerdown", (event) => event.pointerType !== "mouse" && follow(event));
    box.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && this.later(() => this.clear()));
    box.addEventListener("keydown", (event) => this.key(chart, event));
    box.addEventListener("blur", () => this.later(() => this.clear()));
  }

  /** Once a frame at most. */
  later(action) {
    if (!this.next) requestAnimationFrame(() => { const next = this.next; this.next = null; next(); });
    this.next = action;
  }

  point(chart, clientX, clientY) {
    const frame = this.frame(chart);
    if (!frame) return;
    const share = (clientX - frame.left) / frame.width;
    if (share < 0 || share > 1) { this.clear(); return; }
    this.x = this.board.xAt(share);
    this.show(chart, (clientY - frame.top) / frame.height);
  }

  /** Where a chart's axes are, in pixels of the window. */
  frame(chart) {
    const rect = chart.box.getBoundingClientRect();
    const margin = marginOf(chart.wide);
    const width = rect.width - margin.l - margin.r;
    const height = rect.height - margin.t - margin.b;
    return width > 0 && chart.lines ? { left: rect.left + margin.l, top: rect.top + margin.t, width, height, margin } : null;
  }

  show(chart, yShare = null) {
    const share = this.board.shareOf(this.x);
    for (const one of this.board.charts) {
      const frame = one.lines && this.frame(one);
      one.line.hidden = !frame || !(share >= 0 && share <= 1);
      if (one.line.hidden) continue;
      one.line.style.left = `${one.box.offsetLeft + frame.margin.l + share * frame.width}px`;
      one.line.style.top = `${one.box.offsetTop + frame.margin.t}px`;
      one.line.style.height = `${frame.height}px`;
    }
    const rows = this.rows(chart, yShare);
    this.table(chart, rows, share);
    return rows;
  }

  clear() {
    this.x = null;
    this.readout.hidden = true;
    for (const chart of this.board.charts) if (chart.line) chart.line.hidden = true;
  }

  /** After the charts were drawn anew. */
  refresh() {
    if (this.x !== null && this.chart?.lines) this.show(this.chart, this.share);
  }

  /** [run, value, measured] of each curve here, nearest to the pointer first, else to the selected run's. */
  rows(chart, yShare) {
    this.chart = chart;
    this.share = yShare;
    const found = (chart.lines || []).map(([run, line, measured]) => ({ run, value: line ? valueAt(line, this.x) : null, measured: measured && measured !== line ? measuredAt(measured, this.x) : null }))
      .filter((row) => row.value !== null && row.value !== undefined);
    const log = yLog(chart.kind(), { log: this.board.view().logy });
    const scale = log ? (value) => Math.log10(Math.max(value, 1e-12)) : (value) => value;
    const range = chart.box._fullLayout?.yaxis?.range;
    const own = found.find((row) => row.run.id === this.board.selected())?.value ?? found[0]?.value;
    const target = yShare !== null && range ? Number(range[1]) + yShare * (range[0] - range[1]) : scale(own);
    return found.sort((one, other) => Math.abs(scale(one.value) - target) - Math.abs(scale(other.value) - target));
  }

  table(chart, rows, share) {
    const kind = chart.kind();
    const raw = rows.some((row) => row.measured);
    const width = this.frame(chart)?.width || 1;
    const near = this.board.marks ? marksNear(this.x, NEAR_PX * this.board.xPerPixel(width), this.board.place) : [];
    fill(this.readout, h("b", {}, AXES[this.board.axis()].at(this.x)),
      h("table", {}, h("tbody", {}, rows.slice(0, ROWS).map(({ run, value, measured }) => h("tr", {}, h("td", {}, swatch(run)), h("th", {}, run.name), h("td", {}, reading(kind, value)),
        raw ? h("td", { class: "raw" }, measured ? between(kind, measured) : "") : null)))),
      rows.length > ROWS ? h("p", {}, `and ${rows.length - ROWS} more`) : null,
      near.map((mark) => h("p", { class: "mark" }, markWords(mark))));
    const home = chart.box.parentElement;
    if (this.readout.parentElement !== home) home.append(this.readout);
    this.readout.hidden = !rows.length && !near.length;
    this.readout.classList.toggle("left", share > 0.5);
    this.readout.style.left = share > 0.5 ? "" : `${chart.line.offsetLeft + 12}px`;
    this.readout.style.right = share > 0.5 ? `${home.clientWidth - chart.line.offsetLeft + 12}px` : "";
  }

  key(chart, event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const act = {
      ArrowLeft: () => this.step(chart, event.shiftKey ? -FAR : -1), ArrowRight: () => this.step(chart, event.shiftKey ? FAR : 1),
      ArrowUp: () => this.toMark(chart, 1), ArrowDown: () => this.toMark(chart, -1),
      "+": () => this.zoom(0.5), "=": () => this.zoom(0.5), "-": () => this.zoom(2),
      Home: () => { this.board.setZoom(null); say(this.spoken, "Everything is shown."); }, Escape: () => this.clear(),
    }[event.key];
    if (!act || (event.key === "Escape" && this.x === null)) return;
    event.preventDefault();
    act();
  }

  /** To the next point of the selected run's curve, or of the first one. */
  step(chart, by) {
    const lines = (chart.lines || []).filter(([, line]) => line?.x.length);
    const [, line] = lines.find(([run]) => run.id === this.board.selected()) || lines[0] || [];
    if (!line) return;
    const [low, high] = this.board.xRange();
    const first = nearest(line.x, low);
    const last = nearest(line.x, high);
    const at = this.x === null ? (by > 0 ? first : last) : Math.max(first, Math.min(last, this.beside(line.x, by)));
    this.x = Math.min(high, Math.max(low, line.x[at]));
    this.tell(chart);
  }

  /** The index `by` different places away: the two points of a bucket may share one. */
  beside(x, by) {
    let at = nearest(x, this.x);
    for (let left = Math.abs(by); left; left -= 1) {
      const from = x[at];
      while (x[at] === from && x[at + Math.sign(by)] !== undefined) at += Math.sign(by);
    }
    return at;
  }

  toMark(chart, by) {
    const mark = this.board.marks && nextMark(this.x ?? this.board.xRange()[by > 0 ? 0 : 1], by, this.board.place);
    if (!mark) { say(this.spoken, "No event there."); return; }
    this.x = this.board.place(mark.x);
    this.tell(chart, `${markWords(mark).replace(/\.$/, "")}. `);
  }

  tell(chart, before = "") {
    const rows = this.show(chart);
    const told = rows.slice(0, SPOKEN).map(({ run, value }) => `${run.name} ${reading(chart.kind(), value)}`);
    const more = rows.length > SPOKEN ? ` and ${rows.length - SPOKEN} more` : "";
    say(this.spoken, `${before}${AXES[this.board.axis()].at(this.x)}: ${told.join(", ")}${more}.`);
  }

  zoom(factor) {
    const share = this.x === null ? 0.5 : Math.max(0, Math.min(1, this.board.shareOf(this.x)));
    this.board.setZoom([this.board.xAt(share - share * factor), this.board.xAt(share + (1 - share) * factor)], factor > 1);
    say(this.spoken, factor < 1 ? "Closer." : "Farther.");
  }
}

/** A value as it is read. */
export function reading(kind, value) {
  if (kind === "accuracy") return percent(value);
  if (kind === "speed") return speed(value);
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString("en");
  return Math.abs(value) >= 0.1 ? value.toFixed(3) : String(Number(value.toPrecision(3)));
}

const between = (kind, [low, high]) => (low === high ? reading(kind, low) : `${reading(kind, low)} to ${reading(kind, high)}`);
