// The loss over a run's whole life, as wide as the slider under it, with a cursor at each age that is looked at.

import { $, fill, h, say } from "./dom.js";
import { count, loss } from "./format.js";
import { curveColour } from "./palette.js";
import { runById } from "./state.js";

const [WIDTH, HEIGHT] = [1000, 100];
let drawn = "";
let scale = null;

/** Let a press or a drag on the curve choose an age; `choose` gets tokens. */
export function mount(choose) {
  const plot = $(".growing-curve .plot");
  const chosen = (event) => {
    const box = plot.getBoundingClientRect();
    if (scale && box.width) choose(scale.last * Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)));
  };
  plot.addEventListener("pointerdown", (event) => { plot.setPointerCapture(event.pointerId); chosen(event); });
  plot.addEventListener("pointermove", (event) => plot.hasPointerCapture(event.pointerId) && chosen(event));
}

/** The curves up to `last` tokens; drawn anew only when there is something new. */
export function draw({ curves, ages, run, attempt }, last) {
  const known = curves.map((one) => [one.val.length, one.train.length, one.train[one.train.length - 1]]);
  const signature = JSON.stringify([run, attempt, last, ages.length, known, document.body.classList.contains("dark")]);
  if (signature === drawn) return;
  drawn = signature;
  scale = scaleOf(curves, last);
  const none = !scale.points;
  $(".growing-curve").classList.toggle("bare", none);
  say($("#growing-legend"), none ? "Its curve appears here with its first steps." : legend(curves, ages));
  say($(".growing-curve .range"), none ? "" : `loss from ${loss(scale.high)} to ${loss(scale.low)}`);
  say($(".growing-curve .ends span:last-child"), `${count(scale.last)} tokens`);
  fill($(".growing-curve .plot"), h("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none" },
    h("path", { class: "ticks", d: ages.map((age) => `M${(WIDTH * age.tokens / scale.last).toFixed(1)} ${HEIGHT}v-5`).join("") }),
    curves.map((one, at) => lines(one, at < curves.length - 1))),
  h("i", { class: "cursor beside", hidden: true }, h("b")), h("i", { class: "cursor" }, h("b")));
}

function legend(curves, ages) {
  const what = curves.some((one) => one.train.length)
    ? "The curve is its loss: the strong line for text that it never reads in training, the faint one for what it reads." : "The curve is its loss for text that it never read in training.";
  return ages.length > 1 ? `${what} Press a place on it to see that age.` : what;
}

function lines(one, past) {
  const colour = curveColour(runById(one.run) || { colour: 0 });
  return ["train", "val"].map((kind) => h("polyline", { class: `${kind}${past ? " past" : ""}`, stroke: colour,
    points: one[kind].map((point) => place(point).map((value) => value.toFixed(1)).join(",")).join(" ") }));
}

/** Room for all that is shown; the wild first losses are let in, so that the fall is seen. */
function scaleOf(curves, last) {
  const points = curves.flatMap((one) => [...one.val, ...one.train]);
  const values = points.map((point) => point[1]).filter(Number.isFinite);
  const [low, high] = values.length ? [Math.min(...values), Math.max(...values)] : [0, 1];
  return { last: last || 1, low, high, points: values.length, curves };
}

const place = ([tokens, value]) => [WIDTH * tokens / scale.last, 6 + (HEIGHT - 16) * (1 - (value - scale.low) / (scale.high - scale.low || 1))];

/** The curve's height at an age: between its neighbours on the validation curve, or on the training curve before that begins. */
function heightAt(tokens) {
  for (const kind of ["val", "train"]) {
    for (const one of [...scale.curves].reverse()) {
      const curve = one[kind];
      const at = curve.findIndex((point) => point[0] >= tokens);
      if (at < 0 && curve.length && (kind === "train" || one === scale.curves[scale.curves.length - 1])) return place(curve[curve.length - 1])[1];
      if (at < 0 || (at === 0 && curve[0][0] > tokens && kind === "val")) continue;
      if (at === 0) return place(curve[0])[1];
      const [[x0, y0], [x1, y1]] = [curve[at - 1], curve[at]];
      return place([tokens, y0 + (y1 - y0) * (tokens - x0) / (x1 - x0 || 1)])[1];
    }
  }
  return HEIGHT / 2;
}

/** Put the cursors at the ages that are looked at; null hides the second. */
export function point(tokens, beside) {
  for (const [cursor, at] of [[".cursor:not(.beside)", tokens], [".cursor.beside", beside]]) {
    const mark = $(`.growing-curve ${cursor}`);
    mark.hidden = at === null;
    if (at === null) continue;
    mark.style.left = `${100 * at / scale.last}%`;
    $("b", mark).hidden = !scale.points;
    $("b", mark).style.top = `${heightAt(at)}%`;
  }
}
