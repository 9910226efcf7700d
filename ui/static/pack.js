// Packing a capsule: which exhibits, with or without weights, whom it is from, until when it stays shut.

import { $, fill, h, options, say } from "./dom.js";
import { on, send, state } from "./state.js";
import { follow, shown, size } from "./work.js";

const button = (label, kind, onclick, more = {}) => h("button", { type: "button", class: kind, onclick, ...more }, label);
let job = "";
let asked = 0;
let parts = {};

on("pack-sheet-closed", () => { if (job) send("/api/capsule/cancel", { job }).catch(() => {}); job = ""; asked += 1; });

export function pack() {
  const own = state.runs.filter((one) => one.kind !== "published");
  const filter = shown();
  const radio = (value, label, more = null) => h("label", { class: "also" }, h("input", { type: "radio", name: "pack-what", value, checked: value === (filter ? "shown" : "all"), onchange: plan }), h("span", {}, label), more);
  parts = {
    run: h("select", { id: "pack-run", "aria-label": "Run", onchange: () => { $("input[value=run]", $("#pack-sheet")).checked = true; plan(); } }),
    weights: h("input", { type: "checkbox", id: "pack-weights" }), samples: h("input", { type: "checkbox", id: "pack-samples", onchange: plan }),
    size: h("small", { id: "pack-size" }), planned: h("p", { class: "note", role: "status", id: "pack-planned" }), problem: h("p", { class: "problem", role: "alert" }),
    title: h("input", { type: "text", maxlength: "200", id: "pack-name", placeholder: "the runs' names" }), sender: h("input", { type: "text", maxlength: "100", id: "pack-sender", autocomplete: "name" }),
    seal: h("input", { type: "date", id: "pack-seal", min: tomorrow() }), go: h("button", { type: "submit", class: "strong", id: "pack-go" }, "Pack it"),
  };
  options(parts.run, own.map((one) => [one.id, one.name]));
  if (own.some((one) => one.id === state.selected)) parts.run.value = state.selected;
  fill($("#pack-sheet"), h("form", { class: "whole pack", onsubmit: start }, h("h2", { id: "pack-title" }, "Pack a capsule"),
    h("fieldset", {}, h("legend", {}, "What"), radio("all", "Everything that is kept here"), radio("run", "What is kept of", h("span", { class: "field" }, parts.run)), filter ? radio("shown", "What the gallery shows now") : null),
    h("fieldset", {}, h("legend", {}, "With it"),
      h("label", { class: "also" }, parts.weights, h("span", {}, "The weights that said it, to ask them again there", parts.size)),
      h("label", { class: "also" }, parts.samples, h("span", {}, "Everything else that the runs said in their rounds"))),
    h("div", { class: "pair" }, h("label", { class: "field" }, h("span", {}, "Title ", h("small", {}, "on its cover")), parts.title), h("label", { class: "field" }, h("span", {}, "From ", h("small", {}, "optional")), parts.sender)),
    h("label", { class: "field seal" }, h("span", {}, "Sealed until ", h("small", {}, "optional")), parts.seal, h("small", {}, "Until that day only the cover is shown. A promise, not a lock: nothing is encrypted.")),
    parts.planned, parts.problem, h("div", { class: "row" }, parts.go, button("Not now", "plain", () => $("#pack-sheet").close()))));
  $("#pack-sheet").showModal();
  $("#pack-title").scrollIntoView();
  plan();
}

function tomorrow() {
  const day = new Date(Date.now() + 864e5);
  return `${day.getFullYear()}-${String(day.getMonth() + 1).padStart(2, "0")}-${String(day.getDate()).padStart(2, "0")}`;
}

/** What is to be packed: a filter for the address, and the rest. */
function chosen() {
  const what = $("input[name=pack-what]:checked", $("#pack-sheet"))?.value;
  return { filter: what === "shown" ? `?${shown()}` : "", rest: { run: what === "run" ? parts.run.value : "", samples: parts.samples.checked } };
}

/** Tell how much it is before it is packed. */
async function plan() {
  const ticket = (asked += 1);
  say(parts.problem, "");
  try {
    const { filter, rest } = chosen();
    const found = await send(`/api/capsule/plan${filter}`, rest);
    if (ticket !== asked) return;
    say(parts.size, found.weights ? `${size(found.weights)} more` : "Their weights are gone.");
    parts.weights.disabled = !found.weights;
    if (!found.weights) parts.weights.checked = false;
    const many = found.exhibits === 1 ? "1 exhibit" : `${found.exhibits.toLocaleString("en")} exhibits`;
    say(parts.planned, `${many} of ${found.runs.length === 1 ? found.runs[0] : `${found.runs.length} runs`}.${found.words_only ? ` ${found.words_only.toLocaleString("en")} of them can only be read: their weights were freed.` : ""}`);
    parts.go.disabled = false;
  } catch (error) {
    if (ticket !== asked) return;
    say(parts.planned, "");
    say(parts.problem, error.message);
    parts.go.disabled = true;
  }
}

async function start(event) {
  event.preventDefault();
  const { filter, rest } = chosen();
  const wanted = { ...rest, weights: parts.weights.checked, title: parts.title.value, sender: parts.sender.value, seal: parts.seal.value };
  const mine = (asked += 1);
  const form = event.currentTarget;
  const bar = h("progress", { max: "1", "aria-label": "Packed" });
  try {
    parts.go.disabled = true;
    const begun = (await send(`/api/capsule/export${filter}`, wanted)).job;
    if (mine !== asked) { send("/api/capsule/cancel", { job: begun }); return; }
    job = begun;
    fill($("#pack-sheet"), h("div", { class: "whole" }, h("h2", { id: "pack-title", tabindex: "-1" }, "Packing…"), bar, h("div", { class: "row" }, button("Cancel", "plain", () => $("#pack-sheet").close()))));
    $("#pack-title").focus();
    const made = await follow(job, (share) => { bar.value = share; });
    if (mine !== asked) return;
    done(made);
  } catch (error) {
    if (mine !== asked) return;
    job = "";
    fill($("#pack-sheet"), form); // as it was filled in
    parts.go.disabled = false;
    say(parts.problem, error.message);
  }
}

function done(made) {
  const close = button("Close", "plain", () => $("#pack-sheet").close());
  const link = h("a", { class: "button strong", id: "pack-save", href: `/api/capsule/file?job=${job}`, download: "", onclick: () => {
    job = ""; // the file is the browser's now; the server removes its own once it was sent
    say($("#pack-title"), "It is on its way to your downloads");
    setTimeout(() => { link.remove(); close.focus(); }, 0);
  } }, `Save the file, ${size(made.bytes)}`);
  const seal = made.sealed_until ? ` It stays shut until ${made.sealed_until}.` : "";
  fill($("#pack-sheet"), h("div", { class: "whole" }, h("h2", { id: "pack-title", role: "status" }, "Packed"),
    h("p", {}, `${made.title}: ${made.exhibits === 1 ? "1 exhibit" : `${made.exhibits.toLocaleString("en")} exhibits`}.${seal}`), h("div", { class: "row" }, link, close)));
  link.focus();
}
