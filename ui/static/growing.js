// Growing up: a run's answers to its prompts at every age, with a slider, Play, and a cursor on its curve.

import { $, $$, say } from "./dom.js";
import { isOpen } from "./format.js";
import { drawAge } from "./growing-age.js";
import { drawCards, failedCards } from "./growing-cards.js";
import * as curve from "./growing-curve.js";
import { drawPrompts } from "./growing-prompts.js";
import { busy, drawOne, drawTwo, failed } from "./growing-stage.js";
import * as text from "./growing-words.js";
import { emit, get, on, run, state, writeAddress } from "./state.js";

/** A browser that is told a new address more than 200 times in 30 s stops listening. */
const ADDRESS_MS = 250;
let seen = null;
let reading = 0;
let playing = 0;
let writing = 0;

/** Others show a life with emit("grow", {run, suite, prompt, step}), all of them optional. */
export function mount({ select }) {
  on("tab", (tab) => { if (tab === "growing") load(); else pause(); });
  on("selected", (id) => { if (seen && seen.run !== id) pause(); load(); });
  for (const news of ["said", "runs"]) on(news, load);
  // An exhibit may have been taken out: what is kept is read anew.
  on("kept", () => {
    if (!seen) return;
    text.forget(seen.run);
    if (state.tab === "growing") show();
  });
  $("#growing-start").addEventListener("click", () => emit("show", "train"));
  on("theme", () => seen && draw());
  on("grow", ({ run: id = state.selected, suite = "", prompt, step }) => {
    if (prompt !== undefined) Object.assign(state.growing, { suite, asked: prompt, age: step === undefined ? "" : String(step), beside: "", each: "" });
    if (id !== state.selected) select(id, { quiet: true });
    emit("show", "growing");
  });
  const slider = $("#growing-slider");
  slider.addEventListener("input", () => { pause(); go(nearest(Number(slider.value))); });
  slider.addEventListener("keydown", (event) => keys(event, (at) => { pause(); go(at); }, index));
  $("#growing-other").addEventListener("input", (event) => besides(nearest(Number(event.target.value))));
  $("#growing-other").addEventListener("keydown", (event) => keys(event, besides, other));
  curve.mount((tokens) => { if (seen) { pause(); go(nearest(tokens)); } });
  $("#growing-play").addEventListener("click", () => (playing ? pause() : play()));
  $("#growing-younger").addEventListener("click", () => { pause(); go(index() - 1); });
  $("#growing-older").addEventListener("click", () => { pause(); go(index() + 1); });
  $("#growing-compare").addEventListener("click", () => besides(other() >= 0 ? null : index() ? 0 : seen.ages.length - 1));
  $("#growing-prompt select").addEventListener("change", (event) => choose(seen.prompts[Number(event.target.value)]));
  for (const button of $$("#growing-view button")) {
    button.addEventListener("click", () => { state.growing.each = button.dataset.view === "all" ? "1" : ""; writeAddress(true); draw(); });
  }
  document.addEventListener("keydown", anywhere);
}

/** Space plays wherever it means nothing else; arrows move where nothing has the focus. */
function anywhere(event) {
  if (state.tab !== "growing" || !seen?.ages.length || event.altKey || event.ctrlKey || event.metaKey || document.querySelector("dialog[open]")) return;
  const at = event.target;
  if (event.key === " " && !at.closest("button, select, textarea, summary, a, input:not([type=range])")) {
    event.preventDefault();
    if (playing) pause(); else play();
  } else if (at === document.body && ["ArrowLeft", "ArrowRight"].includes(event.key)) {
    pause();
    go(index() + (event.key === "ArrowRight" ? 1 : -1));
  }
}

/** The ages are the slider's steps, however far apart they lie. */
function keys(event, move, where) {
  if (!seen) return;
  const [last, page] = [seen.ages.length - 1, Math.max(1, Math.round(seen.ages.length / 10))];
  const to = { ArrowRight: where() + 1, ArrowUp: where() + 1, ArrowLeft: where() - 1, ArrowDown: where() - 1, Home: 0, End: last,
    PageUp: where() + page, PageDown: where() - page }[event.key];
  if (to === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  move(to);
}

async function load() {
  if (state.tab !== "growing" || !state.selected) return;
  const [id, mine] = [state.selected, ++reading];
  let answer;
  try {
    answer = await get("/api/growing", { run: id });
  } catch (error) {
    if (mine === reading && seen?.run !== id) nothing(error.message);
    return;
  }
  if (mine !== reading || state.selected !== id || state.tab !== "growing") return;
  if (seen?.run !== id || seen.attempt !== answer.attempt) text.forget(id);
  else text.freshen();
  const order = (one) => (one.suite === "published" ? 1 : 0); // stories first, as in the feed
  seen = { ...answer, prompts: answer.prompts.sort((a, b) => order(a) - order(b)) };
  draw();
}

/** Whether all prompts of one age are shown. */
const whole = () => state.growing.each === "1";

/** The place of the age that is looked at: the nearest to what the address says, the newest where it says none. */
function index() {
  return state.growing.age === "" ? seen.ages.length - 1 : closest(Number(state.growing.age));
}

/** The place of the age it is compared with, -1 for none. */
function other() {
  return state.growing.beside === "" ? -1 : closest(Number(state.growing.beside));
}

function closest(wanted, name = "step") {
  let best = 0;
  for (const [at, one] of seen.ages.entries()) if (Math.abs(one[name] - wanted) < Math.abs(seen.ages[best][name] - wanted)) best = at;
  return best;
}

const nearest = (tokens) => closest(tokens, "tokens");

function chosen() {
  const { suite, asked } = state.growing;
  return seen.prompts.find((one) => one.prompt === asked && (!suite || one.suite === suite)) || seen.prompts[0];
}

/** Look at another age. At the newest one the page goes on to whatever comes; at an older one it stays. */
function go(to) {
  if (!seen?.ages.length) return;
  const at = Math.min(seen.ages.length - 1, Math.max(0, to));
  state.growing.age = at === seen.ages.length - 1 ? "" : String(seen.ages[at].step);
  remember();
  return show();
}

/** Compare with another age; null for no more. */
function besides(to) {
  if (!seen?.ages.length) return;
  state.growing.beside = to === null ? "" : String(seen.ages[Math.min(seen.ages.length - 1, Math.max(0, to))].step);
  remember();
  show();
}

function choose(prompt) {
  Object.assign(state.growing, { suite: prompt.suite, asked: prompt.prompt, each: "" });
  writeAddress(true);
  draw();
}

/** The address says which prompt it is, also where that was nobody's choice: it may be sent. */
function remember() {
  const { suite, prompt } = chosen();
  Object.assign(state.growing, { suite, asked: prompt });
  writing ||= setTimeout(() => { writing = 0; writeAddress(); }, ADDRESS_MS);
}

/** From here to the end, or from the first age on where this is the end. */
async function play() {
  if (!seen || seen.ages.length < 2) return;
  playing = 1;
  label();
  if (index() === seen.ages.length - 1) await go(0);
  const tick = async () => {
    if (!playing) return;
    await go(index() + 1);
    if (!playing) return;
    if (index() === seen.ages.length - 1) pause();
    else playing = setTimeout(tick, 1000 / Number($("#growing-speed select").value));
  };
  if (playing) playing = setTimeout(tick, 1000 / Number($("#growing-speed select").value));
}

function pause() {
  clearTimeout(playing);
  playing = 0;
  label();
}

function label() {
  say($("#growing-play"), playing ? "Pause" : "Play");
}

function nothing(sentence) {
  seen = null;
  $("#growing-body").hidden = $("#growing-view").hidden = true;
  $("#growing-nothing").hidden = false;
  $("#growing-start").hidden = true;
  say($("#growing-note"), "");
  say($("#growing-empty"), sentence);
}

/** What is there when there is nothing yet, or only an end. */
function empty(one) {
  if (seen.ages.length) return "";
  return isOpen(one) ? "Its first words appear here in a moment. From then on it is asked the same prompts again and again, and every age stays: you will move through its whole life with one slider."
    : "This run was never asked anything. Start one on the Train tab: it is asked the prompts of prompts/ as it grows, and every answer appears here.";
}

function note(one) {
  if (!seen.ages.length) return "";
  if (one.kind === "published") return "Its report tells only what it said at the end, and of some answers not even that; younger ages were not published. A run of your own keeps them all.";
  if (seen.ages.length === 1) return isOpen(one) ? "One age so far; the slider grows with each time it is asked." : "It was asked at one age only.";
  const past = seen.past.length ? ` The first are of ${seen.past.map((parent) => parent.name).join(" and ")}, before the fork.` : "";
  return `${seen.ages.length.toLocaleString("en")} ages, ${seen.prompts.length} prompts.${past}`;
}

/** Everything that does not change from age to age, then the age. */
function draw() {
  const one = run();
  if (!seen || !one || seen.run !== one.id) return;
  $("#growing-nothing").hidden = Boolean(seen.ages.length);
  $("#growing-start").hidden = isOpen(one);
  say($("#growing-empty"), empty(one));
  say($("#growing-note"), note(one));
  $("#growing-body").hidden = !seen.ages.length;
  const all = whole();
  $("#growing-view").hidden = !seen.ages.length;
  for (const button of $$("#growing-view button")) button.setAttribute("aria-pressed", (button.dataset.view === "all") === all);
  if (!seen.ages.length) return;
  const body = $("#growing-body");
  body.dataset.view = all ? "all" : "one";
  body.classList.toggle("single", seen.ages.length < 2);
  const last = lastTokens(one);
  for (const slider of [$("#growing-slider"), $("#growing-other")]) slider.max = last;
  curve.draw(seen, last);
  drawPrompts(seen.prompts, chosen(), choose);
  show();
}

/** Where the slider ends: at the target while it trains, so that nothing moves under the hand when a new age comes. */
function lastTokens(one) {
  const newest = seen.ages[seen.ages.length - 1].tokens;
  const curves = seen.curves.flatMap((curve) => [...curve.val.slice(-1), ...curve.train.slice(-1)]).map(([tokens]) => tokens);
  return Math.max(newest, ...curves, isOpen(one) ? one.target_tokens || 0 : 0) || 1;
}

/** The age that is looked at: at once what is known of it, then its words. */
async function show() {
  const [at, beside] = [index(), whole() ? -1 : other()];
  drawAge(seen, at, beside);
  if (whole()) return showAll(at);
  const prompt = chosen();
  const places = [at, ...(beside < 0 ? [] : [beside])];
  const key = JSON.stringify([seen.run, state.growing]);
  const still = () => seen && JSON.stringify([seen.run, state.growing]) === key && state.tab === "growing";
  if (places.some((place) => text.answer(prompt, seen.ages[place].step) === undefined)) {
    busy(true);
    try {
      for (const place of places) await text.readAnswers(prompt, seen.ages, place);
    } catch (error) {
      pause();
      if (still()) failed(error.message);
      return;
    } finally {
      busy(false);
    }
    if (!still()) return;
  }
  if (beside < 0) one(prompt, at);
  else await two(prompt, at, beside, still);
  text.readAhead(prompt, seen.ages, at);
}

function one(prompt, at) {
  const sample = text.answer(prompt, seen.ages[at].step);
  const before = seen.ages.slice(0, at).reverse().map((age) => text.answer(prompt, age.step)).find((found) => found !== null);
  drawOne(prompt.prompt, sample, Boolean(sample && before && before.text === sample.text), show, playing > 0);
}

async function two(prompt, at, beside, still) {
  const [before, after] = [Math.min(at, beside), Math.max(at, beside)].map((place) => ({ age: seen.ages[place], sample: text.answer(prompt, seen.ages[place].step) }));
  const ids = [before.sample?.id, after.sample?.id];
  const known = () => text.change(...ids);
  if (before.sample && after.sample && !known()) await text.readChange(...ids).catch(() => null);
  if (still()) drawTwo(prompt.prompt, before, after, known(), show);
}

async function showAll(at) {
  const here = seen.ages[at];
  const still = () => seen && whole() && seen.ages[index()] === here;
  try {
    while (still() && !text.page(here)) await text.readPage(here); // what was read is forgotten when something is kept
  } catch (error) {
    pause();
    if (still()) failedCards(error.message);
    return;
  }
  if (!still()) return;
  drawCards(seen.prompts, text.page(here), (prompt) => { pause(); choose(prompt); $("#growing-slider").focus({ preventScroll: true }); }, show);
  text.readPagesNear(seen.ages, at);
}
