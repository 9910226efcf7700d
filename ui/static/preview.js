// What a recipe will give: its size and time, the first documents, and which of them the filters leave out.

import { $, fill, h } from "./dom.js";
import { bytes, count, leftOut, roughly, speed } from "./format.js";
import { state } from "./state.js";

const SHORT = 400;
let under = null;
let looked = "";

const box = () => $("#preview .estimate");

export function cancelPreview() {
  under?.abort();
  under = null;
  looked = "";
  $("#preview").setAttribute("aria-busy", "false");
}

/** Whether the answer shown, or the one on its way, is that of this recipe. */
export const isLookedAt = (recipe) => JSON.stringify(recipe) === looked;

export function clearPreview() {
  cancelPreview();
  fill(box(), h("p", { class: "empty" }, "Its size, the time it takes and its first documents appear here once its texts are named."));
  fill($("#preview .first"));
}

/** Ask for a preview; the one before, if it is still being made, is ended. `mend` takes what the answer offers to change. */
export async function preview(recipe, mend) {
  cancelPreview();
  const mine = (under = new AbortController());
  looked = JSON.stringify(recipe);
  $("#preview").setAttribute("aria-busy", "true");
  // What was known before stays until the answer is here: nothing moves under a pointer that presses Start, or what mends it.
  if (!$("dl, .mend", box())) fill(box(), h("p", { class: "empty" }, "Reading the first documents…"));
  let answer;
  try {
    const asked = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ recipe }) };
    const response = await fetch("/api/prepare/preview", { ...asked, signal: mine.signal });
    answer = await response.json();
  } catch {
    if (mine.signal.aborted) return;
    answer = { error: "The server does not answer. If app.py was closed, start it again." };
  }
  if (mine !== under) return;
  under = null;
  $("#preview").setAttribute("aria-busy", "false");
  if (answer.error) fill(box(), h("p", { class: "problem" }, answer.error), offered(answer.offer, mend), answer.offer ? null : unmeasured(recipe));
  else fill(box(), estimate(answer), unread(answer.unreadable), offered(answer.offer, mend));
  fill($("#preview .first"), (answer.documents || []).map(shown));
}

const figure = (label, value) => h("div", {}, h("dt", {}, label), h("dd", {}, value));

function estimate({ estimate: guess, dropped, read, bytes_per_token: each, tokens_per_second: pace, note }) {
  const about = (value, words) => (value === null || value === undefined ? "not known" : `${guess.exact ? "" : "about "}${words(value)}`);
  const gone = Object.values(dropped || {}).reduce((sum, number) => sum + number, 0);
  const first = read === 1 ? "the first document" : `the first ${read.toLocaleString("en")} documents`;
  return [h("dl", {}, figure("Tokens", about(guess.tokens, count)), figure("Documents", about(guess.documents, (value) => value.toLocaleString("en"))),
    figure("On disk", about(guess.bytes_on_disk, bytes)), figure("Time here", guess.seconds === null ? "not known" : roughly(guess.seconds))),
    h("p", { class: "note" }, [each ? `${each.toFixed(2)} bytes per token` : "", pace ? `${speed(pace)} here` : ""].filter(Boolean).join(", "), each || pace ? ". " : "",
      guess.exact || guess.tokens === null ? "" : `Estimated from ${first}. `, note || ""),
    h("p", {}, gone ? `Of ${first} ${gone.toLocaleString("en")} ${gone === 1 ? "is" : "are"} left out (${leftOut(dropped)}).` : `Of ${first} none is left out.`)];
}

const unread = (files) => (files?.length ? h("div", {}, h("p", {}, "Left out, because they cannot be read to their end:"), h("ul", {}, files.map((why) => h("li", {}, why)))) : null);

/** What one press would mend. */
function offered(offer, mend) {
  const size = /^bpe:(\d+)$/.exec(offer?.tokenizer || "")?.[1];
  const words = size ? `Take ${Number(size).toLocaleString("en")} pieces` : offer?.skip_unreadable ? "Leave unreadable files out" : "";
  return words ? h("button", { type: "button", class: "plain mend", onclick: () => mend(offer) }, words) : null;
}

/** Where nothing can be read, what is asked for still has a size. */
function unmeasured({ tokens }) {
  if (!tokens || !state.cost) return null;
  const { bytes_per_token: size, tokens_per_second: pace } = state.cost;
  return h("p", { class: "note" }, `${count(tokens)} tokens take about ${bytes(tokens * size)} on disk and, at ${speed(pace)} as two processor cores reach, `,
    `${roughly(tokens / pace)}.`);
}

function shown(one) {
  const reason = one.dropped || (one.duplicate ? "equal to an earlier one" : "");
  const sign = h("svg", { viewBox: "0 0 20 20", "aria-hidden": "true" }, h("path", { d: reason ? "M5 5l10 10M15 5L5 15" : "M4 10.5l4 4 8-9" }));
  const words = (text) => h("p", { class: "words" }, text);
  return h("li", { "data-kept": reason ? "no" : "yes" },
    h("p", { class: "top" }, h("span", { class: "fate" }, sign, reason ? `Left out: ${reason}` : "Kept"), h("span", { class: "note" }, `${one.file}, ${bytes(one.bytes)}`)),
    one.text.length > SHORT ? h("details", {}, h("summary", {}, h("span", { class: "words" }, `${one.text.slice(0, SHORT)}…`)), words(one.text.slice(SHORT))) : words(one.text));
}
