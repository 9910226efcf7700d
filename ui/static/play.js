// Play: ask a run of any age, watch the answer come, keep what is on the screen.

import { $, $$, fill, h, options, say } from "./dom.js";
import { age } from "./format.js";
import { emit, get, on, run, runById, state } from "./state.js";

let ages = [];
let asked = null;
let asking = false;
let sample = null;
let goTo = () => {};

export function mount({ show }) {
  goTo = show;
  const who = $("#play-run select");
  who.addEventListener("change", () => readAges(who.value));
  on("runs", people);
  on("selected", people);
  on("tab", (tab) => tab === "play" && people());
  on("talk", (wish) => talk(wish));
  for (const dial of $$(".dial")) {
    const input = $("input", dial);
    input.addEventListener("input", () => say($("output", dial), input.value));
  }
  $("#prompt textarea").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    if (!asking) $("#generate").click();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && asking && state.tab === "play") $("#cancel").click();
  });
  $("#archive").addEventListener("click", keep);
  busy(false);
}

/** Runs that can be asked, and the ages of the chosen one. */
function people() {
  const who = $("#play-run select");
  const own = state.runs.filter((one) => one.kind !== "published");
  options(who, own.length ? own.map((one) => [one.id, one.name]) : [["", "No model yet: start one on the Train tab"]]);
  if (run() && run().kind !== "published" && !who.dataset.chosen) who.value = state.selected;
  $("#generate").disabled = !own.length;
  readAges(who.value);
}

async function readAges(id, wanted = null) {
  const select = $("#play-age select");
  if (!id) return options(select, [["", "–"]]);
  const facts = state.tab === "play" ? await get("/api/run", { run: id }).catch(() => null) : null;
  if (!facts || $("#play-run select").value !== id) return;
  ages = facts.ages;
  const newestFirst = [...ages].reverse();
  options(select, ages.length
    ? [["-1", `Newest: ${age(newestFirst[0].tokens)}`], ...newestFirst.map((one) => [String(one.step), `${age(one.tokens)}, step ${one.step.toLocaleString("en")}`])]
    : [["-1", "Nothing saved yet"]]);
  if (wanted !== null && ages.some((one) => one.step === wanted)) select.value = String(wanted);
}

/** What Generate sends. */
export function question() {
  const dial = (name) => Number($(`[data-dial=${name}] input`).value);
  asked = {
    run: $("#play-run select").value, step: Number($("#play-age select").value || -1),
    prompt: $("#prompt textarea").value || $("#prompt textarea").placeholder, max_tokens: dial("max_tokens"),
    token: crypto.randomUUID?.() || String(Math.random()), temperature: dial("temperature"), top_k: dial("top_k"), top_p: dial("top_p"), seed: Number($("#seed input").value || 0),
  };
  asking = true;
  sample = null;
  offerKeeping();
  busy(true);
  const continuation = h("span", { class: "continuation" });
  fill($("#output"), h("p", { class: "words" }, h("span", { class: "prompt" }, asked.prompt), continuation));
  say($("#answer-facts"), "Waking the model");
  return [JSON.stringify(asked)];
}

/** One piece of the answer, as Gradio streams it; the last one can arrive after `answered`. */
export function heard(value) {
  if (!value || !asked) return;
  const piece = JSON.parse(value);
  const place = $("#output .continuation");
  if (!place || (piece.finish === "" && !asking)) return;
  say(place, piece.text);
  $("#no-letter").hidden = !piece.text.includes("\ufffd");
  const runs = runById(asked.run);
  const parts = [`${piece.new_tokens} tokens`, piece.tokens_per_second ? `${Math.round(piece.tokens_per_second)} tok/s` : null,
    runs ? runs.name : null, piece.tokens === undefined ? null : age(piece.tokens), `seed ${asked.seed}`,
    { length: "ended at the length you set", end: "ended by itself", context: "ended where its context was full", cancelled: "cancelled" }[piece.finish]];
  say($("#answer-facts"), parts.filter(Boolean).join(" · "));
  if (piece.finish) busy(false);
  if (piece.sample_id) {
    sample = { id: piece.sample_id, prompt: asked.prompt, text: piece.text };
    offerKeeping();
  }
}

export function answered() {
  if (!sample && $("#output .continuation")?.textContent === "") {
    fill($("#output"), h("p", { class: "empty" }, "No answer this time."));
    say($("#answer-facts"), "");
  }
  busy(false);
}

export function cancelling() {
  $("#cancel").disabled = true;
  return [asked ? asked.token : ""];
}

function busy(value) {
  asking = value;
  document.body.classList.toggle("asking", value);
  $("#output").setAttribute("aria-busy", value);
  $("#cancel").disabled = !value;
}

function offerKeeping() {
  const button = $("#archive");
  button.hidden = !sample;
  button.disabled = false;
  say(button, "Keep this");
}

function keep() {
  emit("keep", { sample, done: () => { say($("#archive"), "Kept in the time capsule"); $("#archive").disabled = true; } });
}

/** Open Play with a run, an age and the settings of an exhibit. */
async function talk(wish) {
  goTo("play");
  const who = $("#play-run select");
  who.value = wish.run;
  who.dataset.chosen = "yes";
  await readAges(wish.run, wish.step ?? null);
  if (wish.prompt !== undefined) $("#prompt textarea").value = wish.prompt;
  for (const dial of $$(".dial")) {
    const value = wish[dial.dataset.dial];
    if (value === undefined || value === null) continue;
    $("input", dial).value = value;
    say($("output", dial), String(value));
  }
  if (wish.seed !== undefined && wish.seed !== null) $("#seed input").value = wish.seed;
  $("#prompt textarea").focus();
}
