// What the benchmark looks at inside the page: the data that Plotly draws. Runs before the page's own scripts.

window.probe = (() => {
  const box = () => document.querySelector("#loss-chart .plot");
  const traces = () => (document.querySelector("#opening") ? [] : box()?.data || []);
  const runOf = (trace) => (trace.name || "").split(" ")[0];
  const curves = () => traces().filter((trace) => trace.mode !== "markers" && (trace.x || []).length > 1 && runOf(trace));
  const drawnRuns = () => new Set(curves().map(runOf)).size;

  /** Milliseconds of performance.now() when the frame in which `condition` held first was painted; null if never. */
  const painted = (condition, patience) => new Promise((done) => {
    const until = performance.now() + patience;
    const look = () => requestAnimationFrame(() => {
      if (performance.now() > until) done(null);
      else if (!condition()) look();
      else requestAnimationFrame(() => setTimeout(() => done(performance.now())));
    });
    look();
  });

  const range = () => box().layout.xaxis.range.map(Number);

  /** For each run the most points that one of its curves has in the range shown. */
  const pointsInside = ([low, high] = range()) => {
    const most = {};
    for (const trace of curves()) {
      const inside = Array.prototype.filter.call(trace.x, (x) => x >= low && x <= high).length;
      most[runOf(trace)] = Math.max(most[runOf(trace)] || 0, inside);
    }
    return most;
  };

  let released = 0;
  window.addEventListener("mouseup", () => { released = performance.now(); }, true);

  return {
    first: (count, patience) => painted(() => drawnRuns() >= count, patience),

      /** From the end of a zoom gesture until every curve has `times` as many points in the new range as `before` it. */
    zoomed: async (before, times, patience) => {
      const width = () => range()[1] - range()[0];
      const old = width();
      const at = await painted(() => {
        if (width() > 0.7 * old) return false;
        const now = pointsInside();
        return Object.keys(before).every((run) => now[run] >= times * Math.max(1, before[run]));
      }, patience);
      return at && at - released;
    },
    range, pointsInside, drawnRuns,

    /** Which points (run, x, y) are in the drawn data, and which places (run, x) have a mark for what was no number. */
    shows: async (points, holes, patience) => {
      const at = (trace, x, fits) => Array.prototype.some.call(trace.x || [], (value, place) => Math.abs(value - x) < 0.5 && fits(trace.y[place]));
      const look = () => [
        points.map(([run, x, y]) => traces().some((trace) => runOf(trace) === run && at(trace, x, (value) => Math.abs(value - y) < 1e-6))),
        holes.map(([run, x]) => traces().some((trace) => runOf(trace) === run && /not a number/.test(trace.name) && at(trace, x, () => true))),
      ];
      await painted(() => look().flat().every(Boolean), patience);
      return look();
    },

    /** What was asked of our server: path, milliseconds since the navigation, duration on the server, bytes. */
    requests: (part) => performance.getEntriesByType("resource").filter((one) => one.name.includes(part)).map((one) => ({
      path: one.name.replace(location.origin, "").slice(0, 60), at: one.requestStart, server: one.responseStart - one.requestStart,
      end: one.responseEnd, bytes: one.transferSize })),
    forget: () => performance.clearResourceTimings(),
  };
})();
performance.setResourceTimingBufferSize(10000);
