// A fork: a new run from the weights of the selected one. The line of forks it comes from and those that came from it, and the form that starts one.

import { $, $$, fill, h, say, shutByBackdrop } from "./dom.js";
import { count, duration, isOpen } from "./format.js";
import { LONG_MS, emit, get, on, runById, send, state } from "./state.js";

const FRONT = ["train.tokens", "optimizer.muon_lr", "optimizer.adamw_lr", "schedule.decay", "data.dataset", "sample.every"];
let select = () => {};
let choices = null;
let checking = 0;
let busy = null;
const typed = new Map();

export function mount(page) {
  ({ select } = page);
  const dialog = h("dialog", { id: "fork", class: "sheet", "aria-labelledby": "fork-title" });
  shutByBackdrop(dialog);
  dialog.addEventListener("close", () => { choices = null; typed.clear(); fill(dialog); });
  $("#topbar").after(dialog);
  on("facts", facts);
}

/** The button and the line, in the facts of a run that were just drawn. */
async function facts(one) {
  const button = h("button", { type: "button", class: "plain", id: "fork-here", onclick: () => open(one.id) }, "Fork from here");
  const line = h("div", { class: "note lineage" });
  $("#facts .row").append(button);
  $("#facts dl").after(line);
  const answer = await get("/api/fork", { run: one.id }).catch(() => null);
  if (!answer || !line.isConnected) return;
  button.hidden = !answer.steps.length;
  const link = ({ id, name }) => h("button", { type: "button", class: "link", onclick: () => select(id, { push: true }) }, name);
  const of = (from, at) => [link(from), ` at step ${at.toLocaleString("en")}`];
  fill(line,
    answer.line.length ? h("p", {}, "Forked from ", answer.line.map((from, at) => [at ? ", which came from " : "", of(from, from.step)]), ".") : null,
    one.parent_step && !answer.line.length ? h("p", {}, `Forked at step ${one.parent_step.toLocaleString("en")} from a run that was deleted.`) : null,
    answer.forks.length ? h("p", {}, "Its forks: ", answer.forks.map((to, at) => [at ? ", " : "", of(to, to.step)]), ".") : null);
}

async function open(id) {
  const dialog = $("#fork");
  try {
    choices = await get("/api/fork", { run: id });
  } catch (error) {
    say($("#facts .heard"), error.message);
    return;
  }
  if (!choices.steps.length) return;
  fill(dialog, form(runById(id)));
  longer();
  dialog.showModal();
  dialog.scrollTop = 0;
  check();
}

function form(parent) {
  const name = h("input", { type: "text", maxlength: "64", autocomplete: "off", spellcheck: "false", "data-key": "name", "aria-describedby": "fork-help-name", placeholder: `${parent.name}-fork`, oninput: soon });
  const fields = (wanted) => choices.fields.filter(wanted).map(row);
  const groups = [...new Set(choices.fields.map((field) => field.group))];
  const folded = (field) => !FRONT.includes(field.key);
  const front = FRONT.map((key) => choices.fields.find((field) => field.key === key)).filter(Boolean);
  return h("form", { class: "whole", method: "dialog", onsubmit: begin },
    h("h2", { id: "fork-title" }, `Fork ${parent.name}`),
    h("p", {}, "A new run that goes on from these weights with settings of your own. The one it comes from stays as it is."),
    h("div", { class: "settings front" },
      h("label", { class: "field wide" }, h("span", {}, "Begin at"), h("select", { id: "fork-step", onchange: () => { longer(); check(); } }, ages())),
      h("label", { class: "field wide" }, h("span", {}, "Name ", h("small", {}, "optional")), name, h("small", { id: "fork-help-name", class: "help" })),
      front.map(row)),
    h("details", { class: "more" }, h("summary", {}, "More settings"), h("div", { class: "folded" }, groups.map((group) => {
      const inside = fields((field) => folded(field) && field.group === group);
      return inside.length ? h("fieldset", {}, h("legend", {}, group), inside) : null;
    }))),
    h("ul", { class: "note plan-notes", "aria-live": "polite" }),
    h("p", { class: "problem", role: "alert" }),
    h("div", { class: "row last" }, h("button", { type: "submit", class: "strong", id: "fork-start" }, "Start the fork"),
      h("button", { type: "button", class: "quiet", onclick: () => $("#fork").close() }, "Cancel")));
}

/** The newest age first; the newest checkpoint is chosen. */
function ages() {
  const newest = [...choices.steps].reverse();
  const chosen = newest.find((one) => one.exact) || newest[0];
  return newest.map((one) => h("option", { value: String(one.step), selected: one === chosen },
    `step ${one.step.toLocaleString("en")}, ${count(one.tokens)} tokens old${one.exact ? "" : ", weights only"}`));
}

function row(field) {
  const value = choices.values[field.key];
  const change = (event) => {
    const now = event.target.type === "checkbox" ? event.target.checked : event.target.value.trim();
    if (String(now) === String(value)) typed.delete(field.key);
    else typed.set(field.key, now);
    soon();
  };
  const help = `fork-help-${field.key.replace(".", "-")}`;
  const shared = { "aria-describedby": help, "data-key": field.key, oninput: change };
  const input = field.choices.length
    ? h("select", shared, field.choices.map((choice) => h("option", { value: choice, selected: choice === value }, choice)))
    : field.type === "bool" ? h("input", { ...shared, type: "checkbox", checked: value })
      : h("input", { ...shared, type: "text", inputmode: field.type === "str" ? "text" : "decimal", autocomplete: "off", spellcheck: "false",
        list: field.key === "data.dataset" ? "datasets-here" : null, value: String(value) });
  return h("label", { class: "field" }, h("span", {}, field.label, " ", field.unit ? h("small", {}, field.unit) : null), input,
    h("small", { id: help, class: "help" }, field.help));
}

/** From its last step a run goes on only if it may read more: twice as much is offered. */
function longer() {
  const input = $("#fork [data-key='train.tokens']");
  const before = choices.values["train.tokens"];
  const parent = runById(choices.run);
  const ended = Number($("#fork-step").value) >= parent.total_steps;
  if (ended && !typed.has("train.tokens")) input.value = String(2 * before);
  else if (!ended && typed.get("train.tokens") === String(2 * before)) input.value = String(before);
  else return;
  input.dispatchEvent(new Event("input", { bubbles: true }));
}

function soon() {
  clearTimeout(checking);
  checking = setTimeout(check, 250);
}

const asked = () => ({ run: choices.run, step: Number($("#fork-step").value), name: $("#fork [data-key=name]").value.trim(), overrides: JSON.stringify(Object.fromEntries(typed)) });

/** Ask the server what would run, and show what is wrong at its field. */
async function check() {
  clearTimeout(checking);
  if (!choices) return;
  const question = asked();
  const answer = await get("/api/fork/check", question).catch((error) => ({ error: error.message, key: "" }));
  if (!choices || JSON.stringify(question) !== JSON.stringify(asked())) return;
  for (const input of $$("#fork [data-key]")) {
    const wrong = answer.error !== "" && input.dataset.key === answer.key;
    input[wrong ? "setAttribute" : "removeAttribute"]("aria-invalid", "true");
    say($(".help", input.parentElement), wrong ? answer.error : choices.fields.find((field) => field.key === input.dataset.key)?.help || "");
    if (wrong) input.closest("details")?.setAttribute("open", "");
  }
  busy = state.runs.find((one) => isOpen(one) && one.device === answer.device && one.status !== "queued");
  say($("#fork .problem"), answer.error);
  say($("#fork-start"), label());
  $("#fork-start").disabled = Boolean(answer.error);
  const waits = busy ? [`${busy.name} is on this device, where one model trains at a time: the fork waits in line.`] : [];
  fill($("#fork .plan-notes"), answer.error ? [] : [...answer.notes, reading(answer), ...waits].map((note) => h("li", {}, note)));
}

const label = () => (busy ? "Put the fork in line" : "Start the fork");
const reading = (answer) => `It reads ${count(answer.tokens)} tokens more, to step ${answer.total_steps.toLocaleString("en")}${answer.seconds ? `, in about ${duration(answer.seconds)} at the speed of the run it comes from` : ""}.`;

async function begin(event) {
  event.preventDefault();
  const button = $("#fork-start");
  button.disabled = true;
  say(button, "Copying the weights…");
  try {
    const answer = await send("/api/fork", { ...asked(), queue: Boolean(busy) }, LONG_MS);
    $("#fork").close();
    emit("started", answer.run);
  } catch (error) {
    say(button, label());
    button.disabled = false;
    say($("#fork .problem"), error.message);
  }
}
