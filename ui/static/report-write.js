// What people write into a report: fields in place of what they wrote, saved when a field is left and by the button.

import { fill, h, say } from "./dom.js";
import { send } from "./state.js";

let shut = null;

/** Whether somebody is writing below `place`. */
export const isOpen = (place) => Boolean(shut && place.querySelector(".report-form"));

/** Leave the form that is open, if one is. */
export function close() {
  shut?.();
}

/** Put the form for `fields` into `section`; `again` draws the report anew once it is left. */
export function editor(section, { run, title, fields, hint, again }) {
  close();
  const note = h("p", { class: "note", role: "status" });
  const problem = h("p", { class: "problem", role: "alert" });
  const held = fields.map((field) => ({ ...field, kept: field.words, input: input(field) }));
  let last = Promise.resolve(true);
  const save = () => { last = last.then(() => store(run, held, note, problem)); return last; };
  const leave = () => { shut = null; again(section.dataset.section); };
  const done = async () => { if (await save()) leave(); };
  /** Put back what stood there: by the button what stood there at first, by Escape what was saved last. */
  const undo = async (before) => {
    for (const one of held) one.input.value = before(one);
    await done();
  };
  const form = h("form", { class: "report-form", "aria-label": title, onsubmit: (event) => { event.preventDefault(); done(); } },
    held.map((one) => h("label", { class: "field" }, h("span", {}, one.label), one.input)), h("p", { class: "note hint" }, hint), problem,
    h("div", { class: "row" }, h("button", { type: "submit", class: "strong" }, "Save"), h("button", { type: "button", class: "plain", onclick: () => undo((one) => one.words) }, "Leave it as it was"), note));
  form.addEventListener("focusout", (event) => { if (event.target.matches("input, textarea") && !form.contains(event.relatedTarget)) save(); });
  form.addEventListener("change", save);
  form.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !event.isComposing) { event.stopPropagation(); undo((one) => one.kept); }
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) done();
  });
  fill(section, h("div", { class: "heading" }, h("h2", {}, title)), form);
  section.classList.remove("unwritten");
  shut = () => { shut = null; save(); };
  held[0].input.focus();
}

function input({ name, words, longest, tall }) {
  const made = h(tall ? "textarea" : "input", { name, maxlength: longest, spellcheck: "true", ...(tall ? { rows: Math.min(18, 6 + words.split("\n").length) } : { type: "text", autocomplete: "off" }) });
  made.value = words;
  return made;
}

/** Send what has changed; whether all of it is kept now. */
async function store(run, held, note, problem) {
  for (const one of held) {
    const text = one.input.value;
    if (text.trim() === one.kept.trim()) continue;
    try {
      one.kept = (await send("/api/report/block", { run, block: one.name, text, before: one.kept })).text;
    } catch (error) {
      say(note, "");
      say(problem, error.message);
      return false;
    }
    say(note, "Saved.");
  }
  say(problem, "");
  return true;
}
