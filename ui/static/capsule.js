// The time capsule: exhibits as cards, searched on the server, fifty at a time. All their texts are text nodes.

import { $, $$, fill, h, options, say } from "./dom.js";
import { age, date, loss } from "./format.js";
import { emit, get, on, state } from "./state.js";

const MARKS = {
  good: ["The Good", "M4 10.5l4 4 8-9"], strange: ["The Strange", "M10 10c0-3 5-3 5 1s-7 6-10 2 1-10 6-9"],
  hallucination: ["The Hallucination", "M2 10c4-6 12-6 16 0-4 6-12 6-16 0M10 8.2v3.6"],
};
let page = 0;
let asked = 0;
let typing = 0;
let stale = true;

export function mount() {
  const search = $("#gallery-search input");
  search.addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(again, 200); });
  for (const name of ["#gallery-category", "#gallery-run"]) $(`${name} select`).addEventListener("change", again);
  on("tab", (tab) => { if (tab === "capsule" && stale) load(); });
  on("kept", () => { stale = true; });
  on("runs", filters);
  const dialog = $("#exhibit");
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
}

function filters() {
  options($("#gallery-category select"), [["", "All categories"], ...Object.entries(MARKS).map(([name, [label]]) => [name, label])]);
  options($("#gallery-run select"), [["", "All runs"], ...state.runs.map((one) => [one.id, one.name])]);
}

function again() {
  page = 0;
  load();
}

async function load() {
  const ticket = (asked += 1);
  filters();
  const query = { q: $("#gallery-search input").value, category: $("#gallery-category select").value, run: $("#gallery-run select").value, page };
  let answer;
  try {
    answer = await get("/api/exhibits", query);
  } catch (error) {
    say($("#capsule-count"), error.message);
    return;
  }
  if (ticket !== asked) return;
  stale = false;
  const searching = query.q || query.category || query.run;
  say($("#capsule-count"), answer.total === 1 ? "1 exhibit" : `${answer.total.toLocaleString("en")} exhibits`);
  fill($("#gallery"), answer.exhibits.length ? answer.exhibits.map((one) => card(one, answer.curves[one.run_id])) : h("p", { class: "empty" }, searching
    ? "No exhibit matches. Try fewer words, or all categories."
    : "Nothing is kept yet. Ask a model something on the Play tab, then press Keep this."));
  for (const words of $$("#gallery .words")) words.nextElementSibling.hidden = words.scrollHeight <= words.clientHeight + 2;
  pages(answer);
}

function pages({ total, page_size }) {
  const count = Math.ceil(total / page_size);
  const turn = (by) => { page += by; load(); $("#panel-capsule").scrollIntoView(); };
  fill($("#panel-capsule .pages"), count < 2 ? null : [
    h("button", { type: "button", class: "plain", disabled: page === 0, onclick: () => turn(-1) }, "Newer"),
    h("span", {}, `Page ${page + 1} of ${count}`),
    h("button", { type: "button", class: "plain", disabled: page >= count - 1, onclick: () => turn(1) }, "Older")]);
}

export function mark(category) {
  const [label, path] = MARKS[category] || [category, "M5 10h10M10 5v10"];
  return h("span", { class: `mark ${MARKS[category] ? category : "own"}` },
    h("svg", { viewBox: "0 0 20 20", "aria-hidden": "true" }, h("path", { d: path })), label);
}

function card(one, curve) {
  const published = one.run_kind === "published";
  const text = one.text || one.note;
  const words = h("p", { class: one.text ? "words" : "words none" }, text.trim().replace(/\n\s*\n\s*/g, "\n\n"));
  return h("article", { class: "exhibit", tabindex: "-1" }, mark(one.category), h("h2", {}, one.title),
    one.title.trim() === one.prompt.trim() ? null : h("p", { class: "prompt" }, one.prompt), words,
    h("button", { type: "button", class: "quiet read", hidden: true, onclick: () => open(one, curve) }, "Read on"),
    one.note && one.text ? h("p", { class: "note" }, one.note) : null,
    h("div", { class: "foot" }, miniature(curve, one), h("p", { title: settings(one) }, h("b", {}, one.run_name),
      h("br"), published ? "published, December 2025" : `${age(one.tokens)}, loss ${loss(one.val_loss ?? NaN)}`, h("br"),
      published ? "500 M tokens, counted" : date(one.created_at))),
    published ? null : h("button", { type: "button", class: "plain", onclick: () => askAgain(one) }, "Ask again"));
}

function settings(one) {
  if (one.seed === null) return "The report does not give its settings.";
  return `seed ${one.seed}, temperature ${one.temperature}, top-k ${one.top_k}, top-p ${one.top_p}, ${one.max_tokens} tokens at most`;
}

function open(one, curve) {
  const dialog = $("#exhibit");
  fill(dialog, h("div", { class: "whole" }, mark(one.category), h("h2", {}, one.title), h("p", { class: "prompt" }, one.prompt),
    h("p", { class: "words" }, one.text), one.note ? h("p", { class: "note" }, one.note) : null,
    h("div", { class: "foot" }, miniature(curve, one), h("p", {}, h("b", {}, one.run_name), h("br"), age(one.tokens), h("br"), settings(one))),
    h("div", { class: "row" }, h("button", { type: "button", class: "strong", autofocus: true, onclick: () => dialog.close() }, "Close"),
      one.run_kind === "published" ? null : h("button", { type: "button", class: "plain", onclick: () => { dialog.close(); askAgain(one); } }, "Ask again"))));
  dialog.showModal();
}

function askAgain(one) {
  emit("talk", { run: one.run_id, step: one.step, prompt: one.prompt, temperature: one.temperature, top_k: one.top_k,
    top_p: one.top_p, max_tokens: one.max_tokens, seed: one.seed });
}

/** The run's loss in miniature, with a dot where it was that old. */
function miniature(curve, one) {
  const points = (curve || []).filter(([, value]) => value !== null);
  if (points.length < 2) return h("svg", { class: "miniature", viewBox: "0 0 120 40", "aria-hidden": "true" });
  const last = points[points.length - 1][0];
  const values = points.map(([, value]) => value);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const place = ([tokens, value]) => [3 + (114 * tokens) / last, 5 + 30 * (1 - (value - low) / (high - low || 1))];
  const near = points.reduce((best, point) => (Math.abs(point[0] - one.tokens) < Math.abs(best[0] - one.tokens) ? point : best));
  const [x, y] = place(near);
  return h("svg", { class: "miniature", viewBox: "0 0 120 40", role: "img", "aria-label": `Loss over the run's life, marked at ${age(one.tokens)}` },
    h("polyline", { points: points.map((point) => place(point).map((value) => value.toFixed(1)).join(",")).join(" ") }),
    h("circle", { cx: x.toFixed(1), cy: y.toFixed(1), r: 4 }));
}
