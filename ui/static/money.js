// What a run costs: spent, to finish, a million tokens, energy, and its budget; and what the machine costs, in place.
// Nothing is invented: without a price there is one sentence that asks for one.

import { $, $$, fill, h, say } from "./dom.js";
import { amount, energy } from "./format.js";
import { emit, get, on, run, send, state } from "./state.js";
import { priceForm, priceWords } from "./price.js";

let prices = { home: null, run: null };
let asked = "";
let editing = "";

export function mount() {
  on("selected", () => { editing = ""; load(); });
  on("runs", load); // which changes with every price
  on("now", draw);
  on("budget", () => { if (prices.run) edit("budget"); });
  homePrice();
}

/** The prices of the selected run and of runs to come. */
async function load() {
  const id = (asked = state.selected);
  const one = run();
  try {
    const answer = await get("/api/money", { run: one?.kind === "trained" ? id : "" });
    if (id !== asked) return;
    prices = answer;
  } catch {
    if (id === asked) setTimeout(() => id === asked && load(), 2000);
    return;
  }
  homePrice();
  draw();
}

function draw() {
  const one = run();
  const place = $("#money");
  if (one?.kind !== "trained") { fill(place); delete place.dataset.drawn; return; }
  const money = one.money || {};
  const key = JSON.stringify([one.id, prices.run, money.budget, editing, Boolean(money.goal), Boolean(money.joules), one.status === "finished"]);
  if (place.dataset.drawn !== key) {
    place.dataset.drawn = key;
    const focus = place.contains(document.activeElement) && document.activeElement.dataset.key;
    fill(place, prices.run || editing ? box(one, money) : invitation(one, money));
    if (focus) (place.querySelector(`[data-key="${focus}"]`) || place.querySelector("button"))?.focus({ preventScroll: true });
  }
  figures(one, money);
}

function invitation(one, money) {
  return [h("h2", {}, "Money and energy"),
    h("p", { class: "note" }, "What this run costs is not known: say what the machine costs an hour, or your electricity a kWh."),
    money.joules ? h("dl", {}, fact("energy", one.parent_step ? "Energy since the fork" : "Energy")) : null,
    h("div", { class: "row" }, h("button", { type: "button", class: "plain", "data-key": "price", onclick: () => edit("price") }, "Give a price"))];
}

const fact = (name, label) => [h("dt", {}, label), h("dd", { "data-money": name })];

function box(one, money) {
  const change = (what, label) => h("button", { type: "button", class: "quiet", "data-key": what, onclick: () => edit(what) }, label);
  const forms = { price: () => priceForm(prices.run || prices.home, { both: true, forget: prices.run, save: savePrice, cancel: () => edit("") }), budget: () => budgetForm(money) };
  return [h("h2", {}, "Money and energy"),
    prices.run ? [
      h("p", { class: "spent" }, h("b", { "data-money": "spent" }), h("span", { "data-money": "of" })),
      money.budget || money.goal ? h("div", { class: "meter", role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100" }, h("i")) : null,
      h("dl", {}, one.status === "finished" ? null : fact("finish", "To finish"), fact("million", "A million tokens"), fact("energy", "Energy"), fact("price", "Price")),
      h("p", { class: "note", "data-money": "note" })] : null,
    editing ? forms[editing]() : h("div", { class: "row" }, change("price", "Change the price"), change("budget", money.budget ? "Change the budget" : "Set a budget"))];
}

function figures(one, money) {
  const put = (name, text) => say($(`#money [data-money=${name}]`), text);
  put("energy", energy(money.joules));
  if (!prices.run) return;
  const { currency } = prices.run;
  const bar = $("#money .meter");
  const most = money.budget ?? money.goal;
  put("spent", amount(money.spent, currency));
  put("of", money.budget !== undefined ? ` of a budget of ${amount(money.budget, currency)}` : money.goal ? " of the five-dollar goal" : " so far");
  put("finish", money.finish === undefined ? "–" : `about ${amount(money.finish, currency)}`);
  put("million", amount(money.million, currency));
  put("price", priceWords(prices.run));
  put("note", `${one.parent_step ? "All counted since the fork. " : ""}${note(money)}`);
  if (!bar) return;
  const share = Math.min(1, (money.spent || 0) / most);
  $("i", bar).style.transform = `scaleX(${share})`;
  bar.dataset.tone = money.budget !== undefined && share >= 0.9 ? "bad" : "";
  bar.setAttribute("aria-valuenow", Math.round(100 * share));
  bar.setAttribute("aria-label", money.budget !== undefined ? "Share of the budget that is spent" : "Share of the five-dollar goal that is spent");
}

/** What a figure cannot say of itself. */
function note(money) {
  if (prices.run.per_hour !== null) return "By the hour, as long as a process of it has the machine; a pause costs too.";
  if (money.spent === undefined) return "Nothing here has measured its power yet. Without a GPU that tells it, give the watts of this machine with the price.";
  if (!money.given) return "Measured at the GPU; the rest of the machine is not in it.";
  return money.given >= 0.99 * money.joules ? "From the watts that were given, not measured." : `${energy(money.given)} of it from the watts that were given, not measured.`;
}

/** Open one of the forms in place, or close them. */
function edit(what) {
  const from = editing;
  editing = what;
  draw();
  const there = $("#money");
  const first = what ? $$("form input[type=text]", there).find((input) => !input.closest("[hidden]")) : $(`[data-key="${from}"]`, there) || $("button", there);
  first?.focus();
  if (what) there.scrollIntoView({ block: "nearest" });
}

async function savePrice(price, also) {
  await send("/api/money/price", { run: state.selected, home: also, price });
  prices = { home: also ? price : prices.home, run: price };
  homePrice();
  edit("");
  emit("look");
}

function budgetForm(money) {
  const problem = h("p", { class: "problem", role: "alert" });
  const input = h("input", { type: "text", inputmode: "decimal", autocomplete: "off", "data-key": "budget-amount", value: money.budget ?? "" });
  const put = async (value) => {
    try {
      if (Number.isNaN(value)) throw new Error("Give the amount as a number, for example 5.");
      await send("/api/money/budget", { run: state.selected, amount: value });
      if (state.now.money) state.now.money.budget = value ?? undefined;
      edit("");
      emit("look");
    } catch (error) {
      say(problem, error.message);
      input.setAttribute("aria-invalid", "true");
      input.focus();
    }
  };
  return h("form", { class: "price", onsubmit: (event) => { event.preventDefault(); put(input.value.trim() === "" ? NaN : Number(input.value.replace(",", "."))); },
    onkeydown: (event) => event.key === "Escape" && edit("") },
  h("label", { class: "field" }, h("span", {}, "It may cost ", h("small", {}, `${prices.run.currency} in all`)), input,
    h("small", { class: "help" }, "It saves and stops before it costs more. With more budget, Resume goes on.")), problem,
  h("div", { class: "row" }, h("button", { type: "submit", class: "strong" }, "Save"), h("button", { type: "button", class: "plain", onclick: () => edit("") }, "Cancel"),
    money.budget !== undefined ? h("button", { type: "button", class: "quiet", onclick: () => put(null) }, "No budget") : null));
}

/** The same price in the form that starts a run: for runs to come. */
function homePrice() {
  const place = $("#home-price > div");
  const key = JSON.stringify(prices.home);
  if (!place || place.dataset.drawn === key) return;
  place.dataset.drawn = key;
  say($("#home-price summary"), prices.home ? `This machine costs ${priceWords(prices.home)}` : "What does this machine cost?");
  fill(place, h("p", { class: "note" }, "With a price, each run shows what it has cost, what is still to come, and can have a budget."),
    priceForm(prices.home, { both: false, forget: prices.home, save: async (price) => {
      await send("/api/money/price", { home: true, price });
      prices = { ...prices, home: price };
      homePrice();
      $("#home-price").open = false;
      $("#home-price summary").focus();
    } }));
}
