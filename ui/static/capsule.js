// The time capsule: exhibits as cards, searched on the server, fifty at a time. All their texts are text nodes.

import { $, $$, fill, h, options, say } from "./dom.js";
import { mark, pairs } from "./categories.js";
import { askAgain, lossThen, miniature, open, said, settings } from "./exhibit.js";
import { age, count, date } from "./format.js";
import { CAPSULE, get, on, runById, state, writeAddress } from "./state.js";
import { explainSigns, marked } from "./texts.js";

const AGES = [1e5, 3e5, 1e6, 3e6, 1e7, 1e8, 1e9];
/** The selects, by their name in the address. */
const FILTERS = { category: "category", of: "run", young: "young", old: "old" };
let asked = 0;
let typing = 0;
let stale = true;
let drawn = "";

export function mount() {
  const search = $("#gallery-search input");
  search.addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(() => again("q", search.value.trim()), 200); });
  for (const name of Object.keys(FILTERS)) select(name).addEventListener("change", (event) => again(name, event.target.value));
  on("tab", (tab) => { if (tab === "capsule") follow(); });
  on("kept", () => { stale = true; if (state.tab === "capsule") load(); });
  on("runs", filters);
  on("see-run", (run) => { showAll(); if (run) again("of", run); $("#gallery").scrollIntoView(); });
}

const select = (name) => $(`#gallery-${FILTERS[name]} select`);

/** Show what the address asks for, which the back button may just have changed. */
function follow() {
  const wanted = JSON.stringify(state.capsule);
  if (!stale && wanted === drawn) return;
  if ($("#gallery-search input").value.trim() !== state.capsule.q) $("#gallery-search input").value = state.capsule.q;
  load();
}

function filters() {
  options($("#gallery-category select"), [["", "All categories"], ...pairs(state.categories)]);
  options($("#gallery-run select"), [["", "All runs"], ...state.runs.map((one) => [one.id, one.name])]);
  options($("#gallery-young select"), [["", "From any age"], ...AGES.map((tokens) => [String(tokens), `From ${count(tokens)} tokens`])]);
  options($("#gallery-old select"), [["", "To any age"], ...AGES.map((tokens) => [String(tokens), `To ${count(tokens)} tokens`])]);
  for (const name of Object.keys(FILTERS)) select(name).value = state.capsule[name];
  // An address may write a category in another way than it is kept now.
  const wanted = state.capsule.category.toLowerCase();
  select("category").value = [...select("category").options].find((one) => one.value.toLowerCase() === wanted)?.value ?? "";
}

function again(name, value) {
  state.capsule = { ...state.capsule, leaf: "", [name]: value };
  writeAddress();
  load();
}

async function load() {
  const ticket = (asked += 1);
  const wanted = state.capsule;
  let answer;
  try {
    answer = await get("/api/exhibits", { q: wanted.q, category: wanted.category, run: wanted.of, page: Number(wanted.leaf) || 0,
      young: Number(wanted.young) || null, old: Number(wanted.old) || null });
  } catch (error) {
    say($("#capsule-count"), error.message);
    return;
  }
  if (ticket !== asked) return;
  if (Number(wanted.leaf) && !answer.exhibits.length) return again("leaf", String(Math.max(0, Math.ceil(answer.total / answer.page_size) - 1) || ""));
  stale = false;
  drawn = JSON.stringify(wanted);
  state.categories = answer.categories;
  filters();
  say($("#capsule-count"), words(answer));
  fill($("#gallery"), answer.exhibits.length ? answer.exhibits.map((one) => card(one, answer.curves[one.run_id], wanted.q)) : h("div", { class: "empty" }, h("p", {}, nothing(wanted)),
    Object.values(wanted).some(Boolean) ? h("button", { type: "button", class: "plain", onclick: showAll }, "Show all exhibits") : null));
  explainSigns(answer.exhibits.flatMap((one) => [one.prompt, one.text]), $("#gallery-signs"));
  for (const words of $$("#gallery .exhibit .words")) words.nextElementSibling.hidden = words.scrollHeight <= words.clientHeight + 2;
  pages(answer, Number(wanted.leaf) || 0);
}

function showAll() {
  state.capsule = Object.fromEntries(CAPSULE.map((name) => [name, ""]));
  $("#gallery-search input").value = "";
  writeAddress();
  load();
}

function nothing(wanted) {
  const how = "Press Keep this beside anything it says, on Train or on Play.";
  const asked = Object.keys(wanted).filter((name) => name !== "leaf" && wanted[name]);
  if (!asked.length) return `Nothing is kept yet. ${how}`;
  if (asked.join() === "of") return `Nothing that ${runById(wanted.of)?.name || "this run"} said is kept yet. ${how}`;
  return "No exhibit matches. Try fewer words, or all categories and ages.";
}

/** "41 exhibits, 3 of them published with the studio" */
function words({ total, published }) {
  const all = total === 1 ? "1 exhibit" : `${total.toLocaleString("en")} exhibits`;
  if (!published) return all;
  return published === total ? `${all}, published` : `${all}: ${(total - published).toLocaleString("en")} of yours, ${published} published`;
}

function pages({ total, page_size }, page) {
  const many = Math.ceil(total / page_size);
  const turn = (by) => { again("leaf", String(page + by || "")); $("#panel-capsule").scrollIntoView(); };
  fill($("#panel-capsule .pages"), many < 2 ? null : [
    h("button", { type: "button", class: "plain", disabled: page === 0, onclick: () => turn(-1) }, "Newer"),
    h("span", {}, `Page ${(page + 1).toLocaleString("en")} of ${many.toLocaleString("en")}`),
    h("button", { type: "button", class: "plain", disabled: page >= many - 1, onclick: () => turn(1) }, "Older")]);
}

function card(one, curve, query) {
  const published = one.run_kind === "published";
  const link = (event) => { if (!event.ctrlKey && !event.metaKey) { event.preventDefault(); open(one.id); } };
  return h("article", { class: "exhibit", tabindex: "-1" }, mark(one.category),
    h("h2", {}, h("a", { href: `?tab=capsule&exhibit=${one.id}`, onclick: link }, marked(one.title, query))),
    said(one, query),
    h("button", { type: "button", class: "quiet read", hidden: true, "aria-label": `Read on: ${one.title}`, onclick: () => open(one.id) }, "Read on"),
    one.note && one.text ? h("p", { class: "note" }, marked(one.note, query)) : null,
    h("div", { class: "foot" }, miniature(curve, one), h("p", { title: settings(one) }, h("b", {}, marked(one.run_name, query)),
      h("br"), published ? "published, December 2025" : `${age(one.tokens)}, ${lossThen(one)}`, h("br"),
      published ? "500 M tokens, counted" : date(one.created_at))),
    published ? null : h("button", { type: "button", class: "plain", onclick: () => askAgain(one) }, "Ask again"));
}
