// What an answer looks like, and whether its words stand in what it was trained on. All texts are text nodes.

import { KNOWN, mark } from "./categories.js";
import { $, fill, h, say } from "./dom.js";
import { get } from "./state.js";

/** Between two questions while an index is made: the first time, and at most. */
const AGAIN_MS = [2000, 30000];

/** What is measured of a sample, told to `tell` now and once more is known, as long as `place` is on the page. */
async function follow(sample, place, tell) {
  for (let pause = AGAIN_MS[0]; ; pause = Math.min(1.5 * pause, AGAIN_MS[1])) {
    let found;
    try {
      found = await get("/api/judged", { sample });
    } catch (error) {
      tell({ problem: error.message });
      return;
    }
    tell(found);
    if (!found.waiting) return;
    await new Promise((later) => { setTimeout(later, pause); });
    if (!place.isConnected) return;
  }
}

const share = (value) => `${Math.round(100 * value)}%`;
const times = (value) => (value < 100 ? value.toFixed(1) : Math.round(value).toLocaleString("en"));

/** "Looks like: Loop, 14 of 40 words ...", with a button that takes it; nothing is chosen by itself. */
export function looksLike(sample, take) {
  const place = h("div", { class: "looks", role: "status" }, h("p", {}, "Measuring what it looks like …"));
  follow(sample, place, (found) => {
    if (found.problem) fill(place, h("p", {}, found.problem));
    else if (!found.proposal) fill(place, h("p", {}, found.missing || "It is too short to say what it looks like."));
    else fill(place, h("p", {}, "Looks like ", mark(found.proposal), h("span", {}, `: ${found.reason}.`)),
      h("button", { type: "button", class: "plain", onclick: () => take(found.proposal) }, `Choose ${KNOWN[found.proposal].label}`));
  });
  return place;
}

/** The longest run of words that stands in the training text, with the passage around it, and every measure.
 *  Closed it keeps its height, whatever is found: nothing moves under a finger. */
export function memorised(sample) {
  const headline = h("span", { class: "headline" }, "Looking it up …");
  const inside = h("div");
  const place = h("details", { class: "copied", ontoggle: () => centre(inside) },
    h("summary", {}, h("b", {}, "Memorised or invented?"), headline), inside);
  follow(sample, place, (found) => {
    say(headline, found.problem || inShort(found));
    fill(inside, found.problem ? h("p", {}, found.problem) : [verdict(found), passage(found), measures(found)]);
    centre(inside);
  });
  return place;
}

/** The run in the middle of its passage. */
function centre(inside) {
  const quote = $(".passage blockquote", inside);
  if (quote) quote.scrollTop = $("mark", quote).offsetTop - quote.clientHeight / 3;
}

function inShort({ missing, waiting, measures: { words, copied_words: copied } }) {
  if (missing) return waiting ? "The training text is being indexed …" : "Its training text is not here";
  if (!copied) return words ? "No four words in a row are from its training text" : "It says no whole word";
  return `${copied} of ${words} words in a row are copied`;
}

function verdict({ missing, measures: { words, copied_words: copied }, copied: run, dataset }) {
  if (missing) return h("p", {}, missing);
  if (!words) return h("p", {}, "It says no whole word that could be looked up.");
  if (!copied) return h("p", {}, `Invented: no four of its words stand next to each other in ${dataset}, which it was trained on.`);
  const much = copied >= 8 && copied / words >= 0.5;
  return h("p", {}, much ? "Memorised: " : "Mostly invented: ", `its longest run of words that stands in ${dataset}, which it was trained on, is `,
    h("b", {}, `${copied} of ${words}`), ": ", h("q", { class: "words" }, run.run));
}

function passage({ copied }) {
  const there = copied && copied.passage;
  if (!there) return null;
  const where = there.document ? `document ${there.document.toLocaleString("en")} of ${there.documents.toLocaleString("en")}` : "the training text";
  return h("figure", { class: "passage" },
    h("blockquote", { class: "words", tabindex: "0", "aria-label": "The passage of the training text" }, there.before, h("mark", {}, there.run), there.after),
    h("figcaption", {}, `Where it stands: ${where}`));
}

/** Each measure in words: its name, what it says, its value. */
const KINDS = [
  ["words", "Whole words", "that were measured", (one) => one.words],
  ["distinct_1", "Different words", "of all its words; a loop has few", (one) => share(one.distinct_1)],
  ["distinct_2", "Different pairs", "of words next to each other", (one) => share(one.distinct_2)],
  ["distinct_3", "Different threes", "of words in a row", (one) => share(one.distinct_3)],
  ["loop_words", "Longest loop", "words in one phrase said again and again", (one) => one.loop_words],
  ["stuck_share", "Stutters", "of its signs say the same over and over", (one) => share(one.stuck_share)],
  ["unknown_share", "Unknown words", "that the training text does not have", (one) => share(one.unknown_share)],
  ["familiar_share", "Familiar phrases", "of its words are in phrases from the training text", (one) => share(one.familiar_share)],
  ["copied_words", "Longest copied run", "words in a row from the training text", (one) => one.copied_words],
  ["change", "Change", "since it answered at the age before", (one) => share(one.change)],
  ["self_perplexity", "Own surprise", "words it wavered between, as it sees its answer", (one) => times(one.self_perplexity)],
  ["mean_entropy", "Mean doubt", "nats of entropy at each token", (one) => one.mean_entropy.toFixed(2)],
];

function measures({ measures: known }) {
  const rows = KINDS.filter(([key]) => known[key] !== null);
  return h("details", {}, h("summary", {}, "Everything measured"),
    h("dl", { class: "measures" }, rows.map(([, name, about, value]) => h("div", {}, h("dt", {}, name, h("small", {}, about)), h("dd", {}, String(value(known)))))));
}
