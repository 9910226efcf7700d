// The time capsule: its rooms, and exhibits as cards, searched on the server, fifty at a time. All their texts are text nodes.

import { $, $$, fill, h } from "./dom.js";
import * as arena from "./arena.js";
import { card } from "./card.js";
import { open } from "./exhibit.js";
import * as said from "./said.js";
import { get, on, runById, state, writeAddress } from "./state.js";
import { keep } from "./save.js";
import { explainSigns } from "./texts.js";
import * as wanted from "./wanted.js";

const ROOMS = { "": load, said: said.load, arena: arena.load };
let asked = 0;
let stale = true;
let drawn = "";
let wide = 0;

export function mount() {
  wanted.mount(enter);
  arena.mount();
  new ResizeObserver(() => {
    if (wide === $("#gallery").clientWidth) return; // it became longer or shorter
    wide = $("#gallery").clientWidth;
    readOn();
  }).observe($("#gallery"));
  for (const button of $$("#capsule-rooms button")) button.addEventListener("click", () => move(button.dataset.room));
  fill($("#capsule-do"), h("button", { type: "button", class: "quiet", id: "save-gallery", title: "One file that shows these exhibits to anyone, without scripts", onclick: saveAll }, "Save as page"),
    h("button", { type: "button", class: "plain", id: "random-exhibit", onclick: () => anyExhibit() }, "Random exhibit"));
  on("tab", (tab) => { if (tab === "capsule") follow(); });
  on("kept", () => { stale = true; if (state.tab === "capsule") enter(); });
  on("another", anyExhibit);
  on("tagged", (tag) => wanted.want({ room: "", tagged: tag }));
  on("runs", wanted.show);
  on("see-run", (run) => { wanted.wantAll(); wanted.want({ room: "", of: run || "" }); $("#gallery").scrollIntoView(); });
}

/** Show what the address asks for, which the back button may just have changed. */
function follow() {
  wanted.follow();
  if (stale || JSON.stringify(state.capsule) !== drawn) enter();
}

function move(room) {
  if (room === (state.capsule.room || "")) return;
  state.capsule = { ...state.capsule, room, leaf: "" };
  writeAddress(true);
  enter();
}

/** Draw the room that is asked for. */
function enter() {
  const room = state.capsule.room in ROOMS ? state.capsule.room : "";
  for (const button of $$("#capsule-rooms button")) button.setAttribute("aria-pressed", String(button.dataset.room === room));
  for (const [name, place] of [["", "#gallery"], ["said", "#everything"], ["arena", "#arena"]]) $(place).hidden = name !== room;
  $("#capsule-do").hidden = room !== "";
  if (room) $("#gallery-signs").hidden = true;
  wanted.show();
  if (room) drawn = JSON.stringify(state.capsule);
  return ROOMS[room]();
}

async function load() {
  const ticket = (asked += 1);
  const now = state.capsule;
  let answer;
  try {
    answer = await get("/api/exhibits", { ...wanted.parameters(now), page: Number(now.leaf) || 0, sort: now.by || null });
  } catch (error) {
    wanted.tell(error.message);
    return;
  }
  if (ticket !== asked || (state.capsule.room || "")) return;
  if (Number(now.leaf) && !answer.exhibits.length) {
    wanted.want({ leaf: String(Math.max(0, Math.ceil(answer.total / answer.page_size) - 1) || "") });
    return;
  }
  stale = false;
  drawn = JSON.stringify(now);
  state.categories = answer.categories;
  wanted.show();
  wanted.showTags(answer.tags);
  wanted.tell(words(answer));
  fill($("#gallery"), answer.exhibits.length ? answer.exhibits.map((one) => card(one, answer.curves[one.run_id], now.q, load)) : h("div", { class: "empty" }, h("p", {}, nothing(now)),
    Object.entries(now).some(([name, value]) => name !== "room" && value) ? h("button", { type: "button", class: "plain", onclick: wanted.wantAll }, "Show all exhibits") : null));
  explainSigns(answer.exhibits.flatMap((one) => [one.prompt, one.text]), $("#gallery-signs"));
  readOn();
  for (const button of $$("#capsule-do button")) button.disabled = !answer.total;
  pages(answer, Number(now.leaf) || 0);
}

/** A text that is cut off has a way to its rest; that depends on the width, and is known only while it is shown. */
function readOn() {
  if (!$("#gallery").clientWidth) return;
  for (const text of $$("#gallery .exhibit .words")) text.nextElementSibling.hidden = text.scrollHeight <= text.clientHeight + 2;
}

/** Open any of the exhibits that the filters leave, another one than the one that was open. */
async function anyExhibit(last = 0) {
  const { exhibit } = await get("/api/random-exhibit", { ...wanted.parameters(), other_than: Number(last) || 0 }).catch((error) => { wanted.tell(error.message); return {}; });
  if (exhibit) open(exhibit, true);
}

/** All exhibits that the filters leave, as one file for others. */
function saveAll() {
  const asked = Object.entries({ ...wanted.parameters(), sort: state.capsule.by || null }).filter(([, value]) => value !== null && value !== "");
  keep(`/api/gallery.html?${new URLSearchParams(asked)}`, "hall-of-fame.html");
}

function nothing(now) {
  const how = "Press Keep this beside anything it says, on Train or on Play.";
  const limits = wanted.limited(now);
  if (!limits.length) return `Nothing is kept yet. ${how}`;
  if (limits.join() === "of") return `Nothing that ${runById(now.of)?.name || "this run"} said is kept yet. ${how}`;
  if (limits.join() === "front") return "Nothing is pinned yet. Press the pin on an exhibit, and it stands in front.";
  return "No exhibit matches. Try fewer words, or all categories and ages.";
}

/** "41 exhibits, 3 of them published with the studio" */
function words({ total, published }) {
  const all = total === 1 ? "1 exhibit" : `${total.toLocaleString("en")} exhibits`;
  if (!published) return all;
  return published === total ? `${all}, published` : `${all}: ${(total - published).toLocaleString("en")} of yours, ${published} published`;
}

function pages({ total, page_size }, page) {
  const many = Math.ceil(total / page_size);
  const turn = (by) => { wanted.want({ leaf: String(page + by || "") }); $("#panel-capsule").scrollIntoView(); };
  const [before, after] = state.capsule.by ? ["Previous", "Next"] : ["Newer", "Older"];
  fill($("#panel-capsule .pages"), many < 2 ? null : [
    h("button", { type: "button", class: "plain", disabled: page === 0, onclick: () => turn(-1) }, before),
    h("span", {}, `Page ${(page + 1).toLocaleString("en")} of ${many.toLocaleString("en")}`),
    h("button", { type: "button", class: "plain", disabled: page >= many - 1, onclick: () => turn(1) }, after)]);
}
