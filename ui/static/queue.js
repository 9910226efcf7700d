// Runs in line for a device: who waits, when they begin, and in which order. What begins is decided by the supervisor.

import { $, $$, fill, h, say } from "./dom.js";
import { duration, isResumable, owns } from "./format.js";
import { emit, get, on, run, send, state } from "./state.js";

const AGAIN_MS = 15000;
let found = { lines: [], stops_after_failure: false };
let drawn = "";
let readAt = 0;
let asked = 0;
let dragged = null;
let select = () => {};

export function mount(given) {
  ({ select } = given);
  on("runs", read);
  on("now", () => { if (found.lines.some((one) => one.queued.length) && Date.now() - readAt > AGAIN_MS) read(); });
  on("selected", busy);
  on("take-out", (id) => act("take-out", { run: id }));
  $("#start").after(h("button", { type: "button", class: "strong", id: "put-in-line", hidden: true, onclick: put }, "Put in line"));
  $("#plan").after(h("p", { class: "problem", id: "line-problem", role: "alert" }));
  $("#resume").after(h("button", { type: "button", class: "strong", id: "resume-in-line", onclick: () => act("resume", { run: state.selected }) }, "Resume in line"));
  $("#line").append(
    h("div", { class: "heading" }, h("h2", { id: "line-title", tabindex: "-1" }, "In line"), h("span", { class: "note" })),
    h("div", { class: "lines" }),
    h("p", { class: "note heard", role: "status" }));
}

/** A run's place among those that wait for the same device, from 1. */
export const placeOf = (one) => 1 + state.runs.filter((other) => other.status === "queued" && other.device === one.device && other.place < one.place).length;

const lineOf = (device) => found.lines.find((one) => one.device === device) || { queued: [], held: "", running: null, free_in: null };
const ownerOf = (device) => state.runs.find((one) => owns(one) && one.device === device);

/** Whether another run has the device of one that could be resumed. */
export const mustWait = (one) => isResumable(one) && Boolean(ownerOf(one.device));

/** When the waiting run `one` begins, in a sentence. */
export function beginsWhen(one) {
  const line = lineOf(one.device);
  if (line.held) return `The line is held: ${line.held}`;
  const entry = line.queued.find((other) => other.id === one.id);
  const before = placeOf(one) > 1 ? "the runs before it have" : `${ownerOf(one.device)?.name || "the run before it"} has`;
  return `It starts by itself once ${before} ended${inAbout(entry?.starts_in)}.`;
}

/** Show Start, or Put in line, or both, for a form whose run would train on `device`; what the plan adds to that. */
export function startOrWait(device, impossible) {
  const owner = ownerOf(device);
  const line = lineOf(device);
  const start = $("#start");
  const wait = $("#put-in-line");
  const focused = document.activeElement === start || document.activeElement === wait;
  start.disabled = wait.disabled = impossible;
  start.hidden = Boolean(owner);
  wait.hidden = !owner && !line.queued.length;
  wait.className = owner ? "strong" : "plain";
  say(wait, owner && !line.queued.length && !line.held ? "Start next" : "Put in line");
  if (focused && document.activeElement?.hidden) (owner ? wait : start).focus();
  if (!owner) return line.queued.length ? ` ${line.held ? "The line is held; Start" : "Start"} begins before ${names(line.queued)}.` : "";
  const ahead = line.queued.length ? `${owner.name} and ${names(line.queued)} have` : `${owner.name} has`;
  return line.held ? ` It waits in line behind ${line.queued.length ? names(line.queued) : owner.name}; the line is held.` : ` It begins by itself once ${ahead} ended${inAbout(line.free_in)}.`;
}

const inAbout = (seconds) => (Number.isFinite(seconds) ? `, in about ${duration(seconds)} (estimate)` : "");
const names = (runs) => (runs.length === 1 ? runs[0].name : `${runs.length} in line`);

async function read() {
  const ticket = (asked += 1);
  readAt = Date.now();
  try {
    const answer = await get("/api/queue");
    if (ticket !== asked) return;
    found = answer;
  } catch (error) {
    say($("#line .heard"), error.message);
    return;
  }
  draw();
  busy();
  emit("line");
}

/** Whether Resume has to wait for another run is told to the style sheet. */
function busy() {
  const one = run();
  document.body.dataset.busy = Boolean(one && one.kind !== "published" && mustWait(one));
}

/** What a person asked for; the answer is read at once, and a refusal is told where they look. */
async function act(what, body, done = "", where = "#line .heard") {
  say($("#line-problem"), "");
  try {
    const answer = await send(`/api/queue${what && `/${what}`}`, body);
    say($("#line .heard"), typeof done === "function" ? done(answer) : done);
    emit("look");
    await read();
    return answer;
  } catch (error) {
    await read();
    say($(where), error.message);
    if (where === "#line .heard") $("#line").hidden = false;
    return null;
  }
}

async function put() {
  const button = $("#put-in-line");
  button.disabled = true;
  const [preset, name, overrides] = window.blueberry.form();
  const answer = await act("", { preset, name, overrides }, "It is in line.", "#line-problem");
  button.disabled = false;
  if (answer) $("#run-name input").value = ""; // the form stays, for the next run that is to wait
  emit("line");
}

function draw() {
  const lines = found.lines.filter((one) => one.queued.length || one.held);
  const section = $("#line");
  const left = !lines.length && section.contains(document.activeElement);
  section.hidden = !lines.length;
  if (left) $("#tab-train").focus({ preventScroll: true });
  const total = lines.reduce((sum, one) => sum + one.queued.length, 0);
  const last = Math.max(...lines.map((one) => (one.held || one.free_in === null ? NaN : one.free_in)));
  say($(".heading .note", section), total && Number.isFinite(last) ? `all done in about ${duration(last)}` : "");
  const now = JSON.stringify([found.stops_after_failure, ...lines.map((one) => [one.device, one.held, one.queued.map((each) => [each.id, each.name])])]);
  if (now !== drawn) {
    drawn = now;
    const focus = document.activeElement?.closest("#line [data-do]")?.dataset;
    const kept = focus && { ...focus };
    const scroll = $$("ol", section).map((list) => list.scrollTop);
    fill($(".lines", section), lines.map((one) => device(one, lines)));
    $$("ol", section).forEach((list, at) => { list.scrollTop = scroll[at] || 0; });
    if (kept) refocus(section, kept);
  }
  for (const one of lines) for (const each of one.queued) say($(`#line li[data-run="${each.id}"] small`), when(one, each));
}

/** The same button of the same run, or its nearest neighbour where that is gone or has nothing more to do. */
function refocus(section, kept) {
  const row = kept.run && $(`li[data-run="${CSS.escape(kept.run)}"]`, section);
  const wanted = row ? $(`[data-do="${kept.do}"]:not(:disabled)`, row) || $(".acts [data-do]:not(:disabled)", row) : $(`.row [data-do="${kept.do}"]`, section) || $(".row [data-do]", section);
  (wanted || $("#line-title")).focus({ preventScroll: true });
}

function when(line, one) {
  const takes = Number.isFinite(one.seconds) ? `${line.held ? "about " : ""}${duration(one.seconds)} long` : "";
  const begins = line.held ? "" : Number.isFinite(one.starts_in) && one.starts_in > 0 ? `in about ${duration(one.starts_in)}` : one.place === 1 ? "next, about" : "";
  return [begins, takes].filter(Boolean).join(begins.endsWith("about") ? " " : ", ");
}

function device(line, lines) {
  return h("div", { class: "device" }, lines.length > 1 ? h("h3", {}, line.device) : null,
    line.held ? h("p", { class: "held" }, h("b", {}, "The line is held. "), line.held) : null,
    h("ol", { "aria-label": `In line for ${line.device}`, tabindex: line.queued.length > 4 ? "0" : null }, line.queued.map((one) => row(line, one))),
    h("div", { class: "row" }, h("button", { type: "button", class: line.held ? "strong" : "plain", "data-do": "hold", title: line.held ? "" : "What runs goes on; nothing more begins until you let it",
      onclick: () => act("hold", { device: line.device, held: !line.held }, line.held ? "The line goes on." : "The line is held.") }, line.held ? "Let it go on" : "Hold the line"),
      line !== lines.at(-1) ? null : h("label", { class: "check" }, h("input", { type: "checkbox", "data-do": "after-failure", checked: found.stops_after_failure,
        onchange: (event) => act("after-failure", { hold: event.target.checked }) }), "Hold it when a run fails")));
}

const ICONS = { up: "M5 12l5-5 5 5", down: "M5 8l5 5 5-5", "take-out": "M6 6l8 8M14 6l-8 8" };

function row(line, one) {
  const move = (to) => act("move", { run: one.id, to }, (answer) => `${one.name} is number ${answer.place} in line.`);
  const button = (what, label, disabled, action) => h("button", { type: "button", class: "quiet", "data-do": what, "data-run": one.id, "aria-label": `${label}: ${one.name}`, title: label, disabled, onclick: action },
    h("svg", { viewBox: "0 0 20 20", "aria-hidden": "true" }, h("path", { d: ICONS[what] })));
  return h("li", { "data-run": one.id, draggable: "true", ondragstart: (event) => grab(event, line, one), ondragend: letGo, ondragover: (event) => hover(event, line), ondrop: (event) => drop(event, one) },
    h("span", { class: "place", "aria-hidden": "true" }, String(one.place)),
    h("button", { type: "button", class: "name", "data-do": "see", "data-run": one.id, title: `Show ${one.name}`, onclick: () => select(one.id, { push: true }) }, one.name, h("small")),
    h("span", { class: "acts" }, button("up", "Move up", one.place === 1, () => move("up")), button("down", "Move down", one.place === line.queued.length, () => move("down")),
      button("take-out", "Take out of the line", false, () => act("take-out", { run: one.id }, `${one.name} is out of the line.`))));
}

// Dragging, for who has a mouse; the buttons do the same.

function grab(event, line, one) {
  dragged = { device: line.device, id: one.id, place: one.place, name: one.name };
  event.dataTransfer.effectAllowed = "move";
  event.dataTransfer.setData("text/plain", one.name);
  event.currentTarget.classList.add("dragged");
}

function letGo() {
  dragged = null;
  for (const item of $$("#line li")) item.classList.remove("dragged", "above", "below");
}

function hover(event, line) {
  if (!dragged || dragged.device !== line.device) return;
  event.preventDefault();
  const box = event.currentTarget.getBoundingClientRect();
  const above = event.clientY < box.top + box.height / 2;
  for (const item of $$("#line li")) item.classList.remove("above", "below");
  event.currentTarget.classList.add(above ? "above" : "below");
}

function drop(event, target) {
  if (!dragged) return;
  event.preventDefault();
  const { id, name, place } = dragged;
  const gap = target.place - (event.currentTarget.classList.contains("above") ? 1 : 0); // it goes behind so many
  const to = gap >= place ? gap : gap + 1; // it leaves its own place first
  letGo();
  if (to !== place) act("move", { run: id, to }, (answer) => `${name} is number ${answer.place} in line.`);
}
