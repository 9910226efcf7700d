// Data: what this home can train on, as the cards of its datasets tell.

import { $, fill, h, say } from "./dom.js";
import { bytes, count } from "./format.js";
import { get, on, state } from "./state.js";

export function mount() {
  on("tab", (tab) => tab === "data" && load());
  on("runs", () => state.tab === "data" && load());
}

async function load() {
  let found;
  try {
    found = (await get("/api/datasets")).datasets;
  } catch (error) {
    say($("#data-count"), error.message);
    return;
  }
  say($("#data-count"), !found.length ? "" : found.length === 1 ? "1 dataset" : `${found.length} datasets`);
  fill($("#datasets"), found.length ? found.map(card)
    : h("p", { class: "empty" }, "Nothing is prepared yet. The starter novels, eight books in the public domain, are prepared within seconds when the first seedling or sprout starts, and appear here."));
}

function card(one) {
  if (one.problem) return h("article", { class: "dataset" }, h("h2", {}, one.name), h("p", { class: "problem" }, one.problem));
  const known = (value, words) => (value === null || value === undefined ? "not in its card" : words(value));
  const lines = [["Documents", known(one.documents, (value) => value.toLocaleString("en"))], ["Text", known(one.bytes, bytes)],
    ["Tokens to train on", known(one.train_tokens, count)], ["Tokens to validate on", known(one.val_tokens, count)],
    ["Bytes per token", known(one.bytes_per_token, (value) => String(Number(value).toFixed(2)))],
    ["Vocabulary", known(one.vocab_size, (value) => value.toLocaleString("en"))],
    ["Tokenizer", known(one.tokenizer, String)], ["Licence", one.licence || "not in its card"]];
  return h("article", { class: "dataset" }, h("h2", {}, one.name),
    h("dl", { class: "plain" }, lines.map(([label, value]) => [h("dt", {}, label), h("dd", {}, value)])),
    one.sources.length ? h("details", { class: "more" }, h("summary", {}, one.sources.length === 1 ? "1 source" : `${one.sources.length} sources`),
      h("ul", {}, one.sources.map((source) => h("li", {}, source.licence ? `${source.name}, ${source.licence}` : source.name)))) : null);
}
