// Play: ask a run of any age or several side by side, watch the answers come, keep what is on the screen.

import { $, say } from "./dom.js";
import { on, send, state, stream } from "./state.js";
import * as answers from "./play-answers.js";
import * as dials from "./play-dials.js";
import * as history from "./play-history.js";
import * as who from "./play-who.js";

const SLOW_MS = 8000;
/** After a cancel an answer ends within a third of a second; a hung worker or a dead connection never says so. */
const CANCEL_MS = 5000;
const FIRST_PROMPT = "Once upon a time";
let asked = null;
let asking = false;
let goTo = () => {};
let reader = null;
let going = Promise.resolve();

export function mount({ show }) {
  goTo = show;
  who.mount(buttons);
  dials.mount();
  history.mount(() => asking);
  on("runs", who.people);
  on("selected", who.people);
  on("tab", (tab) => tab === "play" && who.people());
  on("said", () => state.tab === "play" && who.readAges());
  on("talk", talk);
  on("refill", refill);
  const prompt = $("#prompt textarea");
  prompt.value = sessionStorage.getItem("blueberry-prompt") || FIRST_PROMPT;
  prompt.addEventListener("input", remember);
  prompt.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    ask();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && asking && state.tab === "play" && !$("dialog[open]")) cancel();
  });
  $("#generate").addEventListener("click", () => ask());
  $("#another").addEventListener("click", another);
  $("#count select").addEventListener("change", buttons);
  $("#cancel").addEventListener("click", cancel);
  busy(false);
}

const remember = () => sessionStorage.setItem("blueberry-prompt", $("#prompt textarea").value);

/** Ask what the form says; an exhibit's `exact` step and weights, which the run's ages may not have any more, win. */
function ask(exact = {}) {
  const everybody = who.chosen();
  if (!asking && everybody.length) going = hear(everybody, exact);
}

/** From the question to the end of all its answers. */
async function hear(everybody, exact) {
  const settings = dials.settings();
  asked = { prompt: $("#prompt textarea").value, settings, token: crypto.randomUUID?.() || String(Math.random()) };
  const [first] = everybody;
  const whom = everybody.length > 1 ? { who: everybody.map(({ run, step }) => ({ run, step })) } : { run: first.run, step: first.step, weights: "", ...exact };
  const mine = (reader = new AbortController());
  busy(true);
  answers.begin(asked, everybody);
  const slow = setTimeout(() => answers.wake("Still waking the model; beside a run that trains this takes a while. Esc cancels."), SLOW_MS);
  try {
    await stream("/api/ask", { ...whom, ...settings, prompt: asked.prompt, token: asked.token }, (piece) => {
      clearTimeout(slow);
      if (piece.error && piece.column === undefined) answers.failed(piece.error);
      else answers.heard(piece);
    }, mine.signal);
  } catch (error) {
    answers.failed(mine.signal.aborted ? "Cancelled. Nothing was heard of it any more." : error.message);
  } finally {
    clearTimeout(slow);
    answers.over();
    busy(false);
    history.read();
  }
}

/** What is still coming is cancelled first: the form belongs to it until it has ended. */
async function quiet() {
  if (asking) cancel();
  await going;
}

/** The next seeds: other dice, other answers to the same prompt. */
function another() {
  dials.nextSeed();
  ask();
}

/** Ask the server to end it; where that is not heard of either, stop listening, which ends it there too. */
async function cancel() {
  const mine = reader;
  $("#cancel").disabled = true;
  setTimeout(() => mine?.abort(), CANCEL_MS);
  if (asked) await send("/api/cancel", { token: asked.token }).catch(() => mine?.abort());
}

function busy(value) {
  asking = value;
  document.body.classList.toggle("asking", value);
  $("#cancel").disabled = !value;
  buttons();
}

function buttons() {
  const several = who.chosen().length > 1 || Number($("#count select").value) > 1;
  $("#generate").disabled = asking || !who.chosen().length;
  $("#another").disabled = asking;
  $("#another").hidden = !asked;
  say($("#another"), several ? "Other answers" : "Another answer");
}

/** Put a stored question into the form, as it was asked. */
async function refill(wish) {
  await quiet();
  await who.choose(wish.run, wish.step ?? -1);
  dials.put({ min_p: 0, repetition_penalty: 1, stop: [], count: 1, ...wish });
  $("#prompt textarea").value = wish.prompt;
  remember();
  $("#prompt textarea").focus();
}

/** Open Play with a run; an exhibit brings its age, its settings and its prompt, and is asked at once. */
async function talk(wish) {
  goTo("play");
  await quiet();
  await who.choose(wish.run, wish.step ?? -1);
  if (asking) return;
  if (wish.prompt === undefined) {
    dials.put(wish);
    answers.clear();
    asked = null;
    busy(false);
    $("#prompt textarea").focus();
    return;
  }
  dials.put({ min_p: 0, repetition_penalty: 1, stop: [], count: 1, ...wish });
  $("#prompt textarea").value = wish.prompt;
  ask({ step: wish.step, weights: wish.weights || "" });
}
