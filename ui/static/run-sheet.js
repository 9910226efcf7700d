// One run, whole: what people say about it, the settings it was started with, and its end. A refresh changes what is shown,
// never what is being typed.

import { $, fill, h, say, shutByBackdrop } from "./dom.js";
import { age, isOpen, moment, setting, statusName } from "./format.js";
import { confirmDelete } from "./run-delete.js";
import { emit, get, on, runById, send, state } from "./state.js";

let shown = "";
let parts = {};

export function mount({ select, show }) {
  const dialog = h("dialog", { id: "run-sheet", class: "sheet", "aria-labelledby": "run-sheet-title" });
  shutByBackdrop(dialog);
  dialog.addEventListener("close", () => { saveNotes(); shown = ""; parts = {}; fill(dialog); });
  $("#topbar").after(dialog);
  on("run-sheet", (id) => open(id, () => { dialog.close(); select(id, { push: true }); show("train"); }));
  on("runs", () => shown && (runById(shown) ? draw() : dialog.close()));
}

const button = (label, kind, onclick, more = {}) => h("button", { type: "button", class: kind, onclick, ...more }, label);

async function open(id, watch) {
  const dialog = $("#run-sheet");
  const one = runById(id);
  if (!one) return;
  shown = id;
  fill(dialog, whole(one, watch));
  draw();
  dialog.showModal();
  dialog.scrollTop = 0;
  try {
    const [found, answer] = await Promise.all([get("/api/run/settings", { run: id }), get("/api/compare")]);
    if (shown !== id) return;
    parts.saved = answer.runs.find((row) => row.id === id)?.notes || "";
    if (!parts.notes.value) parts.notes.value = parts.saved;
    fill(parts.settings, started(found));
  } catch (error) {
    if (shown === id) fill(parts.settings, h("p", { class: "problem" }, error.message));
  }
}

function whole(one, watch) {
  const published = one.kind === "published";
  parts = {
    title: h("h2", { id: "run-sheet-title", tabindex: "-1", autofocus: true }), about: h("p", { class: "note" }),
    said: h("p", { class: "note", role: "status" }), problem: h("p", { class: "problem", role: "alert" }),
    name: h("input", { type: "text", maxlength: "64", id: "run-name", autocomplete: "off", spellcheck: "false", value: one.name }),
    tags: h("ul", { class: "tags" }), tag: h("input", { type: "text", maxlength: "40", id: "run-tag", list: "known-tags", autocomplete: "off" }),
    notes: h("textarea", { rows: "3", maxlength: "4000", id: "run-notes" }), known: h("datalist", { id: "known-tags" }),
    settings: h("section", { class: "snapshot" }, h("p", { class: "note" }, "Opening…")), away: button("", "plain", putAway), called: one.name, saved: null,
  };
  parts.end = h("div", { class: "row last" }, button("Close", "strong", () => $("#run-sheet").close()), button("Watch it", "plain", watch),
    published ? null : [parts.away, button("Delete it", "quiet", () => confirmDelete(runById(shown), parts.end), { id: "run-delete" })]);
  return h("article", { class: "whole" }, parts.title, parts.about, published ? null : h("form", { class: "field", onsubmit: rename },
    h("label", { for: "run-name" }, "Name"), h("div", { class: "with" }, parts.name, h("button", { type: "submit", class: "plain" }, "Rename"))),
  h("form", { class: "field", onsubmit: addTag }, h("label", { for: "run-tag" }, "Tags"), parts.tags,
    h("div", { class: "with" }, parts.tag, h("button", { type: "submit", class: "plain" }, "Add")), parts.known),
  h("form", { class: "field", onsubmit: saveNotes }, h("label", { for: "run-notes" }, "Notes"), parts.notes,
    h("div", { class: "row" }, h("button", { type: "submit", class: "plain" }, "Save notes"), parts.said)), parts.problem, parts.settings, parts.end);
}

/** What may have changed since the sheet was opened, here or on another page. */
function draw() {
  const one = runById(shown);
  say(parts.title, one.name);
  const left = isOpen(one) ? "" : `, ${age(one.tokens)}`;
  say(parts.about, `${statusName(one)}${left}, ${one.kind === "published" ? "December 2025" : `made ${moment(one.created)} from ${one.preset}`}${one.away ? ", put away" : ""}`);
  if (parts.name.value === parts.called) parts.name.value = one.name;
  parts.called = one.name;
  say(parts.away, one.away ? "Bring it back" : "Put it away");
  parts.away.disabled = isOpen(one);
  parts.away.title = isOpen(one) ? "When it has ended" : "";
  drawTags(one);
}

function drawTags(one) {
  const tags = one.tags || [];
  if (parts.tags.dataset.tags === JSON.stringify(tags)) return;
  parts.tags.dataset.tags = JSON.stringify(tags);
  const within = parts.tags.contains(document.activeElement);
  fill(parts.tags, tags.map((tag) => h("li", {}, tag, h("button", { type: "button", "aria-label": `Take off the tag ${tag}`, onclick: () => change("tags", { remove: [tag] }, `${tag} is off.`) }, "×"))));
  parts.tags.hidden = !tags.length;
  const known = new Set(state.runs.flatMap((other) => other.tags || []));
  fill(parts.known, [...known].filter((tag) => !tags.includes(tag)).sort().map((tag) => h("option", { value: tag })));
  if (within) parts.tag.focus({ preventScroll: true });
}

/** Ask the server for a change; whether it was made. The list of runs is read anew, here and on every other page. */
async function change(what, values, done) {
  const run = shown;
  try {
    await send(`/api/run/${what}`, { run, ...values });
  } catch (error) {
    if (shown === run) { say(parts.problem, error.message); say(parts.said, ""); }
    return false;
  }
  if (shown === run) { say(parts.problem, ""); say(parts.said, done); }
  emit("look");
  return true;
}

async function rename(event) {
  event.preventDefault();
  const wrong = !(await change("rename", { name: parts.name.value.trim() }, "Renamed."));
  if (!shown) return;
  if (!wrong) parts.called = parts.name.value = parts.name.value.trim();
  parts.name[wrong ? "setAttribute" : "removeAttribute"]("aria-invalid", "true");
}

async function addTag(event) {
  event.preventDefault();
  const tag = parts.tag.value.trim();
  if (!tag) return;
  if (await change("tags", { add: [tag] }, `${tag} is added.`) && parts.tag?.value.trim() === tag) parts.tag.value = "";
}

/** Also when the sheet is closed with something written in it: nothing that was typed is thrown away. */
async function saveNotes(event) {
  event?.preventDefault();
  if (!parts.notes || parts.saved === null || parts.notes.value === parts.saved) return;
  const { value } = parts.notes;
  const before = parts.saved;
  parts.saved = value;
  if (!(await change("notes", { notes: value }, "Saved.")) && parts.notes) parts.saved = before;
}

async function putAway() {
  const one = runById(shown);
  await change("put-away", { away: !one.away }, one.away ? "It is in the lists again." : "It is put away: lists leave it out, nothing of it is lost.");
}

function started(found) {
  const lines = found.changed.map((key) => [h("dt", {}, h("code", {}, key)), h("dd", {}, setting(found.settings[key]))]);
  const json = JSON.stringify(found.config, null, 2);
  return [h("h3", {}, "What it was started with"), found.remark ? h("p", { class: "note" }, found.remark) : null,
    found.command ? [h("p", { class: "note" }, lines.length ? `Other than the preset ${found.preset} says now:` : `All as the preset ${found.preset} says now.`),
      lines.length ? h("dl", { class: "plain" }, lines) : null, copyable("The command that starts such a run", found.command, "Copy the command")] : null,
    h("details", {}, h("summary", {}, "All settings as JSON"), copyable("All settings as JSON", json, "Copy the JSON"))];
}

function copyable(label, text, verb) {
  const copied = async (event) => {
    const done = await navigator.clipboard?.writeText(text).then(() => true, () => false);
    say(event.target, done ? "Copied" : "Select it and copy it");
    if (!done) getSelection().selectAllChildren(block);
  };
  const block = h("pre", { tabindex: "0", "aria-label": label }, text);
  return h("div", { class: "copyable" }, block, button(verb, "quiet", copied));
}
