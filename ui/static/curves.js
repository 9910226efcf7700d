// The numbers behind the charts: unpacking what the server sends, growing a curve, smoothing it, its band, its spikes.
// No drawing here. A curve is {x, y}; one with `pairs` has a lowest and a highest value of each bucket, in turn.

/** Deviations from the smoothed curve, in medians of them, from which on a value is a spike. */
const SPIKE = 8;
const MOST_SPIKES = 40;

/** A packed rising column (series.py: pack) as plain numbers. */
export function unpack(packed) {
  if (Array.isArray(packed)) return packed;
  const values = [packed.from];
  if (packed.steps) for (const step of packed.steps) values.push(round(values[values.length - 1] + step));
  else for (let at = 1; at < packed.n; at += 1) values.push(round(packed.from + at * packed.by));
  return values;
}

const round = (value) => Math.round(value * 10) / 10;

/** A run's curves from an answer of /api/series; `place` turns its x into the chart's. */
export function fromSeries(answer, place) {
  const read = (table) => Object.fromEntries(Object.entries(table).map(([name, curve]) =>
    [name, { ...curve, x: unpack(curve.x).map(place), bad: curve.bad?.map(place) }]));
  return { ...answer, m: read(answer.m), s: read(answer.s), e: read(answer.e), grown: 0 };
}

/** Append an increment of /api/live. Rows beyond `limit` only move the cursor. */
export function extend(curves, news, place, limit) {
  for (const [table, rows] of [[curves.m, news.m], [curves.e, news.e]]) {
    if (!rows) continue;
    const x = unpack(rows.x).map(place);
    if (rows === news.m) { curves.rows += x.length; curves.grown += x.length; }
    for (const [name, y] of Object.entries(rows)) {
      if (name === "x") continue;
      const curve = (table[name] ||= { x: [], y: [] });
      for (const [at, value] of y.entries()) {
        if (x[at] > limit) continue;
        append(curve, x[at], value);
        if (table === curves.m) appendSmooth(curves, name, x[at], value);
      }
    }
  }
  if (news.at) curves.at = news.at;
}

function append(curve, x, value) {
  if (curve.pairs && value === null) { (curve.bad ||= []).push(x); return; }
  for (let times = curve.pairs ? 2 : 1; times; times -= 1) { curve.x.push(x); curve.y.push(value); }
}

/** About what the server will send when the curve is read again: the mean of what came last. */
function appendSmooth(curves, name, x, y) {
  const smooth = curves.s[name];
  if (!smooth || y === null) return;
  const last = smooth.y[smooth.y.length - 1] ?? y;
  smooth.x.push(x);
  smooth.y.push(last + (y - last) * Math.min(1, 2 / (curves.rows * curves.percent / 100 + 1)));
}

/** A curve smoothed: by the server, or, where every step is here, a centred moving average over `percent` of them (series.py: smooth). */
export function smoothed(curves, name = "loss") {
  if (!curves.whole || curves.part || !curves.percent) return curves.s[name] || curves.m[name] || { x: [], y: [] };
  const { x, y } = curves.m[name] || { x: [], y: [] };
  const half = Math.floor(Math.floor(y.length * curves.percent / 100) / 2);
  const total = [0];
  const known = [0];
  for (const value of y) {
    total.push(total[total.length - 1] + (value ?? 0));
    known.push(known[known.length - 1] + (value === null ? 0 : 1));
  }
  const mean = y.map((_, at) => {
    const reach = Math.max(Math.floor(half / 8), Math.min(half, at, y.length - 1 - at));
    const [from, to] = [Math.max(at - reach, 0), Math.min(at + reach + 1, y.length)];
    const number = known[to] - known[from];
    return number ? (total[to] - total[from]) / number : null;
  });
  return { x, y: mean };
}

/** The outline of what lies between the lowest and the highest value of each bucket, as closed parts with gaps between. */
export function band({ x, y }) {
  const outline = { x: [], y: [] };
  let top = [];
  let low = [];
  const close = () => {
    if (!top.length) return;
    if (outline.x.length) { outline.x.push(null); outline.y.push(null); }
    const points = [...top, ...low.reverse(), top[0]];
    for (const [at, value] of points) { outline.x.push(at); outline.y.push(value); }
    top = [];
    low = [];
  };
  for (let at = 0; at + 1 < y.length; at += 2) {
    if (y[at] === null || y[at + 1] === null) { close(); continue; }
    const rising = y[at + 1] >= y[at];
    top.push([x[rising ? at + 1 : at], Math.max(y[at], y[at + 1])]);
    low.push([x[rising ? at : at + 1], Math.min(y[at], y[at + 1])]);
  }
  close();
  return outline;
}

/** Values far from the smoothed curve, as strokes from there to them: where many curves leave no room for bands. */
export function spikes(curves, name) {
  const strokes = { x: [], y: [] };
  const { x, y } = curves.m[name] || { x: [], y: [] };
  const smooth = smoothed(curves, name);
  if (!smooth.x.length) return strokes;
  const off = y.map((value, at) => (value === null ? 0 : value - (valueAt(smooth, x[at]) ?? value)));
  const usual = [...off].map(Math.abs).sort((a, b) => a - b)[Math.floor(off.length / 2)];
  const found = [...off.keys()].filter((at) => Math.abs(off[at]) > SPIKE * usual && off[at] !== 0)
    .sort((a, b) => Math.abs(off[b]) - Math.abs(off[a])).slice(0, MOST_SPIKES).sort((a, b) => a - b);
  for (const at of found) {
    strokes.x.push(x[at], x[at], null);
    strokes.y.push(y[at] - off[at], y[at], null);
  }
  return strokes;
}

/** Where a loss was not a number: x, and a height at which a mark can be seen. */
export function broken(curve = { x: [], y: [] }) {
  const marks = { x: [], y: [] };
  const { x, y } = curve;
  let height = y.find((value) => value !== null) ?? 0;
  for (const [at, value] of y.entries()) {
    if (value !== null) height = value;
    else if (!curve.pairs) { marks.x.push(x[at]); marks.y.push(height); }
  }
  for (const place of curve.bad || []) {
    marks.x.push(place);
    marks.y.push(valueAt(curve, place) ?? height);
  }
  return marks;
}

/** The place in rising `x` of the value nearest to `at`; -1 for none. */
export function nearest(x, at) {
  if (!x.length) return -1;
  let low = 0;
  let high = x.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (x[middle] < at) low = middle + 1; else high = middle;
  }
  return low > 0 && at - x[low - 1] <= x[low] - at ? low - 1 : low;
}

/** The value of a curve at `at`, between two points on the line that joins them; null beyond its ends and in its gaps. */
export function valueAt({ x, y }, at) {
  const near = nearest(x, at);
  if (near < 0 || at < x[0] || at > x[x.length - 1]) return null;
  const other = x[near] <= at ? Math.min(near + 1, x.length - 1) : near - 1;
  if (y[near] === null || y[other] === null || x[near] === x[other]) return y[near];
  return y[near] + (y[other] - y[near]) * (at - x[near]) / (x[other] - x[near]);
}

/** Lowest and highest measured value around `at`: of its bucket, or of the one step there. */
export function measuredAt(curve, at) {
  const near = nearest(curve.x, at);
  if (near < 0) return null;
  if (!curve.pairs) return curve.y[near] === null ? null : [curve.y[near], curve.y[near]];
  const pair = [curve.y[near & ~1], curve.y[near | 1]];
  return pair.includes(null) || pair.includes(undefined) ? null : pair.sort((a, b) => a - b);
}
