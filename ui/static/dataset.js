// One dataset, whole: where it came from, what was left out, how long its documents are, some of them to read, and its end.

import { $, fill, h, say, shutByBackdrop } from "./dom.js";
import { bytes, date, leftOut } from "./format.js";
import { LONG_MS, emit, get, send } from "./state.js";

let shown = "";

export function mount() {
  const dialog = h("dialog", { id: "dataset", class: "sheet", "aria-labelledby": "dataset-title" });
  shutByBackdrop(dialog);
  dialog.addEventListener("close", () => { shown = ""; fill(dialog); });
  $("#topbar").after(dialog);
}

export function tokenizerWords(name) {
  return !name ? "not in its card" : name === "smollm2" ? "SmolLM2" : /^bpe:/.test(name) ? "learned from this text" : name.split("/").pop();
}

export async function openDataset(name) {
  const dialog = $("#dataset");
  shown = name;
  const close = () => h("button", { type: "button", class: "strong", onclick: () => dialog.close() }, "Close");
  try {
    const one = await get("/api/dataset", { name });
    if (shown === name) fill(dialog, whole(one, close));
  } catch (error) {
    fill(dialog, h("div", { class: "whole" }, h("h2", { id: "dataset-title" }, name), h("p", { class: "problem" }, error.message), h("div", { class: "row" }, close())));
  }
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  if ($(".reading", dialog)) read(name, "train", 0);
}

const known = (value, words) => (value === null || value === undefined ? null : words(value));
const number = (value) => value.toLocaleString("en");
const part = (title, ...content) => h("section", {}, h("h3", {}, title), content);

function whole(one, close) {
  const lines = [["Tokens to train on", known(one.train_tokens, number)], ["Tokens to validate on", known(one.val_tokens, number)],
    ["Documents", known(one.documents, number)], ["Text", known(one.bytes, bytes)], ["Bytes per token", known(one.bytes_per_token, (value) => Number(value).toFixed(3))],
    ["Tokenizer", tokenizerWords(one.tokenizer)], ["Vocabulary", known(one.vocab_size, (value) => `${number(value)} pieces`)],
    ["Separator", one.separator && h("code", {}, one.separator)], ["On disk", bytes(one.disk)], ["Made", known(one.created, date)], ["Licence", one.licence]];
  return h("article", { class: "whole" }, h("h2", { id: "dataset-title", tabindex: "-1", autofocus: true }, one.name),
    h("dl", { class: "plain" }, lines.filter(([, value]) => value).map(([label, value]) => [h("dt", {}, label), h("dd", {}, value)])),
    sources(one), part("What was left out", leftBehind(one), one.filters.length ? h("p", { class: "note" },
      `Asked for were ${one.filters.map((filter) => FILTERS[filter.name]?.(filter.value) || `${filter.name} ${filter.value}`).join(", ")}.`) : null),
    one.lengths ? part("How long its documents are", histogram(one.lengths)) : null,
    h("section", { class: "reading" }, h("div", { class: "heading" }, h("h3", {}, "Read some"),
      h("span", { class: "segmented", role: "group", "aria-label": "Which part to read" }, [["train", "Training"], ["val", "Validation"]].map(([split, label]) =>
        h("button", { type: "button", "data-split": split, "aria-pressed": split === "train", onclick: () => read(one.name, split, dice()) }, label))),
      h("button", { type: "button", class: "plain", onclick: () => read(one.name, $("[data-split][aria-pressed=true]", $("#dataset")).dataset.split, dice()) }, "Others")),
    h("div", { class: "documents", "aria-live": "polite" }, h("p", { class: "note" }, "Opening…"))),
    one.command ? part("Made again with", h("pre", { tabindex: "0", "aria-label": "The command that makes it" }, one.command),
      one.command.includes("…") ? h("p", { class: "note" }, `Put the folder's whole path where … stands; datasets/${one.name}/card.json has it.`) : null) : null,
    h("div", { class: "row last" }, close(), one.vocab_size ? h("button", { type: "button", class: "plain", onclick: () => { $("#dataset").close(); emit("train-on", one); } }, "Train on it") : null,
      h("button", { type: "button", class: "quiet", onclick: () => confirm(one) }, "Delete it")));
}

/** Documents, files, and bytes that did not get into it. */
function leftBehind(one) {
  const documents = leftOut(one.dropped).replace(/^./, (first) => first.toUpperCase());
  const files = one.unreadable || [];
  const list = h("ul", {}, files.map((why) => h("li", {}, why)));
  const lost = one.lost_bytes ? `${number(one.lost_bytes)} ${one.lost_bytes === 1 ? "byte of the text has" : "bytes of the text have"} no piece in this tokenizer: they are lost or changed.` : "";
  const said = [documents && `${documents}.`, one.other_kinds, lost].filter(Boolean).map((words) => h("p", {}, words));
  if (files.length) said.push(h("p", {}, files.length === 1 ? "1 file could not be read, or not to its end:" : `${number(files.length)} files could not be read, or not to their end:`),
    files.length > 8 ? h("details", { class: "more" }, h("summary", {}, "Show them"), list) : list);
  return said.length ? said : h("p", {}, "Nothing.");
}

const FILTERS = {
  min_characters: (value) => `${number(value)} characters or more`, max_characters: (value) => `${number(value)} characters or fewer`,
  max_symbol_share: (value) => `at most ${Math.round(1000 * value) / 10}% symbols`, max_repetition: (value) => `at most ${Math.round(1000 * value) / 10}% repetition`,
};

function sources(one) {
  const line = (source) => h("li", {}, source.name, h("span", { class: "note" }, [known(source.documents, (value) => `${number(value)} ${value === 1 ? "document" : "documents"}`), source.licence]
    .filter(Boolean).map((words) => `, ${words}`).join("")));
  const list = h("ul", {}, one.sources.map(line));
  if (!one.sources.length) return null;
  return part(one.sources.length === 1 ? "Its source" : `Its ${one.sources.length} sources`, one.sources.length > 8 ? h("details", { class: "more" }, h("summary", {}, "Show them"), list) : list,
    one.ending ? h("p", {}, one.ending) : null);
}

/** Bars of doubling lengths; the words under it say the same. */
function histogram({ bars, half, longest }) {
  const most = Math.max(...bars.map((bar) => bar.documents));
  const range = (bar) => (bar.least === bar.most ? "1 token" : `${number(bar.least)} to ${number(bar.most)} tokens`);
  const top = bars.find((bar) => bar.documents === most);
  const words = `Half of them have at most ${number(half)} tokens, none more than ${number(longest)}; ${range(top)} are the most common.`;
  return [h("div", { class: "bars", role: "img", "aria-label": words }, bars.map((bar) => h("div", { title: `${range(bar)}: ${number(bar.documents)} ${bar.documents === 1 ? "document" : "documents"}` },
    h("i", { style: `height:${bar.documents ? Math.max(2, (96 * bar.documents) / most) : 0}px` }), h("span", {}, bar.most < 1024 ? bar.most : `${(bar.most / 1024).toLocaleString("en")}k`)))),
  h("p", { class: "note" }, `Documents by their tokens, up to the number under each bar (1k is 1,024). ${words}`)];
}

const dice = () => Math.floor(Math.random() * 2 ** 31);

async function read(name, split, seed) {
  const dialog = $("#dataset");
  for (const button of dialog.querySelectorAll("[data-split]")) button.setAttribute("aria-pressed", button.dataset.split === split);
  let found;
  try {
    found = (await get("/api/dataset/documents", { name, split, seed })).documents.map((one) => h("article", {},
      h("p", { class: "note" }, `Document ${number(one.number)}, ${number(one.tokens)} ${one.tokens === 1 ? "token" : "tokens"}${one.cut ? "; its beginning" : ""}`),
      h("p", { class: "words", tabindex: "0" }, one.text)));
  } catch (error) {
    found = h("p", { class: "problem" }, error.message);
  }
  if (shown === name) fill($(".documents", dialog), found);
}

function confirm(one) {
  const row = $("#dataset .row.last");
  const problem = h("p", { class: "problem", role: "alert" });
  const no = h("button", { type: "button", class: "strong", onclick: () => { box.replaceWith(row); $("button", row).focus(); } }, "Leave it");
  const yes = h("button", { type: "button", class: "plain", onclick: () => remove(one, yes, problem) }, "Delete it");
  const box = h("div", { class: "ask-first", role: "group", "aria-label": `Delete ${one.name}` },
    h("p", {}, h("b", {}, `Delete ${one.name}? `), `It frees ${bytes(one.disk)}. The texts it was made from are not touched; runs that read it keep their weights and words, and need it again to go on.`),
    problem, h("div", { class: "row" }, no, yes));
  row.replaceWith(box);
  no.focus();
  box.scrollIntoView({ block: "nearest" });
}

async function remove(one, button, problem) {
  button.disabled = true;
  try {
    const freed = await send("/api/dataset/delete", { name: one.name }, LONG_MS);
    $("#dataset").close();
    $("#panel-data h1").focus(); // the button that opened it is gone
    emit("data-changed", `${one.name} is deleted; ${bytes(freed.bytes)} are free again.`);
  } catch (error) {
    say(problem, error.message);
    button.disabled = false;
  }
}
