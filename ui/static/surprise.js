// How surprised a model is by what it said, or by a text of one's own: asked of the worker, drawn as coloured tokens.

import { $, $$, fill, h, options, say } from "./dom.js";
import { age } from "./format.js";
import { legend, tokenView } from "./token-view.js";
import { LONG_MS, get, on, runById, send, state } from "./state.js";

const LONGEST = 60000;
const NOT_AS_SAID = "The very tokens it said cannot be had again; these are the ones that its tokenizer writes the same text in.";
const FIRST_TEXT = "It is a truth universally acknowledged";

export function mount() {
  on("answered", offer);
  const box = ownText();
  $("#asked").prepend(box);
  on("tab", (tab) => tab === "play" && box.open && whom(box));
  on("runs", () => state.tab === "play" && box.open && whom(box));
}

/** The button below an answer, and the place for its tokens. */
function offer({ place, sample, run, settings }) {
  const shown = h("div", { class: "surprise", "aria-live": "off", hidden: true });
  const button = h("button", { type: "button", class: "quiet its-tokens", "aria-expanded": "false" }, "See its tokens");
  const words = $(".words", place);
  const turn = (see) => {
    shown.hidden = !see;
    words.hidden = see;
    button.setAttribute("aria-expanded", String(see));
    say(button, see ? "See its words" : "See its tokens");
  };
  button.addEventListener("click", async () => {
    if ($(".token-view", shown)) return turn(shown.hidden);
    await waiting(button, async () => {
      const seen = await looked({ sample }, shown);
      shown.hidden = false; // also what went wrong is read there
      if (!seen) return;
      fill(shown, await sides(seen, { sample }, run, settings));
      turn(true);
    });
  });
  words.after(shown);
  $(".row", place).append(button);
}

/** Ask; null after saying in `place` why there is no answer. */
async function looked(question, place) {
  try {
    return await send("/api/surprise", question, LONG_MS);
  } catch (error) {
    fill(place, h("p", { class: "problem", role: "alert" }, error.message));
    return null;
  }
}

async function waiting(button, work) {
  const label = button.textContent;
  button.disabled = true;
  button.setAttribute("aria-busy", "true");
  say(button, "Looking at its tokens …");
  try {
    await work();
  } finally {
    button.disabled = false;
    button.removeAttribute("aria-busy");
    if (button.textContent.startsWith("Looking")) say(button, label);
  }
}

const title = (seen) => `${age(seen.age)}, step ${seen.step.toLocaleString("en")}`;

/** The text at the age that was asked, and a choice of another one to set beside it. */
async function sides(seen, question, run, settings) {
  const facts = await get("/api/run", { run: run || seen.run }).catch(() => ({ ages: [] }));
  const others = facts.ages.filter((one) => one.step !== seen.step).reverse();
  const both = h("div", { class: "sides" }, tokenView(seen, settings));
  for (const name of ["pointerover", "focusin"]) both.addEventListener(name, (event) => showSame(both, event.target.closest("[data-at]")?.dataset.at));
  const select = h("select", {});
  options(select, [["", "Nothing"], ...others.map((one) => [String(one.step), `${age(one.tokens)}, step ${one.step.toLocaleString("en")}`])]);
  select.addEventListener("change", async () => {
    if (!select.value) return fill(both, tokenView(seen, settings));
    const step = Number(select.value);
    const place = h("div", { class: "note" }, "Waking it at that age …");
    fill(both, tokenView(seen, settings, title(seen)), place);
    const other = await looked({ ...question, step }, place);
    if (other && select.value === String(step)) fill(both, tokenView(seen, settings, title(seen)), tokenView(other, settings, title(other)));
  });
  const exactly = question.sample && !seen.exact ? h("p", { class: "note" }, NOT_AS_SAID) : null;
  return [h("div", { class: "looks" }, legend(), others.length ? h("label", { class: "field other-age" }, h("span", {}, "Beside it, at the age of"), select) : null), exactly, both];
}

/** The same token at the other age. */
function showSame(both, at) {
  for (const old of $$(".same-token", both)) old.classList.remove("same-token");
  if (both.childElementCount > 1 && at) for (const one of $$(`[data-at="${at}"]`, both)) one.classList.add("same-token");
}

/** The fold for a text of one's own: who, how old, which text. */
function ownText() {
  const who = h("select", {}), old = h("select", {});
  const text = h("textarea", { rows: "3", maxlength: LONGEST, spellcheck: "false" });
  const shown = h("div", { class: "surprise" });
  const button = h("button", { type: "button", class: "strong" }, "Show its surprise");
  const problem = h("p", { class: "problem", role: "alert" });
  text.value = sessionStorage.getItem("blueberry-surprise") || FIRST_TEXT;
  text.addEventListener("input", () => sessionStorage.setItem("blueberry-surprise", text.value));
  who.addEventListener("change", () => ages(who, old));
  button.addEventListener("click", () => waiting(button, async () => {
    say(problem, who.value ? "" : "There is no model yet: start one on the Train tab.");
    if (!who.value) return;
    const question = { run: who.value, step: Number(old.value || -1), text: text.value };
    const seen = await looked(question, shown);
    if (seen) fill(shown, await sides(seen, question, who.value, {}));
  }));
  const box = h("details", { id: "own-text" }, h("summary", {}, "How surprised is it by a text of yours?"),
    h("div", { class: "own" }, h("div", { class: "whose" }, h("label", { class: "field" }, h("span", {}, "Who"), who), h("label", { class: "field" }, h("span", {}, "How old"), old)),
      h("label", { class: "field" }, h("span", {}, "Text"), text, h("small", {}, "Every token is coloured by how little the model expected it there.")), h("div", { class: "row" }, button), problem, shown));
  box.addEventListener("toggle", () => box.open && whom(box));
  return box;
}

/** Runs that can be asked; the selected one first of all. */
function whom(box) {
  const [who, old] = $$("select", box);
  const own = state.runs.filter((one) => one.kind !== "published");
  const fresh = !who.value;
  options(who, own.length ? own.map((one) => [one.id, one.name]) : [["", "No model yet"]]);
  if (fresh && own.some((one) => one.id === state.selected)) who.value = state.selected;
  ages(who, old);
}

async function ages(who, old) {
  const id = who.value;
  const facts = id && runById(id) ? await get("/api/run", { run: id }).catch(() => null) : null;
  if (who.value !== id) return;
  const all = [...(facts?.ages || [])].reverse();
  options(old, all.length ? [["-1", "Newest"], ...all.map((one) => [String(one.step), `${age(one.tokens)}, step ${one.step.toLocaleString("en")}`])] : [["-1", "Nothing saved yet"]]);
}
