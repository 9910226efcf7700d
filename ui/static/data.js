// Data: the datasets of this home and the jobs that make more. Asks again each second while one works, also for the Train tab, whose presets wait for it.

import { $, fill, h, say } from "./dom.js";
import { openDataset, tokenizerWords } from "./dataset.js";
import { bytes, count, date } from "./format.js";
import { drawJobs } from "./jobs.js";
import { emit, get, on, state } from "./state.js";

const BUSY_MS = 1000;
const ASIDE_MS = 3000;
const CALM_MS = 10000;
let timer = 0;
let asked = 0;
let working = new Map();
let news = "";

export function mount() {
  on("tab", (tab) => tab === "data" && look());
  on("runs", () => state.tab === "data" && look());
  on("data-changed", (sentence) => { news = sentence || news; look(); });
  document.addEventListener("visibilitychange", () => !document.hidden && look());
  look();
}

/** Read what there is; a newer question makes an older answer void. */
async function look() {
  clearTimeout(timer);
  const ticket = (asked += 1);
  try {
    const answer = await get("/api/datasets");
    if (ticket !== asked) return;
    take(answer);
  } catch (error) {
    if (ticket !== asked) return;
    say($("#data-count"), error.message);
  }
  const wait = state.tab === "data" ? (working.size ? BUSY_MS : CALM_MS) : working.size ? ASIDE_MS : 0;
  if (wait) timer = setTimeout(() => (document.hidden ? null : look()), wait);
}

const isOpen = (job) => job.open;

function take({ datasets, jobs }) {
  const before = state.data;
  state.data = { datasets, jobs };
  for (const [id, name] of working) {
    const now = jobs.find((one) => one.id === id);
    if (!now?.open) news = datasets.some((one) => one.name === name) ? `${name} is ready.` : now ? `${name}: ${now.status}.` : "";
  }
  working = new Map(jobs.filter((one) => one.open).map((one) => [one.id, one.name]));
  const all = !datasets.length ? "" : datasets.length === 1 ? "1 dataset" : `${datasets.length} datasets`;
  say($("#data-count"), [all, news].filter(Boolean).join(". "));
  // What is at work comes first, then what waits, then what ended early.
  const rank = (one) => (one.status === "waiting" ? 1 : one.open ? 0 : 2);
  drawJobs(jobs.filter((one) => one.status !== "finished").sort((a, b) => rank(a) - rank(b)));
  if (JSON.stringify(before?.datasets) !== JSON.stringify(datasets) || Boolean(before?.jobs.some(isOpen)) !== jobs.some(isOpen)) {
    const focused = document.activeElement?.closest(".dataset")?.dataset.name;
    fill($("#datasets"), datasets.length ? datasets.map(card) : jobs.some(isOpen) ? [] : h("p", { class: "empty" },
      "Nothing is prepared yet. The starter novels, eight books in the public domain, are prepared within seconds when the first seedling or sprout starts, and appear here. Texts of your own, or a dataset of the Hugging Face hub, become one with Prepare a dataset."));
    const names = (list) => list.map((one) => one.name).join(" ");
    if (before && names(before.datasets) !== names(datasets)) emit("datasets");
    if (focused) $(`.dataset[data-name="${CSS.escape(focused)}"] button`)?.focus();
  }
  emit("data");
}

function card(one) {
  if (one.problem) return h("article", { class: "dataset", "data-name": one.name }, h("h2", {}, one.name), h("p", { class: "problem" }, one.problem));
  return h("article", { class: "dataset", "data-name": one.name }, h("h2", {}, one.name),
    h("dl", { class: "plain" }, facts(one).map(([label, value]) => [h("dt", {}, label), h("dd", {}, value)])),
    h("button", { type: "button", class: "plain", "aria-label": `Open ${one.name}`, onclick: () => openDataset(one.name) }, "Open"));
}

function facts(one) {
  const known = (value, words) => (value === null || value === undefined ? "not in its card" : words(value));
  return [["Tokens to train on", known(one.train_tokens, count)], ["Documents", known(one.documents, (value) => value.toLocaleString("en"))],
    ["Bytes per token", known(one.bytes_per_token, (value) => Number(value).toFixed(2))], ["Tokenizer", tokenizerWords(one.tokenizer)],
    ["On disk", bytes(one.disk)], ["Made", known(one.created, date)], ["Licence", one.licence || "not in its card"]];
}
