// "Ask now": all prompts of a run that trains, after the step it is in. Its answers come into the feed like all others.

import { $, say } from "./dom.js";
import { emit, on, run, send, state } from "./state.js";

let waits = "";

export function mount() {
  $("#ask-now").addEventListener("click", ask);
  for (const news of ["now", "runs"]) on(news, draw);
  on("selected", () => { told(""); draw(); });
  on("said", () => told(""));
}

function draw() {
  const trains = run()?.status === "running";
  const button = $("#ask-now");
  if (!trains && document.activeElement === button) $("#feed h2").focus({ preventScroll: true });
  button.hidden = !trains;
  if (!trains && waits) told("");
}

function told(sentence) {
  waits = sentence && state.selected;
  say($("#feed .wish"), sentence);
}

async function ask() {
  const asked = state.selected;
  const button = $("#ask-now");
  button.setAttribute("aria-disabled", "true");
  try {
    await send("/api/sample", { run: asked });
    if (asked === state.selected) told("It answers after the step it is in.");
  } catch (error) {
    if (asked === state.selected) told(error.message);
  } finally {
    button.removeAttribute("aria-disabled");
  }
  emit("look");
}
