// Where other modules lay something over the charts: a forecast, a forked run's parent. Kept apart so that nobody need import the charts for it.

const layers = [];
let again = () => {};

/**
 * Draw more on every chart: `layer(chart, axis, place)` returns {traces, shapes, annotations}, each a list for Plotly or missing, or nothing.
 * `chart` is the chart's id ("loss-chart", "compare-chart", ...), `axis` is steps, tokens, time or date; `place` turns steps, tokens, seconds
 * worked or seconds since 1970 into a value on that axis. Traces with `hoverinfo: "skip"` and without a legend suit best.
 */
export function addLayer(layer) {
  layers.push(layer);
  again();
}

/** Draw all charts again, for example because a layer has something new. */
export const redraw = () => again();

/** Who redraws. */
export function onRedraw(callback) {
  again = callback;
}

/** What all layers say about one chart. */
export function extras(chart, axis, place) {
  const all = { traces: [], shapes: [], annotations: [] };
  for (const layer of layers) {
    const found = layer(chart, axis, place) || {};
    for (const part of Object.keys(all)) all[part].push(...(found[part] || []));
  }
  return all;
}
