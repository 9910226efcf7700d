// How texts of models and people are shown: hits of a search marked, signs that are no letters explained. Text nodes only.

import { h, say } from "./dom.js";

const NO_LETTER = "� stands for bytes that are no letter: it learned bytes before letters, or its answer ended inside one.";
const WORD = /[\p{L}\p{N}\p{M}]+/gu;
const MOST_WORDS = 32;

/** What "�" is, said in `place` as long as one of `texts` has one; without a `place`, in a note to put somewhere. */
export function explainSigns(texts, place = h("p", { class: "note" })) {
  place.hidden = !texts.some((text) => text.includes("\ufffd"));
  say(place, place.hidden ? "" : NO_LETTER);
  return place;
}

/** As the full-text index compares words: without accents, small. */
const fold = (word) => word.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();

/** A text in parts, with a <mark> around each word that `query` asks for; of its last word a beginning is enough. */
export function marked(text, query) {
  const asked = (query || "").trim().split(/\s+/).filter((word) => word.match(WORD)).slice(0, MOST_WORDS).flatMap((word) => word.match(WORD)).map(fold);
  if (!asked.length) return query ? split(text, query.trim()) : [text];
  const [last, whole] = [asked.pop(), new Set(asked)];
  const parts = [];
  let at = 0;
  for (const found of text.matchAll(WORD)) {
    const word = fold(found[0]);
    if (!whole.has(word) && !word.startsWith(last)) continue;
    parts.push(text.slice(at, found.index), h("mark", {}, found[0]));
    at = found.index + found[0].length;
  }
  return [...parts, text.slice(at)];
}

/** The same for a search of signs only, which are found exactly as they are. */
function split(text, signs) {
  return text.split(signs).flatMap((part, at) => (at ? [h("mark", {}, signs), part] : [part]));
}
