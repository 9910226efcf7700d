// The form that makes a dataset: sources, tokenizer, budget, filters. It is looked at with each change, and started when it is liked.

import { $, $$, fill, h, say } from "./dom.js";
import { judge, judgeSoon } from "./name.js";
import { cancelPreview, clearPreview, isLookedAt, preview } from "./preview.js";
import { emit, get, on, send, state } from "./state.js";

const KINDS = [["path", "A file or folder"], ["hub", "A dataset of the Hugging Face hub"], ["starter", "The starter novels"]];
const UNITS = { k: 1e3, m: 1e6, b: 1e9, g: 1e9, t: 1e12 };
const PLAIN = { sources: [{ where: "" }], tokenizer: "smollm2", tokens: 0, filters: {}, deduplicate: true, skip_unreadable: false, separator: "<|endoftext|>", licence: "" };
const NOVELS = { ...PLAIN, sources: [{ where: "starter" }], tokenizer: "bpe:4096" };
let known = {};
let sources = 0;

export function mount() {
  const form = $("#prepare-form");
  $("#prepare-open").addEventListener("click", () => open());
  $("#prepare-close").addEventListener("click", close);
  $("#add-source").addEventListener("click", add);
  $("#look-first").addEventListener("click", () => look());
  $("#prepare-tokenizer").addEventListener("change", tokenizer);
  form.addEventListener("change", () => look(false)); // also where a field is left after Enter, which has looked
  form.addEventListener("submit", start);
  $("#prepare-name").addEventListener("input", () => judgeSoon(tried));
  form.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return close();
    if (event.key !== "Enter" || !event.target.matches("input[type=text]")) return;
    event.preventDefault(); // Enter looks; only the button starts
    look();
  });
  on("prepare", (what) => { emit("show", "data"); open(what); });
  put("", PLAIN);
}

/** The form, filled in with the recipe of a dataset that a preset names, or that of a job. */
async function open({ name = "", recipe = null } = {}) {
  $("#prepare").hidden = false;
  $("#prepare-open").setAttribute("aria-expanded", "true");
  try {
    ({ known, ...state.cost } = await get("/api/recipes"));
  } catch (error) {
    say($("#prepare-form .problem"), error.message);
  }
  begin();
  if (recipe || known[name]) put(name, recipe || known[name]);
  $("#prepare-title").focus({ preventScroll: true });
  $("#prepare").scrollIntoView({ block: "start" });
  look();
}

function close() {
  cancelPreview();
  $("#prepare").hidden = true;
  $("#prepare-open").setAttribute("aria-expanded", "false");
  $("#prepare-open").focus();
}

function begin() {
  const choice = (label, name, recipe) => h("button", { type: "button", class: "plain", onclick: () => { put(name, recipe); look(); } }, label);
  fill($("#begin-with"), choice("Texts of mine", "", PLAIN), choice("The starter novels", "", NOVELS),
    Object.entries(known).map(([name, recipe]) => choice(`The published mix, ${name}`, name, recipe)));
}

/** Fill in a recipe. */
function put(name, recipe) {
  const value = (id, text) => { $(`#prepare-${id}`).value = text; };
  value("name", name);
  fill($("#sources .list"), recipe.sources.map((one) => source(one, recipe.sources.length > 1)));
  const size = /^bpe:(\d+)$/.exec(recipe.tokenizer);
  value("tokenizer", size ? "bpe" : recipe.tokenizer === "smollm2" ? "smollm2" : "other");
  value("size", size ? size[1] : "4096");
  value("other", size || recipe.tokenizer === "smollm2" ? "" : recipe.tokenizer);
  value("tokens", recipe.tokens ? recipe.tokens.toLocaleString("en") : "");
  for (const [key, scale] of FILTERS) value(key, recipe.filters[key] ? String(Math.round(1000 * scale * recipe.filters[key]) / 1000) : "");
  $("#prepare-deduplicate").checked = recipe.deduplicate;
  $("#prepare-skip_unreadable").checked = Boolean(recipe.skip_unreadable);
  value("separator", recipe.separator);
  value("licence", recipe.licence);
  say($("#prepare-form .problem"), "");
  tokenizer();
  weights();
}

const FILTERS = [["min_characters", 1], ["max_characters", 1], ["max_symbol_share", 100], ["max_repetition", 100]];

function tokenizer() {
  const chosen = $("#prepare-tokenizer").value;
  $("#prepare-size").closest("label").hidden = chosen !== "bpe";
  $("#prepare-other").closest("label").hidden = chosen !== "other";
}

/** The fields of a source, and the kinds of source that have them. */
const FIELDS = [
  { key: "path", kinds: ["path"], label: "Where", placeholder: "texts/",
    help: "In this home, the project's data folder or a --data-root folder: txt, md, jsonl, csv, parquet, also .gz, .zst, .xz." },
  { key: "hub", kinds: ["hub"], label: "Name", placeholder: "OWNER/NAME", help: "As on huggingface.co/datasets. No code of it is run." },
  { key: "config", kinds: ["hub"], label: "Configuration", help: "Empty where it has only one." },
  { key: "revision", kinds: ["hub"], label: "Revision", help: "Branch, tag or commit; empty for the newest." },
  { key: "split", kinds: ["hub"], label: "Split", help: "Which part of it." },
  { key: "column", kinds: ["path", "hub"], label: "Text column", help: "Of jsonl, csv, parquet and hub datasets." },
  { key: "weight", kinds: ["path", "hub", "starter"], label: "Share", inputmode: "decimal",
    help: "In % of the text; the mix ends with the source that ends first. Empty everywhere: one after the other." },
];

/** One source: what it is, and the fields that such a source has. */
function source(one, mixed) {
  const kind = one.where === "starter" ? "starter" : one.where.startsWith("hub:") ? "hub" : "path";
  const values = { path: kind === "path" ? one.where : "", hub: kind === "hub" ? one.where.slice(4) : "", config: one.config || "", revision: one.revision || "",
    split: one.split || "train", column: one.column || "text", weight: mixed && one.weight ? String(Math.round(1000 * one.weight) / 10) : "" };
  const number = (sources += 1);
  const field = ({ key, kinds, label, help, placeholder, inputmode }) => h("label", { class: "field", "data-for": kinds.join(" ") }, h("span", {}, label),
    h("input", { type: "text", "data-key": key, value: values[key], placeholder, inputmode, autocomplete: "off", spellcheck: "false", "aria-describedby": `source-${number}-${key}` }),
    h("small", { class: "help", id: `source-${number}-${key}` }, help));
  const choice = h("select", { "data-key": "kind", onchange: () => fit(box) }, KINDS.map(([value, label]) => h("option", { value, selected: value === kind }, label)));
  const whole = h("input", { type: "checkbox", "data-key": "whole", checked: one.streaming === false });
  const box = h("div", { class: "source", role: "group", "aria-label": `Source ${number}` },
    h("div", { class: "top" }, h("label", { class: "field" }, h("span", { class: "sr" }, "Kind of source"), choice),
      h("button", { type: "button", class: "quiet remove", onclick: () => remove(box) }, "Remove")),
    h("div", { class: "pair" }, FIELDS.map(field)),
    h("label", { class: "tick", "data-for": "hub" }, whole, h("span", {}, "Download it whole first, instead of reading it as it comes")));
  fit(box);
  return box;
}

function add() {
  $("#sources .list").append(source({ where: "" }, true));
  weights(true);
  $$("#sources select").at(-1).focus();
}

function remove(box) {
  const next = box.previousElementSibling || box.nextElementSibling;
  box.remove();
  weights();
  $("select", next).focus();
  look();
}

function fit(box) {
  const kind = $("[data-key=kind]", box).value;
  for (const label of $$("[data-for]", box)) {
    const share = $("[data-key=weight]", label);
    label.hidden = !label.dataset.for.split(" ").includes(kind) || Boolean(share && $$("#sources .source").length < 2);
  }
}

/** Shares, and removing, are for mixtures; whoever adds a source gets equal ones where none are given. */
function weights(anew = false) {
  const boxes = $$("#sources .source");
  for (const box of boxes) {
    $(".remove", box).hidden = boxes.length < 2;
    const share = $("[data-key=weight]", box);
    if (anew && !share.value) share.value = String(Math.round(100 / boxes.length));
    fit(box);
  }
}

/** What the form says, as the server wants it; throws with a sentence. */
function recipe() {
  const text = (id) => $(`#prepare-${id}`).value.trim();
  const chosen = text("tokenizer");
  const boxes = $$("#sources .source");
  const limit = ([key, scale]) => {
    const label = $(`#prepare-${key}`).closest("label").querySelector("span").firstChild.textContent.trim();
    return [key, scale === 1 ? whole(label, text(key)) : number(label, text(key)) / scale];
  };
  return {
    sources: boxes.map((box) => described(box, boxes.length > 1)),
    tokenizer: chosen === "bpe" ? `bpe:${whole("Pieces", text("size"))}` : chosen === "other" ? text("other") : chosen,
    tokens: whole("Stop at", text("tokens")),
    filters: Object.fromEntries(FILTERS.map(limit)),
    deduplicate: $("#prepare-deduplicate").checked,
    skip_unreadable: $("#prepare-skip_unreadable").checked,
    separator: text("separator"),
    licence: text("licence"),
  };
}

function described(box, mixed) {
  const value = (key) => $(`[data-key=${key}]`, box).value.trim();
  const kind = value("kind");
  const where = kind === "starter" ? "starter" : kind === "hub" ? `hub:${value("hub").replace(/^hub:/, "")}` : value("path");
  const plain = { where, column: value("column") || "text", weight: mixed ? number("Share", value("weight")) / 100 : 0 };
  if (kind !== "hub") return plain;
  return { ...plain, config: value("config"), revision: value("revision"), split: value("split") || "train", streaming: !$("[data-key=whole]", box).checked };
}

function number(what, text) {
  const found = /^([\d.,]*\d[\d.,]*)\s*([kmbgt]?)%?$/i.exec(text || "0");
  const value = found && Number(found[1].replaceAll(",", "")) * (UNITS[found[2].toLowerCase()] || 1);
  if (!found || !Number.isFinite(value)) throw new Error(`${what} must be a number, for example 20M; ${JSON.stringify(text.slice(0, 40))} is none.`);
  return value;
}

const whole = (what, text) => Math.round(number(what, text));

/** Whether every source is named. */
function given() {
  return $$("#sources .source").every((box) => {
    const kind = $("[data-key=kind]", box).value;
    return kind === "starter" || $(`[data-key=${kind}]`, box).value.trim();
  });
}

/** Look at what the form says, once every source is named; where it says what was looked at last, only if `anew`. */
function look(anew = true) {
  const problem = $("#prepare-form .problem");
  say(problem, "");
  judge(tried());
  if (!given()) return clearPreview();
  try {
    const what = recipe();
    if (anew || !isLookedAt(what)) preview(what, mend);
  } catch (error) {
    say(problem, error.message);
  }
}

/** The recipe, null where the form says none yet. */
function tried() {
  try {
    return given() ? recipe() : null;
  } catch {
    return null;
  }
}

/** Change what the preview has offered to change. */
function mend({ tokenizer: size, skip_unreadable: skip }) {
  if (size) {
    $("#prepare-tokenizer").value = "bpe";
    $("#prepare-size").value = size.slice(4);
    tokenizer();
    $("#prepare-size").focus();
  } else if (skip) {
    $("#filters").open = true;
    $("#prepare-skip_unreadable").checked = true;
    $("#prepare-skip_unreadable").focus();
  }
  look();
}

/** Tokens that a job with other settings has made under this name, which a new start throws away. */
const made = (name) => state.data?.jobs.find((one) => one.name === name)?.tokens;

function ask(name) {
  const row = $("#prepare-form [type=submit]").closest(".row") || $("#prepare-form [type=submit]");
  const back = () => box.replaceWith(row);
  const no = h("button", { type: "button", class: "strong", onclick: () => { back(); $("#prepare-form [type=submit]").focus(); } }, "Leave it");
  const yes = h("button", { type: "button", class: "plain", onclick: (event) => { back(); start(event, true); } }, "Start anew");
  const box = h("div", { class: "ask-first", role: "group", "aria-label": `Start ${name} anew` },
    h("p", {}, h("b", {}, "Start anew? "), `With other settings, ${made(name) ? `the ${made(name).toLocaleString("en")} tokens` : "what is"} made so far ${made(name) ? "go" : "goes"}.`), h("div", { class: "row" }, no, yes));
  row.replaceWith(box);
  no.focus();
}

async function start(event, sure = false) {
  event.preventDefault();
  const problem = $("#prepare-form .problem");
  const button = $("#prepare-form [type=submit]");
  const name = $("#prepare-name").value.trim();
  say(problem, "");
  try {
    if (!name) throw Object.assign(new Error("Give it a name first; runs call it by that."), { field: $("#prepare-name") });
    const what = recipe();
    button.disabled = true;
    const found = await judge(what);
    if (found.wrong) throw Object.assign(new Error(found.sentence), { field: $("#prepare-name") });
    if (!sure && found.kind === "parts") {
      button.disabled = false;
      return ask(name);
    }
    await send("/api/prepare", { name, recipe: what, anew: sure });
    close();
    put("", PLAIN);
    clearPreview();
    scrollTo({ top: 0 });
    emit("data-changed", `${name} is being prepared.`);
  } catch (error) {
    say(problem, error.message);
    error.field?.setAttribute("aria-invalid", "true");
    error.field?.scrollIntoView({ block: "center" });
    error.field?.focus({ preventScroll: true });
  }
  button.disabled = false;
}
