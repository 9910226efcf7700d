// The header tells how the selected run is; it is right on every tab.

import { $, $$, options, say } from "./dom.js";
import { age, amount, count, duration, isOpen, isResumable, loss, perplexity, speed, status, statusName } from "./format.js";
import { emit, listed, on, run, state } from "./state.js";
import { curveColour } from "./palette.js";
import { placeOf } from "./queue.js";

export function mount({ select, show }) {
  const chooser = $("#run-select select");
  chooser.addEventListener("change", () => select(chooser.value, { push: true }));
  const words = (one) => (one.status === "queued" ? `number ${placeOf(one)} in line` : statusName(one));
  const offer = () => options(chooser, listed().map((one) => [one.id, `${one.name}, ${words(one)}`]));
  on("runs", () => {
    offer();
    chooser.value = state.selected;
    draw();
  });
  on("selected", () => { offer(); chooser.value = state.selected; draw(); });
  on("now", draw);
  on("connected", draw);
  const hint = "Writes a checkpoint, then ends the process and frees the device. Resume goes on exactly there.";
  $("#stop").dataset.hint = hint;
  $("#stop").setAttribute("aria-description", hint);
  tabs(show);
  theme();
}

function tabs(show) {
  const buttons = $$("[role=tab]");
  for (const [at, button] of buttons.entries()) {
    const panel = $(`#panel-${button.dataset.tab}`);
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", button.id);
    button.addEventListener("click", () => show(button.dataset.tab));
    button.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = buttons[(at + step + buttons.length) % buttons.length];
      next.focus();
      show(next.dataset.tab);
    });
  }
  on("tab", (tab) => {
    for (const button of buttons) {
      const chosen = button.dataset.tab === tab;
      button.setAttribute("aria-selected", chosen);
      button.tabIndex = chosen ? 0 : -1;
      if (chosen) button.scrollIntoView({ block: "nearest", inline: "nearest" });
      $(`#panel-${button.dataset.tab}`).hidden = !chosen;
    }
  });
}

function theme() {
  const dark = () => document.body.classList.contains("dark");
  const wanted = localStorage.getItem("blueberry-theme");
  if (wanted) document.body.classList.toggle("dark", wanted === "dark");
  $("#theme-toggle").addEventListener("click", () => {
    document.body.classList.toggle("dark");
    localStorage.setItem("blueberry-theme", dark() ? "dark" : "light");
    emit("theme");
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", (event) => {
    if (localStorage.getItem("blueberry-theme")) return;
    document.body.classList.toggle("dark", event.matches);
    emit("theme");
  });
}

let compiling = { id: "", since: 0, timer: 0 };

/** How long this page has seen the run compile: nothing else moves meanwhile. */
function waited(one) {
  clearTimeout(compiling.timer);
  if (one.status !== "compiling") return "";
  if (compiling.id !== one.id) compiling = { id: one.id, since: Date.now(), timer: 0 };
  compiling.timer = setTimeout(draw, 1000);
  return `, ${Math.floor((Date.now() - compiling.since) / 1000)} s`;
}

function draw() {
  const one = run();
  if (!one) return;
  document.body.dataset.status = one.kind === "published" ? "published" : one.status;
  document.body.dataset.open = isOpen(one);
  document.body.dataset.resumable = one.kind !== "published" && isResumable(one);
  $("#run-select .dot").style.background = curveColour(one);
  const done = isOpen(one) && one.status === "running" ? `, ${Math.floor(100 * share(one))}%` : "";
  say($("#status .label"), state.connected ? status(one) + (one.status === "queued" ? `, number ${placeOf(one)}` : done + waited(one)) : "Reconnecting");
  say($("#topbar .message"), state.connected ? (isOpen(one) && one.message) || "" : "The server does not answer. If app.py was closed, start it again: this page goes on by itself.");
  figures(one);
  progress(one);
  document.title = isOpen(one) ? `${Math.floor(100 * (share(one) || 0))}% ${one.name} – Blueberry Studio` : "Blueberry Studio";
}

function figures(one) {
  const published = one.kind === "published";
  const known = one.val_loss ?? one.loss;
  const values = {
    age: published ? `${count(one.tokens)} counted` : age(one.tokens),
    loss: loss(one.loss ?? (published ? null : undefined)), val: loss(one.val_loss), perplexity: perplexity(known),
    speed: speed(one.speed), eta: one.status === "paused" ? "–" : isOpen(one) ? duration(one.eta) : duration(one.seconds),
    cost: amount(one.money?.spent, one.money?.currency),
  };
  say($("[data-figure=eta] dt"), isOpen(one) ? "Left" : "Took");
  say($("[data-figure=speed] dt"), isOpen(one) || published ? "Speed" : "Speed on average");
  for (const [name, value] of Object.entries(values)) {
    const figure = $(`[data-figure=${name}]`);
    say($("dd", figure), value);
    figure.classList.toggle("unknown", value === "–");
    figure.hidden = published && value === "–";
    if (name === "cost") figure.hidden = !(one.money?.currency || one.currency);
  }
  $("[data-figure=age]").title = published ? "Counted from its log: 500 M tokens. It was published as 1 B tokens." : `Tokens it has read, a token being a word or a piece of one. Step ${(one.step || 0).toLocaleString("en")} of ${one.total_steps.toLocaleString("en")}.`;
  // A validation is as old as its step, which is told where the run has gone on since.
  const since = one.val_step !== undefined && one.val_step < (one.step || 0) ? ` at step ${one.val_step.toLocaleString("en")}` : "";
  say($("[data-figure=val] dt small"), since);
  say($("[data-figure=perplexity] dt small"), one.val_loss === undefined ? "" : since);
}

function share(one) {
  if (one.kind === "published" || one.status === "finished") return 1;
  if (one.progress !== undefined) return one.progress;
  return one.target_tokens ? Math.min(1, (one.tokens || 0) / one.target_tokens) : 0;
}

function progress(one) {
  const bar = $("#topbar .progress");
  const value = share(one);
  bar.hidden = !isOpen(one);
  $("i", bar).style.transform = `scaleX(${value})`;
  bar.setAttribute("aria-valuenow", Math.round(value * 100));
}
