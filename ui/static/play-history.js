// What was asked before, from the database: open it, ask it again, put it back into the form.

import { $, fill, h, say } from "./dom.js";
import { age, clock, date } from "./format.js";
import { show } from "./play-answers.js";
import { get, on, state } from "./state.js";

/** As many are shown at first; more are one press away. */
const FEW = 6;
let rows = [];
let more = false;
let shown = FEW;
let asking = () => false;

export function mount(busy) {
  asking = busy;
  on("tab", (tab) => tab === "play" && read());
  on("kept", () => state.tab === "play" && read());
  $("#asked-more").addEventListener("click", earlier);
}

/** The newest ones anew; what was opened below them stays. */
export async function read() {
  const answer = await get("/api/asked").catch(() => null);
  if (!answer) return;
  const oldest = answer.asked.length ? answer.asked[answer.asked.length - 1].id : 0;
  const before = rows.filter((one) => one.id < oldest);
  if (!before.length) more = answer.more;
  rows = [...answer.asked, ...before];
  draw();
}

async function earlier() {
  say($("#asked .problem"), "");
  if (shown >= rows.length && more) {
    $("#asked-more").disabled = true;
    try {
      const answer = await get("/api/asked", { before: rows[rows.length - 1].id });
      rows.push(...answer.asked);
      more = answer.more;
    } catch (error) {
      say($("#asked .problem"), error.message);
      return;
    } finally {
      $("#asked-more").disabled = false;
    }
  }
  const first = shown;
  shown = Math.min(rows.length, shown + 24);
  draw();
  $(`#asked li:nth-child(${first + 1}) button`)?.focus();
}

function draw() {
  $("#asked > section").hidden = !rows.length;
  const list = $("#asked ol");
  // What has the focus keeps it when a newer question comes in above it.
  const focused = list.contains(document.activeElement) ? document.activeElement.dataset.sample : null;
  fill(list, rows.slice(0, shown).map(line));
  if (focused) $(`#asked [data-sample="${focused}"]`)?.focus();
  $("#asked-more").hidden = shown >= rows.length && !more;
}

/** Today the time, else the day. */
const when = (seconds) => (date(seconds) === date(Date.now() / 1000) ? clock(seconds).slice(0, 5) : date(seconds));

function line(one) {
  const facts = [one.run_name, age(one.tokens), `seed ${one.seed}`, when(one.created_at), one.exhibit ? "kept" : ""].filter(Boolean).join(" · ");
  return h("li", {}, h("button", { type: "button", "data-sample": one.id, onclick: () => open(one) },
    h("span", { class: "words" }, h("span", { class: "prompt" }, one.prompt.slice(0, 200)), one.text.slice(0, 300)), h("small", {}, facts)));
}

/** In the place of answers; not while one is coming. */
function open(one) {
  say($("#asked .problem"), asking() ? "It still answers. Press Esc to cancel that first." : "");
  if (asking()) return;
  show(one);
  $("#answers").scrollIntoView({ block: "nearest" });
}
