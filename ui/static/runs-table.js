// Compare: every run in a table that is sorted, searched and narrowed down. Rows are made once and kept, so that a refresh
// moves neither the focus nor what somebody reads; a run's name opens its sheet.

import { $, fill, h, say } from "./dom.js";
import { BESIDE, MOST, choose, chosen } from "./chosen.js";
import { amount, bits, count, duration, loss, moment, perplexity, speed, statusName } from "./format.js";
import { curveColour, isDark } from "./palette.js";
import { emit, get, on, state, writeAddress } from "./state.js";

const AGAIN_MS = 10000;
/** Words sort upwards at first, numbers with the one that people look for at the top. */
const COLUMNS = [
  { key: "name", label: "Name", first: 1 },
  { key: "status", label: "Status", first: 1, value: statusName, show: (text, one) => (one.away ? `${text}, put away` : text) },
  { key: "preset", label: "Preset", first: 1 },
  { key: "val_loss", label: "Validation loss", first: 1, show: loss },
  { key: "perplexity", label: "Perplexity", first: 1, value: (one) => one.val_loss, show: perplexity },
  { key: "bits", label: "Bits per byte", first: 1, show: bits },
  { key: "tokens", label: "Tokens", first: -1, show: count },
  { key: "speed", label: "Speed", first: -1, value: (one) => one.speed || null, show: speed },
  { key: "cost", label: "Cost", first: 1, show: (spent, one) => amount(spent, one.currency || "") },
  { key: "seconds", label: "Took", first: -1, value: (one) => one.seconds || null, show: (value) => duration(value ?? NaN) },
  { key: "started", label: "Started", first: -1, show: moment },
  { key: "parameters", label: "Parameters", first: -1, show: count },
];
const rows = new Map();
let figures = new Map();
let asked = 0;
let readAt = 0;

export function mount() {
  const heads = COLUMNS.map((column) => h("th", { scope: "col", "data-key": column.key },
    h("button", { type: "button", onclick: () => sortBy(column) }, column.label)));
  fill($("#runs-table"), h("thead", {}, h("tr", {}, heads)), h("tbody"));
  $("#runs-find").addEventListener("input", () => narrow({ find: $("#runs-find").value }));
  $("#runs-choose").addEventListener("click", () => choose([...new Set([...chosen(), ...choosable().map((one) => one.id)])].slice(0, MOST)));
  $("#runs-choose-none").addEventListener("click", () => choose([]));
  on("tab", (tab) => tab === "compare" && open());
  on("runs", () => here() && load());
  on("chosen", () => here() && load());
  on("now", () => here() && state.runs.some((one) => one.active) && Date.now() - readAt > AGAIN_MS && load());
  on("theme", () => here() && draw());
  on("runs-said", (text) => say($("#runs-said"), text));
}

const here = () => state.tab === "compare";
const published = (one) => one.kind === "published";
const value = (column, one) => (column.value || ((row) => row[column.key]))(one);

function open() {
  $("#runs-find").value = state.table.find;
  load();
}

async function load() {
  const ticket = (asked += 1);
  readAt = Date.now();
  draw();
  const ids = chosen().slice(0, BESIDE);
  try {
    const answer = await get("/api/compare", { differ: ids.join(",") });
    if (ticket !== asked) return;
    figures = new Map(answer.runs.map((row) => [row.id, row]));
    emit("differences", { ids, found: answer.differences });
    say($("#runs-problem"), "");
    draw();
  } catch (error) {
    if (ticket === asked) say($("#runs-problem"), error.message);
  }
}

function narrow(changes) {
  state.table = { ...state.table, ...changes };
  writeAddress();
  draw();
}

const sorting = () => {
  const key = state.table.sort.replace(/^-/, "");
  const column = COLUMNS.find((one) => one.key === key);
  return column ? { column, way: state.table.sort.startsWith("-") ? -1 : 1 } : { column: COLUMNS.find((one) => one.key === "started"), way: -1 };
};

function sortBy(column) {
  const now = sorting();
  const way = now.column === column ? -now.way : column.first;
  narrow({ sort: way < 0 ? `-${column.key}` : column.key });
}

const set = (name) => new Set(state.table[name].split(",").filter(Boolean));
const matches = (one, text) => {
  const said = [one.name, one.preset, statusName(one), ...(one.tags || []), one.notes || ""].join("\n").toLocaleLowerCase();
  return text.toLocaleLowerCase().split(/\s+/).every((word) => said.includes(word));
};

/** Runs with their newest figures: all of them, those in sight, those that were found, in order. */
function found() {
  const all = state.runs.map((one) => ({ ...one, ...figures.get(one.id) }));
  const sight = all.filter((one) => state.table.away || !one.away);
  const [statuses, tags] = [set("is"), set("tag")];
  const left = sight.filter((one) => (!statuses.size || statuses.has(statusName(one))) && matches(one, state.table.find)
    && (!tags.size || (one.tags || []).some((tag) => tags.has(tag))));
  const { column, way } = sorting();
  const missing = (one) => value(column, one) === null || value(column, one) === undefined;
  left.sort((a, b) => missing(a) - missing(b) || (missing(a) ? 0 : way * compare(value(column, a), value(column, b))));
  return { all, sight, left };
}

const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b, "en", { numeric: true, sensitivity: "base" }) : a - b);
const choosable = () => found().left.filter((one) => !published(one));

function draw() {
  const { all, sight, left } = found();
  const { column, way } = sorting();
  for (const head of $("#runs-table thead tr").children) {
    const sorted = head.dataset.key === column.key;
    if (sorted) head.setAttribute("aria-sort", way > 0 ? "ascending" : "descending");
    else head.removeAttribute("aria-sort");
  }
  const ids = new Set(chosen());
  const there = new Set(all.map((one) => one.id));
  for (const id of rows.keys()) if (!there.has(id)) rows.delete(id);
  place(left.map((one) => row(one, ids)), left.length);
  say($("#runs-count"), left.length === sight.length ? `${sight.length}${sight.length === 1 ? " run" : " runs"}` : `${left.length} of ${sight.length} runs`);
  chips($("#runs-status"), sight, all, "is", (one) => [statusName(one)]);
  chips($("#runs-tags"), sight, all, "tag", (one) => one.tags || []);
  const more = left.filter((one) => !published(one) && !ids.has(one.id)).length;
  $("#runs-choose").hidden = !more || ids.size >= MOST;
  say($("#runs-choose"), more === 1 ? "Put it on the chart too" : `Put ${more + ids.size > MOST ? `the first ${MOST - ids.size}` : `these ${more}`} on the chart too`);
  $("#runs-choose-none").hidden = !ids.size;
}

/** The rows in their order, moved only where that changed: what has the focus keeps it. */
function place(wanted, many) {
  const body = $("#runs-table tbody");
  if (!many) wanted = [nothing()];
  if (wanted.length === body.children.length && wanted.every((one, at) => one === body.children[at])) return;
  const focused = body.contains(document.activeElement) ? document.activeElement : null;
  body.replaceChildren(...wanted);
  if (focused?.isConnected) focused.focus({ preventScroll: true });
  else if (focused) $("#runs-title").focus({ preventScroll: true }); // its row is gone
}

const none = h("tr", {}, h("td", { colspan: String(COLUMNS.length), class: "nothing" }, "No run is like that. ",
  h("button", { type: "button", class: "quiet", onclick: () => { $("#runs-find").value = ""; narrow({ find: "", is: "", tag: "" }); $("#runs-find").focus(); } }, "Show all")));
const nothing = () => none;

function row(one, ids) {
  const held = rows.get(one.id) || make(one);
  rows.set(one.id, held);
  const key = JSON.stringify([one, ids.has(one.id), ids.size >= MOST, isDark()]);
  if (held.key === key) return held.row;
  held.key = key;
  held.dot.style.background = curveColour(one);
  say(held.name, one.name);
  if (held.box) {
    held.box.setAttribute("aria-label", `Show ${one.name} on the chart`);
    held.box.checked = ids.has(one.id);
    held.box.disabled = !ids.has(one.id) && ids.size >= MOST;
  }
  const tags = JSON.stringify(one.tags || []);
  if (held.tags.dataset.tags !== tags) {
    held.tags.dataset.tags = tags;
    fill(held.tags, (one.tags || []).map((tag) => h("li", {}, tag)));
    held.tags.hidden = !one.tags?.length;
  }
  say(held.notes, one.notes || "");
  for (const { column, cell } of held.cells) {
    const shown = value(column, one);
    say(cell, column.show ? column.show(shown, one) : shown || "–");
  }
  held.row.dataset.status = published(one) ? "published" : one.status;
  return held.row;
}

function make(one) {
  const held = { dot: h("span", { class: "dot" }), tags: h("ul", { class: "tags", hidden: true }), notes: h("span", { class: "remark" }) };
  held.name = h("button", { type: "button", class: "open", onclick: () => emit("run-sheet", one.id) });
  held.box = published(one) ? null : h("input", { type: "checkbox", "data-choose": one.id,
    onchange: () => choose(held.box.checked ? [...chosen(), one.id] : chosen().filter((id) => id !== one.id)) });
  held.cells = COLUMNS.slice(1).map((column) => ({ column, cell: h("td", { class: column.show && column.key !== "status" ? "number" : "" }) }));
  held.row = h("tr", { "data-run": one.id }, h("th", { scope: "row" }, h("div", { class: "who" },
    h(held.box ? "label" : "span", { class: "pick" }, held.box), held.dot, h("div", { class: "called" }, held.name, held.tags, held.notes))), held.cells.map(({ cell }) => cell));
  return held;
}

/** Buttons that narrow the table down, of what occurs in it; `away` is one of the statuses' row. */
function chips(box, sight, all, name, of) {
  const pressed = set(name);
  const counts = new Map([...pressed].map((one) => [one, 0]));
  for (const one of sight) for (const label of of(one)) counts.set(label, (counts.get(label) || 0) + 1);
  const away = all.filter((one) => one.away).length;
  const entries = [...counts].sort(([a], [b]) => compare(a, b)).map(([label, many]) => ({ label, many, on: pressed.has(label), press: () => toggle(name, label) }));
  if (name === "is" && entries.length < 2 && !pressed.size) entries.length = 0;
  if (name === "is" && away) entries.push({ label: "put away", many: away, on: Boolean(state.table.away), press: () => narrow({ away: state.table.away ? "" : "1" }), extra: true });
  box.hidden = !entries.length;
  const signature = JSON.stringify(entries);
  if (box.dataset.drawn === signature) return;
  box.dataset.drawn = signature;
  const focused = box.contains(document.activeElement) && document.activeElement.dataset.label;
  fill(box, entries.map((one) => h("button", { type: "button", class: "chip", "data-label": one.label, "aria-pressed": String(one.on), onclick: one.press },
    one.extra ? "also put away" : one.label, h("small", {}, String(one.many)))));
  if (focused) [...box.children].find((one) => one.dataset.label === focused)?.focus({ preventScroll: true });
}

function toggle(name, label) {
  const now = set(name);
  now[now.has(label) ? "delete" : "add"](label);
  narrow({ [name]: [...now].join(",") });
}
