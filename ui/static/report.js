// Report: what became of the selected run, as the server's document tells it, and what people write into it. All texts are text nodes.

import { $, fill, h, say } from "./dom.js";
import { KNOWN, mark } from "./categories.js";
import { isOpen } from "./format.js";
import { CAPSULE, LONG_MS, emit, get, on, run, state } from "./state.js";
import { close, editor, isOpen as writing } from "./report-write.js";

const FILES = [
  ["html", "Save as HTML", "strong", "report.html"],
  ["zip", "Markdown and pictures (.zip)", "plain", "report.zip"],
  ["card", "Model card", "plain", "MODEL_CARD.md"]];
const PLACES = {
  introduction: ["Write an introduction", "What it is, what for, and who it is for."],
  learned: ["Write what was learned", "What worked, what did not, what surprised you."],
  limits: ["Write known limits", "What it cannot do, and what it should not be used for."] };
const FACTS = { title: "Title", author: "Author", licence: "Licence", language: "Language" };
let drawn = "";
let asked = 0;

export function mount() {
  on("tab", (tab) => tab === "report" && load(true));
  on("selected", () => { if (state.tab === "report") { close(); load(true); } });
  on("now", () => state.tab === "report" && load(false));
  on("kept", () => { drawn = ""; });
}

async function load(anew) {
  const one = run();
  const place = $("#report");
  if (!one || one.kind !== "trained") {
    drawn = "";
    fill(place, h("h1", {}, "Report"), h("p", { class: "empty" }, one?.kind === "imported" ? `${one.name} came in a capsule; its report can be written where it was trained. What it said is in the time capsule, and its curve on Compare.` : "What became of a run of yours appears here: its figures beside the published Blueberry-Nano and GPT-1, its curves, the best of what it said, and how to make it again. Choose a run above, or start one on the Train tab."));
    return;
  }
  const key = `${one.id} ${one.status} ${one.val_loss}`;
  if (!anew && key === drawn) return;
  if (!anew && reads(place)) return; // the next news draws it
  if (writing(place)) return; // nobody's words go because a figure has changed; leaving the editor draws it anew
  drawn = key;
  const ticket = (asked += 1);
  let answer;
  try {
    answer = await get("/api/report", { run: one.id });
  } catch (error) {
    if (ticket === asked && !writing(place)) fill(place, h("h1", {}, "Report"), h("p", { class: "problem" }, error.message));
    return;
  }
  if (state.selected === one.id && ticket === asked && !writing(place)) fill(place, page(one, answer));
}

/** Whether somebody is at something in there, by the keyboard or with a selection. */
const reads = (place) => place.contains(document.activeElement) || (!getSelection().isCollapsed && place.contains(getSelection().anchorNode));

function page(one, answer) {
  const saved = h("p", { class: "note", role: "status", id: "report-saved" });
  return [h("header", { class: "report-top" }, h("h1", {}, answer.title), h("p", { class: "note" }, answer.byline),
    h("div", { class: "row files" }, FILES.map(([form, label, kind, name]) => h("button", { type: "button", class: kind, onclick: (event) => keep(event.currentTarget, one, form, name, saved) }, label)),
      h("button", { type: "button", class: "quiet", onclick: () => window.print() }, "Print")), saved,
    answer.interim ? h("p", { class: "interim" }, answer.interim) : null, h("p", { class: "summary" }, answer.summary)),
    answer.sections.map((section) => drawSection(one, answer, section)),
    h("div", { class: "row beyond" }, h("button", { type: "button", class: "plain", onclick: () => emit("talk", { run: one.id }) }, answer.ages ? `Talk to it at any of ${answer.ages} ages` : "Talk to it"),
      h("button", { type: "button", class: "plain", onclick: () => { state.capsule = { ...Object.fromEntries(CAPSULE.map((name) => [name, ""])), of: one.id }; emit("show", "capsule"); } },
        answer.kept === 1 ? "1 exhibit in the time capsule" : `${answer.kept.toLocaleString("en")} exhibits in the time capsule`))];
}

function drawSection(one, answer, section) {
  const title = h("h2", { id: `report-${section.name}` }, section.title);
  const body = h("section", { "aria-labelledby": `report-${section.name}`, "data-section": section.name });
  const again = (name) => load(true).then(() => $(`#report [data-section=${name}] .edit`)?.focus());
  if (section.block) {
    const [words, longest] = answer.blocks[section.block];
    const [invitation, hint] = PLACES[section.block];
    const edit = button(words ? "Edit" : invitation, () => editor(body, { run: one.id, title: section.title, again, hint: `${hint} A blank line begins a paragraph, lines with - a list; **bold**, *emphasis*, \`code\`, [words](https://address).`,
      fields: [{ name: section.block, label: section.title, words, longest, tall: true }] }), section.title);
    if (!section.parts.length && !words) body.classList.add("unwritten");
    fill(body, h("div", { class: "heading" }, title, edit), section.parts.map((part) => drawPart(one, answer, part)));
    return body;
  }
  if (!section.parts.length) return null;
  const fields = Object.entries(FACTS).map(([name, label]) => ({ name, label, words: answer.blocks[name][0], longest: answer.blocks[name][1] }));
  const edit = section.name === "identity" && button("Edit title, author, licence", () => editor(body, { run: one.id, title: section.title, again, fields,
    hint: "A licence as the hub writes it, for example mit or apache-2.0; a language as its code, for example en. What is left empty is left out." }));
  fill(body, h("div", { class: "heading" }, title, edit), section.parts.map((part) => drawPart(one, answer, part)));
  return body;
}

const button = (label, onclick, about) => h("button", { type: "button", class: "quiet edit", onclick, ...(about ? { "aria-label": label === "Edit" ? `Edit: ${about}` : label } : {}) }, label);

function drawPart(one, answer, part) {
  if (part.kind === "sentence") return h("p", { class: part.quiet ? "note" : "" }, part.text);
  if (part.kind === "written") return part.parts.map((piece) => (piece.points ? h("ul", {}, piece.points.map((spans) => h("li", {}, spans.map(drawSpan)))) : h("p", {}, piece.spans.map(drawSpan))));
  if (part.kind === "table") return drawTable(part);
  if (part.kind === "command") return drawCommand(part);
  if (part.kind === "picture") return drawPicture(one, answer.picture, part.about);
  return drawRoom(part);
}

function drawSpan({ kind, text, to }) {
  if (kind === "break") return h("br");
  if (kind === "link" && /^https?:\/\//.test(to)) return h("a", { href: to, target: "_blank", rel: "noopener noreferrer" }, text);
  return ["strong", "em", "code"].includes(kind) ? h(kind, {}, text) : text;
}

function drawTable({ head, rows, about }) {
  const kind = head.length > 3 ? "compared" : head.length ? "measured" : "facts";
  return h("div", { class: "wide-table", role: "region", "aria-label": about, tabindex: "0" }, h("table", { class: kind },
    head.length ? h("thead", {}, h("tr", {}, head.map((label) => h("th", { scope: "col" }, label)))) : null,
    h("tbody", {}, rows.map(([first, ...rest]) => h("tr", {}, h("th", { scope: "row" }, first), rest.map((cell) => h("td", {}, cell)))))));
}

function drawCommand({ about, command, remark }) {
  const copy = async (event) => {
    const done = await navigator.clipboard?.writeText(command).then(() => true, () => false);
    say(event.target, done ? "Copied" : "Select it to copy");
  };
  return h("div", { class: "command" }, h("p", {}, h("b", {}, about), remark ? h("span", { class: "note" }, ` ${remark}`) : null),
    command ? h("div", { class: "typed" }, h("pre", { tabindex: "0" }, h("code", {}, command)), h("button", { type: "button", class: "quiet", "aria-label": `Copy: ${about}`, onclick: copy }, "Copy")) : null);
}

/** One picture for each look; only the one that is seen is fetched. */
function drawPicture(one, { version, width, height }, about) {
  const address = (look) => `/api/report/plot?${new URLSearchParams({ run: one.id, look, v: version })}`;
  return h("figure", {}, ["light", "dark"].map((look) => h("img", { class: `when-${look}`, src: address(look), alt: about, width, height, loading: "lazy" })));
}

function drawRoom({ category, exhibits, more }) {
  const known = Object.keys(KNOWN).find((key) => KNOWN[key].label === category);
  return h("div", { class: "room" }, h("h3", {}, mark(known || category)), h("div", { class: "shelf" }, exhibits.map((one) => h("article", { class: `exhibit ${one.text.length > 500 ? "long" : ""}` },
    h("h4", {}, h("a", { href: `?tab=capsule&exhibit=${one.id}`, onclick: (event) => { if (!event.ctrlKey && !event.metaKey) { event.preventDefault(); emit("see", one.id); } } }, one.title)),
    h("p", { class: "words" }, h("span", { class: "prompt" }, one.prompt), one.text), one.note ? h("p", { class: "note" }, one.note) : null,
    h("p", { class: "note" }, one.age, one.settings ? [h("br"), one.settings] : null)))), more ? h("p", { class: "note" }, more) : null);
}

/** Fetched first and saved then, so that a refusal is a sentence here and no file. */
async function keep(pressed, one, form, name, note) {
  pressed.disabled = true;
  say(note, "Writing it…");
  try {
    const answer = await fetch(`/api/report/file?${new URLSearchParams({ run: one.id, form })}`, { signal: AbortSignal.timeout(LONG_MS) });
    if (!answer.ok) throw new Error((await answer.json()).error);
    const address = URL.createObjectURL(await answer.blob());
    const file = /filename="([^"]+)"/.exec(answer.headers.get("content-disposition") || "")?.[1] || name;
    const link = h("a", { href: address, download: file });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(address), 60000);
    say(note, `Saved as ${file}${isOpen(one) ? ", as it is now" : ""}.`);
  } catch (error) {
    say(note, error.message || "The server does not answer.");
  } finally {
    pressed.disabled = false;
  }
}
