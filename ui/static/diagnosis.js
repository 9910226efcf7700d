// How the selected run learns: what looks wrong in sentences, and how far each step moves each group of weights.

import { $, fill, h } from "./dom.js";
import { get, on, run, state } from "./state.js";

const AGAIN_MS = 10000;
const WORDS = {
  "self_attn.q_proj": "queries", "self_attn.k_proj": "keys", "self_attn.v_proj": "values", "self_attn.o_proj": "attention out",
  "mlp.gate_proj": "feed-forward gate", "mlp.up_proj": "feed-forward in", "mlp.down_proj": "feed-forward out",
  "mlp.experts.gate_proj": "experts' gate", "mlp.experts.up_proj": "experts in", "mlp.experts.down_proj": "experts out",
};
let asked = "";
let askedAt = 0;

export function mount() {
  on("selected", () => { asked = ""; $("#diagnosis").hidden = true; look(); });
  on("now", look);
}

async function look() {
  const one = run();
  if (!one || one.kind === "published") { $("#diagnosis").hidden = true; asked = ""; return; }
  const key = [one.id, one.attempt, one.status, one.step].join();
  if (key === asked || (asked.startsWith(`${one.id},`) && Date.now() - askedAt < AGAIN_MS)) return;
  asked = key;
  askedAt = Date.now();
  const answer = await get("/api/diagnosis", { run: one.id }).catch(() => null);
  if (answer && answer.run === state.selected) draw(answer);
}

function draw({ step, findings, attention, steps, groups }) {
  const place = $("#diagnosis");
  place.hidden = step === null;
  if (place.hidden) return;
  const drawn = JSON.stringify([step, findings]);
  if (place.dataset.drawn === drawn) return;
  place.dataset.drawn = drawn;
  place.dataset.tone = findings.length ? "warn" : "good";
  const at = `at step ${step.toLocaleString("en")}`;
  fill($(".verdict", place), findings.length
    ? h("ul", {}, findings.map((sentence) => h("li", {}, sentence)))
    : h("p", {}, `Nothing looks wrong ${at}: its weights move as they should.`));
  fill($(".groups", place),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Updates of each group of weights" }, h("table", {},
      h("thead", {}, h("tr", {}, ["Group", "A step changes it by", "so far", "Gradient"].map((label) => h("th", { scope: "col" }, label)))),
      h("tbody", {}, groups.map((group) => h("tr", {}, h("th", { scope: "row" }, WORDS[group.name] || group.name),
        h("td", { class: "number" }, share(group.ratio)), h("td", {}, sparkline(steps, group.ratios)), h("td", { class: "number" }, plain(group.gradient))))))),
    h("p", { class: "note" }, `Looked at ${at}, as shares of the weights themselves; matrices usually move by 1 to 5% a step at the full learning rate, less as it falls. `
      + `The largest attention score is ${plain(attention)}; above 100 training may become unstable.`));
}

const plain = (value) => (value === null ? "–" : Number(value.toPrecision(2)).toLocaleString("en"));
const share = (value) => (value === null ? "–" : `${Number((100 * value).toPrecision(2))}%`);

/** A small curve on a logarithmic scale. */
function sparkline(steps, values) {
  const known = values.map((value, at) => [steps[at], value]).filter(([, value]) => value > 0).map(([x, value]) => [x, Math.log10(value)]);
  if (known.length < 2) return "";
  const [first, last] = [known[0][0], known[known.length - 1][0]];
  const low = Math.min(...known.map(([, y]) => y));
  const high = Math.max(...known.map(([, y]) => y), low + 0.5);
  const points = known.map(([x, y]) => `${(1 + (118 * (x - first)) / (last - first || 1)).toFixed(1)},${(19 - (18 * (y - low)) / (high - low)).toFixed(1)}`);
  return h("svg", { class: "sparkline", viewBox: "0 0 120 20", width: "120", height: "20", "aria-hidden": "true" }, h("polyline", { points: points.join(" ") }));
}
