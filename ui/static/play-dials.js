// Play's settings: three moods, a dial for each number, and what a stored answer was asked with, to the last digit.

import { $, $$, say } from "./dom.js";
import { escaped, stopsOf } from "./asked.js";

/** Balanced is what a run's own rounds ask with. */
const PRESETS = {
  precise: { temperature: 0.3, top_k: 40, top_p: 0.9, min_p: 0, repetition_penalty: 1.1 },
  balanced: { temperature: 0.8, top_k: 0, top_p: 0.95, min_p: 0, repetition_penalty: 1 },
  wild: { temperature: 1.3, top_k: 0, top_p: 1, min_p: 0.05, repetition_penalty: 1 },
};
const MOST_STOPS = 8;

export function mount() {
  for (const dial of $$(".dial")) $("input", dial).addEventListener("input", (event) => { say($("output", dial), event.target.value); mood(); });
  for (const button of $$("[data-preset]")) button.addEventListener("click", () => put(PRESETS[button.dataset.preset]));
  mood();
}

const dial = (name) => $(`[data-dial=${name}]`);

/** A dial's number. A range rounds to its steps: what was put there exactly counts until somebody moves it. */
function read(name) {
  const input = $("input", dial(name));
  return input.dataset.put === input.value ? Number(input.dataset.exact) : Number(input.value);
}

function set(name, value) {
  const input = $("input", dial(name));
  if (value > Number(input.max)) input.max = value;
  if (value < Number(input.min)) input.min = value;
  input.value = value;
  input.dataset.put = input.value;
  input.dataset.exact = value;
  say($("output", dial(name)), String(value));
}

/** Mark the mood that the dials stand at, if any. */
function mood() {
  for (const button of $$("[data-preset]")) {
    const same = Object.entries(PRESETS[button.dataset.preset]).every(([name, value]) => read(name) === value);
    button.setAttribute("aria-pressed", String(same));
  }
}

/** What the form asks with. */
export function settings() {
  const found = Object.fromEntries($$(".dial").map((one) => [one.dataset.dial, read(one.dataset.dial)]));
  return { ...found, stop: stopsOf($("#stops textarea").value).slice(0, MOST_STOPS), seed: seed(), count: Number($("#count select").value) };
}

const seed = () => Number($("#seed input").value || 0);

/** The seeds after those that were just used. */
export function nextSeed() {
  $("#seed input").value = String(seed() + Number($("#count select").value));
}

/** Put settings into the form; those that are not given stay. */
export function put(wish) {
  for (const one of $$(".dial")) {
    const value = wish[one.dataset.dial];
    if (value !== undefined && value !== null) set(one.dataset.dial, value);
  }
  if (wish.seed !== undefined && wish.seed !== null) $("#seed input").value = wish.seed;
  if (wish.stop) $("#stops textarea").value = wish.stop.map(escaped).join("\n");
  if (wish.count) $("#count select").value = wish.count;
  mood();
}
