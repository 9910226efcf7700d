// The left column: choose a preset and its settings, or read the facts of the run that is selected.

import { $, $$, fill, h, say } from "./dom.js";
import { age, bytes, count, date, duration, isOpen, perplexity, readable, setting, status as statusWords, statusName } from "./format.js";
import { offer, takeOffer } from "./offer.js";
import { startOrWait } from "./queue.js";
import { cancelMeasuring, measured as whenMeasured, offerMeasuring } from "./preflight.js";
import { emit, get, on, run, send, state } from "./state.js";

let [presets, fields] = [[], []];
let chosen = "";
let wantsForm = false;
let checking = 0;
const reading = [];
const typed = new Map();

export function mount() {
  on("selected", () => { wantsForm = false; view(); reading[1] = facts(); });
  for (const news of ["runs", "now"]) on(news, () => { view(); facts(); });
  on("log", () => { const log = $("#facts .log"); if (log) { log.open = true; log.scrollIntoView({ block: "nearest" }); $("pre", log).focus(); } });
  $("#back-to-run").addEventListener("click", () => { wantsForm = false; view(); });
  const name = $("#run-name input");
  name.addEventListener("keydown", (event) => event.key === "Enter" && $$("#go > button").find((one) => one.offsetParent)?.click());
  name.addEventListener("input", () => {
    if (/\s/.test(name.value)) name.value = name.value.replace(/\s+/g, "-");
    soon();
  });
  for (const news of ["runs", "line"]) on(news, check);
  on("data", texts);
  on("train-on", trainOn);
  on("measured", () => renewCards().then(check));
  $("#setup").append(h("datalist", { id: "datasets-here" }));
  $("#offer button").addEventListener("click", () => takeOffer(wanted()));
  reading.push(load());
}

/** When the form and the facts of the first run have been read. */
export const settled = () => Promise.allSettled(reading);

async function load() {
  try {
    const answer = await get("/api/presets");
    ({ presets, fields } = answer);
    state.presets = answer;
    $("#notice").hidden = !answer.warnings.length;
    say($("#notice"), answer.warnings.join(" "));
    const checked = choose(answer.default);
    cards();
    view();
    await checked;
  } catch {
    setTimeout(load, 1000);
  }
}

/** Form for who has no run of their own in front of them, facts for who has. */
function view() {
  const one = run();
  const form = wantsForm || !one || one.kind === "published";
  const left = !form && document.activeElement?.closest("#setup, #go");
  document.body.dataset.side = form ? "form" : "facts";
  if (left) $("#tab-train").focus({ preventScroll: true });
  $("#back-to-run").hidden = !(wantsForm && one && one.kind !== "published");
  $(".welcome").hidden = wantsForm;
}

let prepared = "";

/** A dataset has come or gone: the presets that need it can start now, or not any more. */
async function texts() {
  const now = JSON.stringify([state.data.datasets.map((one) => one.name), state.data.jobs.map((one) => [one.name, one.status])]);
  const changed = prepared && now !== prepared;
  prepared = now;
  fill($("#datasets-here"), state.data.datasets.map((one) => h("option", { value: one.name })));
  if (changed) await renewCards();
  if (presets.length && (changed || !$("#offer").hidden)) check();
}

async function renewCards() {
  ({ presets } = await get("/api/presets").catch(() => ({ presets })));
  cards();
}

/** The dataset that the form asks for. */
const wanted = () => $("#setup [data-key='data.dataset']")?.value || presets.find((one) => one.name === chosen).dataset;

function cards() {
  fill($("#preset .cards"), presets.map((one) => h("label", { class: one.ready ? "card" : "card missing" },
    h("input", { type: "radio", name: "preset", value: one.name, checked: one.name === chosen,
      onchange: () => choose(one.name) }),
    h("b", {}, one.name), h("span", { class: "size" }, size(one)),
    h("span", { class: "for" }, one.title),
    h("span", { class: "cost" }, `${count(one.tokens)} tokens, about ${duration(one.seconds)} and ${bytes(one.memory)} here, ${one.measurement ? "measured" : "estimated"}`),
    state.presets?.memory_here && one.memory > 0.9 * state.presets.memory_here
      ? h("span", { class: "lacks" }, `More memory than there is: this machine has ${bytes(state.presets.memory_here)}. Set a smaller micro-batch under More settings, or use a GPU.`) : null,
    one.ready ? null : h("span", { class: "lacks" }, one.missing))));
}

/** How large a model is; with experts, how much of it works on each token. */
function size(of) {
  const all = `${count(of.parameters)} parameters`;
  return of.active_parameters < of.parameters ? `${all}, ${count(of.active_parameters)} active` : all;
}

function choose(name) {
  chosen = name;
  typed.clear();
  const preset = presets.find((one) => one.name === name);
  fill($(".settings.front"), fields.filter((field) => field.front).map((field) => row(field, preset)));
  const groups = [...new Set(fields.filter((field) => !field.front).map((field) => field.group))];
  fill($(".folded"), groups.map((group) => h("fieldset", {}, h("legend", {}, group),
    fields.filter((field) => !field.front && field.group === group).map((field) => row(field, preset)))));
  return check();
}

/** The form with the chosen preset, set to read a dataset: its name and its vocabulary are all that must fit. */
function trainOn({ name, vocab_size: size }) {
  emit("show", "train");
  wantsForm = true;
  view();
  choose(chosen);
  for (const [key, value] of [["data.dataset", name], ["model.vocab_size", size]]) {
    const input = $(`#setup [data-key="${key}"]`);
    input.value = value;
    input.dispatchEvent(new Event("input", { bubbles: true }));
  }
  $("#setup [data-key='data.dataset']").closest("details")?.setAttribute("open", "");
  $("#run-name input").focus();
}

function row(field, preset) {
  const value = preset.values[field.key];
  const change = (event) => {
    const now = event.target.type === "checkbox" ? event.target.checked : event.target.value.trim();
    if (String(now) === String(value)) typed.delete(field.key);
    else typed.set(field.key, now);
    soon();
  };
  const help = `help-${field.key.replace(".", "-")}`;
  const shared = { title: field.type === "int" ? `${field.help}; 800k and 3M are numbers here` : field.help, "aria-describedby": help, "data-key": field.key, oninput: change };
  const input = field.choices.length
    ? h("select", { ...shared }, field.choices.map((choice) => h("option", { value: choice, selected: choice === value }, choice)))
    : field.type === "bool" ? h("input", { ...shared, type: "checkbox", checked: value })
      : h("input", { ...shared, type: "text", inputmode: field.type === "str" ? "text" : "decimal", autocomplete: "off",
        spellcheck: "false", list: field.key === "data.dataset" ? "datasets-here" : null, value: setting(value).replace(/,/g, field.type === "str" ? "," : "") });
  return h("label", { class: "field" }, h("span", {}, field.label, " ", field.unit ? h("small", { "data-unit": field.key }, unit(field, value)) : null), input,
    h("small", { id: help, class: "help" }, field.help));
}

/** A field's unit, after its number where that has more digits than one reads at a glance: "3 M tokens" for 3000000. */
const unit = (field, value) => (Number.isInteger(value) && value >= 10000 ? `${readable(value)} ${field.unit}` : field.unit);

function soon() {
  clearTimeout(checking);
  checking = setTimeout(check, 250);
}

/** Ask the server what would run; show what is wrong at its field. */
async function check() {
  if (!chosen) return;
  const name = $("#run-name input").value;
  const asked = JSON.stringify([chosen, name, ...typed]);
  let answer;
  try {
    answer = await get("/api/check", { preset: chosen, overrides: overrides(), name });
  } catch {
    return;
  }
  if (asked !== JSON.stringify([chosen, $("#run-name input").value, ...typed])) return;
  for (const input of $$("#setup [data-key]")) {
    const wrong = answer.error !== "" && input.dataset.key === answer.key;
    input[wrong ? "setAttribute" : "removeAttribute"]("aria-invalid", "true");
    say(input.parentElement.querySelector(".help"), wrong ? answer.error : fields.find((field) => field.key === input.dataset.key)?.help || "");
    if (!wrong) continue;
    input.closest("details")?.setAttribute("open", "");
    input.parentElement.querySelector(".help").scrollIntoView({ block: "nearest" });
  }
  const preset = presets.find((one) => one.name === chosen);
  // While something is wrong the server has read nothing; what nobody touched is known all the same.
  const read = answer.values || Object.fromEntries(Object.entries(preset.values).filter(([key]) => !typed.has(key)));
  for (const field of fields) say($(`#setup [data-unit="${field.key}"]`), unit(field, read[field.key]));
  // Seen at its field, the sentence is here for screen readers only.
  $("#problem").classList.toggle("sr", answer.key === "name" || fields.some((field) => field.key === answer.key));
  say($("#problem"), answer.error);
  const line = startOrWait(preset.device, Boolean(answer.missing));
  const lacking = offer(answer.missing && !answer.error ? wanted() : "");
  const busy = state.runs.some((one) => one.active && one.device === preset.device && one.status !== "queued");
  offerMeasuring(answer, busy ? null : { preset: chosen, overrides: overrides() });
  const estimate = answer.measurement ? `, ${whenMeasured(answer.measurement)},` : answer.measured ? " (estimate from an earlier run)" : " (estimate)";
  const epochs = answer.epochs ? `, reading its text ${answer.epochs < 0.95 ? "once in part" : `${answer.epochs.toFixed(1).replace(".0", "")} times`},` : "";
  say($("#plan"), answer.error ? "The marked field needs another value." : answer.missing ? lacking
    : `${size(answer)}, ${count(answer.tokens)} tokens in ${answer.steps.toLocaleString("en")} steps${epochs || ","} about ${duration(answer.seconds)} on ${preset.device === "cpu" ? "this processor" : "this GPU"}${estimate} if nothing else runs.${line}`);
  emit("checked", fields);
}

const overrides = () => JSON.stringify(Object.fromEntries(typed));

/** Preset, name, and the settings that differ from the preset's, as JSON. */
export const form = () => [chosen, $("#run-name input").value, overrides()];
export function startArguments() {
  cancelMeasuring(); // the device has to be free
  document.body.classList.add("starting");
  say($("#plan"), "Starting: its own process is being made, which takes a few seconds.");
  return form();
}

export function started() {
  notStarted();
  wantsForm = false;
  $("#run-name input").value = "";
}

export function notStarted() {
  check(); // the plan again, in place of "Starting"
  document.body.classList.remove("starting");
}

/** The selected run as it runs: machine, size, data, settings. */
async function facts() {
  const one = run();
  const place = $("#facts");
  if (!one || one.kind === "published") { fill(place); delete place.dataset.run; return; }
  const key = `${one.id} ${one.attempt} ${one.status} ${one.device_name}`;
  if (place.dataset.run === key) { progress(one); return; }
  place.dataset.run = key;
  let about;
  try {
    about = await get("/api/run", { run: one.id });
  } catch {
    delete place.dataset.run;
    return;
  }
  if (state.selected !== one.id || place.dataset.run !== key) return; // a newer state has been asked for meanwhile
  const environment = about.environment || {};
  const lines = [
    ["Status", h("span", { "data-fact": "status" })], ["Step", h("span", { "data-fact": "step" })],
    ["Age", h("span", { "data-fact": "age" })], ["Preset", one.preset], ["Parameters", one.parameters.toLocaleString("en")],
    ["Dataset", one.dataset], ["Read", environment.epoch_tokens ? h("span", { "data-fact": "read" }) : null], ["Device", environment.device_name || one.device], ["Precision", environment.precision], ["Attention", environment.attention],
    ["Kernels", [environment.fused && "own, fused", environment.recorded && "one launch a pass"].filter(Boolean).join(", ")], ["In one pass", environment.micro_batch ? `${environment.micro_batch.toLocaleString("en")} rows` : null],
    ["Attempt", one.attempt > 1 ? `${one.attempt}` : null], ["Started", date(one.created)], ["Id", h("code", {}, one.id)]];
  const had = place.contains(document.activeElement);
  const open = $$("details[open]", place).map((one) => one.dataset.part);
  fill(place,
    h("h2", {}, one.name),
    h("dl", {}, lines.filter(([, value]) => value).map(([label, value]) => [h("dt", {}, label), h("dd", {}, value)])),
    h("div", { class: "row" }, one.status === "running" ? holdStill("pause", "Pause") : one.status === "paused" ? holdStill("unpause", "Go on") : null,
      h("button", { type: "button", class: isOpen(one) ? "quiet" : "plain", onclick: () => { wantsForm = true; view(); scrollTo({ top: 0 }); } }, "Start another")),
    h("p", { class: "note heard", "aria-live": "polite" }),
    isOpen(one) ? h("ul", { class: "note about" }, (WORDS[one.status] || [CLOSE]).map(([what, does]) => h("li", {}, h("b", {}, what), does))) : null,
    h("details", { class: "more log", "data-part": "log", open: open.includes("log"), ontoggle: (event) => event.target.open && logTail() }, h("summary", {}, "Log"),
      h("pre", { tabindex: "0", "aria-label": "The end of the log" })),
    h("details", { class: "more", "data-part": "settings", open: open.includes("settings") }, h("summary", {}, isOpen(one) ? "Settings it runs with" : "Settings it ran with"),
      h("dl", { class: "all" }, Object.entries(about.settings).map(([name, value]) => [h("dt", {}, name), h("dd", {}, setting(value))]))));
  emit("facts", one);
  if (had) (document.querySelector("#pause, #unpause") || $("button", place)).focus({ preventScroll: true });
  progress(one);
}

const STOP = ["Stop and save ", "writes a checkpoint and frees the device. Resume goes on exactly there."];
const CLOSE = ["Closing this page ", "or restarting the app changes nothing: the run goes on."];
const WORDS = {
  queued: [["In line: ", "it begins by itself, also when the run before it fails."], CLOSE],
  running: [["Pause ", "holds it still; its memory and the device stay taken."], STOP, CLOSE],
  paused: [["Paused, ", "the device stays taken, and what it learned since the last save is only in memory."], ["Go on ", "takes a moment."], STOP],
  stopping: [["It writes a checkpoint, ", "then its process ends and the device is free."]],
};

function holdStill(what, label) {
  const button = h("button", { type: "button", class: what === "unpause" ? "strong" : "plain", id: what, onclick: async () => {
    button.disabled = true;
    try {
      await send(`/api/${what}`, { run: state.selected });
      say($("#facts .heard"), what === "pause" ? "It holds still after the step it is in." : "It goes on.");
    } catch (error) {
      say($("#facts .heard"), error.message);
      button.disabled = false;
    }
    emit("look");
  } }, label);
  return button;
}

let logRead = 0;

async function logTail() {
  const asked = state.selected;
  logRead = Date.now();
  const answer = await get("/api/log", { run: asked }).catch((error) => ({ lines: [error.message] }));
  const place = $("#facts .log pre");
  if (asked !== state.selected || !place) return;
  const end = place.scrollTop + place.clientHeight >= place.scrollHeight - 4;
  say(place, answer.lines.length ? answer.lines.join("\n") : "Nothing was printed yet.");
  if (end) place.scrollTop = place.scrollHeight;
}

const often = (times) => (times < 10 ? times.toFixed(2) : Math.round(times).toLocaleString("en"));

function progress(one) {
  if ($("#facts .log")?.open && isOpen(one) && Date.now() - logRead > 3000) logTail();
  const values = { status: isOpen(one) ? statusWords(one).toLowerCase() : statusName(one), step: `${(one.step || 0).toLocaleString("en")} of ${one.total_steps.toLocaleString("en")}`,
    age: age(one.tokens), perplexity: perplexity(one.val_loss),
    read: one.epoch_tokens ? `${often(one.tokens / one.epoch_tokens)} of ${often(one.target_tokens / one.epoch_tokens)} times` : "" };
  for (const [name, value] of Object.entries(values)) say($(`#facts [data-fact=${name}]`), value);
}
