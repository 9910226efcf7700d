// The time capsule: exhibits as cards, searched on the server, fifty at a time. All their texts are text nodes.

import { $, $$, fill, h, options, say } from "./dom.js";
import { askAgain, categoryPairs, mark, miniature, open, settings } from "./exhibit.js";
import { age, count, date, loss } from "./format.js";
import { get, on, state } from "./state.js";

const AGES = [1e5, 3e5, 1e6, 3e6, 1e7, 1e8, 1e9];
const FILTERS = ["category", "run", "young", "old"];
let page = 0;
let asked = 0;
let typing = 0;
let stale = true;

export function mount() {
  const search = $("#gallery-search input");
  search.addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(again, 200); });
  for (const name of FILTERS) $(`#gallery-${name} select`).addEventListener("change", again);
  on("tab", (tab) => { if (tab === "capsule" && stale) load(); });
  on("kept", () => { stale = true; if (state.tab === "capsule") load(); });
  on("runs", filters);
}

function filters() {
  options($("#gallery-category select"), [["", "All categories"], ...categoryPairs(state.categories)]);
  options($("#gallery-run select"), [["", "All runs"], ...state.runs.map((one) => [one.id, one.name])]);
  options($("#gallery-young select"), [["", "From any age"], ...AGES.map((tokens) => [String(tokens), `From ${count(tokens)} tokens`])]);
  options($("#gallery-old select"), [["", "To any age"], ...AGES.map((tokens) => [String(tokens), `To ${count(tokens)} tokens`])]);
}

function again() {
  page = 0;
  load();
}

async function load() {
  const ticket = (asked += 1);
  filters();
  const query = { q: $("#gallery-search input").value, page };
  for (const name of FILTERS) {
    const value = $(`#gallery-${name} select`).value;
    if (value) query[name] = value;
  }
  let answer;
  try {
    answer = await get("/api/exhibits", query);
  } catch (error) {
    say($("#capsule-count"), error.message);
    return;
  }
  if (ticket !== asked) return;
  if (page && !answer.exhibits.length) { page = Math.max(0, Math.ceil(answer.total / answer.page_size) - 1); return load(); }
  stale = false;
  state.categories = answer.categories;
  filters();
  const searching = query.q || FILTERS.some((name) => query[name]);
  say($("#capsule-count"), answer.total === 1 ? "1 exhibit" : `${answer.total.toLocaleString("en")} exhibits`);
  fill($("#gallery"), answer.exhibits.length ? answer.exhibits.map((one) => card(one, answer.curves[one.run_id])) : h("p", { class: "empty" }, searching
    ? "No exhibit matches. Try fewer words, or all categories and ages."
    : "Nothing is kept yet. Ask a model something on the Play tab, then press Keep this."));
  for (const words of $$("#gallery .words")) words.nextElementSibling.hidden = words.scrollHeight <= words.clientHeight + 2;
  pages(answer);
}

function pages({ total, page_size }) {
  const many = Math.ceil(total / page_size);
  const turn = (by) => { page += by; load(); $("#panel-capsule").scrollIntoView(); };
  fill($("#panel-capsule .pages"), many < 2 ? null : [
    h("button", { type: "button", class: "plain", disabled: page === 0, onclick: () => turn(-1) }, "Newer"),
    h("span", {}, `Page ${page + 1} of ${many}`),
    h("button", { type: "button", class: "plain", disabled: page >= many - 1, onclick: () => turn(1) }, "Older")]);
}

function card(one, curve) {
  const published = one.run_kind === "published";
  const text = one.text || one.note;
  const words = h("p", { class: one.text ? "words" : "words none" }, text.trim().replace(/\n\s*\n\s*/g, "\n\n"));
  const link = (event) => { if (!event.ctrlKey && !event.metaKey) { event.preventDefault(); open(one.id); } };
  return h("article", { class: "exhibit", tabindex: "-1" }, mark(one.category),
    h("h2", {}, h("a", { href: `?tab=capsule&exhibit=${one.id}`, onclick: link }, one.title)),
    one.title.trim() === one.prompt.trim() ? null : h("p", { class: "prompt" }, one.prompt), words,
    h("button", { type: "button", class: "quiet read", hidden: true, "aria-label": `Read on: ${one.title}`, onclick: () => open(one.id) }, "Read on"),
    one.note && one.text ? h("p", { class: "note" }, one.note) : null,
    h("div", { class: "foot" }, miniature(curve, one), h("p", { title: settings(one) }, h("b", {}, one.run_name),
      h("br"), published ? "published, December 2025" : `${age(one.tokens)}, loss ${loss(one.val_loss ?? NaN)}`, h("br"),
      published ? "500 M tokens, counted" : date(one.created_at))),
    published ? null : h("button", { type: "button", class: "plain", onclick: () => askAgain(one) }, "Ask again"));
}
