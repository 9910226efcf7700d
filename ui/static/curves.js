// The numbers behind the charts: unpacking what the server sends, growing a curve, smoothing it. No drawing here.

/** A packed rising column (series.py: pack) as plain numbers. */
export function unpack(packed) {
  if (Array.isArray(packed)) return packed;
  const values = [packed.from];
  if (packed.steps) for (const step of packed.steps) values.push(round(values[values.length - 1] + step));
  else for (let at = 1; at < packed.n; at += 1) values.push(round(packed.from + at * packed.by));
  return values;
}

const round = (value) => Math.round(value * 10) / 10;

/** A run's curves from an answer of /api/series. */
export function fromSeries(answer, scale) {
  const read = (table) => Object.fromEntries(Object.entries(table).map(([name, curve]) =>
    [name, { x: unpack(curve.x).map((value) => value * scale), y: curve.y }]));
  return { ...answer, m: read(answer.m), e: read(answer.e), grown: 0 };
}

/** Append an increment of /api/live; says whether anything was appended. Rows beyond `limit` only move the cursor. */
export function extend(curves, news, scale, limit) {
  for (const [table, rows] of [[curves.m, news.m], [curves.e, news.e]]) {
    if (!rows) continue;
    const x = unpack(rows.x).map((value) => value * scale);
    if (rows === news.m) { curves.rows += x.length; curves.grown += x.length; }
    for (const [name, y] of Object.entries(rows)) {
      if (name === "x") continue;
      const curve = (table[name] ||= { x: [], y: [] });
      for (const [at, value] of y.entries()) {
        if (x[at] > limit) continue;
        curve.x.push(x[at]);
        curve.y.push(value);
        if (name === "loss" && table === curves.m && !curves.whole) grow(curves, x[at], value);
      }
    }
  }
  if (news.at) curves.at = news.at;
}

function grow(curves, x, y) {
  const smooth = curves.m.smooth;
  if (!smooth || y === null) return;
  const last = smooth.y[smooth.y.length - 1];
  smooth.x.push(x);
  smooth.y.push(last + (y - last) * (2 / (curves.span + 1)));
}

/** Centred moving average over about a fortieth of the points (series.py: smooth has the same rule). */
export function smoothed(curves) {
  if (!curves.whole) return curves.m.smooth || { x: [], y: [] };
  const { x, y } = curves.m.loss || { x: [], y: [] };
  const half = Math.floor(Math.min(Math.floor(y.length / 40), 5000) / 2);
  const total = [0];
  const known = [0];
  for (const value of y) {
    total.push(total[total.length - 1] + (value ?? 0));
    known.push(known[known.length - 1] + (value === null ? 0 : 1));
  }
  const mean = y.map((_, at) => {
    const reach = Math.min(half, at, y.length - 1 - at);
    const number = known[at + reach + 1] - known[at - reach];
    return number ? (total[at + reach + 1] - total[at - reach]) / number : null;
  });
  return { x, y: mean };
}

/** Where a loss was not a number: x, and a height at which a mark can be seen. */
export function broken({ x, y } = { x: [], y: [] }) {
  const marks = { x: [], y: [] };
  let height = y.find((value) => value !== null) ?? 0;
  for (const [at, value] of y.entries()) {
    if (value === null) { marks.x.push(x[at]); marks.y.push(height); } else height = value;
  }
  return marks;
}
