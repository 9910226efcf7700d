// What the model says now, prompt by prompt, and what happened to the run. Model texts are text nodes, never HTML.

import { $, $$, fill, h, say } from "./dom.js";
import { age, clock, continuation, count, date, duration, isOpen, percent, status } from "./format.js";
import { beginsWhen, mustWait, placeOf } from "./queue.js";
import { emit, get, on, run, state } from "./state.js";
import { explainSigns } from "./texts.js";

/** Prompts that are shown before one asks for all of them; train.css counts them too. */
const FEW = 4;
let heard = 0;
let every = null;
let lastEvent = 0;
let cards = new Map();

export function mount() {
  on("selected", reset);
  on("now", banner);
  $("#all-answers").addEventListener("click", () => {
    say($("#all-answers"), $("#feed").classList.toggle("all") ? "Fewer prompts" : `All ${cards.size} prompts`);
    beside();
  });
  $("#see-grow").addEventListener("click", () => emit("grow", {}));
  for (const news of ["runs", "line"]) on(news, banner);
  on("kept", (what) => { if (what?.sample) for (const card of cards.values()) card.kept(what); });
}

function reset() {
  heard = -1;
  lastEvent = 0;
  cards = new Map();
  fill($("#feed .answers"));
  $("#see-grow").hidden = true;
  fill($("#events ol"));
  $("#events").hidden = true;
  say($("#feed .empty"), "");
  banner();
}

export const eventCursor = () => lastEvent;

/** The server's newest sample id for the selected run: read again when it is new. */
export async function said(id) {
  const one = run();
  if (!one) return;
  say($("#feed h2"), one.kind === "published" ? "What it said" : isOpen(one) ? "What it says now" : "What it says");
  const rhythm = isOpen(one) && every && cards.size ? `asked again every ${every.toLocaleString("en")} steps` : "";
  say($("#feed .rhythm"), rhythm);
  if (id === heard) return;
  if (heard >= 0) emit("said");
  const asked = state.selected;
  const answer = await get("/api/feed", { run: asked });
  if (asked !== state.selected) return;
  heard = answer.said;
  every = answer.every;
  const place = $("#feed .answers");
  // Stories first: what a young model says to "for i in range(10):" is not its best.
  const order = (sample) => (sample.suite === "published" ? 1 : 0);
  for (const sample of answer.samples.sort((a, b) => order(a) - order(b))) {
    const key = `${sample.suite}\n${sample.prompt}`;
    if (!cards.has(key)) {
      cards.set(key, new Card());
      place.append(cards.get(key).element);
    }
    cards.get(key).newest(sample);
  }
  beside();
  $("#see-grow").hidden = !cards.size || one.kind === "published";
  const all = $("#all-answers");
  all.hidden = cards.size <= FEW;
  say(all, $("#feed").classList.contains("all") ? "Fewer prompts" : `All ${cards.size} prompts`);
  say($("#feed .empty"), answer.samples.length ? "" : isOpen(one)
    ? "Its first words appear here in a moment. The same prompts are asked again and again as it grows."
    : "This run was never asked anything.");
}

/** What one card cannot know: whether others above it say the very same, and whether "�" is to be explained. */
function beside() {
  const first = new Map();
  for (const card of cards.values()) {
    const { source, step, seed, prompt, text } = card.shown();
    const key = [step, seed, text].join();
    card.compare(first.get(key));
    if (source !== "published" && text.trim() && !first.has(key)) first.set(key, prompt);
  }
  const seen = [...cards.values()].slice(0, $("#feed").classList.contains("all") ? cards.size : FEW);
  explainSigns(seen.map((card) => card.shown().text), $("#feed .signs"));
}

/** One prompt: its newest answer, and a slider back through all its ages, which are read when it is first moved. */
class Card {
  constructor() {
    this.samples = null;
    this.latest = null;
    this.ages = 1;
    this.at = 0;
    this.prompt = h("span", { class: "prompt" });
    this.text = h("span");
    this.words = h("p", { class: "words", tabindex: "0" }, this.prompt, this.text);
    this.older = h("button", { type: "button", class: "quiet step", "aria-label": "Younger", onclick: () => this.go(this.at - 1) }, "‹");
    this.newer = h("button", { type: "button", class: "quiet step", "aria-label": "Older", onclick: () => this.go(this.at + 1) }, "›");
    this.slider = h("input", { type: "range", class: "ages", min: 0, max: 0, value: 0, oninput: () => this.go(Number(this.slider.value)) });
    this.age = h("span", { class: "age", "aria-live": "polite" });
    this.keep = h("button", { type: "button", class: "quiet", onclick: () => this.keepIt() }, "Keep this");
    this.same = h("p", { class: "note", hidden: true });
    this.element = h("article", { class: "answer" }, h("div", { class: "saying" }, this.words, this.same),
      h("footer", {}, this.older, this.slider, this.newer, this.age, this.keep));
  }

  shown() {
    return (this.samples && this.samples[this.at]) || this.latest;
  }

  /** Into the archive, or to where it is there already. */
  keepIt() {
    const sample = this.shown();
    if (sample.exhibit) emit("see", sample.exhibit);
    else emit("keep", { sample, done: (exhibit) => { sample.exhibit = exhibit; this.draw(); } });
  }

  /** One of its answers was kept, here or elsewhere on the page, or taken out: then `exhibit` is null. */
  kept({ sample, exhibit }) {
    for (const one of [this.latest, ...(this.samples || [])]) if (one.id === sample) one.exhibit = exhibit;
    this.draw();
  }

  newest(sample) {
    if (this.latest && this.latest.id === sample.id) return;
    const following = this.at === this.ages - 1;
    const first = !this.latest;
    this.latest = sample;
    this.ages = sample.ages;
    if (this.samples && this.samples.length === sample.ages - 1) this.samples.push(sample);
    else this.samples = null;
    if (following || this.at >= this.ages) this.at = this.ages - 1;
    this.draw(following && !first);
  }

  async go(to) {
    this.at = Math.min(this.ages - 1, Math.max(0, to));
    if (!this.samples) {
      const answer = await get("/api/ages", { sample: this.latest.id });
      this.samples = answer.samples;
      this.ages = answer.samples.length;
      this.at = Math.min(this.ages - 1, this.at);
    }
    this.draw();
    beside();
  }

  /** Say so when these are the very words of the prompt `above`, or of its own age before. */
  compare(above) {
    const { same_as: before, seed } = this.shown();
    const again = before === null || before === undefined ? "" : `Word for word what it said ${before ? `at step ${before.toLocaleString("en")}` : "before its first step"}.`;
    const words = above === undefined ? again
      : `The same words as for “${above.length > 40 ? `${above.slice(0, 40)}…` : above}”: all are drawn with seed ${seed}, and so young it does not heed the prompt.`;
    this.element.classList.toggle("same", Boolean(words));
    this.same.hidden = !words;
    say(this.same, words);
  }

  draw(fresh = false) {
    const sample = this.shown();
    say(this.prompt, sample.prompt);
    const published = sample.source === "published";
    say(this.text, sample.text ? continuation(sample.prompt, sample.text, published) : published ? " (the report gives no excerpt of this answer)" : " (it ended its answer at once)");
    this.text.className = sample.text ? "" : "none";
    const latest = this.at === this.ages - 1;
    const words = published ? "published, December 2025" : sample.tokens ? age(sample.tokens) : "before its first step, by chance alone";
    say(this.age, published || this.ages < 2 ? words : `${words} · ${this.at + 1} of ${this.ages}`);
    this.words.setAttribute("aria-label", `Answer to ${sample.prompt}`);
    this.slider.max = this.ages - 1;
    this.slider.value = this.at;
    this.slider.setAttribute("aria-label", `Age at which it answered: ${sample.prompt.slice(0, 60)}`);
    this.slider.setAttribute("aria-valuetext", `${words}, step ${sample.step.toLocaleString("en")}`);
    this.slider.title = `Step ${sample.step.toLocaleString("en")}, ${this.at + 1} of ${this.ages} ages`;
    this.older.disabled = this.at === 0;
    this.newer.disabled = latest;
    for (const part of [this.older, this.newer, this.slider]) part.hidden = published || this.ages < 2;
    this.keep.hidden = published;
    say(this.keep, sample.exhibit ? "Kept" : "Keep this");
    this.keep.title = sample.exhibit ? "See it in the time capsule" : "";
    if (fresh) {
      this.element.classList.remove("fresh");
      void this.element.offsetWidth;
      this.element.classList.add("fresh");
    }
  }
}

export function addEvents(events) {
  const list = $("#events ol");
  $("#events").hidden = false;
  const published = run()?.kind === "published";
  for (const one of events) {
    if (one.id <= lastEvent) continue;
    lastEvent = one.id;
    list.prepend(h("li", { "data-kind": one.kind }, h("time", published ? {} : { title: date(one.at) }, published ? "Dec 2025" : clock(one.at)),
      h("span", { class: "step" }, one.step === null ? "" : `step ${one.step.toLocaleString("en")}`), h("span", {}, one.message)));
  }
  for (const old of $$("#events li").slice(200)) old.remove();
}

/** One card above the charts when something needs a person. */
function banner() {
  const one = run();
  const place = $("#banner");
  const key = one ? `${one.id} ${one.status} ${one.error || ""} ${isOpen(one) ? `${one.message || ""} ${one.silent || ""}` : `${one.val_loss ?? ""} ${one.saved ?? ""} ${one.money?.used_up ?? ""} ${mustWait(one)}`} ${one.status === "queued" ? beginsWhen(one) : ""}` : "";
  if (place.dataset.shown === key) return;
  place.dataset.shown = key;
  const words = one && sentence(one);
  place.hidden = !words;
  if (!words) return;
  place.dataset.tone = words.tone;
  fill(place, h("div", {}, h("b", {}, words.title), words.text ? h("p", {}, words.text) : null), h("div", { class: "row" },
    (words.actions || []).map(([label, action, strong, where]) => h("button", { type: "button", class: `${strong ? "strong" : "plain"} ${where || ""}`, onclick: action }, label))));
}

function sentence(one) {
  const resume = mustWait(one) ? ["Resume in line", () => $("#resume-in-line").click(), true] : ["Resume", () => $("#resume").click(), true];
  const talk = ["Talk to it", () => emit("talk", { run: one.id }), true];
  if (one.kind === "published") {
    return { tone: "calm", title: "An example to look at: the published Blueberry-Nano, 157 minutes on one RTX 4090.",
      text: "Press Start, and the curve and the words of a model of your own appear here in its place. This one's log counts 500 M tokens; it was published as 1 B." };
  }
  if (one.status === "finished") {
    return { tone: "good", title: `Your model is ${count(one.tokens)} tokens old.`,
      text: `${one.val_accuracy ? `Of text that it has never read it guesses ${percent(one.val_accuracy)} of the tokens right. ` : ""}Talk to it, or keep its best lines.`,
      actions: [talk, ["See it grow up", () => emit("grow", {})], ["Read what it says", () => $("#feed").scrollIntoView({ behavior: "smooth" })]] };
  }
  if (one.status === "stopped") {
    const raise = ["Raise the budget", () => emit("budget"), true];
    return { tone: "calm", ...stopped(one), actions: [one.money?.used_up ? raise : resume, [talk[0], talk[1]]] };
  }
  if (["failed", "crashed", "diverged"].includes(one.status)) {
    return { tone: "bad", title: { failed: "It failed.", crashed: "It crashed.", diverged: "It diverged: the loss was no longer a number." }[one.status],
      text: one.error || "The log tells more.", actions: [resume, ["Read the log", () => emit("log")]] };
  }
  if (one.silent) {
    return { tone: "bad", title: `No news for ${duration(one.silent)}.`,
      text: "Its process lives, but nothing can be written to runs.db: is the disk full, or another program keeping it locked? It goes on, and what it measures arrives as soon as it can." };
  }
  return { tone: "calm", ...goingOn(one) };
}

/** What Resume will do depends on what was saved. */
function stopped(one) {
  if (one.saved === undefined) return { title: "Stopped.", text: one.error || "" };
  if (one.money?.used_up) return { title: `${status(one)}.`, text: "Raise the budget, then Resume goes on exactly where it stopped." };
  const from = one.saved ? `Resume goes on from step ${one.saved.toLocaleString("en")}, the last one saved.` : "Nothing of it was saved: Resume begins anew.";
  if (one.error) return { title: "Stopped.", text: `${one.error} ${from}` };
  return one.saved === one.step ? { title: `Stopped and saved, ${age(one.tokens)}.`, text: "Resume goes on exactly where it stopped." }
    : { title: `Stopped at step ${(one.step || 0).toLocaleString("en")}, without a save.`, text: from };
}

/** While a run is on, the same place tells what it does, so that nothing jumps when it starts, pauses or ends. */
function goingOn(one) {
  return {
    queued: { title: `It waits in line, number ${placeOf(one)}.`, text: beginsWhen(one), actions: [["Take it out", () => emit("take-out", one.id)]] },
    preparing: { title: `${one.message || "Getting ready"}.`, text: one.step ? "It goes on from its last save." : "Its curve starts with its first steps, and its first words come soon after." },
    compiling: { title: "Its kernels are being made ready for this GPU.", text: "That takes some ten seconds, a little more the first time; then the curve starts." },
    paused: { title: "It holds still.", text: "Go on when you like.", actions: [["Go on", () => $("#unpause")?.click(), true]] },
    stopping: { title: "It finishes its step and saves.", text: "Then it can be resumed exactly from there." },
  }[one.status] || { title: "It is learning.", text: "The curve shows how well it guesses the next word; below are its newest words.",
    actions: [["Pause", () => $("#pause")?.click(), false, "narrow"]] };
}

