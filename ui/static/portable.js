// "Take it with you": exhibits packed into one file, capsules that came, their covers. All their texts are text nodes.

import { $, fill, h, say, shutByBackdrop } from "./dom.js";
import { date } from "./format.js";
import { bring } from "./bring.js";
import { pack } from "./pack.js";
import { emit, get, on, send } from "./state.js";
import { cover, follow } from "./work.js";

let asked = 0;

export function mount() {
  for (const [id, label] of [["pack-sheet", "pack-title"], ["bring-sheet", "bring-title"]]) {
    const dialog = h("dialog", { id, class: "sheet", "aria-labelledby": label });
    shutByBackdrop(dialog);
    dialog.addEventListener("close", () => { emit(`${id}-closed`); fill(dialog); });
    $("#topbar").after(dialog);
  }
  on("tab", (tab) => { if (tab === "capsule") load(); });
  on("capsules", load);
  draw([]);
}

const button = (label, kind, onclick, more = {}) => h("button", { type: "button", class: kind, onclick, ...more }, label);

async function load() {
  const ticket = (asked += 1);
  const answer = await get("/api/capsules").catch(() => null);
  if (answer && ticket === asked) draw(answer.capsules);
}

function draw(capsules) {
  const signature = JSON.stringify(capsules);
  const place = $("#portable");
  if (place.dataset.drawn === signature) return;
  place.dataset.drawn = signature;
  const unfolded = Boolean($("details", place)?.open);
  const [sealed, open] = [true, false].map((shut) => capsules.filter((one) => (one.opened_at === null) === shut));
  fill(place, h("div", { class: "with-you" }, h("p", { class: "note" }, h("b", {}, "Take it with you. "), "Exhibits, their settings and curves, and if you like the weights that said them, in one file."),
    h("div", { class: "row" }, button("Pack a capsule", "plain", pack, { id: "pack" }), button("Bring a capsule", "plain", bring, { id: "bring" }))),
  list(sealed, "Sealed capsules"), open.length ? h("details", { class: "came", open: unfolded }, h("summary", {}, open.length === 1 ? "A capsule came here" : `${open.length} capsules came here`), list(open, "Capsules that came")) : null);
}

const list = (capsules, label) => (capsules.length ? h("ul", { class: "covers", "aria-label": label }, capsules.map(card)) : null);

function card(one) {
  const sealed = one.opened_at === null;
  const due = sealed && Date.now() / 1000 >= one.opens_at;
  const said = h("p", { class: "note", role: "status" });
  const row = h("div", { class: "row" });
  const open = button("Open it", "strong", () => opened(one, row, said));
  const see = button(one.here.length === 1 ? "See its exhibits" : "See them all", "plain", () => emit("see-run", one.here.length === 1 ? one.here[0].id : ""));
  fill(row, sealed ? due ? open : null : see, button("Forget it", "quiet", () => confirm(one, row, said)));
  return h("li", { class: `cover${sealed ? " sealed" : ""}`, "data-capsule": one.id }, cover(one, sealed
    ? due ? `Its day has come: it was sealed until ${day(one.sealed_until)}.` : `Sealed until ${day(one.sealed_until)}. Until then only this is shown.`
    : `Here since ${date(one.opened_at)}.`), said, row);
}

const day = (text) => date(Date.parse(`${text}T12:00:00`) / 1000);

async function opened(one, row, said) {
  for (const part of row.children) part.disabled = true;
  say(said, "Opening it…");
  try {
    await follow((await send("/api/capsule/open", { capsule: one.id })).job);
    emit("kept");
    emit("capsules");
  } catch (error) {
    say(said, error.message);
    for (const part of row.children) part.disabled = false;
  }
}

/** A question in place of the buttons. */
function confirm(one, row, said) {
  const sealed = one.opened_at === null;
  say(said, sealed ? "Its file goes too, and what is in it was never seen." : "Its runs and exhibits stay; only where they came from is forgotten.");
  const no = button("Leave it", "strong", () => { $("#portable").dataset.drawn = ""; load(); });
  fill(row, no, button("Forget it now", "plain", async () => {
    await send("/api/capsule/forget", { capsule: one.id }).catch((error) => say(said, error.message));
    load();
  }));
  no.focus();
}
