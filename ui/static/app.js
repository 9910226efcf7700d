// Starts the page once Gradio has drawn its frame, then asks the server for news: each second while something runs,
// every ten seconds otherwise, never while nobody looks.

import { $ } from "./dom.js";
import { owns } from "./format.js";
import { plotly } from "./plotly.js";
import { Away, emit, get, on, readAddress, run, state, writeAddress } from "./state.js";
import * as header from "./header.js";
import * as charts from "./charts.js";
import * as setup from "./setup.js";
import * as feed from "./feed.js";
import * as machine from "./machine.js";
import * as money from "./money.js";
import * as keep from "./keep.js";
import * as play from "./play.js";
import * as surprise from "./surprise.js";
import * as capsule from "./capsule.js";
import * as portable from "./portable.js";
import * as compare from "./compare.js";
import * as runsTable from "./runs-table.js";
import * as differences from "./differences.js";
import * as runSheet from "./run-sheet.js";
import * as data from "./data.js";
import * as dataset from "./dataset.js";
import * as health from "./health.js";
import * as preflight from "./preflight.js";
import * as prepare from "./prepare.js";
import * as tokenize from "./tokenize.js";
import * as queue from "./queue.js";
import * as sweep from "./sweep.js";
import * as diagnosis from "./diagnosis.js";
import * as outlook from "./outlook.js";
import * as report from "./report.js";
import * as exhibit from "./exhibit.js";
import * as fork from "./fork.js";
import * as inflight from "./inflight.js";
import * as lineage from "./lineage.js";
import * as growing from "./growing.js";
import * as alerts from "./alerts.js";
import * as askNow from "./ask-now.js";
import * as suites from "./suites.js";

const BUSY_MS = 1000;
const IDLE_MS = 10000;
const PATIENCE_MS = 4000;
let timer = 0;
let asking = false;
let again = false;
let active = 0;

/** One question for news. A call while one is under way asks once more right after it. */
export async function refresh() {
  if (asking) {
    again = true;
    return;
  }
  clearTimeout(timer);
  if (document.hidden) return;
  asking = true;
  try {
    await ask();
    connected(true);
  } catch (error) {
    // Our own mistakes are not the server's: they are reported as what they are.
    if (error instanceof Away) connected(false, error.message);
    else reportError(error);
  } finally {
    asking = false;
    const wait = again ? 0 : active || !state.connected ? BUSY_MS : IDLE_MS;
    again = false;
    timer = setTimeout(refresh, wait);
  }
}

async function ask() {
  const shown = charts.cursors();
  const axis = state.axis;
  const news = await get("/api/live", { runs: shown, x: axis, selected: state.selected, curves: charts.wanted(), events: feed.eventCursor() });
  active = news.active;
  if (news.v !== state.version) await loadRuns(news.v);
  if (news.events) feed.addEvents(news.events); // first: the marks on the charts are read anew after one
  if (news.now) {
    state.now = news.now;
    emit("now", news.now);
  }
  charts.extend(news.runs || {}, axis);
  emit("alert", news.alert);
  if (news.said !== undefined) await feed.said(news.said);
}

async function loadRuns(version) {
  const answer = await get("/api/runs");
  state.runs = answer.runs;
  state.version = version || answer.v;
  if (!run()) select(defaultRun(), { quiet: true });
  emit("runs");
}

function defaultRun() {
  const open = state.runs.find(owns) || state.runs.find((one) => one.active);
  return (open || state.runs.find((one) => one.kind === "trained" && !one.away) || state.runs[0] || { id: "" }).id;
}

export function select(id, { quiet = false, push = false } = {}) {
  if (state.selected !== id) {
    state.selected = id;
    state.zoom = null;
  }
  const summary = state.runs.find((one) => one.id === id);
  state.now = summary ? { status: summary.status, step: summary.step, tokens: summary.tokens } : {};
  writeAddress(push);
  emit("selected", id);
  if (!quiet) refresh();
}

export function show(tab, { push = true } = {}) {
  if (push && tab !== state.tab) state.exhibit = 0;
  const panel = document.activeElement?.closest("[role=tabpanel]");
  state.tab = tab;
  writeAddress(push);
  document.body.dataset.tab = tab;
  emit("tab", tab);
  if (panel?.hidden) $(`#tab-${tab}`).focus({ preventScroll: true });
}

function connected(value, message = "") {
  if (state.connected === value) return;
  state.connected = value;
  document.body.classList.toggle("away", !value);
  emit("connected", message);
}

function whenDrawn(callback) {
  const parts = ["#topbar .tabs", "#panel-train .charts", "#panel-play #prompt", "#panel-capsule #gallery", "#panel-compare #runs-table", "#growing-slider", "#datasets", "#report", "#line",
    "#start", "#stop", "#resume"];
  const ready = () => parts.every((part) => $(part));
  if (ready()) return callback();
  const observer = new MutationObserver(() => {
    if (!ready()) return;
    observer.disconnect();
    callback();
  });
  observer.observe(document.documentElement, { childList: true, subtree: true });
}

async function start() {
  readAddress();
  header.mount({ select, show });
  preflight.mount();
  setup.mount({ select, refresh });
  queue.mount({ select });
  sweep.mount({ select });
  charts.mount();
  feed.mount();
  askNow.mount();
  suites.mount();
  machine.mount();
  money.mount();
  play.mount({ select, show });
  surprise.mount();
  keep.mount();
  capsule.mount();
  portable.mount();
  exhibit.mount();
  fork.mount({ select });
  inflight.mount();
  lineage.mount();
  growing.mount({ select });
  alerts.mount({ select, show });
  compare.mount();
  runsTable.mount();
  differences.mount();
  runSheet.mount({ select, show });
  dataset.mount();
  prepare.mount();
  tokenize.mount();
  health.mount();
  data.mount();
  diagnosis.mount();
  outlook.mount();
  report.mount();
  show(state.tab, { push: false });
  try {
    await loadRuns();
  } catch (error) {
    connected(false, error.message);
  }
  select(state.selected, { quiet: true });
  // Shown once what it shows is here, so that nothing jumps; a slow or silent server does not hold it back for long.
  const here = Promise.allSettled([refresh(), setup.settled(), charts.settled()]);
  await Promise.race([here, new Promise((done) => setTimeout(done, PATIENCE_MS))]);
  document.body.classList.add("ready");
  $("#opening")?.remove(); // painted since the first moment, see ui/opening.py
  (window.requestIdleCallback || setTimeout)(() => plotly().catch(() => {})); // where no chart is shown yet; a board that needs it asks again
  document.addEventListener("visibilitychange", () => !document.hidden && refresh());
  window.addEventListener("popstate", () => {
    readAddress();
    if (!run()) state.selected = defaultRun();
    emit("zoom");
    show(state.tab, { push: false });
    select(state.selected);
  });
}

on("look", refresh);
on("started", (id) => loadRuns().then(() => select(id, { push: true })));
on("show", show);

// What the buttons of ui/*.py call.
window.blueberry = {
  run: () => [state.selected],
  refresh,
  startArguments: setup.startArguments,
  started: (id) => { setup.started(); show("train", { push: false }); loadRuns().then(() => select(id, { push: true })); },
  notStarted: setup.notStarted,
  form: setup.form,
};

whenDrawn(start);
