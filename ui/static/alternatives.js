// What a model held of one token: its probability, what it would rather have said, and going on from there with that instead.

import { $, h } from "./dom.js";
import { emit } from "./state.js";

const LONGEST_PROMPT = 8192;
let open = null;

/** Probabilities a person can read: 12.3%, and 1 in 24,000 where percents are all zeros. */
export function chance(value) {
  if (value >= 0.1) return `${(100 * value).toFixed(1)}%`;
  if (value >= 0.001) return `${(100 * value).toPrecision(2)}%`;
  if (value < 1e-12) return "less than 1 in a trillion";
  const odds = Number((1 / value).toPrecision(2));
  return `1 in ${odds >= 1e6 ? `${(odds / 1e6).toLocaleString("en")} million` : odds.toLocaleString("en")}`;
}

export const inBits = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)} ${value.toFixed(1) === "1.0" ? "bit" : "bits"}`;

/** A piece as it can be seen: a sign for blanks at its ends, tabs and line ends, bytes in hex, the name of a special one. */
export function visible(piece) {
  if (piece.hex) return [h("span", { class: "bare" }, piece.hex)];
  if (!piece.text) return [h("span", { class: "bare" }, piece.name || "nothing")];
  const [, before, middle, after] = piece.text.match(/^( *)([\s\S]*?)( *)$/);
  const blanks = (text) => text && h("span", { class: "blank" }, "␣".repeat(text.length));
  return [blanks(before), middle.replaceAll("\t", "→").replaceAll("\n", "⏎"), blanks(after)];
}

/** The same in words, for those who hear it. */
export const spoken = (piece) => (piece.hex ? `byte ${piece.hex}` : piece.text.trim() || { " ": "blank", "\n": "line end", "\t": "tab" }[piece.text] || (piece.text ? "blanks" : piece.name || "nothing"));

const bytesOf = (piece) => (piece.hex ? Uint8Array.from(piece.hex.split(" "), (two) => parseInt(two, 16)) : new TextEncoder().encode(piece.text));

function joined(pieces) {
  const parts = pieces.map(bytesOf);
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  parts.reduce((at, part) => { whole.set(part, at); return at + part.length; }, 0);
  return whole;
}

function decoded(bytes, stream = false) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes, { stream });
  } catch {
    return null;
  }
}

/** The prompt that goes on with `piece` in place of token number `at`, or why there is none. */
export function promptWith(seen, at, piece) {
  const before = seen.tokens.slice(0, at);
  if (!seen.joins) return { why: "the pieces of its tokenizer are no parts of a text" };
  if (!piece.text && !piece.hex) return { why: "it would end the text here" };
  const prompt = decoded(joined([...before, piece]));
  if (prompt === null) return { why: decoded(joined(before), true) === null ? "before it stand bytes that are no letter" : "half a character, which no prompt can end with" };
  return [...prompt].length > LONGEST_PROMPT ? { why: "a prompt has 8,192 characters at most" } : { prompt };
}

/** Open what is known of token number `at` beside its `button`, in `view`; `settings` are how a continuation is asked. */
export function show(view, seen, at, button, settings) {
  close();
  const token = seen.tokens[at];
  const choices = token.others.map(([id, share]) => choice(seen, at, seen.pieces[id], share));
  if (choices.length && !choices.some((one) => one.here)) choices.push(choice(seen, at, token, token.probability));
  const first = choices.find((one) => one.prompt !== undefined);
  const go = h("button", { type: "button", class: "strong", disabled: !first, onclick: () => goOn(seen, choices, box, settings) }, "Continue from here with this one instead");
  const box = h("div", { class: "alternatives", role: "dialog", "aria-label": `The token “${spoken(token)}”`, tabindex: "-1" },
    h("div", { class: "top" }, h("p", { class: "piece" }, visible(token)), h("button", { type: "button", class: "quiet", "aria-label": "Close", onclick: () => close(true) }, "✕")),
    token.bits === null ? h("p", { class: "note" }, "It comes first: nothing stands before it from which the model could have foretold it.") : facts(seen, token),
    choices.length ? h("fieldset", {}, h("legend", {}, "Likeliest here"), choices.map((one, number) => row(one, number, one === first, choices[0].share))) : null,
    choices.length ? go : null);
  box.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    close(true);
  });
  view.append(box);
  button.setAttribute("aria-expanded", "true");
  open = { box, button };
  put(view, box, button);
  ($("input:checked", box) || box).focus({ preventScroll: true });
  box.scrollIntoView({ block: "nearest" });
  document.addEventListener("pointerdown", outside, true);
}

/** Close it; `back`: give the focus back to its token. */
export function close(back = false) {
  if (!open) return;
  const { box, button } = open;
  open = null;
  document.removeEventListener("pointerdown", outside, true);
  button.setAttribute("aria-expanded", "false");
  if (back) button.focus({ preventScroll: true });
  box.remove();
}

function outside(event) {
  if (!open?.box.contains(event.target)) close();
}

function choice(seen, at, piece, share) {
  const here = piece.id === seen.tokens[at].id;
  return { piece, share, here, ...(here ? { why: "stands here" } : promptWith(seen, at, piece)) };
}

function facts(seen, token) {
  const fact = (name, value, more) => h("div", {}, h("dt", {}, name), h("dd", {}, value, more && h("small", {}, more)));
  const open = 2 ** token.entropy;
  return h("dl", {}, fact("Probability", chance(token.probability)), fact("Surprise", inBits(token.bits)),
    fact("Rank", token.rank.toLocaleString("en"), ` of ${seen.vocabulary.toLocaleString("en")}`),
    fact("How open it was", inBits(token.entropy), ` ≈ ${open < 10 ? open.toFixed(1) : Math.round(open).toLocaleString("en")} choices`));
}

function row(one, number, chosen, most) {
  const bar = h("i", { class: "bar", "aria-hidden": "true" }, h("i", { style: `width:${Math.max(1, (100 * one.share) / most)}%` }));
  return h("label", { class: one.here ? "here" : null, title: one.why && !one.here ? `Not to go on with: ${one.why}.` : null },
    h("input", { type: "radio", name: "alternative", value: number, checked: chosen, disabled: one.prompt === undefined, "aria-label": `${spoken(one.piece)}, ${chance(one.share)}${one.why ? `, ${one.why}` : ""}` }),
    h("span", { class: "piece" }, visible(one.piece)), bar, h("span", { class: "share" }, chance(one.share)), one.why && h("small", {}, one.why));
}

function goOn(seen, choices, box, settings) {
  const chosen = choices[Number($("input:checked", box)?.value ?? -1)];
  if (chosen?.prompt === undefined) return;
  close();
  emit("talk", { ...settings, run: seen.run, step: seen.step, weights: seen.weights, prompt: chosen.prompt });
}

/** Under its token, inside the view. */
function put(view, box, button) {
  const [room, line] = [view.getBoundingClientRect(), [...button.lastChild.getClientRects()].at(-1)];
  const left = Math.min(line.left - room.left, room.width - box.offsetWidth);
  box.style.left = `${Math.max(0, left)}px`;
  box.style.top = `${line.bottom - room.top + 6}px`;
}
