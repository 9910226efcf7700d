// A text as one or two tokenizers see it: its pieces in alternating colours, each with its number on hover and focus.

import { $, fill, h, options, say } from "./dom.js";
import { on, send, state } from "./state.js";

const MOST = 3000;
const LONGEST = 20000;
const SHADES = 4;
const NONE = "";
let typing = 0;
let asked = 0;
let drawn = "";
let touched = false;

export function mount() {
  $("#tokens-text").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(look, 250); });
  for (const side of sides()) {
    $("select", side).addEventListener("change", () => { touched = true; look(); });
    const list = $(".pieces", side);
    list.addEventListener("keydown", (event) => walk(event, list));
    list.addEventListener("focusin", (event) => tell(side, event.target));
    list.addEventListener("pointerover", (event) => tell(side, event.target));
  }
  on("data", () => { choices(); if (state.tab === "data") look(); });
  on("tab", (tab) => tab === "data" && look());
}

const sides = () => [...document.querySelectorAll("#tokens .side")];

/** SmolLM2's and those of the datasets here; beside it, unless one chose, the first that is another. */
function choices() {
  const own = (state.data?.datasets || []).filter((one) => !one.problem);
  const all = [["smollm2", "SmolLM2, 49,152 pieces"], ...own.map((one) => [one.name, `That of ${one.name}`])];
  const [left, right] = sides().map((side) => $("select", side));
  options(left, all);
  options(right, [[NONE, "None"], ...all]);
  if (!touched) right.value = own.find((one) => one.tokenizer !== "smollm2")?.name || NONE;
}

async function look() {
  const shown = sides().map((side) => [side, $("select", side).value]).filter(([side, name]) => { side.classList.toggle("off", name === NONE); return name !== NONE; });
  const { text, told: cut } = beginning($("#tokens-text").value);
  const names = shown.map(([, name]) => name);
  const key = JSON.stringify([text, names]);
  if (key === drawn || !names.length) return;
  const ticket = (asked += 1);
  try {
    const { tokenized } = await send("/api/tokenize", { text, tokenizers: names });
    if (ticket !== asked) return;
    drawn = key;
    say($("#tokens-cut"), cut);
    say($("#tokens .problem"), "");
    shown.forEach(([side], at) => draw(side, tokenized[at]));
  } catch (error) {
    if (ticket === asked) say($("#tokens .problem"), error.message);
  }
}

/** As much of a text as is looked at, in whole characters, and a sentence where that is not all. */
function beginning(text) {
  if (text.length <= LONGEST) return { text, told: "" };
  const all = [...text];
  if (all.length <= LONGEST) return { text, told: "" };
  return { text: all.slice(0, LONGEST).join(""), told: `These are the tokens of the first ${LONGEST.toLocaleString("en")} of ${all.length.toLocaleString("en")} characters.` };
}

function draw(side, { pieces, bytes, vocabulary }) {
  if (!pieces.length) {
    fill($(".totals", side));
    fill($(".pieces", side));
    return say($(".told", side), "Type a text above to see its tokens.");
  }
  const each = (bytes / pieces.length).toFixed(2);
  fill($(".totals", side), h("b", {}, pieces.length.toLocaleString("en")), pieces.length === 1 ? " token, " : " tokens, ", h("b", {}, each), ` bytes per token, vocabulary ${vocabulary.toLocaleString("en")}`);
  fill($(".pieces", side), pieces.slice(0, MOST).map(([id, text, size, whole], at) => h("span", { role: "option", "aria-selected": "false", tabindex: at ? "-1" : "0",
    "data-shade": id === null ? "none" : at % SHADES, class: whole ? null : "part", "aria-label": `${text}, ${told(id, size, whole)}`, title: told(id, size, whole) }, visible(text))));
  say($(".told", side), pieces.length > MOST ? `The first ${MOST.toLocaleString("en")} are shown.` : pieces.length ? "Point at a token, or go through them with the arrow keys." : "");
}

function told(id, size, whole) {
  const takes = `${size} ${size === 1 ? "byte" : "bytes"}`;
  return id === null ? `no token covers this, ${takes}` : `number ${id}, ${takes}${whole ? "" : ", part of a character"}`;
}

/** Line ends and tabs have signs; a line end still ends the line. */
const visible = (text) => text.replaceAll("\t", "→\t").replaceAll("\n", "⏎\n");

function tell(side, piece) {
  if (!piece.title) return;
  for (const old of side.querySelectorAll("[aria-selected=true]")) old.setAttribute("aria-selected", "false");
  piece.setAttribute("aria-selected", "true");
  const at = [...piece.parentElement.children].indexOf(piece) + 1;
  say($(".told", side), `Token ${at.toLocaleString("en")}, “${piece.textContent}”: ${piece.title}`);
}

function walk(event, list) {
  const all = [...list.children];
  const at = all.indexOf(document.activeElement);
  const to = { ArrowRight: at + 1, ArrowDown: at + 10, ArrowLeft: at - 1, ArrowUp: at - 10, Home: 0, End: all.length - 1 }[event.key];
  if (to === undefined || at < 0) return;
  event.preventDefault();
  const next = all[Math.max(0, Math.min(all.length - 1, to))];
  all[at].tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
}
