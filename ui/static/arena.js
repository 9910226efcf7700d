// The blind arena: two answers to one prompt, whose they are is told after the vote. All texts are text nodes.

import { $, fill, h, say } from "./dom.js";
import { age, continuation } from "./format.js";
import { emit, get, send, state } from "./state.js";
import * as wanted from "./wanted.js";

const SIDES = { left: { key: "1", label: "Left is better" }, tie: { key: "0", label: "A tie" }, right: { key: "2", label: "Right is better" } };
const KEYS = Object.fromEntries(Object.entries(SIDES).map(([side, { key }]) => [key, side]));
let shown = null;
let busy = false;
let run = "";
let turn = 0;

export function mount() {
  document.addEventListener("keydown", (event) => {
    if (!here() || event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("input, select, textarea") || $("dialog[open]")) return;
    if (KEYS[event.key] && shown && !shown.done) { event.preventDefault(); vote(KEYS[event.key]); }
  });
}

const here = () => state.tab === "capsule" && state.capsule.room === "arena";

/** Draw the room; a pair that waits for its vote stays. */
export async function load() {
  fill($("#panel-capsule .pages"));
  if (!shown) await next();
  else if (!$("#arena .ring")) draw();
  await table();
}

async function next() {
  const mine = (turn += 1);
  busy = true;
  let answer;
  try {
    answer = await get("/api/arena/pair", { run });
  } catch (error) {
    if (mine === turn) problem(error.message);
    return;
  } finally {
    if (mine === turn) busy = false;
  }
  if (mine !== turn) return; // another choice was made meanwhile
  shown = answer.pair ? answer : null;
  draw();
}

function draw() {
  const choose = h("select", { "aria-label": "Whose answers", onchange: (event) => { run = event.target.value; next(); } },
    h("option", { value: "" }, "Answers of all runs"), state.runs.filter((one) => one.kind !== "published").map((one) => h("option", { value: one.id }, `Ages of ${one.name}`)));
  choose.value = run;
  fill($("#arena"), h("div", { class: "arena-top" }, h("p", { class: "note" }, "Two ages or runs answered the same prompt. Which answer is better? Whose they are is told after your vote. ", h("span", { class: "keys" }, "Keys: 1, 2, and 0 for a tie.")),
    h("label", { class: "field" }, choose)),
    shown ? ring() : h("div", { class: "empty" }, h("p", {}, "No two answers can be compared yet. The arena needs one prompt that two ages answered in different words: let a run train for a while.")),
    h("p", { class: "problem", role: "alert" }), h("section", { id: "standings", "aria-label": "Ratings" }));
}

function ring() {
  return h("div", { class: "ring" }, h("p", { class: "words asked" }, h("span", { class: "prompt" }, shown.prompt)),
    h("div", { class: "sides" }, contender("left"), contender("right")),
    h("div", { class: "row votes" }, Object.entries(SIDES).map(([side, { key, label }]) => h("button", { type: "button", class: "plain", "data-side": side, "aria-keyshortcuts": key, onclick: () => vote(side) },
      h("kbd", {}, key), label))));
}

const contender = (side) => h("article", { class: "contender", "data-side": side, "aria-label": side === "left" ? "The left answer" : "The right answer" },
  h("p", { class: "words" }, withoutPrompt(shown.prompt, shown[side])), h("div", { class: "whose", "aria-live": "polite" }));

/** An answer without its prompt: it begins with its first word, or goes on in the middle of the prompt's last one. */
function withoutPrompt(prompt, text) {
  const answer = continuation(prompt, text);
  return /^\s/.test(answer) || /\s$/.test(prompt) ? answer.trimStart() : `…${answer}`;
}

async function vote(winner) {
  if (busy || !shown || shown.done) return;
  busy = true;
  let answer;
  try {
    answer = await send("/api/arena/vote", { pair: shown.pair, winner });
  } catch (error) {
    shown = null;
    problem(error.message);
    after();
    return;
  } finally {
    busy = false;
  }
  shown.done = true;
  for (const side of ["left", "right"]) reveal(side, answer[side], winner);
  after();
  standings(answer);
}

/** In place of the votes the way to the next pair. */
function after() {
  fill($("#arena .votes"), h("button", { type: "button", class: "strong", onclick: async () => { await next(); await table(); $("#arena .votes button")?.focus(); } }, "Next pair"));
  $("#arena .votes button").focus();
}

function reveal(side, one, winner) {
  const card = $(`#arena .contender[data-side=${side}]`);
  card.classList.toggle("won", winner === side);
  const moved = `${one.moved > 0 ? "+" : one.moved < 0 ? "−" : "±"}${Math.abs(one.moved)}`;
  fill($(".whose", card), h("p", {}, h("b", {}, one.run_name), `, ${age(one.tokens)}`, h("br"), `Rated ${one.rating.toLocaleString("en")} (${moved})`),
    keepButton(one));
}

function keepButton(one) {
  const label = () => (one.exhibit ? "Kept: see it" : "Keep this");
  const made = h("button", { type: "button", class: "quiet", onclick: () => (one.exhibit ? emit("see", one.exhibit)
    : emit("keep", { sample: one, done: (exhibit) => { one.exhibit = exhibit; say(made, label()); } })) }, label());
  return made;
}

async function table() {
  try {
    standings(await get("/api/arena"));
  } catch (error) {
    problem(error.message);
  }
}

function standings({ votes, table: rows }) {
  if (!here()) return;
  wanted.tell(votes === 1 ? "1 vote" : `${votes.toLocaleString("en")} votes`);
  fill($("#standings"), rows.length ? [h("h2", {}, "Ratings"), h("div", { class: "wide-table" }, h("table", {}, h("thead", {}, h("tr", {}, ["", "Run", "Age", "Rating", "Votes"].map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, rows.slice(0, 100).map((one, place) => h("tr", {}, h("td", { class: "number" }, String(place + 1)), h("th", { scope: "row" }, one.run_name), h("td", {}, age(one.tokens)),
      h("td", { class: "number" }, one.rating.toLocaleString("en")), h("td", { class: "number" }, one.votes.toLocaleString("en"))))))),
  h("p", { class: "note" }, "Elo ratings: everybody begins with 1,000; a vote moves up to 24 points from one side to the other, more where it was not expected.")] : null);
}

function problem(sentence) {
  if (!$("#arena .problem")) draw();
  say($("#arena .problem"), sentence);
}
