// What may change about a run while it trains: a fold in the facts column with the present values, what a change would do, and what was changed.

import { $, $$, fill, h, say } from "./dom.js";
import { isOpen, isResumable } from "./format.js";
import { emit, get, on, send, state } from "./state.js";

const typed = new Map();
let shown = { run: "", fields: [] };
let checking = 0;
let heard = 0;
let opened = false;

export function mount() {
  on("facts", place);
  on("now", news);
}

/** The fold, in the facts of a run that were just drawn. What was typed stays. */
function place(one) {
  if (shown.run !== one.id) { typed.clear(); shown = { run: one.id, fields: [] }; heard = 0; }
  const fold = h("details", { class: "more inflight", "data-part": "inflight", open: opened, ontoggle: (event) => { opened = event.target.open; } },
    h("summary", {}, isOpen(one) ? "Change it while it runs" : "Change it before it goes on"),
    h("form", { class: "folded", onsubmit: change },
      h("div", { class: "settings" }),
      h("ul", { class: "note plan-notes", "aria-live": "polite" }),
      h("p", { class: "problem", role: "alert" }),
      h("div", { class: "row" }, h("button", { type: "submit", class: "plain", id: "change-it", disabled: true }, "Change it"))),
    h("div", { class: "changed" }));
  fold.hidden = !(isOpen(one) || isResumable(one));
  $("#facts .log").before(fold);
  read(one.id);
}

/** Once something was asked for, the trainer takes it within a step: look until it has. */
function news() {
  if (heard && Date.now() > heard) read(shown.run);
}

async function read(id) {
  heard = 0;
  const answer = await get("/api/changes", { run: id }).catch(() => null);
  if (!answer || shown.run !== id || !$("#facts .inflight")) return;
  shown = answer;
  if (answer.changes.some((one) => one.step === null)) heard = Date.now() + 1000;
  fields();
  history();
}

function fields() {
  const boxes = $("#facts .inflight .settings");
  if (!boxes.children.length) fill(boxes, shown.fields.map(row));
  for (const field of shown.fields) {
    const input = $(`[data-key="${field.key}"]`, boxes);
    if (!typed.has(field.key) && document.activeElement !== input) input.value = String(field.value);
    say($(".planned", input.parentElement), field.value === field.planned ? "" : `planned ${field.planned.toLocaleString("en")}`);
  }
  check();
}

function row(field) {
  const help = `change-help-${field.key.replace(".", "-")}`;
  const heardOf = (event) => {
    const value = event.target.value.trim();
    if (value === "" || value === String(shown.fields.find((one) => one.key === field.key).value)) typed.delete(field.key);
    else typed.set(field.key, value);
    clearTimeout(checking);
    checking = setTimeout(check, 250);
  };
  return h("label", { class: "field" }, h("span", {}, field.label, " ", h("small", {}, field.unit)),
    h("input", { type: "text", inputmode: "decimal", autocomplete: "off", spellcheck: "false", "data-key": field.key, "aria-describedby": help,
      value: typed.get(field.key) ?? String(field.value), oninput: heardOf }),
    h("small", { class: "planned" }), h("small", { id: help, class: "help" }, field.help));
}

const asked = () => JSON.stringify(Object.fromEntries(typed));

/** What the values that were typed would do, or what is wrong with them. */
async function check() {
  const fold = $("#facts .inflight");
  const question = asked();
  const answer = typed.size ? await get("/api/changes/check", { run: shown.run, changed: question }).catch((error) => ({ error: error.message, key: "" })) : { error: "", key: "", notes: [] };
  if (!fold?.isConnected || question !== asked()) return;
  for (const input of $$("[data-key]", fold)) {
    const wrong = answer.error !== "" && input.dataset.key === answer.key;
    input[wrong ? "setAttribute" : "removeAttribute"]("aria-invalid", "true");
    say($(".help", input.parentElement), wrong ? answer.error : shown.fields.find((field) => field.key === input.dataset.key).help);
  }
  say($(".problem", fold), answer.key ? "" : answer.error);
  fill($(".plan-notes", fold), (answer.notes || []).map((note) => h("li", {}, note)));
  $("#change-it").disabled = Boolean(answer.error || !typed.size);
}

async function change(event) {
  event.preventDefault();
  clearTimeout(checking);
  const button = $("#change-it");
  if (!typed.size) return;
  button.disabled = true;
  try {
    await send("/api/changes", { run: shown.run, changes: asked() });
    typed.clear();
    await read(shown.run);
    emit("look");
  } catch (error) {
    button.disabled = false;
    say($("#facts .inflight .problem"), error.message);
  }
}

/** Every change so far, the newest first. */
function history() {
  const name = (key) => shown.fields.find((field) => field.key === key)?.label || key;
  const since = (one) => (one.step === null ? (isOpen(state.runs.find((run) => run.id === shown.run)) ? "from its next step on" : "once it goes on") : `from step ${(one.step + 1).toLocaleString("en")} on`);
  const lines = [...shown.changes].reverse().map((one) => h("li", {}, `${name(one.key)} ${one.value.toLocaleString("en")}, ${since(one)}`));
  fill($("#facts .changed"), lines.length ? [h("h3", {}, "What was changed"), h("ul", { class: "note" }, lines)] : []);
}
