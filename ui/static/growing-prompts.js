// The prompts that a run was asked, by suite, each with its newest words: a list beside the stage, a menu on a phone.

import { $, $$, fill, h, options } from "./dom.js";
import { continuation } from "./format.js";

let listed = "";
let marked = "";

/** All `prompts` with their newest words, `current` marked; `choose` gets the one that is pressed. */
export function drawPrompts(prompts, current, choose) {
  const several = new Set(prompts.map((one) => one.suite)).size > 1;
  options($("#growing-prompt select"), prompts.map((one, at) => [String(at), `${several ? `${one.suite}: ` : ""}${one.prompt.slice(0, 80)}`]));
  $("#growing-prompt select").value = String(prompts.indexOf(current));
  const signature = JSON.stringify(prompts.map((one) => [one.suite, one.prompt, one.step, one.text]));
  if (signature !== listed) {
    listed = signature;
    fill($("#growing-prompts"), bySuite(prompts).map(([suite, those]) => h("section", {}, h("h2", {}, suite), h("ol", {}, those.map((one) => h("li", {}, item(one, choose)))))));
  }
  const name = `${current.suite}\n${current.prompt}`;
  for (const button of $$("#growing-prompts button")) {
    const here = `${button.dataset.suite}\n${button.dataset.prompt}` === name;
    if (here) button.setAttribute("aria-current", "true"); else button.removeAttribute("aria-current");
    if (here && name !== marked) inSight(button);
  }
  marked = name;
}

/** Scroll the list, and never the page. */
function inSight(button) {
  const list = $("#growing-prompts");
  const [there, seen] = [button.getBoundingClientRect(), list.getBoundingClientRect()];
  if (there.top < seen.top || there.bottom > seen.bottom) list.scrollTop += there.top - seen.top - seen.height / 3;
}

function bySuite(prompts) {
  const found = new Map();
  for (const one of prompts) found.set(one.suite, [...(found.get(one.suite) || []), one]);
  return [...found];
}

function item(one, choose) {
  return h("button", { type: "button", "data-suite": one.suite, "data-prompt": one.prompt, onclick: () => choose(one) },
    h("b", {}, one.prompt), h("span", { class: "words" }, continuation(one.prompt, one.text, one.source === "published").trim() || "…"));
}
