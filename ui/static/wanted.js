// What the time capsule is searched for: the fields of the filters, and the same as parameters of our routes.

import { $, fill, h, options, say } from "./dom.js";
import { pairs } from "./categories.js";
import { count } from "./format.js";
import { CAPSULE, state, writeAddress } from "./state.js";

const AGES = [1e5, 3e5, 1e6, 3e6, 1e7, 1e8, 1e9];
const SORTS = [["", "Newest first"], ["oldest", "Oldest first"], ["youngest", "Youngest age first"], ["eldest", "Oldest age first"], ["title", "By title"]];
/** The fields by their name in the address; those that only exhibits have are left out elsewhere. */
const FIELDS = { category: "category", of: "run", young: "young", old: "old", by: "sort", since: "since", until: "until", measured: "measured" };
/** Measures that can be asked for (engine/store/measures.py), in words. */
const MEASURES = [["", "Any measure"], ["good", "Looks good"], ["strange", "Looks strange"], ["hallucination", "Looks like a hallucination"], ["loop", "Looks like a loop"],
  ["memorised", "Looks memorised"], ["repeats", "A third is one phrase"], ["copies", "Copies 6 words or more"], ["makes-up", "Every tenth word made up"],
  ["changed", "All new since the age before"], ["same", "Hardly changed since then"], ["sure", "Sure of itself"], ["doubts", "Surprised by itself"]];
const OF_EXHIBITS = ["category", "by"];
const PLACEHOLDER = { "": "Search prompts, texts, titles and notes", said: "Search every prompt and answer" };
let changed = () => {};
let typing = 0;

const field = (name) => $(`#gallery-${FIELDS[name]} :is(select, input)`);
const search = () => $("#gallery-search input");

/** `load` is called whenever something else is wanted. */
export function mount(load) {
  changed = load;
  search().addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(() => want({ q: search().value.trim() }), 200); });
  const more = $("#gallery-more");
  more.addEventListener("click", () => more.setAttribute("aria-expanded", String(more.getAttribute("aria-expanded") !== "true")));
  for (const name of Object.keys(FIELDS)) field(name).addEventListener("change", (event) => want({ [name]: event.target.value }));
}

/** Look for something else, from its first page on. */
export function want(what) {
  state.capsule = { ...state.capsule, leaf: "", ...what };
  writeAddress();
  changed();
}

export function wantAll() {
  const room = state.capsule.room || "";
  state.capsule = Object.fromEntries(CAPSULE.map((name) => [name, ""]));
  search().value = "";
  want({ room });
}

/** Show in the fields what the address asks for. */
export function follow() {
  if (search().value.trim() !== (state.capsule.q || "")) search().value = state.capsule.q || "";
  show();
}

export function show() {
  const room = state.capsule.room || "";
  options(field("category"), [["", "All categories"], ...pairs(state.categories)]);
  options(field("of"), [["", "All runs"], ...state.runs.map((one) => [one.id, one.name])]);
  options(field("young"), [["", "From any age"], ...AGES.map((tokens) => [String(tokens), `From ${count(tokens)} tokens`])]);
  options(field("old"), [["", "To any age"], ...AGES.map((tokens) => [String(tokens), `To ${count(tokens)} tokens`])]);
  options(field("by"), SORTS);
  options(field("measured"), MEASURES);
  for (const name of Object.keys(FIELDS)) field(name).value = state.capsule[name] || "";
  // An address may write a category in another way than it is kept now.
  const wanted = (state.capsule.category || "").toLowerCase();
  field("category").value = [...field("category").options].find((one) => one.value.toLowerCase() === wanted)?.value ?? "";
  $("#capsule-filters").hidden = room === "arena";
  $("#capsule-filters").dataset.room = room;
  for (const name of OF_EXHIBITS) field(name).closest(".field").hidden = room !== "";
  $("#gallery-tags").hidden = room !== "";
  const set = [...Object.keys(FIELDS), "tagged", "front"].filter((name) => state.capsule[name] && !(room && [...OF_EXHIBITS, "tagged", "front"].includes(name))).length;
  say($("#gallery-more"), set ? `Filters: ${set} set` : "Filters");
  search().placeholder = PLACEHOLDER[room] || "";
}

/** The tags in use as chips; the one that is asked for is there also where no exhibit has it. */
export function showTags(tags) {
  const wanted = state.capsule.tagged || "";
  const same = (tag) => tag.toLowerCase() === wanted.toLowerCase();
  const all = !wanted || tags.some((one) => same(one.tag)) ? tags : [{ tag: wanted, exhibits: 0 }, ...tags];
  const front = Boolean(state.capsule.front);
  const focused = document.activeElement?.closest?.("#gallery-tags") ? document.activeElement.textContent : "";
  fill($("#gallery-tags"), h("button", { type: "button", class: "chip", "aria-pressed": String(front), onclick: () => want({ front: front ? "" : "1" }) }, "Pinned"),
    all.map(({ tag, exhibits }) => h("button", { type: "button", class: "chip", "aria-pressed": String(same(tag)), onclick: () => want({ tagged: same(tag) ? "" : tag }) },
      tag, h("small", {}, exhibits.toLocaleString("en")))));
  if (focused) [...$("#gallery-tags").children].find((one) => one.textContent === focused)?.focus();
}

/** What is wanted, as parameters of the routes. */
export function parameters(wanted = state.capsule) {
  return { q: wanted.q || "", category: wanted.category || "", run: wanted.of || "", tag: wanted.tagged || "", young: Number(wanted.young) || null,
    old: Number(wanted.old) || null, since: day(wanted.since), until: day(wanted.until, 1), pinned: wanted.front ? true : null, measured: wanted.measured || null };
}

/** Whether anything limits what is found. */
export const limited = (wanted = state.capsule) => Object.keys(wanted).filter((name) => !["leaf", "room", "by"].includes(name) && wanted[name]);

/** The moment at which a day begins here, in seconds; `later` days after it. */
function day(text, later = 0) {
  const [, year, month, date] = /^(\d{4})-(\d{2})-(\d{2})$/.exec(text || "") || [];
  return year ? new Date(Number(year), Number(month) - 1, Number(date) + later).getTime() / 1000 : null;
}

/** "41 exhibits, 3 of them published": in words above the cards. */
export const tell = (text) => say($("#capsule-count"), text);
