// How an answer is kept: one dialog wherever words are read, and the same form to change an exhibit.

import { $, fill, h, say, shutByBackdrop } from "./dom.js";
import { KNOWN, made, mark } from "./categories.js";
import { looksLike, memorised } from "./judging.js";
import { emit, get, on, send, state } from "./state.js";
import { explainSigns } from "./texts.js";

const button = (label, kind, onclick) => h("button", { type: "button", class: kind, onclick }, label);

export function mount() {
  const dialog = h("dialog", { id: "keep", class: "sheet", "aria-labelledby": "keep-heading" });
  shutByBackdrop(dialog);
  dialog.addEventListener("close", () => fill(dialog));
  $("#topbar").after(dialog);
  on("keep", async ({ sample, done }) => {
    const heard = (exhibit) => { done?.(exhibit); emit("kept", { sample: sample.id, exhibit }); };
    const there = await get("/api/kept", { sample: sample.id }).then((answer) => answer.exhibit, () => 0); // kept from elsewhere on the page, or by somebody else
    if (there) { heard(there); emit("see", there); return; }
    const title = [...sample.prompt.trim()].slice(0, 60).join("");
    const form = keepForm({ heading: "Keep it in the time capsule", verb: "Keep it", leave: "Not now",
      what: { ...sample, sample_id: sample.id, title, category: "", note: "" }, anew: true,
      saved: (exhibit, already) => { kept(exhibit, already); heard(exhibit); }, left: () => dialog.close() });
    fill(dialog, form);
    dialog.showModal();
    dialog.scrollTop = 0;
    $("input", form).focus({ preventScroll: true });
  });
}

/** What was wanted is done; where it is now is one press away. */
function kept(exhibit, already) {
  const dialog = $("#keep");
  const see = button("See it there", "strong", () => { dialog.close(); emit("see", exhibit); });
  fill(dialog, h("div", { class: "whole" }, h("h2", { id: "keep-heading", role: "status" }, already ? "Somebody kept it meanwhile, in their words" : "Kept in the time capsule"),
    h("div", { class: "row" }, see, button("Go on here", "plain", () => dialog.close()))));
  see.focus();
}

/** Category, title, tags and note of one sample; `saved` gets the exhibit's id once the server has it. `anew`: what is kept already stays as it is. */
export function keepForm({ heading, headed = "keep-heading", verb, leave, what, saved, left, anew = false }) {
  const own = h("input", { type: "text", maxlength: "40", id: "own-category", list: "own-categories", "aria-label": "Your own category",
    value: KNOWN[what.category] ? "" : what.category, placeholder: "a word of your own", oninput: () => { pick.own.checked = true; }, onpointerdown: () => { pick.own.checked = true; } });
  const pick = {};
  const problem = h("p", { class: "problem", role: "alert" });
  const radio = (name, label, help) => {
    pick[name] = h("input", { type: "radio", name: "category", value: name,
      checked: name === what.category || (name === "own" && Boolean(what.category) && !KNOWN[what.category]) });
    pick[name].addEventListener("change", () => say(problem, ""));
    return h("label", { class: "pick-category" }, pick[name], label, help);
  };
  const title = h("input", { type: "text", maxlength: "200", value: what.title, id: "keep-title" });
  const note = h("textarea", { rows: "2", maxlength: "4000", value: what.note, id: "keep-note" });
  const tags = h("input", { type: "text", maxlength: "900", value: (what.tags || []).join(", "), id: "keep-tags", autocomplete: "off" });
  const tagged = () => tags.value.split(",").map((tag) => tag.trim()).filter(Boolean);
  const category = () => {
    const chosen = Object.values(pick).find((one) => one.checked)?.value || "";
    return chosen === "own" ? own.value.trim() : chosen;
  };
  const save = async (event) => {
    event.preventDefault();
    if (!category()) {
      say(problem, "Choose what it is first: The Good, The Strange, or what else it is, or a word of your own.");
      (pick.own.checked ? own : pick.good).focus();
      return;
    }
    try {
      const answer = await send("/api/keep", { sample: what.sample_id, category: category(), title: title.value, note: note.value, tags: tagged(), anew });
      saved(answer.exhibit, answer.already);
    } catch (error) {
      say(problem, error.message);
    }
  };
  return h("form", { class: "whole", onsubmit: save }, h("h2", { id: headed }, heading),
    h("blockquote", { class: "words", tabindex: "0", "aria-label": "What is kept" }, h("span", { class: "prompt" }, what.prompt), what.text),
    explainSigns([what.prompt, what.text]),
    looksLike(what.sample_id, (name) => { pick[name].checked = true; say(problem, ""); title.focus(); }),
    h("fieldset", { class: "categories" }, h("legend", {}, "What is it?"),
      Object.entries(KNOWN).map(([name, one]) => radio(name, mark(name), h("small", {}, one.what))),
      radio("own", mark("Something else"), own)),
    h("datalist", { id: "own-categories" }, made(state.categories).map((name) => h("option", { value: name }))),
    h("label", { class: "field" }, h("span", {}, "Title"), title),
    h("label", { class: "field" }, h("span", {}, "Tags ", h("small", {}, "optional, with commas between")), tags),
    h("label", { class: "field" }, h("span", {}, "Note ", h("small", {}, "optional")), note),
    memorised(what.sample_id), problem,
    h("div", { class: "row" }, h("button", { class: "strong", type: "submit" }, verb), button(leave, "plain", left)));
}
