// What happened to any run, told on the page and by the browser, also while nobody looks at it; alert-sheet.js chooses what.

import { $, $$, fill, h } from "./dom.js";
import { Away, get, on } from "./state.js";
import * as sheet from "./alert-sheet.js";

const narrow = matchMedia("(max-width: 720px)");
const HIDDEN_MS = 30000;
const [SEEN, NOTIFY] = ["blueberry-alerts-seen", "blueberry-alerts-notify"];
export const TONES = { finished: "good", failed: "bad", crashed: "bad", diverged: "bad", budget: "warn", stalled: "warn", health: "warn" };
let seen = null;
let reading = false;
let watch = () => {};

export function mount({ select, show }) {
  watch = (id) => { $("#tell-sheet").close(); select(id, { push: true }); show("train"); };
  sheet.mount({ watch });
  const kept = localStorage.getItem(SEEN);
  if (kept !== null && /^\d{1,15}$/.test(kept)) seen = Number(kept);
  document.body.append(h("section", { id: "alerts", "aria-label": "Alerts" },
    h("div", { class: "heap", role: "status" }), h("button", { type: "button", class: "quiet more", hidden: true, onclick: () => { clear(); sheet.open(); } })));
  on("alert", read);
  narrow.addEventListener("change", count);
  setInterval(lookWhileHidden, HIDDEN_MS);
}

/** Whether the browser is to tell, which a person chose on this machine and the browser allows. */
export const notifies = () => localStorage.getItem(NOTIFY) === "1" && "Notification" in window && Notification.permission === "granted";

/** Ask the browser to tell, or not any more; a sentence of what came of it. Only ever called from a press. */
export async function notify(wanted) {
  localStorage.setItem(NOTIFY, wanted ? "1" : "0");
  if (!wanted) return "This browser tells nothing any more.";
  if (!("Notification" in window) || !window.isSecureContext) return "This browser allows notifications only for pages of this machine (localhost) or behind https.";
  const answer = Notification.permission === "default" ? await Notification.requestPermission() : Notification.permission;
  if (answer === "granted") return "This browser tells what happens, as long as this page is open somewhere.";
  localStorage.setItem(NOTIFY, "0");
  return "The browser does not allow it: allow notifications for this page in its settings, then press again.";
}

/** Hear that the newest alert has this number. */
async function read(newest) {
  if (newest === undefined || reading) return;
  if (seen === null || seen > newest) remember(newest); // a page or a home that is new knows no news
  if (seen === newest) return;
  reading = true;
  try {
    const found = await get("/api/alerts", { after: seen });
    remember(found.newest);
    for (const alert of found.alerts) tell(alert);
  } catch (error) {
    if (!(error instanceof Away)) throw error; // the next refresh asks again
  } finally {
    reading = false;
  }
}

/** app.js asks nothing while the page is hidden; this does, now and then, if the browser is to tell. */
async function lookWhileHidden() {
  if (document.hidden && notifies() && seen !== null) await read(Infinity);
}

function remember(newest) {
  seen = newest;
  localStorage.setItem(SEEN, String(newest));
}

function tell(alert) {
  const cards = $("#alerts .heap");
  const see = h("button", { type: "button", class: "quiet", onclick: () => { card.remove(); count(); watch(alert.run_id); } }, "See the run");
  const close = h("button", { type: "button", class: "close", "aria-label": `Dismiss: ${alert.name} ${alert.kind}`, onclick: () => dismiss(card) }, "×");
  const card = h("article", { "data-tone": TONES[alert.kind] || "warn" }, h("p", {}, h("b", {}, `${alert.name} ${alert.kind}`)), h("p", { class: "said" }, alert.message), see, close);
  cards.prepend(card);
  count();
  if (notifies() && (document.hidden || !document.hasFocus())) byBrowser(alert);
}

/** A card that goes leaves the focus where it can be found. */
function dismiss(card) {
  const next = card.nextElementSibling || card.previousElementSibling;
  card.remove();
  count();
  (next ? $(".close", next) : $("[role=tab][aria-selected=true]"))?.focus({ preventScroll: true });
}

function count() {
  const cards = $$("#alerts article");
  const most = narrow.matches ? 1 : 3;
  cards.forEach((card, at) => { card.hidden = at >= most; });
  const more = $("#alerts .more");
  more.hidden = cards.length <= most;
  more.textContent = `See all (${cards.length - most} more)`;
}

function clear() {
  fill($("#alerts .heap"));
  count();
}

function byBrowser(alert) {
  try {
    const told = new Notification(`${alert.name} ${alert.kind}`, { body: alert.message, tag: `blueberry-${alert.id}` });
    told.onclick = () => { window.focus(); watch(alert.run_id); told.close(); };
  } catch (error) {
    if (!(error instanceof TypeError)) throw error; // browsers of phones allow it to service workers only
    localStorage.setItem(NOTIFY, "0");
  }
}
