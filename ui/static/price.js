// The form in which a person says what a machine costs: rented by the hour, or one's own and its electricity.

import { $, $$, h, say } from "./dom.js";
import { amount } from "./format.js";

/** "$0.40 an hour". */
export function priceWords(price) {
  return price.per_hour !== null ? `${amount(price.per_hour, price.currency)} an hour`
    : `${amount(price.per_kwh, price.currency)} a kWh${price.watts ? `, ${price.watts} W given` : ""}`;
}

let forms = 0;

/** `save(price, also)` may throw a sentence; `both`: offer to keep the price for runs to come as well; `forget`: there is one to remove. */
export function priceForm(price, { both, forget, save, cancel }) {
  const name = `price-kind-${(forms += 1)}`;
  const problem = h("p", { class: "problem", role: "alert" });
  const field = (key, label, unit, value, help) => h("label", { class: "field", "data-field": key }, h("span", {}, label, " ", h("small", {}, unit)),
    h("input", { type: "text", inputmode: key === "currency" ? "text" : "decimal", autocomplete: "off", "data-key": key, value: value ?? "" }), help ? h("small", { class: "help" }, help) : null);
  const kind = (value, label) => h("label", {}, h("input", { type: "radio", name, value, checked: value === "kwh" ? price?.per_hour === null : price?.per_hour !== null, onchange: () => show(form) }), label);
  const form = h("form", { class: "price", onsubmit: (event) => { event.preventDefault(); submit(); }, onkeydown: (event) => event.key === "Escape" && cancel?.() },
    h("fieldset", {}, h("legend", { class: "sr" }, "Whose machine it is"), kind("hour", "Rented"), kind("kwh", "My own")),
    h("div", { class: "pair" },
      field("per_hour", "Price", "an hour", price?.per_hour), field("per_kwh", "Electricity", "a kWh", price?.per_kwh), field("currency", "Currency", "", price?.currency ?? "$")),
    field("watts", "Power", "watts, optional", price?.watts, "Used where nothing measures it, as on a processor, and marked as given."),
    both ? h("label", { class: "also" }, h("input", { type: "checkbox", checked: true }), "Also for runs to come") : null, problem,
    h("div", { class: "row" }, h("button", { type: "submit", class: both ? "strong" : "plain" }, "Save"),
      cancel ? h("button", { type: "button", class: "plain", onclick: cancel }, "Cancel") : null,
      forget ? h("button", { type: "button", class: "quiet", onclick: () => put(null) }, "Forget the price") : null));
  const value = (key) => $(`[data-key=${key}]`, form).value.trim();
  // NaN has no place in JSON, so that what is no number is told here; the rest is the server's to say.
  const number = (key) => (value(key) === "" ? null : Number(value(key).replace(",", ".")));
  const hourly = () => $("input[value=hour]", form).checked;

  function submit() {
    for (const input of $$("[aria-invalid]", form)) input.removeAttribute("aria-invalid");
    const needed = hourly() ? "per_hour" : "per_kwh";
    if (number(needed) === null) return wrong(needed, hourly() ? "Give the price of an hour." : "Give the price of a kWh.");
    const odd = (hourly() ? ["per_hour"] : ["per_kwh", "watts"]).find((key) => Number.isNaN(number(key)));
    if (odd) return wrong(odd, "This must be a number, for example 0.35.");
    return put({ per_hour: hourly() ? number("per_hour") : null, per_kwh: hourly() ? null : number("per_kwh"), watts: hourly() ? null : number("watts"), currency: value("currency") || "$" });
  }

  function wrong(key, sentence) {
    say(problem, sentence);
    const input = $(`[data-key=${key}]`, form);
    input.setAttribute("aria-invalid", "true");
    input.focus();
  }

  async function put(given) {
    try {
      say(problem, "");
      await save(given, both && $(".also input", form).checked);
    } catch (error) {
      wrong(/currency/.test(error.message) ? "currency" : /watts/.test(error.message) ? "watts" : hourly() ? "per_hour" : "per_kwh", error.message);
    }
  }

  show(form);
  return form;
}

/** Only the fields of the chosen kind. */
function show(form) {
  const hourly = $("input[value=hour]", form).checked;
  $("[data-field=per_hour]", form).hidden = !hourly;
  for (const key of ["per_kwh", "watts"]) $(`[data-field=${key}]`, form).hidden = hourly;
}
