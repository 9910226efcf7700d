// Data: what this home can train on, as the cards of its datasets tell, and whether home and machine are well.

import { $, fill, h, say } from "./dom.js";
import { bytes, count } from "./format.js";
import { LONG_MS, get, on, send, state } from "./state.js";

export function mount() {
  on("tab", (tab) => { if (tab === "data") { load(); examine(); } });
  $("#look-again").addEventListener("click", examine);
  $("#back-up").addEventListener("click", backUp);
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
  const lines = [["Pieces of text", known(one.documents, (value) => value.toLocaleString("en"))], ["Text", known(one.bytes, bytes)],
    ["Tokens to train on", known(one.train_tokens, count)], ["Tokens to validate on", known(one.val_tokens, count)],
    ["Bytes per token", known(one.bytes_per_token, (value) => String(Number(value).toFixed(2)))],
    ["Vocabulary", known(one.vocab_size, (value) => value.toLocaleString("en"))],
    ["Tokenizer", known(one.tokenizer, (value) => (/^bpe:/.test(value) ? "learned from this text" : String(value)))], ["Licence", one.licence || "not in its card"]];
  return h("article", { class: "dataset" }, h("h2", {}, one.name),
    h("dl", { class: "plain" }, lines.map(([label, value]) => [h("dt", {}, label), h("dd", {}, value)])),
    one.sources.length ? h("details", { class: "more" }, h("summary", {}, one.sources.length === 1 ? "1 source" : `${one.sources.length} sources`),
      h("ul", {}, one.sources.map((source) => h("li", {}, source.licence ? `${source.name}, ${source.licence}` : source.name)))) : null);
}

const SIGNS = { ok: ["M4 10.5l4 4 8-9", "well"], warning: ["M10 4v8M10 15.5v.5", "mind"], problem: ["M5 5l10 10M15 5L5 15", "problem"] };

/** What the doctor finds, which takes a moment: asked for when the tab is opened, never again by itself. */
async function examine() {
  const list = $("#health ul");
  list.setAttribute("aria-busy", "true");
  $("#look-again").disabled = true;
  if (!list.children.length) fill(list, h("li", { class: "note" }, "Looking…"));
  try {
    fill(list, (await get("/api/health", {}, LONG_MS)).findings.map(finding));
  } catch (error) {
    fill(list, h("li", { class: "problem" }, error.message));
  }
  $("#look-again").disabled = false;
  list.setAttribute("aria-busy", "false");
}

function finding(one) {
  const [path, word] = SIGNS[one.state];
  return h("li", { "data-state": one.state }, h("span", { class: "mark" }, h("svg", { viewBox: "0 0 20 20", "aria-hidden": "true" }, h("path", { d: path })),
    h("span", { class: "sr" }, word)), h("b", {}, one.name), h("span", {}, one.sentence));
}

async function backUp() {
  const button = $("#back-up");
  button.disabled = true;
  say($("#backed-up"), "Copying…");
  try {
    const made = await send("/api/backup", {}, LONG_MS);
    say($("#backed-up"), `Kept as backups/${made.name} in this home, ${bytes(made.bytes)}.`);
  } catch (error) {
    say($("#backed-up"), error.message);
  }
  button.disabled = false;
}
