// One prompt at one age in large letters, or at two ages side by side with what changed marked. Model texts are text nodes.

import { $, fill, h, say } from "./dom.js";
import { askAgain } from "./exhibit.js";
import { age, continuation } from "./format.js";
import { emit } from "./state.js";
import { explainSigns } from "./texts.js";

const words = (number, what) => `${number.toLocaleString("en")} ${number === 1 ? "word" : "words"} ${what}`;

let shown = "";

/** Whether the stage has to be drawn: the same again would take a reader's place and the focus away. */
function other(...what) {
  const key = JSON.stringify(what);
  const differs = key !== shown;
  shown = key;
  return differs;
}

/** How old it was, in short. */
export const ageName = (one) => (one.source === "published" ? "published, December 2025" : one.tokens ? age(one.tokens) : "before its first step");

/** Why there is nothing to read, for an answer without words or one that was never asked for. */
function silence(sample) {
  if (!sample) return " (it was not asked this at this age)";
  if (sample.text.trim()) return "";
  return sample.source === "published" ? " (the report gives no excerpt of this answer)" : " (it ended its answer at once)";
}

/** Prompt and answer; `parts` are the answer in pieces that the other one has or has not, marked with `mark`. */
export function spoken(prompt, sample, parts = null, mark = "") {
  const none = silence(sample);
  const text = none || !parts ? none || continuation(prompt, sample.text, sample.source === "published")
    : parts.map(([kept, piece]) => (kept ? piece : h(mark, {}, piece)));
  return h("p", { class: "words", tabindex: "0", "aria-label": `Answer to ${prompt.slice(0, 80)}` }, h("span", { class: "prompt" }, prompt),
    h("span", none ? { class: "none" } : {}, text));
}

/** What can be done with an answer; `drawn` is told when it has been kept. */
export function deeds(sample, drawn) {
  if (!sample || sample.source === "published") return [];
  const keep = () => (sample.exhibit ? emit("see", sample.exhibit)
    : emit("keep", { sample, done: (exhibit) => { sample.exhibit = exhibit; drawn(); } }));
  return [h("button", { type: "button", class: "quiet", onclick: keep, title: sample.exhibit ? "See it in the time capsule" : null }, sample.exhibit ? "Kept" : "Keep this"),
    h("button", { type: "button", class: "quiet", onclick: () => askAgain(sample) }, "Ask again")];
}

/** One age. `same`: the words are those of the age before. */
export function drawOne(prompt, sample, same, drawn, moving) {
  explainSigns([sample?.text || ""], $("#growing-signs"));
  if (!other(prompt, sample?.id, sample?.exhibit, same)) return;
  const stage = $("#growing-stage");
  stage.className = moving ? "arriving" : "";
  fill(stage, h("article", { class: "then" }, spoken(prompt, sample),
    h("footer", {}, h("p", { class: "note same" }, same ? "The same words as at the age before." : ""), h("div", { class: "row" }, deeds(sample, drawn)))));
}

/** Two ages, the younger first. */
export function drawTwo(prompt, before, after, change, drawn) {
  explainSigns([before.sample?.text || "", after.sample?.text || ""], $("#growing-signs"));
  if (!other(prompt, [before, after].map((one) => [one.age.step, one.sample?.id, one.sample?.exhibit]), Boolean(change))) return;
  const stage = $("#growing-stage");
  stage.className = "two";
  const side = (sample, heading, parts, mark) => h("article", { class: "then" }, h("h2", {}, heading), spoken(prompt, sample, parts, mark),
    h("footer", {}, h("div", { class: "row" }, deeds(sample, drawn))));
  const name = (one) => `${ageName(one)}, step ${one.step.toLocaleString("en")}`;
  fill(stage, side(before.sample, name(before.age), change?.before, "del"), side(after.sample, name(after.age), change?.after, "ins"),
    h("p", { class: "note changed", role: "status" }, told(before, after, change)));
}

function told(before, after, change) {
  if (before.age.step === after.age.step) return "This is one age twice: move one of the two sliders.";
  if (!before.sample || !after.sample) return "It was asked this at one of these ages only.";
  if (!change) return "";
  if (change.same) return "The same words at both ages.";
  return `${words(change.stayed, "stayed")}, ${words(change.left, "went")} (struck through), ${words(change.came, "came")} (underlined).`;
}

/** The stage while what it will show is read. */
export function busy(value) {
  $("#growing-stage").setAttribute("aria-busy", value);
}

export function failed(sentence) {
  shown = "";
  const problem = h("p", { class: "problem", role: "alert" });
  fill($("#growing-stage"), problem);
  say(problem, sentence);
}
