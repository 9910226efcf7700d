// What this page is looking at. The database is the truth about runs; here are only its latest words and the selection.

export const state = {
  table: {},
  runs: [], version: "", selected: "", now: {}, tab: "train", axis: "tokens", zoom: null, compare: new Set(),
  connected: true, hidden: new Set(), compareZoom: null,
  view: { smooth: 2.5, logx: null, logy: false, clip: false }, presets: null, exhibit: 0, categories: [], chosen: null, capsule: {}, growing: {}, data: null, cost: null,
};

const listeners = new Map();

export function on(event, listener) {
  listeners.set(event, [...(listeners.get(event) || []), listener]);
}

export function emit(event, value) {
  for (const listener of listeners.get(event) || []) listener(value);
}

/** The selected run: its summary with the newest state over it. */
export function run() {
  const summary = state.runs.find((one) => one.id === state.selected);
  return summary && { ...summary, ...state.now };
}

/** The runs that lists offer: all but those that a person put away; the selected one in any case. */
export const listed = () => state.runs.filter((one) => !one.away || one.id === state.selected);
export const runById = (id) => state.runs.find((one) => one.id === id);

const PATIENCE_MS = 15000;
/** For what reads or copies the whole database. */
export const LONG_MS = 600000;

/** JSON from our server. Throws Away when it cannot be reached, Error with its sentence when it refuses. */
export class Away extends Error {}

export async function get(path, parameters = {}, patience = PATIENCE_MS) {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined));
  return answerTo(`${path}?${query}`, {}, patience);
}

/** The same for what changes something. */
export const send = (path, what, patience = PATIENCE_MS) => answerTo(path, {
  method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(what) }, patience);

/** Send something and hear each line of JSON as it comes, until `signal` ends it. Throws as `get` does. */
export async function stream(path, what, hear, signal) {
  const response = await reach(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(what), signal });
  if (!response.ok) throw new Error((await response.json()).error || "The server could not answer.");
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read().catch(() => { throw new Away(AWAY); });
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) hear(JSON.parse(line));
  }
}

const AWAY = "The server does not answer. If app.py was closed, start it again; this page goes on by itself.";

async function reach(address, request) {
  try {
    return await fetch(address, request);
  } catch {
    throw new Away(AWAY);
  }
}

async function answerTo(address, request, patience) {
  const response = await reach(address, { ...request, signal: AbortSignal.timeout(patience) });
  if (response.status === 502 || response.status === 503 || response.status === 504) {
    const body = await response.json().catch(() => ({}));
    throw new Away(body.error || AWAY);
  }
  const body = await response.json();
  if (!response.ok) throw new Error(body.error || "The server could not answer.");
  return body;
}

// The address: run, tab, and how the charts are looked at, so that a reload, a link and the back button show the same page.

/** What the time capsule is searched for, as it is called in the address. */
export const CAPSULE = ["room", "q", "category", "of", "young", "old", "tagged", "measured", "since", "until", "by", "front", "leaf"]; // "page" is Gradio's own
/** How the table of runs is sorted and what is left out of it. */
export const TABLE = ["sort", "find", "is", "tag", "away"];
/** Which prompt is looked at in Growing up, at which age (a step; the newest without one), beside which other; each: all prompts. */
export const GROWING = ["suite", "asked", "age", "beside", "each"];
const TABS = ["train", "growing", "compare", "play", "capsule", "data", "report"];

export function readAddress() {
  const query = new URLSearchParams(location.search);
  state.selected = query.get("run") || "";
  state.tab = TABS.includes(query.get("tab")) ? query.get("tab") : "train";
  state.exhibit = /^\d{1,15}$/.test(query.get("exhibit") || "") ? Number(query.get("exhibit")) : 0;
  state.capsule = Object.fromEntries(CAPSULE.map((name) => [name, query.get(name) || ""]));
  state.growing = Object.fromEntries(GROWING.map((name) => [name, query.get(name) || ""]));
  readView(query);
  state.chosen = query.has("chosen") ? new Set(query.get("chosen").split(",").filter(Boolean)) : null;
  state.compare = new Set((query.get("with") || "").split(",").filter(Boolean));
  state.table = Object.fromEntries(TABLE.map((name) => [name, query.get(name) || ""]));
}

/** How the charts are looked at. */
function readView(query) {
  const part = (name) => {
    const zoom = (query.get(name) || "").split("_").map(Number);
    return zoom.length === 2 && zoom.every(Number.isFinite) && zoom[0] < zoom[1] ? zoom : null;
  };
  const smooth = Number(query.get("smooth") ?? NaN);
  state.axis = ["steps", "tokens", "time", "date"].includes(query.get("x")) ? query.get("x") : "tokens";
  [state.zoom, state.compareZoom] = [part("zoom"), part("part")];
  state.view = { smooth: smooth >= 0 && smooth <= 50 ? smooth : 2.5, clip: query.get("clip") === "1", logy: query.get("logy") === "1",
    logx: { 0: false, 1: true }[query.get("logx")] ?? null };
  state.hidden = new Set((query.get("hide") || "").split(",").filter(Boolean));
}

export function writeAddress(push = false) {
  const query = new URLSearchParams(location.search);
  const put = (name, value) => (value ? query.set(name, value) : query.delete(name));
  put("run", state.selected);
  put("tab", state.tab === "train" ? "" : state.tab);
  put("exhibit", state.tab === "capsule" && state.exhibit ? String(state.exhibit) : "");
  for (const name of CAPSULE) put(name, state.tab === "capsule" ? state.capsule[name] : "");
  for (const name of GROWING) put(name, state.tab === "growing" ? state.growing[name] : "");
  put("x", state.axis === "tokens" ? "" : state.axis);
  const part = (zoom) => zoom && zoom.map((value) => Number(value.toPrecision(12))).join("_");
  put("zoom", part(state.zoom));
  put("part", part(state.compareZoom));
  put("smooth", state.view.smooth === 2.5 ? "" : String(state.view.smooth));
  put("clip", state.view.clip && "1");
  put("logy", state.view.logy && "1");
  put("logx", state.view.logx === null ? "" : String(Number(state.view.logx)));
  put("hide", [...state.hidden].join(","));
  put("chosen", state.chosen && state.tab === "compare" ? [...state.chosen].join(",") : "");
  put("with", [...state.compare].join(","));
  for (const name of TABLE) put(name, state.tab === "compare" ? state.table[name] : "");
  const address = `${location.pathname}${query.size ? "?" : ""}${query}`;
  if (address === location.pathname + location.search) return;
  history[push ? "pushState" : "replaceState"](history.state, "", address);
}
