// Every prompt's answer at one age, as cards; each can be kept, asked again or opened alone.

import { $, fill, h } from "./dom.js";
import { deeds, spoken } from "./growing-stage.js";
import { explainSigns } from "./texts.js";

let drawn = "";

export function failedCards(sentence) {
  drawn = "";
  fill($("#growing-cards"), h("p", { class: "problem", role: "alert" }, sentence));
}

/** The cards in the order of `prompts`; `alone` opens one of them by itself, `redraw` draws them after one was kept. */
export function drawCards(prompts, samples, alone, redraw) {
  explainSigns(samples.map((sample) => sample.text), $("#growing-signs"));
  const key = JSON.stringify(samples.map((sample) => [sample.id, sample.exhibit]));
  if (key === drawn) return; // a reader keeps the place and the focus
  drawn = key;
  const answers = new Map(samples.map((sample) => [`${sample.suite}\n${sample.prompt}`, sample]));
  const shown = prompts.filter((one) => answers.has(`${one.suite}\n${one.prompt}`));
  fill($("#growing-cards"), shown.map((one) => card(one, answers.get(`${one.suite}\n${one.prompt}`), alone, redraw)));
}

function card(prompt, sample, alone, redraw) {
  const again = sample.same_as !== null && sample.same_as !== undefined && sample.source !== "published";
  return h("article", { class: "grown" }, spoken(prompt.prompt, sample),
    again ? h("p", { class: "note same" }, "The same words as at the age before.") : null,
    h("footer", { class: "row" }, deeds(sample, redraw),
      h("button", { type: "button", class: "quiet", onclick: () => alone(prompt) }, "Open alone")));
}
