// A text as coloured tokens: from calm to surprising, each with what the model held of it on click or Enter.

import { $$, h } from "./dom.js";
import { chance, inBits, show, spoken } from "./alternatives.js";

/** Bits of surprise at which the next stronger colour and line begin: one in 2, 4, 16, 128, 2,048. */
const LEVELS = [1, 2, 4, 7, 11];

const level = (bits) => (bits === null ? "none" : LEVELS.filter((from) => bits >= from).length);

/** What the colours and lines mean. */
export function legend() {
  const names = LEVELS.map((to, at) => (at ? `${LEVELS[at - 1]} – ${to}` : "under 1")).concat(`${LEVELS.at(-1)} and more`);
  return h("p", { class: "scale" }, h("span", {}, "Expected"), names.map((name, at) => h("span", { class: "token", "data-level": at }, ink(name))), h("span", {}, "surprising, in bits"));
}

/** One text at one age: its totals and its tokens. `settings` are how a continuation is asked. */
export function tokenView(seen, settings, title = "") {
  const view = h("section", { class: "token-view", "aria-label": title || "Its tokens" });
  const list = h("p", { class: "tokens", role: "group", "aria-label": "Tokens: arrow keys go from one to the next, Enter opens one" }, tokens(seen));
  const opened = (target) => {
    const button = target.closest?.("[data-at]");
    if (button) { hold(list, button); show(view, seen, Number(button.dataset.at), button, settings); }
    return button;
  };
  list.addEventListener("click", (event) => opened(event.target));
  list.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") { if (opened(event.target)) event.preventDefault(); }
    else walk(event, list);
  });
  view.append(h("p", { class: "totals" }, title && h("strong", {}, title), totals(seen)), list, h("p", { class: "note" }, seen.note));
  return view;
}

function totals(seen) {
  if (seen.mean === null) return h("span", {}, "One token alone has nothing before it that could foretell it.");
  const perplexity = seen.perplexity === null ? "beyond measure" : seen.perplexity >= 1e6 ? "over a million" : seen.perplexity >= 100 ? Math.round(seen.perplexity).toLocaleString("en") : seen.perplexity.toFixed(1);
  return [h("span", {}, h("b", {}, seen.mean.toFixed(2)), " bits of surprise per token"), h("span", {}, "perplexity ", h("b", {}, perplexity)),
    h("span", {}, h("b", {}, seen.counted.toLocaleString("en")), seen.counted === 1 ? " token" : " tokens", seen.tokens.some((one) => !one.said) ? " after the prompt" : "")];
}

function tokens(seen) {
  const start = seen.tokens.findIndex((one) => one.id !== null);
  return seen.tokens.flatMap((token, at) => {
    const seam = at && token.said && !seen.tokens[at - 1].said ? h("span", { class: "seam", title: "Here the prompt ends" }) : null;
    return [seam, token.id === null ? gap(token) : one(token, at, at === start)];
  }).filter(Boolean);
}

function one(token, at, first) {
  const told = token.bits === null ? "the first" : `${chance(token.probability)}, ${inBits(token.bits)}`;
  return h("span", { class: `token${token.hex ? " part" : ""}`, role: "button", tabindex: first ? "0" : "-1", "data-at": at, "data-level": level(token.bits),
    "aria-haspopup": "dialog", "aria-expanded": "false", "aria-label": `${spoken(token)}, ${told}`, title: told }, written(token));
}

/** The colour leaves out the blank before a word, which may be the end of a line. Line ends and tabs have signs; a line end still ends the line. */
function written(token) {
  if (token.hex || !token.text) return ink(token.hex || token.name || "·");
  const word = token.text.trimStart();
  const blanks = word && /^ +/.exec(token.text)?.[0];
  return [blanks || null, ink((blanks ? token.text.slice(blanks.length) : token.text).replaceAll("\t", "→\t").replaceAll("\n", "⏎\n"))];
}

const ink = (text) => h("span", { class: "ink" }, text);

const gap = (token) => h("span", { class: "token", "data-level": "none", title: "No token covers this" }, written(token));

/** The one that the Tab key comes to. */
function hold(list, button) {
  for (const old of $$("[tabindex='0']", list)) old.tabIndex = -1;
  button.tabIndex = 0;
}

function walk(event, list) {
  const all = $$("[data-at]", list);
  const at = all.indexOf(event.target);
  if (at < 0) return;
  const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: all.length - 1 }[event.key] ?? { ArrowDown: () => line(all, at, 1), ArrowUp: () => line(all, at, -1) }[event.key]?.();
  if (to === undefined) return;
  event.preventDefault();
  const next = all[Math.max(0, Math.min(all.length - 1, to))];
  hold(list, next);
  next.focus();
}

/** The token above or below this one. */
function line(all, at, by) {
  const place = (token) => token.lastChild.getClientRects()[0];
  const box = place(all[at]);
  let [best, top, distance] = [at, null, Infinity];
  for (let next = at + by; all[next]; next += by) {
    const other = place(all[next]);
    if (!other || Math.abs(other.top - box.top) < box.height / 2) continue;
    top ??= other.top;
    if (Math.abs(other.top - top) > box.height / 2) break;
    if (Math.abs(other.left - box.left) < distance) [best, distance] = [next, Math.abs(other.left - box.left)];
  }
  return best;
}
