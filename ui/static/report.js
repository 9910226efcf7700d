// Report: the figures of the selected run beside the published one; what was not measured says so.

import { $, fill, h } from "./dom.js";
import { bits, count, duration, isOpen, loss, percent, perplexity, speed } from "./format.js";
import { emit, get, on, run, state } from "./state.js";

let drawn = "";

export function mount() {
  on("tab", (tab) => tab === "report" && load(true));
  on("selected", () => state.tab === "report" && load(true));
  on("now", () => state.tab === "report" && load(false));
  on("kept", () => { drawn = ""; });
}

async function load(anew) {
  const one = run();
  const place = $("#report");
  if (!one || one.kind === "published") {
    drawn = "";
    fill(place, h("h1", {}, "Report"), h("p", { class: "empty" }, "The final figures of a run of yours appear here, beside the published Blueberry-Nano. Choose a run above, or start one on the Train tab."));
    return;
  }
  const key = `${one.id} ${one.status} ${one.val_loss}`;
  if (!anew && key === drawn) return;
  drawn = key;
  let answer;
  try {
    answer = await get("/api/report", { run: one.id });
  } catch (error) {
    fill(place, h("h1", {}, "Report"), h("p", { class: "problem" }, error.message));
    return;
  }
  if (state.selected === one.id) fill(place, page(one, answer));
}

function page(one, { summary, figures: mine, published: theirs, ages, kept, environment }) {
  const not = "not measured";
  const lines = [
    ["Parameters", count(mine.parameters), count(theirs.parameters)],
    ["Age, tokens seen", count(mine.tokens), `${count(theirs.tokens)} counted, published as 1 B`],
    ["Training time", mine.seconds ? duration(mine.seconds) : not, duration(theirs.seconds)],
    [isOpen(one) ? "Speed" : "Speed on average", mine.speed ? speed(mine.speed) : not, `${speed(theirs.speed)}, from its counted tokens`],
    ["Machine", environment.device_name || one.device, "1x RTX 4090 (24 GB)"],
    ["Data", mine.dataset, theirs.dataset],
    ["Validation loss *", value(mine.val_loss, loss), loss(theirs.val_loss)],
    ["Perplexity *", value(mine.val_loss, perplexity), perplexity(theirs.val_loss)],
    ["Accuracy *", value(mine.accuracy, percent), percent(theirs.accuracy)],
    ["Bits per byte", value(mine.bits, bits), "not published"]];
  return [h("h1", {}, `Report on ${one.name}`), h("p", { class: "summary" }, summary),
    h("div", { class: "wide-table", role: "region", "aria-label": "Figures", tabindex: "0" }, h("table", {},
      h("thead", {}, h("tr", {}, ["", one.name, "Blueberry-Nano, published"].map((label) => h("th", { scope: "col" }, label || h("span", { class: "sr" }, "Figure"))))),
      h("tbody", {}, lines.map(([label, left, right]) => h("tr", {}, h("th", { scope: "row" }, label), h("td", {}, left), h("td", {}, right)))))),
    h("p", { class: "note" }, "* Of unseen text of its own corpus in its own tokens. The two models had different tokenizers and corpora, so these rows do not say which is better; bits per byte would, but were not published."),
    h("p", { class: "note" }, "Not measured here: tests of knowledge or reasoning, energy, the spread over several seeds, and the price in money."),
    h("div", { class: "row" }, h("button", { type: "button", class: "plain", onclick: () => emit("talk", { run: one.id }) }, ages ? `Talk to it at any of ${ages} ages` : "Talk to it"),
      h("button", { type: "button", class: "plain", onclick: () => { state.capsule = { q: "", category: "", of: one.id, young: "", old: "", leaf: "" }; emit("show", "capsule"); } }, kept === 1 ? "1 exhibit in the time capsule" : `${kept.toLocaleString("en")} exhibits in the time capsule`))];
}

const value = (number, words) => (number === null || number === undefined ? "not measured yet" : words(number));
