// Play: ask a run of any age, watch the answer come, keep what is on the screen.

import { $, $$, fill, h, options, say } from "./dom.js";
import { age, isOpen } from "./format.js";
import { ABOUT, NOW, SLOW, WAITS, ageOf, cost, now } from "./live-talk.js";
import { emit, get, on, run, runById, send, state, stream } from "./state.js";
import { explainSigns } from "./texts.js";

const SLOW_MS = 8000;
const FIRST_PROMPT = "Once upon a time";
const ENDS = { length: "ended at the length you set", end: "ended by itself", context: "ended where its context was full", cancelled: "cancelled" };
let ages = [];
let asked = null;
let asking = false;
let sample = null;
let kept = false;
let goTo = () => {};

export function mount({ show }) {
  goTo = show;
  who().addEventListener("change", () => { who().dataset.chosen = "yes"; readAges(); });
  $("#play-age select").addEventListener("change", () => note(ages.at(-1)));
  on("runs", people);
  on("selected", people);
  on("tab", (tab) => tab === "play" && people());
  on("said", () => state.tab === "play" && readAges());
  on("talk", talk);
  for (const dial of $$(".dial")) $("input", dial).addEventListener("input", (event) => say($("output", dial), event.target.value));
  const prompt = $("#prompt textarea");
  prompt.value = sessionStorage.getItem("blueberry-prompt") || FIRST_PROMPT;
  prompt.addEventListener("input", () => sessionStorage.setItem("blueberry-prompt", prompt.value));
  prompt.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    ask();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && asking && state.tab === "play") cancel();
  });
  $("#generate").addEventListener("click", () => ask());
  $("#another").addEventListener("click", another);
  $("#cancel").addEventListener("click", cancel);
  $("#archive").addEventListener("click", keep);
  busy(false);
}

const who = () => $("#play-run select");

/** Runs that can be asked, and the ages of the chosen one. */
function people() {
  const own = state.runs.filter((one) => one.kind !== "published");
  options(who(), own.length ? own.map((one) => [one.id, one.name]) : [["", "No model yet: start one on the Train tab"]]);
  if (run() && run().kind !== "published" && !who().dataset.chosen) who().value = state.selected;
  buttons();
  readAges();
}

async function readAges(wanted = null) {
  const id = who().value;
  const select = $("#play-age select");
  if (!id) { note(); return options(select, [["", "–"]]); }
  const facts = state.tab === "play" ? await get("/api/run", { run: id }).catch(() => null) : null;
  if (!facts || who().value !== id) return;
  ages = facts.ages;
  const [newest, ...older] = [...ages].reverse();
  const exact = (one) => [String(one.step), `${age(one.tokens)}, step ${one.step.toLocaleString("en")}`];
  const chosen = wanted ?? Number(select.value || -1);
  options(select, !newest ? [["-1", "Nothing saved yet"], ...now(runById(id))]
    : [["-1", `Newest: ${newest.tokens ? age(newest.tokens) : "before its first step"}`], ...now(runById(id)), ...(newest.step === chosen ? [exact(newest)] : []), ...older.map(exact)]);
  if (wanted !== null && ages.some((one) => one.step === wanted)) select.value = String(wanted);
  note(newest);
}

/** What one may wonder about while choosing whom to ask. */
function note(newest) {
  const one = runById(who().value);
  const words = run()?.kind === "published" && who().value ? `The weights of ${run().name} are not part of this home, so it cannot be asked; ${one.name} can.`
    : one && $("#play-age select").value === NOW ? ABOUT
    : one && isOpen(one) && newest && !newest.tokens ? "It has only just begun: until its first save you talk to random numbers." : "";
  $("#who-note").hidden = !words;
  say($("#who-note"), words);
}

/** Ask what the form says; an exhibit's `exact` step and weights, which the run's ages may not have any more, win. */
async function ask(exact = {}) {
  if (asking || !who().value) return;
  const dial = (name) => Number($(`[data-dial=${name}] input`).value);
  const question = asked = {
    run: who().value, step: ageOf($("#play-age select")), prompt: $("#prompt textarea").value, max_tokens: dial("max_tokens"),
    weights: "", ...exact, token: crypto.randomUUID?.() || String(Math.random()), temperature: dial("temperature"), top_k: dial("top_k"), top_p: dial("top_p"), seed: Number($("#seed input").value || 0),
  };
  sample = null;
  kept = false;
  busy(true);
  fill($("#output"), h("p", { class: "words" }, h("span", { class: "prompt" }, asked.prompt), h("span", { class: "continuation" })));
  $("#no-letter").hidden = true;
  const live = question.step === NOW;
  say($("#answer-facts"), live ? WAITS : "Waking the model");
  const slow = setTimeout(() => say($("#answer-facts"), live ? SLOW : "Still waking the model; beside a run that trains this takes a while. Esc cancels."), SLOW_MS);
  const heardFirst = (piece) => { clearTimeout(slow); heard(piece); };
  try {
    await stream("/api/ask", question, heardFirst);
  } catch (error) {
    failed(error.message);
  } finally {
    clearTimeout(slow);
    busy(false);
  }
}

/** One piece of the answer, or the sentence on why there is none. */
function heard(piece) {
  if (piece.error) return failed(piece.error);
  say($("#output .continuation"), piece.text);
  explainSigns([piece.text], $("#no-letter"));
  const parts = [`${piece.new_tokens} tokens`, piece.tokens_per_second ? `${Math.round(piece.tokens_per_second)} tok/s` : null,
    runById(asked.run)?.name, piece.tokens === undefined || piece.tokens === null ? null : age(piece.tokens), `seed ${asked.seed}`, ENDS[piece.finish], cost(piece),
    asked.step === NOW && piece.finish ? "words only, cannot be asked again" : null];
  say($("#answer-facts"), parts.filter(Boolean).join(" · "));
  if (piece.sample_id) sample = { id: piece.sample_id, prompt: asked.prompt, text: piece.text };
}

function failed(sentence) {
  if ($("#output .continuation")?.textContent === "") fill($("#output"), h("p", { class: "problem", role: "alert" }, sentence));
  else say($("#answer-facts"), sentence);
  if ($("#output .problem")) say($("#answer-facts"), "");
}

/** The next seed: other dice, another answer to the same prompt. */
function another() {
  const seed = $("#seed input");
  seed.value = String(Number(seed.value || 0) + 1);
  ask();
}

async function cancel() {
  $("#cancel").disabled = true;
  if (asked) await send("/api/cancel", { token: asked.token }).catch((error) => say($("#answer-facts"), error.message));
}

function busy(value) {
  asking = value;
  document.body.classList.toggle("asking", value);
  $("#output").setAttribute("aria-busy", value);
  $("#cancel").disabled = !value;
  buttons();
}

function buttons() {
  $("#generate").disabled = asking || !who().value;
  $("#another").disabled = asking;
  $("#another").hidden = !asked;
  $("#archive").hidden = asking || !sample;
  $("#archive").disabled = kept;
  say($("#archive"), kept ? "Kept in the time capsule" : "Keep this");
}

function keep() {
  emit("keep", { sample, done: () => { kept = true; buttons(); } });
}

/** Open Play with a run; an exhibit brings its age, its settings and its prompt, and is asked at once. */
async function talk(wish) {
  goTo("play");
  who().value = wish.run;
  who().dataset.chosen = "yes";
  $("#play-age select").value = "-1";
  await readAges(wish.step ?? null);
  if (asking) return;
  for (const dial of $$(".dial")) {
    const value = wish[dial.dataset.dial];
    if (value === undefined || value === null) continue;
    $("input", dial).value = value;
    say($("output", dial), String(value));
  }
  if (wish.seed !== undefined && wish.seed !== null) $("#seed input").value = wish.seed;
  if (wish.prompt === undefined) {
    fill($("#output"), h("p", { class: "empty" }, "What it answers appears here."));
    say($("#answer-facts"), "");
    asked = sample = null;
    busy(false);
    $("#prompt textarea").focus();
    return;
  }
  $("#prompt textarea").value = wish.prompt;
  ask({ step: wish.step, weights: wish.weights || "" });
}
