// Several values of one or two settings: a run in line for each, with how many and how long before Start; then the comparison.

import { $, $$, fill, h, options, say } from "./dom.js";
import { bits, duration, isResumable, loss, setting, statusName } from "./format.js";
import { choose } from "./chosen.js";
import { emit, get, on, run, runById, send, state } from "./state.js";

const AGAIN_MS = 10000;
const MOST_SHOWN = 8; // on the chart of Compare
const GRAMMAR = "0.01, 0.02 or 1..4 or 0.1..0.5 +0.2 or 0.01..0.08 x2";
let asked = 0;
let waiting = 0;
let readAt = 0;
let shown = "";
let select = () => {};

export function mount(given) {
  ({ select } = given);
  on("checked", (fields) => { choices(fields); plan(); });
  fill($("#sweep"), $("#sweep summary"), h("p", { class: "note" }, "A run for every value, or for every pair of values, waits in line. ", h("span", { id: "sweep-grammar" }, `Values are ${GRAMMAR}.`)),
    [1, 2].map(pair), h("p", { class: "note told", role: "status" }));
  const start = h("button", { type: "button", class: "strong", id: "start-sweep", onclick: begin });
  $("#start").after(start);
  $("#plan").after(h("p", { class: "plan", id: "sweep-plan", "aria-live": "polite" }));
  on("tab", (tab) => tab === "compare" && compare());
  on("runs", () => state.tab === "compare" && compare());
  on("now", () => state.tab === "compare" && state.runs.some((one) => one.active && one.sweep) && Date.now() - readAt > AGAIN_MS && compare());
  fill($("#sweep-result"), h("div", { class: "room-top" }, h("h2", { id: "sweep-title" }, "Sweep"), h("select", { "aria-label": "Which sweep", onchange: (event) => { shown = event.target.value; compare(); } }),
    h("button", { type: "button", class: "plain", onclick: () => chart(state.swept) }, "Show on the chart"),
    h("button", { type: "button", class: "quiet", onclick: takeOut }, "Take the rest out of line")),
    h("p", { class: "note", "aria-live": "polite" }), h("div", { class: "wide-table", role: "region", "aria-labelledby": "sweep-title", tabindex: "0" }, h("table")));
}

/** One of the two settings with its values. */
function pair(number) {
  return h("div", { class: "vary" },
    h("label", { class: "field" }, h("span", {}, number === 1 ? "Setting" : "And", number === 2 ? h("small", {}, " optional") : null), h("select", { oninput: soon })),
    h("label", { class: "field" }, h("span", {}, "Values"), h("input", { type: "text", autocomplete: "off", spellcheck: "false", "aria-describedby": "sweep-grammar", oninput: soon })));
}

function choices(fields) {
  const named = fields.map((field) => [field.key, `${field.label} (${field.key})`]);
  for (const select of $$("#sweep select")) options(select, [["", "–"], ...named]);
}

/** The values by setting, as they are written; a row without a setting or without values counts for nothing. */
function wanted() {
  const rows = $$("#sweep .vary").map((row) => [$("select", row).value, $("input", row).value.trim()]).filter(([key, values]) => key && values);
  return rows.length ? { rows, vary: Object.fromEntries(rows) } : null;
}

function soon() {
  clearTimeout(waiting);
  waiting = setTimeout(plan, 250);
}

/** Ask the server how many runs that makes and how long they take, and offer them in place of Start. */
async function plan() {
  const now = wanted();
  const ticket = (asked += 1);
  document.body.dataset.sweep = Boolean(now);
  if (!now) return;
  const button = $("#start-sweep");
  const [preset, name, overrides] = window.blueberry.form();
  let answer;
  try {
    answer = now.rows.length > Object.keys(now.vary).length ? { error: "The two settings must be different ones.", runs: [] }
      : await get("/api/sweep/plan", { preset, name, overrides, vary: JSON.stringify(now.vary) });
  } catch (error) {
    answer = { error: error.message, runs: [] };
  }
  if (ticket !== asked) return;
  const many = answer.runs.length;
  button.disabled = !many || $("#start").disabled;
  say(button, many ? `Put ${many === 1 ? "1 run" : `${many} runs`} in line` : "Put the runs in line");
  for (const input of $$("#sweep input")) input[answer.error ? "setAttribute" : "removeAttribute"]("aria-invalid", "true");
  $("#sweep-plan").classList.toggle("wrong", Boolean(answer.error));
  say($("#sweep-plan"), answer.error || ($("#start").disabled ? $("#plan").textContent : `${many} ${many === 1 ? "run" : "runs"}, from ${answer.runs[0].name} to ${answer.runs.at(-1).name}: about ${duration(answer.seconds)} in all (estimate).`));
}

async function begin() {
  const now = wanted();
  if (!now) return;
  const button = $("#start-sweep");
  button.disabled = true;
  const [preset, name, overrides] = window.blueberry.form();
  try {
    const answer = await send("/api/sweep", { preset, name, overrides, vary: now.vary });
    fill($("#sweep .told"), `The ${answer.runs.length} runs of ${answer.sweep} are in line. `,
      h("button", { type: "button", class: "quiet", onclick: () => { shown = answer.sweep; chart(answer.runs); emit("show", "compare"); } }, "Compare them"));
    for (const input of $$("#sweep input")) input.value = "";
    $("#run-name input").value = "";
    emit("line");
    $("#sweep .told button").focus();
    emit("look");
  } catch (error) {
    say($("#sweep-plan"), error.message);
    $("#sweep-plan").classList.add("wrong");
    button.disabled = false;
  }
}

/** Lay runs of a sweep over each other on Compare's chart, which takes so many and no more. */
function chart(ids) {
  choose((ids || []).slice(0, MOST_SHOWN));
}

// The comparison, on the Compare tab.

async function takeOut() {
  await send("/api/sweep/take-out", { name: shown }).catch((error) => say($("#sweep-result .note"), error.message));
  emit("look");
  await compare();
}

async function compare() {
  readAt = Date.now();
  const section = $("#sweep-result");
  const names = [...new Set(state.runs.filter((one) => one.sweep).map((one) => one.sweep))]; // newest first
  section.hidden = !names.length;
  if (!names.length) return;
  const chosen = state.chosen && [...state.chosen].map(runById).find((one) => one?.sweep);
  if (!names.includes(shown)) shown = chosen?.sweep || run()?.sweep || names[0];
  options($("select", section), names.map((name) => [name, name]));
  $("select", section).value = shown;
  $("select", section).hidden = names.length < 2;
  let found;
  try {
    found = await get("/api/sweep", { name: shown });
  } catch (error) {
    say($(".note", section), error.message);
    return;
  }
  if (found.name !== shown) return;
  const figure = found.measure === "val_bits_per_byte" ? bits : loss;
  state.swept = [...found.runs].filter((one) => one.best !== null).sort((a, b) => a.best - b.best).map((one) => one.id);
  say($("h2", section), `Sweep ${found.name}`);
  say($(".note", section), `${found.ended} of ${found.runs.length} runs have ended. The lowest ${found.measure === "val_bits_per_byte" ? "bits per byte" : "validation loss"} that each has reached${found.best ? "; the best is marked" : " will be here"}.`);
  const rest = $("button.quiet", section);
  const left = !found.runs.some((one) => one.status === "queued");
  if (left && document.activeElement === rest) $("button.plain", section).focus();
  rest.hidden = left;
  const focused = document.activeElement?.closest("#sweep-result [data-run]")?.dataset.run;
  fill($("table", section), Object.keys(found.settings).length === 1 ? list(found, figure) : grid(found, figure));
  if (focused) $(`#sweep-result [data-run="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

const see = (one, text) => h("button", { type: "button", class: "quiet", "data-run": one.id, title: `${one.name}, ${statusName(one)}${one.error ? `: ${one.error}` : ""}`, "aria-label": `${one.name}: ${text}`,
  onclick: () => { select(one.id, { push: true }); emit("show", "train"); } }, text);
const words = (one, found, figure) => (one.best === null ? statusName(one)
  : [figure(one.best), one.id === found.best ? "best" : "", isResumable(one) ? statusName(one) : ""].filter(Boolean).join(" "));
const number = (value) => h("td", { class: "number" }, value);
const cell = (one, found, content) => h("td", { class: one.id === found.best ? "number best" : "number" }, content);

function list(found, figure) {
  const [key] = Object.keys(found.settings);
  return [h("thead", {}, h("tr", {}, [key, "Run", "Status", "Best", "At step", "Final", "Time"].map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, found.runs.map((one) => h("tr", {}, h("th", { scope: "row" }, setting(one.values[0])), h("td", {}, see(one, one.name)), h("td", {}, statusName(one)),
      cell(one, found, one.best === null ? "–" : words(one, found, figure)), number(one.best_step === null ? "–" : one.best_step.toLocaleString("en")), number(one.final === null ? "–" : figure(one.final)), number(duration(one.seconds || NaN)))))];
}

function grid(found, figure) {
  const [[down, rows], [across, columns]] = Object.entries(found.settings);
  const at = new Map(found.runs.map((one) => [JSON.stringify(one.values), one]));
  return [h("thead", {}, h("tr", {}, h("th", { scope: "col" }, `${down} ↓ ${across} →`), columns.map((value) => h("th", { scope: "col" }, setting(value))))),
    h("tbody", {}, rows.map((value) => h("tr", {}, h("th", { scope: "row" }, setting(value)), columns.map((other) => {
      const one = at.get(JSON.stringify([value, other]));
      return one ? cell(one, found, see(one, words(one, found, figure))) : number("gone");
    }))))];
}
