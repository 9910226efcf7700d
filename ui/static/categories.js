// The rooms of the hall of fame, and the ones people add: a colour, a sign and a word each.

import { h } from "./dom.js";

export const KNOWN = {
  good: { label: "The Good", path: "M4 10.5l4 4 8-9", what: "it holds together" },
  strange: { label: "The Strange", path: "M10 10c0-3 5-3 5 1s-7 6-10 2 1-10 6-9", what: "odd, in a way of its own" },
  hallucination: { label: "The Hallucination", path: "M2 10c4-6 12-6 16 0-4 6-12 6-16 0M10 8.2v3.6", what: "sure of what is not so" },
  loop: { label: "Loop", path: "M15.5 7A6.5 6.5 0 1 0 16.4 11M16 3v4.2h-4.2", what: "stuck, says it again and again" },
  memorised: { label: "Memorised", path: "M10 5.5C8 4 5 3.8 2.5 4.3v11c2.5-.5 5.5-.3 7.5 1.2 2-1.5 5-1.7 7.5-1.2v-11C15 3.8 12 4 10 5.5v11", what: "word for word from what it read" },
};
const OWN = "M5 10h10M10 5v10";

export function mark(category) {
  const known = KNOWN[category];
  return h("span", { class: `mark ${known ? category : "own"}` },
    h("svg", { viewBox: "0 0 20 20", "aria-hidden": "true" }, h("path", { d: known ? known.path : OWN })), known ? known.label : category);
}

/** Those in `used` that people made up themselves. */
export const made = (used) => used.filter((name) => !KNOWN[name]);

export const pairs = (used = []) => [...Object.entries(KNOWN).map(([name, { label }]) => [name, label]), ...made(used).map((name) => [name, name])];
