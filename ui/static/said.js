// Everything that was ever said, found by its words: also what nobody kept. All texts are text nodes.

import { $, fill, h } from "./dom.js";
import { settings } from "./exhibit.js";
import { age, continuation, date } from "./format.js";
import { emit, get, state } from "./state.js";
import { marked } from "./texts.js";
import * as wanted from "./wanted.js";

const BEFORE = 160;
const HOW = { periodic: "asked by the run", playground: "asked in Play", live: "asked while it trained", published: "published" };
let asked = 0;

/** Draw the room; `leaf` in the address is "b12" for the page after sample 12, "a12" for the one before it. */
export async function load() {
  const ticket = (asked += 1);
  const now = state.capsule;
  const [, side, id] = /^([ab])(\d{1,15})$/.exec(now.leaf || "") || [];
  const { category, tag, pinned, ...filters } = wanted.parameters(now);
  let answer;
  try {
    answer = await get("/api/said", { ...filters, before: side === "b" ? id : null, after: side === "a" ? id : null });
  } catch (error) {
    if (ticket === asked && state.capsule.room === "said") {
      wanted.tell(error.message);
      fill($("#everything"));
      pages({ samples: [] });
    }
    return;
  }
  if (ticket !== asked || state.capsule.room !== "said") return;
  wanted.tell(words(answer));
  fill($("#everything"), answer.samples.length ? answer.samples.map((one) => hit(one, now.q || "")) : h("p", { class: "empty" }, nothing(now)));
  pages(answer);
}

function words({ total, more, unread }) {
  const all = more ? `More than ${total.toLocaleString("en")} answers` : total === 1 ? "1 answer" : `${total.toLocaleString("en")} answers`;
  return unread ? `${all}; older ones are still being read in` : all;
}

function nothing(now) {
  if (!wanted.limited(now).some((name) => !["category", "tagged", "front"].includes(name))) return "Nothing was said yet. Start a run on Train: what it answers to its prompts is here.";
  return "Nobody said that. Try fewer words, or all runs, ages and dates.";
}

function hit(one, query) {
  const published = one.run_kind === "published";
  const answer = continuation(one.prompt, one.text, published);
  return h("article", { class: "hit", "data-id": String(one.id) },
    h("p", { class: "words" }, h("span", { class: "prompt" }, marked(one.prompt, query)), one.text ? around(answer, query) : h("span", { class: "none" }, " said nothing")),
    h("div", { class: "hit-foot" },
      h("p", { title: settings(one) }, h("b", {}, one.run_name), `, ${age(one.tokens)}, ${HOW[one.source] || one.source}, ${date(one.created_at)}`),
      one.exhibit ? h("button", { type: "button", class: "quiet", onclick: () => emit("see", one.exhibit) }, "Kept: see it")
        : h("button", { type: "button", class: "quiet", onclick: () => emit("keep", { sample: one }) }, "Keep this")));
}

/** The answer from a little before its first hit on. */
function around(text, query) {
  const parts = marked(text, query);
  const first = typeof parts[0] === "string" && parts.length > 1 ? parts[0] : "";
  if (first.length <= BEFORE * 2) return parts;
  const from = first.indexOf(" ", first.length - BEFORE);
  return ["… ", first.slice(from < 0 ? first.length - BEFORE : from + 1), ...parts.slice(1)];
}

function pages({ samples, newer, older }) {
  const turn = (leaf) => { wanted.want({ leaf }); $("#panel-capsule").scrollIntoView(); };
  fill($("#panel-capsule .pages"), newer || older ? [
    h("button", { type: "button", class: "plain", disabled: !newer, onclick: () => turn(`a${samples[0].id}`) }, "Newer"),
    h("button", { type: "button", class: "plain", disabled: !older, onclick: () => turn(`b${samples.at(-1).id}`) }, "Older")] : null);
}
