// Jobs that make datasets: how far each is, and what can be done about it.

import { $, fill, h, say } from "./dom.js";
import { count, duration, leftOut, speed } from "./format.js";
import { emit, send } from "./state.js";

const STATUS = { waiting: "Waiting", running: "Preparing", stopping: "Stopping", stopped: "Stopped", failed: "Failed", crashed: "Crashed" };

/** One card a job, in place: only one whose status changed is made anew, so that focus and reading are not disturbed. */
export function drawJobs(jobs) {
  const place = $("#jobs");
  const there = new Map([...place.children].map((card) => [card.dataset.key, card]));
  const cards = jobs.map((one) => there.get(key(one)) || card(one));
  if (cards.length !== place.children.length || cards.some((one, at) => one !== place.children[at])) {
    const focused = document.activeElement?.closest(".job")?.dataset.job;
    place.replaceChildren(...cards);
    if (focused && !place.contains(document.activeElement)) $(`[data-job="${CSS.escape(focused)}"] button`, place)?.focus({ preventScroll: true });
  }
  const busy = jobs.some((one) => ["running", "stopping"].includes(one.status));
  jobs.forEach((one, at) => update(cards[at], one, busy));
}

const key = (one) => `${one.id} ${one.status}`;

function card(one) {
  const problem = h("p", { class: "problem", role: "alert" });
  const act = (label, kind, what, more = {}) => h("button", { type: "button", class: kind, ...more, onclick: (event) => ask(event.target, what, one, problem) }, label);
  const actions = one.open
    ? [one.status === "stopping" ? null : act("Stop", "plain", "stop", { title: "What is made so far is kept; Resume goes on there." })]
    : [act("Resume", "strong", "resume"), one.recipe ? h("button", { type: "button", class: "plain", onclick: () => emit("prepare", one) }, "Change it") : null, h("button", { type: "button", class: "quiet", onclick: (event) => confirm(event.target, one, problem) }, "Discard")];
  const figure = (name, label) => h("div", { "data-figure": name }, h("dt", {}, label), h("dd", {}));
  return h("article", { class: "job", "data-key": key(one), "data-job": one.id, "data-status": one.status, "aria-label": `Preparing ${one.name}` },
    h("div", { class: "head" }, h("h2", {}, one.name), h("span", { class: "pill" }, h("span", { class: "dot" }), STATUS[one.status] || one.status)),
    h("p", { class: "message" }), h("p", { class: "note" }, `From ${one.sources.join("; ") || "its sources"}`),
    h("div", { class: "bar", role: "progressbar", "aria-label": `Progress of ${one.name}`, "aria-valuemin": 0, "aria-valuemax": 100 }, h("i")),
    h("dl", {}, figure("tokens", "Tokens"), figure("documents", "Documents"), figure("speed", "Speed"), figure("left", "Left"), figure("dropped", "Left out")),
    problem, h("div", { class: "row" }, actions));
}

function update(card, one, busy) {
  const put = (name, value) => {
    const place = $(`[data-figure=${name}]`, card);
    place.hidden = !value;
    say($("dd", place), value || "");
  };
  say($(".message", card), one.error || one.message || (one.status === "waiting" ? `It begins ${busy ? "when the one before it has ended" : "in a moment"}.` : ""));
  const bar = $(".bar", card);
  const share = one.progress;
  bar.hidden = !one.open && !share;
  bar.classList.toggle("unknown", share === null || share === undefined);
  if (Number.isFinite(share)) bar.setAttribute("aria-valuenow", Math.round(100 * share));
  else bar.removeAttribute("aria-valuenow");
  $("i", bar).style.transform = `scaleX(${Number.isFinite(share) ? Math.min(1, share) : 0})`;
  put("tokens", one.tokens ? `${count(one.tokens)}${one.target_tokens ? ` of ${count(one.target_tokens)}` : ""}` : "");
  put("documents", one.documents ? one.documents.toLocaleString("en") : "");
  put("speed", one.status === "running" && one.tokens_per_second ? speed(one.tokens_per_second) : "");
  put("left", one.status === "running" && Number.isFinite(one.eta_seconds) ? duration(one.eta_seconds) : "");
  put("dropped", leftOut(one.dropped));
}

async function ask(button, what, one, problem) {
  button.disabled = true;
  say(problem, "");
  try {
    await send(`/api/prepare/${what}`, { job: one.id });
  } catch (error) {
    say(problem, error.message);
    button.disabled = false;
  }
  emit("data-changed");
}

/** A question in place of the buttons; the calm answer leaves all as it is. */
function confirm(button, one, problem) {
  const row = button.closest(".row");
  const no = h("button", { type: "button", class: "strong", onclick: () => { box.replaceWith(row); $("button", row).focus(); } }, "Leave it");
  const yes = h("button", { type: "button", class: "plain", onclick: (event) => ask(event.target, "discard", one, problem) }, "Discard it");
  const made = one.tokens ? `The ${count(one.tokens)} tokens made so far go` : "What is made so far goes";
  const box = h("div", { class: "ask-first", role: "group", "aria-label": `Discard what is made of ${one.name}` },
    h("p", {}, h("b", {}, "Discard it? "), `${made}; the texts they came from are not touched.`), h("div", { class: "row" }, no, yes));
  row.replaceWith(box);
  no.focus();
}
