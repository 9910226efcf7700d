// Bringing a capsule: it is sent, all of it is checked, its cover is shown, and only then is it taken in.

import { $, fill, h, say } from "./dom.js";
import { emit, on, send } from "./state.js";
import { cover, follow, size } from "./work.js";

const button = (label, kind, onclick, more = {}) => h("button", { type: "button", class: kind, onclick, ...more }, label);
const close = () => $("#bring-sheet").close();
let job = "";
let sending = null;
let turn = 0;

on("bring-sheet-closed", () => { sending?.abort(); sending = null; leave(); turn += 1; });

/** What was sent and not taken is removed at once. */
function leave() {
  if (job) send("/api/capsule/cancel", { job }).catch(() => {});
  job = "";
}

export function bring() {
  choose("");
  $("#bring-sheet").showModal();
}

function show(title, ...children) {
  fill($("#bring-sheet"), h("div", { class: "whole" }, h("h2", { id: "bring-title", tabindex: "-1", role: "status" }, title), children));
}

function choose(problem) {
  const file = h("input", { type: "file", id: "bring-file", accept: ".capsule,application/zip", "aria-describedby": "bring-about", onchange: () => file.files[0] && take(file.files[0]) });
  show("Bring a capsule", h("p", { class: "note", id: "bring-about" }, "A .capsule file from another Blueberry Studio. All of it is checked, and you see its cover, before anything is taken in."),
    h("label", { class: "field" }, h("span", {}, "File"), file), h("p", { class: "problem", role: "alert" }, problem), h("div", { class: "row" }, button("Close", "plain", close)));
}

async function take(file) {
  const mine = (turn += 1);
  const bar = h("progress", { max: "1", "aria-label": "Done" });
  const cancel = h("div", { class: "row" }, button("Cancel", "plain", close));
  show(`Sending ${size(file.size)}…`, bar, cancel);
  $("#bring-title").focus();
  try {
    const answer = await upload(file, (share) => { bar.value = share; });
    if (mine !== turn) { send("/api/capsule/cancel", { job: answer.job }).catch(() => {}); return; }
    ({ job } = answer);
    bar.removeAttribute("value");
    say($("#bring-title"), "Checking it…");
    const found = await follow(job, (share) => { bar.value = share; });
    if (mine === turn) look(found);
  } catch (error) {
    if (mine !== turn) return;
    leave();
    choose(error.message);
  }
}

/** fetch tells nothing of how far an upload is. */
function upload(file, hear) {
  return new Promise((done, fail) => {
    const request = new XMLHttpRequest();
    sending = request;
    request.open("POST", "/api/capsule/upload");
    request.setRequestHeader("content-type", "application/octet-stream");
    request.upload.addEventListener("progress", (event) => event.lengthComputable && hear(event.loaded / event.total));
    request.addEventListener("load", () => {
      sending = null;
      let answer = {};
      try { answer = JSON.parse(request.responseText); } catch { /* no answer of ours */ }
      if (request.status === 200) done(answer); else fail(new Error(answer.error || "The server could not take it."));
    });
    request.addEventListener("error", () => fail(new Error("The capsule could not be sent. If app.py was closed, start it again.")));
    request.send(file);
  });
}

/** Its cover, and whether it may come in. */
function look({ state, cover: one }) {
  const words = { known: "It came here before.", sealed: `Sealed until ${one.sealed_until}: until then only this cover is shown.`, new: "All of it is in order." };
  const go = button(state === "sealed" ? "Keep it until then" : "Take it in", "strong", () => taken(go), { id: "bring-go" });
  const problem = h("p", { class: "problem", role: "alert" });
  show("What came", h("div", { class: `cover${state === "sealed" ? " sealed" : ""}` }, cover(one, words[state])), problem,
    h("div", { class: "row" }, state === "known" ? null : go, button(state === "known" ? "Close" : "Leave it", "plain", close)));
  (state === "known" ? $("#bring-title") : go).focus();
}

async function taken(go) {
  const mine = turn;
  go.disabled = true;
  try {
    const { state, runs, cover: one } = await follow((await send("/api/capsule/take", { job })).job);
    emit("kept");
    emit("capsules");
    if (mine !== turn) return;
    leave();
    const see = button("See its exhibits", "strong", () => { close(); emit("see-run", runs.length === 1 ? runs[0].id : ""); }, { id: "bring-see" });
    show(state === "sealed" ? "It is kept" : "It is here", h("p", {}, state === "sealed" ? `${one.title} can be opened on ${one.sealed_until}.` : `${runs.map((run) => run.name).join(", ")} came with ${one.exhibits === 1 ? "1 exhibit" : `${one.exhibits.toLocaleString("en")} exhibits`}.`),
      h("div", { class: "row" }, state === "sealed" ? null : see, button("Close", "plain", close)));
    $("#bring-title").focus();
  } catch (error) {
    if (mine !== turn) return;
    go.disabled = false;
    say($("#bring-sheet .problem"), error.message);
  }
}
