// What was answered: a column for each model that is asked, in it an article for each answer. Model texts are text nodes.

import { $, fill, h, say } from "./dom.js";
import { age, date } from "./format.js";
import { settingsOf, wishOf } from "./asked.js";
import { NOW, WAITS, cost } from "./live-talk.js";
import { emit, on, runById } from "./state.js";
import { explainSigns } from "./texts.js";

let columns = [];
on("kept", (what) => columns.forEach((column) => column.answers.forEach((one) => what && one.kept(what))));

const ENDS = { length: "ended at the length you set", end: "ended by itself", stop: "ended before a text that you named",
  context: "ended where its context was full", cancelled: "cancelled" };

/** The place of a question's answers; `asked` has prompt and settings, `who` everybody who is asked. */
export function begin(asked, who) {
  columns = who.map((one) => new Column(asked, one, who.length > 1));
  place();
  wake();
}

/** Nothing is shown, and nothing goes on. */
export function clear() {
  columns = [new Column({ prompt: "", settings: {} }, {}, false)];
  place();
  columns[0].over();
  say($("#answer-facts"), "");
  fill($("#output"), h("p", { class: "empty" }, "What it answers appears here."));
}

function place() {
  fill($("#answers"), columns.map((one) => one.element));
  $("#answers").style.setProperty("--columns", columns.length);
  $("#no-letter").hidden = true;
  const [first] = columns[0].answers;
  for (const [name, element] of Object.entries({ output: first.output, "answer-facts": first.facts, archive: first.keep })) element.id = name;
}

/** One line of the stream: of the only column, or of the one it names. */
export function heard(piece) {
  const column = columns[piece.column ?? 0];
  if (piece.ahead !== undefined) return column.wait(piece.ahead ? `Waits for its turn: ${piece.ahead} ${piece.ahead === 1 ? "answer" : "answers"} before it` : "Waking the model");
  column.hear(piece);
  if (column.ended()) wake();
  return explainSigns(columns.flatMap((one) => one.answers.map((answer) => answer.text)), $("#no-letter"));
}

/** The sentence on why nothing more comes, for all that have not ended. */
export const failed = (sentence) => columns.forEach((one) => one.failed(sentence));
/** What is said in place of the facts of all that have not ended, until more comes. */
export const mention = (sentence) => columns.forEach((one) => one.wait(sentence));
/** What the first model says that has not begun. */
export const wake = (sentence = "Waking the model") => {
  const next = columns.find((one) => !one.begun);
  next?.wait(next.who.step === NOW ? WAITS : sentence);
};
/** The stream is over: whoever was not asked any more is not waited for. */
export const over = () => columns.forEach((one) => one.over());

/** What one model answers to a question, once or several times. */
class Column {
  constructor(asked, who, together) {
    this.asked = asked;
    this.begun = false;
    this.who = who;
    this.answers = Array.from({ length: asked.settings.count || 1 }, (_, row) => new Answer(asked, who, row, together));
    this.element = h("section", { class: "column" },
      together ? h("h2", {}, who.name, h("small", {}, who.old)) : null, h("div", { class: "several" }, this.answers.map((one) => one.element)));
    if (together) this.wait("Waits for its turn");
  }

  wait(sentence) {
    for (const one of this.answers) if (!one.ended) say(one.facts, sentence);
  }

  ended() {
    return this.answers.every((one) => one.ended);
  }

  hear(piece) {
    if (piece.error) return this.failed(piece.error);
    this.begun = true;
    const said = piece.answers || [piece];
    said.forEach((one, row) => this.answers[row]?.hear(one, piece));
    return undefined;
  }

  failed(sentence) {
    this.begun = true;
    for (const one of this.answers) one.failed(sentence);
  }

  over() {
    for (const one of this.answers) one.over();
  }
}

/** Where it was said, if that was not where one would expect it: a GPU without room leaves a run's words to the processor. */
function where(who, device) {
  const trained = runById(who.run)?.device || "";
  return device === "cpu" && trained.startsWith("cuda") ? "on the processor, as no GPU has room for it" : null;
}

/** One answer: its words as they come, its facts, and the button that keeps it. */
class Answer {
  constructor(asked, who, row, together = false) {
    this.asked = asked;
    this.who = who;
    this.together = together;
    this.seed = asked.settings.seed + row;
    this.text = "";
    this.sample = null;
    this.ended = false;
    this.said = h("span", { class: "continuation" });
    this.words = h("p", { class: "words" }, h("span", { class: "prompt" }, asked.prompt), this.said);
    this.facts = h("p", { class: "note facts" });
    this.keep = h("button", { type: "button", class: "plain", hidden: true, onclick: () => this.keepIt() }, "Keep this");
    this.row = h("div", { class: "row" }, this.keep);
    this.output = h("div", { class: "output", "aria-live": "polite", "aria-busy": "true" }, this.words);
    this.element = h("article", { class: "answer" }, this.output, this.facts, this.row);
  }

  hear(one, whole) {
    if (this.ended) return;
    this.text = one.text;
    say(this.said, one.text);
    this.seed = one.seed ?? this.seed;
    this.output.setAttribute("aria-busy", String(!one.finish));
    const tokens = one.tokens ?? whole.tokens;
    const parts = [`${one.new_tokens} ${one.new_tokens === 1 ? "token" : "tokens"}`, one.tokens_per_second ? `${Math.round(one.tokens_per_second)} tok/s` : null,
      this.together ? null : this.who.name, tokens === undefined || tokens === null ? null : age(tokens), `seed ${this.seed}`, ENDS[one.finish], where(this.who, one.device), cost(one),
      one.finish && this.who.step === NOW ? "words only, cannot be asked again" : null];
    say(this.facts, parts.filter(Boolean).join(" · "));
    if (!one.finish) return;
    this.ended = true;
    if (one.sample_id) this.stored({ ...one, step: one.step ?? whole.step, weights: one.weights ?? whole.weights ?? "" });
  }

  /** It is in the database: it can be kept, and others may add what they know about it. */
  stored({ sample_id, step, weights, exhibit = null }) {
    this.sample = { id: sample_id, prompt: this.asked.prompt, text: this.text, exhibit };
    this.button();
    const { count, ...settings } = this.asked.settings;
    emit("answered", { place: this.element, sample: sample_id, run: this.who.run, step, weights, prompt: this.asked.prompt, text: this.text,
      settings: { ...settings, seed: this.seed } });
  }

  kept({ sample, exhibit }) {
    if (this.sample?.id !== sample) return;
    this.sample.exhibit = exhibit;
    this.button();
  }

  button() {
    this.keep.hidden = !this.sample;
    this.keep.disabled = false;
    say(this.keep, this.sample?.exhibit ? "Kept in the time capsule" : "Keep this");
  }

  /** Into the time capsule, or to where it is there already. */
  keepIt() {
    if (this.sample.exhibit) emit("see", this.sample.exhibit);
    else emit("keep", { sample: this.sample, done: (exhibit) => { this.sample.exhibit = exhibit; this.button(); } });
  }

  failed(sentence) {
    if (this.ended) return;
    this.end();
    if (this.text) return say(this.facts, sentence);
    say(this.facts, "");
    return this.words.replaceWith(h("p", { class: "problem", role: "alert" }, sentence));
  }

  end() {
    this.ended = true;
    this.output.setAttribute("aria-busy", "false");
  }

  over() {
    if (this.ended) return;
    this.end();
    say(this.facts, this.text ? this.facts.textContent : "Not asked any more.");
  }
}

/** An answer from the database, with what can be done with it. */
export function show(row) {
  const asked = { prompt: row.prompt, settings: { ...settingsOf(row), count: 1 } };
  const who = { run: row.run_id, name: row.run_name ?? runById(row.run_id)?.name ?? "", old: age(row.tokens) };
  const column = new Column(asked, who, false);
  const [answer] = column.answers;
  columns = [column];
  place();
  column.begun = true;
  answer.end();
  answer.text = row.text;
  say(answer.said, row.text);
  say(answer.facts, [`${row.new_tokens} tokens`, who.name, age(row.tokens), `seed ${row.seed}`, ENDS[row.finish], `asked ${date(row.created_at)}`].filter(Boolean).join(" · "));
  answer.row.append(h("button", { type: "button", class: "plain", hidden: row.source === "live", onclick: () => emit("talk", wishOf(row)) }, "Ask again"),
    h("button", { type: "button", class: "quiet", onclick: () => emit("refill", wishOf(row)) }, "Put it into the form"));
  explainSigns([row.text], $("#no-letter"));
  answer.stored({ sample_id: row.id, step: row.step, weights: row.weights_sha256 ?? "", exhibit: row.exhibit });
}
