// Where the selected run is going: its final loss with a band (also on the chart), when it will be done, and how it
// stands beside the run before it and the published one.

import { addLayer, redraw } from "./chart-extras.js";
import { $, fill, h } from "./dom.js";
import { ahead, duration, isOpen, loss } from "./format.js";
import { curveColour } from "./palette.js";
import { get, on, run, state } from "./state.js";

const AGAIN_MS = 10000;
let shown = null;
let asked = "";
let askedAt = 0;

export function mount() {
  addLayer(layer);
  on("selected", () => { shown = null; asked = ""; draw(); look(); });
  on("now", look);
}

/** Ask when the run, its axis or its state has changed, and every ten seconds while it trains. */
async function look() {
  const one = run();
  if (!one || one.kind === "published") { shown = null; asked = ""; draw(); return; }
  const key = [one.id, one.attempt, one.status, one.val_step, state.axis].join();
  if (key === asked && (!isOpen(one) || Date.now() - askedAt < AGAIN_MS)) return;
  asked = key;
  askedAt = Date.now();
  const answer = await get("/api/forecast", { run: one.id, x: state.axis }).catch(() => null);
  if (!answer || asked !== key) return;
  shown = answer;
  draw();
  redraw();
}

function draw() {
  const place = $("#outlook");
  const one = run();
  if (!place) return;
  const lines = shown && one && shown.run === one.id ? sentences(one, shown) : [];
  place.hidden = !lines.length;
  const parts = JSON.stringify(lines);
  if (place.dataset.drawn === parts) return;
  place.dataset.drawn = parts;
  fill(place, h("h2", {}, "Where it is going"), h("dl", {}, lines.map(([label, value, more]) => [h("dt", {}, label), h("dd", {}, value, more ? h("small", {}, more) : null)])));
}

/** Label, value and explanation of each line. */
function sentences(one, { end, eta, why, beside }) {
  const lines = [];
  if (end) lines.push([isOpen(one) ? "Will end near" : "Would end near", loss(end.loss), `${loss(end.low)} to ${loss(end.high)} in 4 of 5 cases`]);
  else if (why && isOpen(one)) lines.push(["Will end near", "–", why]);
  if (eta && one.status === "running") {
    lines.push(["Done at", ahead(eta.seconds), eta.high - eta.low < 60 ? `in ${duration(eta.seconds)}` : `between ${ahead(eta.low)} and ${ahead(eta.high)}`]);
  }
  for (const other of beside) lines.push([`Beside ${other.name}`, ...besideWords(other)]);
  return lines;
}

/** "0.12 nats ahead", with what that compares. */
function besideWords({ tokens, time, comparable }) {
  const words = (nats) => (Math.abs(nats) < 0.005 ? "level" : `${Math.abs(nats).toFixed(2)} nats ${nats > 0 ? "ahead" : "behind"}`);
  const caution = comparable ? "" : ". Another text and tokenizer: a hint, no comparison";
  if (tokens === null) return [words(time), `after the same minutes${caution}`];
  return [words(tokens), `at the same tokens${time === null ? "" : `, ${words(time)} after the same minutes`}${caution}`];
}

/** The rest of the curve on the loss chart: dotted, in its band. */
function layer(chart, axis, place) {
  const one = run();
  if (chart !== "loss-chart" || !shown?.curve || !one || shown.run !== one.id || shown.x !== axis) return null;
  const { x, loss: middle, low, high } = shown.curve;
  const at = x.map(place);
  const colour = curveColour(one);
  const line = { type: "scatter", mode: "lines", showlegend: false, hoverinfo: "skip" };
  return { traces: [
    { ...line, x: [...at, ...[...at].reverse()], y: [...high, ...[...low].reverse()], fill: "toself", fillcolor: colour, opacity: 0.15, line: { width: 0 } },
    { ...line, x: at, y: middle, name: `${one.name} forecast`, line: { color: colour, width: 1.5, dash: "dot" } }] };
}
