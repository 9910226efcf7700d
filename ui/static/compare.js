// Compare: the chosen runs on one chart (compare-chart.js); runs-table.js chooses them.

import { $, say } from "./dom.js";
import * as chart from "./compare-chart.js";
import { MOST, chosen, own } from "./chosen.js";
import { on, state } from "./state.js";

const AGAIN_MS = 10000;
let readAt = 0;

export function mount() {
  chart.mount(chosen);
  on("tab", (tab) => tab === "compare" && load());
  on("runs", () => state.tab === "compare" && load());
  on("chosen", load);
  on("now", () => state.tab === "compare" && state.runs.some((one) => one.active) && Date.now() - readAt > AGAIN_MS && load());
}

function load() {
  readAt = Date.now();
  chart.refresh();
  say($("#compare-note"), !own().length ? "" : chosen().length >= MOST ? `${MOST} runs at once, no more.`
    : "The published run had another tokenizer and corpus: its figures are here, its curve is not comparable.");
}
