// One exhibit, whole, with an address of its own; here it is changed and taken out. All its texts are text nodes.

import { inWords, wishOf } from "./asked.js";
import { $, fill, h, say, shutByBackdrop } from "./dom.js";
import { mark } from "./categories.js";
import { age, continuation, date, loss } from "./format.js";
import { memorised } from "./judging.js";
import { keepForm } from "./keep.js";
import { picture } from "./picture.js";
import { replayPart } from "./replay.js";
import { keep as save } from "./save.js";
import { emit, get, on, send, state, writeAddress } from "./state.js";
import { explainSigns, marked } from "./texts.js";

let shown = null;
let closing = false;
let byChance = false;

export function mount() {
  const dialog = $("#exhibit");
  shutByBackdrop(dialog);
  dialog.addEventListener("close", () => {
    shown = null;
    fill(dialog);
    if (!closing && state.exhibit) { state.exhibit = 0; writeAddress(true); }
  });
  on("tab", follow);
  on("see", (id) => { emit("show", "capsule"); open(id); });
}

/** Open or close what the address says. */
function follow() {
  const wanted = state.tab === "capsule" ? state.exhibit : 0;
  const dialog = $("#exhibit");
  if (!wanted) {
    closing = true;
    dialog.close();
    closing = false;
  } else if (!shown || shown.exhibit.id !== wanted) load(wanted);
}

async function load(id) {
  let answer;
  try {
    answer = await get("/api/exhibit", { id });
  } catch (error) {
    answer = { problem: error.message };
  }
  if (state.exhibit !== id || state.tab !== "capsule") return;
  shown = answer.exhibit ? answer : null;
  if (shown && $("#exhibit").open) $("#exhibit").scrollTop = 0;
  fill($("#exhibit"), answer.exhibit ? whole() : missing(answer.problem));
  if ($("#exhibit").open) return;
  $("#exhibit").showModal();
  $("#exhibit").scrollTop = 0; // Close, at the end of a long text, has the focus; reading starts at the top
}

/** `chance`: it was not chosen, and another one can be had. */
export function open(id, chance = false) {
  byChance = chance;
  state.exhibit = id;
  writeAddress(true);
  load(id);
}

export function settings(one) {
  if (one.seed === null) return "The report does not give its settings.";
  return inWords(one);
}

/** Prompt and answer as they were said, hits of the search marked; the report of a published one may give a description only. */
export function said(one, query) {
  const rest = one.text ? marked(continuation(one.prompt, one.text, one.run_kind === "published"), query)
    : h("span", { class: "none" }, " ", marked(one.note, query));
  return h("p", { class: "words" }, h("span", { class: "prompt" }, marked(one.prompt, query)), rest);
}

/** The validation loss that was known when it spoke. */
export const lossThen = (one) => (Number.isFinite(one.val_loss) ? `loss ${loss(one.val_loss)} when last measured` : "before its loss was measured");

const button = (label, kind, onclick, more = {}) => h("button", { type: "button", class: kind, onclick, ...more }, label);
const close = () => $("#exhibit").close();

function missing(sentence) {
  return h("div", { class: "whole" }, h("h2", { id: "exhibit-title" }, "Not here"), h("p", {}, sentence),
    h("div", { class: "row" }, button("Close", "strong", close)));
}

function whole() {
  const { exhibit: one, curve } = shown;
  const { q } = state.capsule;
  const published = one.run_kind === "published";
  const pinned = one.place !== null;
  const again = replayPart(one);
  const actions = h("div", { class: "row" }, button("Close", "strong", close, { autofocus: true }),
    byChance ? button("Another", "plain", () => emit("another", one.id)) : null,
    published ? null : [one.source === "live" ? null : [button("Ask again", "plain", () => { close(); askAgain(one); }), again.button],
      button("Edit", "plain", edit), button("Remove", "quiet", confirm)],
    button(pinned ? "Take the pin off" : "Pin", "quiet", () => pin(!pinned)), button("Save as picture", "quiet", draw), button("Copy link", "quiet", copy));
  return h("article", { class: "whole" }, mark(one.category), h("h2", { id: "exhibit-title" }, marked(one.title, q)),
    said(one, q), explainSigns([one.prompt, one.text]),
    one.note && one.text ? h("p", { class: "note" }, marked(one.note, q)) : null,
    h("div", { class: "chips tagged" }, one.tags.map((tag) => button(tag, "tag", () => { close(); emit("tagged", tag); }, { "aria-label": `Show all tagged ${tag}` }))),
    one.text ? memorised(one.sample_id) : null,
    h("div", { class: "foot" }, miniature(curve, one), h("p", {}, h("b", {}, marked(one.run_name, q)), h("br"),
      published ? "published, December 2025" : `${age(one.tokens)}, ${lossThen(one)}, kept ${date(one.created_at)}`,
      one.source === "live" ? [h("br"), "Said while it trained: words only, cannot be asked again."] : null,
      h("br"), settings(one))), again.said, actions);
}

async function pin(pinned) {
  const { id } = shown.exhibit;
  try {
    await send("/api/pin", { exhibit: id, pinned });
  } catch (error) {
    $("#exhibit .whole").append(h("p", { class: "problem", role: "alert" }, error.message));
    return;
  }
  emit("kept");
  await load(id);
  $("#exhibit .strong")?.focus();
}

/** The exhibit as a picture for others. */
async function draw(event) {
  const { exhibit: one, curve } = shown;
  try {
    const address = URL.createObjectURL(await picture(one, curve));
    setTimeout(() => URL.revokeObjectURL(address), 60000);
    save(address, `exhibit-${one.id}.png`);
    say(event.target, "Saved");
  } catch (error) {
    say(event.target, error.message);
  }
}

/** A question in place of the buttons: nothing jumps, and Escape or the calm answer leaves all as it is. */
function confirm() {
  const row = $("#exhibit .whole > .row");
  const problem = h("p", { class: "problem", role: "alert" });
  const no = button("Leave it", "strong", () => redraw());
  row.replaceWith(h("div", { class: "ask-first", role: "group", "aria-label": "Remove this exhibit" },
    h("p", {}, h("b", {}, "Take it out of the time capsule? "),
      "Its title, category, tags and note go. What the model said stays among the run's samples and can be kept again."),
    problem, h("div", { class: "row" }, no, button("Remove it", "plain", () => remove(problem)))));
  no.focus();
}

async function remove(problem) {
  const { id, sample_id: sample } = shown.exhibit;
  try {
    await send("/api/remove", { exhibit: id });
  } catch (error) {
    say(problem, error.message);
    return;
  }
  close();
  emit("kept", { sample, exhibit: null });
}

function edit() {
  const form = keepForm({ heading: "How it is kept", headed: "exhibit-title", verb: "Save", leave: "Leave it as it was", what: shown.exhibit, left: redraw,
    saved: (id) => { emit("kept"); load(id); } });
  fill($("#exhibit"), form);
  $("#keep-title").focus();
}

function redraw() {
  fill($("#exhibit"), whole());
  $("#exhibit .strong").focus();
}

async function copy(event) {
  const done = await navigator.clipboard?.writeText(location.href).then(() => true, () => false);
  say(event.target, done ? "Link copied" : "The link is in the address bar");
}

export function askAgain(one) {
  emit("talk", wishOf(one));
}

/** Where a curve in miniature runs, 120 by 40, and the dot where the model was that old; null where there is no curve. */
export function pointsOf(curve, one) {
  const points = (curve || []).filter(([, value]) => value !== null);
  if (points.length < 2) return null;
  const last = points[points.length - 1][0];
  const values = points.map(([, value]) => value);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const place = ([tokens, value]) => [3 + (114 * tokens) / last, 5 + 30 * (1 - (value - low) / (high - low || 1))];
  const near = points.reduce((best, point) => (Math.abs(point[0] - one.tokens) < Math.abs(best[0] - one.tokens) ? point : best));
  return { places: points.map(place), dot: place(near) };
}

/** The run's loss in miniature, with a dot where it was that old. */
export function miniature(curve, one) {
  const found = pointsOf(curve, one);
  if (!found) return h("svg", { class: "miniature", viewBox: "0 0 120 40", "aria-hidden": "true" });
  const [x, y] = found.dot;
  return h("svg", { class: "miniature", viewBox: "0 0 120 40", role: "img", "aria-label": `Loss over the run's life, marked at ${age(one.tokens)}` },
    h("polyline", { points: found.places.map((place) => place.map((value) => value.toFixed(1)).join(",")).join(" ") }),
    h("circle", { cx: x.toFixed(1), cy: y.toFixed(1), r: 4 }));
}
