// The prompt suites as text: opened, edited, saved as files of prompts/, made anew and removed.

import { $, fill, h, say, shutByBackdrop } from "./dom.js";
import { get, on, send } from "./state.js";

const NEW = "";
let suites = [];
let shown = null; // the suite on the right as it was read; its name is NEW for one that is not on the disk yet
let drafts = new Map(); // what was typed and not saved, by name
let checking = 0;
let turn = 0; // what is shown comes from the newest wish, however late others are answered
let parts = {};

export function mount() {
  const dialog = h("dialog", { id: "suites", class: "sheet", "aria-labelledby": "suites-title" });
  shutByBackdrop(dialog, close);
  dialog.addEventListener("cancel", (event) => { event.preventDefault(); close(); });
  dialog.addEventListener("close", () => { turn += 1; shown = null; drafts = new Map(); parts = {}; fill(dialog); });
  $("#topbar").after(dialog);
  $("#edit-prompts").addEventListener("click", () => open());
  on("checked", besideTheField);
}

const button = (label, kind, onclick, more = {}) => h("button", { type: "button", class: kind, onclick, ...more }, label);
const many = (number) => `${number.toLocaleString("en")} prompt${number === 1 ? "" : "s"}`;
const field = () => $("#setup [data-key='sample.suites']");
const chosen = () => (field()?.value || "").split(",").map((name) => name.trim()).filter(Boolean);

/** Where a run's suites are chosen, they can be opened. */
function besideTheField() {
  if (!field() || $("#open-suites")) return;
  field().closest("label").after(button("Edit prompts", "quiet", () => open(chosen()[0]), { id: "open-suites", "aria-haspopup": "dialog" }));
}

async function open(name) {
  const dialog = $("#suites");
  parts = { list: h("ul"), paper: h("section", { class: "paper" }, h("p", { class: "note" }, "Opening…")) };
  fill(dialog, h("div", { class: "whole" },
    h("h2", { id: "suites-title", tabindex: "-1", autofocus: true }, "Prompts"),
    h("p", { class: "note" }, "A run is asked the prompts of its suites again and again while it grows. It reads them when it begins and when it goes on: what you save here holds for runs after that."),
    h("div", { class: "desk" }, h("nav", { "aria-label": "Suites" }, parts.list, button("New suite", "quiet", () => put({ name: NEW, text: "", sha256: "", problem: "", prompts: 0 }, true))), parts.paper)));
  dialog.showModal();
  dialog.scrollTop = 0;
  const mine = ++turn;
  await list();
  if (mine !== turn) return;
  const known = suites.map((one) => one.name);
  await read(known.includes(name) ? name : known.includes("stories") ? "stories" : known[0]);
}

async function list() {
  try {
    ({ suites } = await get("/api/prompts"));
  } catch (error) {
    return fill(parts.paper, h("p", { class: "problem", role: "alert" }, error.message));
  }
  names();
}

function names() {
  if (!parts.list) return;
  fill(parts.list, suites.map((one) => h("li", {}, h("button", { type: "button", "data-suite": one.name, "aria-current": shown?.name === one.name ? "true" : null, onclick: () => read(one.name) },
    h("b", {}, one.name), h("small", {}, drafts.has(one.name) ? "not saved" : one.problem ? "cannot be asked" : many(one.prompts))))));
}

async function read(name) {
  if (!name) return put({ name: NEW, text: "", sha256: "", problem: "", prompts: 0 });
  const mine = ++turn;
  try {
    const suite = await get("/api/prompts/suite", { name });
    if (mine === turn) put(suite);
  } catch (error) {
    if (mine !== turn) return;
    shown = null;
    names();
    fill(parts.paper, h("h3", {}, `prompts/${name}.txt`), h("p", { class: "problem", role: "alert" }, error.message), h("div", { class: "row" }, button("Close", "quiet", close)));
  }
}

/** Show a suite; what was typed and not saved is still there. */
function put(suite, focus = false) {
  if (!$("#suites").open) return;
  turn += 1;
  shown = suite;
  const fresh = suite.name === NEW;
  parts.name = fresh ? h("input", { type: "text", id: "suite-name", maxlength: "64", autocomplete: "off", spellcheck: "false", oninput: soon }) : null;
  parts.text = h("textarea", { id: "suite-text", rows: "14", spellcheck: "false", "aria-describedby": "suite-help", oninput: typed });
  parts.text.value = drafts.get(suite.name) ?? suite.text;
  parts.said = h("p", { class: "note", role: "status" });
  parts.problem = h("p", { class: "problem", role: "alert" });
  parts.save = button("Save", "strong", () => save(), { id: "suite-save" });
  parts.row = h("div", { class: "row last" }, parts.save, fresh ? null : button("Remove", "quiet", remove), button("Close", "quiet", close));
  fill(parts.paper,
    fresh ? h("label", { class: "field" }, h("span", {}, "Name"), parts.name) : null,
    h("label", { class: "field" }, h("span", {}, fresh ? "Prompts" : `prompts/${suite.name}.txt`), parts.text,
      h("small", { id: "suite-help" }, "One prompt a line, the beginning of a text. A line that begins with # is a comment.")),
    fresh ? null : askedNext(suite.name), h("div", { class: "state" }, parts.said, parts.problem), parts.row);
  names();
  say(parts.said, suite.prompts ? many(suite.prompts) : "");
  say(parts.problem, suite.problem);
  dirty();
  if (drafts.has(suite.name)) check();
  if (focus) (parts.name || parts.text).focus();
}

/** Whether the run that is being set up asks this suite. */
function askedNext(name) {
  if (!field()) return null;
  const change = (event) => {
    const rest = chosen().filter((one) => one !== name);
    field().value = (event.target.checked ? [...rest, name] : rest).join(",");
    field().dispatchEvent(new Event("input", { bubbles: true }));
  };
  return h("label", { class: "next" }, h("input", { type: "checkbox", checked: chosen().includes(name), onchange: change }), h("span", {}, "Ask it in the run you set up"));
}

const changed = () => shown && (parts.text.value !== shown.text || shown.name === NEW);

function dirty() {
  parts.save.disabled = !changed() || !parts.text.value.trim();
}

function typed() {
  if (changed() && (shown.name !== NEW || parts.text.value)) drafts.set(shown.name, parts.text.value);
  else drafts.delete(shown.name);
  names();
  soon();
}

function soon() {
  dirty();
  clearTimeout(checking);
  checking = setTimeout(check, 300);
}

async function check() {
  const asked = shown;
  if (!asked || !parts.text.value.trim()) return;
  const answer = await send("/api/prompts/check", { name: asked.name || parts.name.value.trim() || "new", text: parts.text.value }).catch((error) => ({ error: error.message, prompts: 0 }));
  if (shown !== asked) return;
  say(parts.problem, answer.error);
  say(parts.said, answer.error ? "" : `${many(answer.prompts)}${changed() ? ", not saved yet" : ""}`);
}

/** Write the file; where it is another one by now, a person decides. */
async function save(before = shown.sha256) {
  const { name: old, sha256: base } = shown;
  const name = old || parts.name.value.trim();
  clearTimeout(checking);
  parts.save.disabled = true;
  try {
    const made = await send("/api/prompts/save", { name, text: parts.text.value, before });
    drafts.delete(old);
    await list();
    put(made);
    say(parts.said, `Saved as prompts/${made.name}.txt: ${many(made.prompts)}.`);
    parts.text.focus();
    return true;
  } catch (error) {
    say(parts.problem, error.message);
    dirty();
    if (old) await settle(old, base);
    return false;
  }
}

/** After a refusal: is the file still the one that was opened? */
async function settle(name, base) {
  const { suites: now } = await get("/api/prompts").catch(() => ({ suites: null }));
  if (!now || shown?.name !== name) return;
  const there = now.some((one) => one.name === name) ? await get("/api/prompts/suite", { name }).catch(() => null) : { sha256: "" };
  if (!there || there.sha256 === base || shown?.name !== name) return;
  const mine = button(there.sha256 ? "Save mine over it" : "Save mine anew", "plain", () => save(there.sha256));
  const theirs = there.sha256 ? button("Show what is there now", "plain", () => { drafts.delete(name); put(there, true); }) : null;
  question([theirs, mine], theirs || mine);
}

async function remove() {
  const { name, sha256 } = shown;
  const told = h("p", {}, "Looking who asks it…");
  const yes = button("Remove it", "plain", async () => {
    yes.disabled = true;
    try {
      await send("/api/prompts/delete", { name, before: sha256 });
      drafts.delete(name);
      await list();
      await read(suites[0]?.name);
      say(parts.said, `prompts/${name}.txt is removed.`);
      $("#suites-title").focus();
    } catch (error) {
      say(parts.problem, error.message);
      put(shown);
    }
  }, { disabled: true });
  const no = button("Leave it", "strong", () => put(shown, true));
  question([told, no, yes], no, `Remove prompts/${name}.txt?`);
  try {
    const uses = await get("/api/prompts/uses", { name });
    const runs = uses.runs.join(", ") + (uses.runs_count > uses.runs.length ? ` and ${uses.runs_count - uses.runs.length} more` : "");
    say(told, uses.presets.length ? `Runs of ${uses.presets.join(", ")} are asked it, so it stays. Edit it instead.`
      : uses.runs_count ? `${runs} ${uses.runs_count === 1 ? "reads" : "read"} it when ${uses.runs_count === 1 ? "it goes" : "they go"} on, and could not without it. What they have said stays.`
        : "No run that can still go on is asked it. What others have said stays.");
    yes.disabled = uses.presets.length > 0;
  } catch (error) {
    say(told, error.message);
  }
}

/** Something to decide, in place of the buttons. */
function question(children, first, title = "") {
  const [words, buttons] = [children.filter((one) => one?.tagName === "P"), children.filter((one) => one?.tagName === "BUTTON")];
  const box = h("div", { class: "ask-first", role: "group", "aria-label": title || "Decide" }, title ? h("p", {}, h("b", {}, title)) : null, words, h("div", { class: "row" }, buttons));
  parts.row.replaceWith(box);
  parts.row = box;
  first.focus();
  box.scrollIntoView({ block: "nearest" });
}

/** What is not saved is not lost by mistake. */
function close() {
  if (!drafts.size || parts.leaving) return $("#suites").close();
  if (!shown) read([...drafts.keys()][0]);
  const left = [...drafts.keys()].map((name) => name || "the new suite").join(", ");
  parts.leaving = true;
  const back = button("Go on editing", "strong", () => { parts.leaving = false; put(shown, true); });
  question([back, button("Close without saving", "plain", () => $("#suites").close())], back, `Not saved yet: ${left}.`);
}
