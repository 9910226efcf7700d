// Machine: what it does now, with small curves over the selected run, and who holds its memory.

import { $, fill, h, say } from "./dom.js";
import { bytes } from "./format.js";
import { get, on, run, state } from "./state.js";

const BUSY_MS = 2000;
const IDLE_MS = 10000;
const PAST_MS = 10000;
let now = null;
let past = {};
let pastRead = 0;
let timer = 0;
let seen = false;

export function mount() {
  on("selected", () => { past = {}; pastRead = 0; draw(); soon(0); });
  on("runs", () => { pastRead = 0; }); // it may have ended
  on("tab", () => soon(0));
  document.addEventListener("visibilitychange", () => soon(0));
  // Nobody measures for a panel that is not in sight.
  new IntersectionObserver(([entry]) => { seen = entry.isIntersecting; if (seen) soon(0); }, { rootMargin: "400px" }).observe($("#machine"));
}

function soon(wait) {
  clearTimeout(timer);
  if (seen && !document.hidden && state.tab === "train") timer = setTimeout(read, wait);
}

async function read() {
  const one = run();
  try {
    now = await get("/api/machine");
    if (one && one.kind !== "published" && Date.now() - pastRead > PAST_MS && (one.active || !pastRead)) await readPast(one.id);
    draw();
  } catch {
    // The header says that the server is away; the last values stay until it is back.
  }
  soon(state.runs.some((any) => any.active) ? BUSY_MS : IDLE_MS);
}

async function readPast(id) {
  const answer = await get("/api/machine/history", { run: id });
  if (id !== state.selected) return;
  past = answer;
  pastRead = Date.now();
}

const percent = (value) => `${Math.round(100 * value)}%`;
const filled = (one) => one && `${bytes(one.used)} of ${bytes(one.total)}`;

/** What is known, in groups: [title, [[key, label, words, value, curve, top], ...]]. */
function groups() {
  const gpus = now.gpus.map((one) => [one.name, [
    gauge(one, "gpu_use", "In use", one.use, percent, 1),
    gauge(one, "gpu_memory_used", "Memory", one.memory, filled, one.memory?.total),
    gauge(one, "gpu_temperature", "Temperature", one.temperature, (value) => `${Math.round(value)} °C`, 100),
    gauge(one, "gpu_watts", "Power", one.watts, (value) => `${Math.round(value)} W`),
    gauge(one, "gpu_clock", "Clock", one.clock, (value) => `${Math.round(value).toLocaleString("en")} MHz`),
  ]]);
  return [...gpus, [now.cores ? `Processor, ${now.cores} ${now.cores === 1 ? "core" : "cores"}` : "", [
    gauge(null, "cpu_use", "In use", now.cpu, percent, 1),
    gauge(null, "memory_used", "Memory", now.memory, filled, now.memory?.total),
    gauge(null, "run_memory", "Of that, this run", mine()?.bytes, bytes, now.memory?.total),
    gauge(null, "disk_free", "Disk", now.disk, (value) => `${bytes(value.free)} free`, now.disk?.total),
  ]]].map(([title, gauges]) => [title, gauges.filter(Boolean)]).filter(([, gauges]) => gauges.length);
}

const mine = () => now.holders.find((one) => one.run === state.selected);

/** One value; a GPU's curve belongs to the GPU that the run is on. Nothing where neither is known. */
function gauge(gpu, name, label, value, words, top) {
  const device = run()?.device || "";
  const curve = gpu === null || now.gpus.length === 1 || device === `cuda:${gpu.index}` ? past[name] : null;
  if (value === undefined && !curve) return null;
  return { key: `${gpu ? gpu.index : "host"}-${name}`, label, now: value === undefined ? "–" : words(value), curve, top, words: typeof value === "object" ? bytes : words };
}

function draw() {
  if (!now) return;
  const found = groups();
  const place = $("#machine .gauges");
  const key = JSON.stringify(found.map(([title, gauges]) => [title, gauges.map((one) => one.key)]));
  if (place.dataset.drawn !== key) {
    place.dataset.drawn = key;
    fill(place, found.map(([title, gauges]) => h("div", { class: "group" }, h("h3", {}, title), h("ul", {}, gauges.map((one) =>
      h("li", { class: "gauge", "data-gauge": one.key }, h("span", {}, one.label), h("b", {}), spark(), h("small", {})))))),
    h("ul", { class: "note holders", "aria-label": "Who holds memory" }));
  }
  for (const one of found.flatMap(([, gauges]) => gauges)) show($(`[data-gauge="${one.key}"]`, place), one);
  say($("#machine .note"), now.no_gpu || "");
  holders($(".holders", place));
}

const spark = () => h("svg", { viewBox: "0 0 100 24", preserveAspectRatio: "none", "aria-hidden": "true" }, h("path", {}));

function show(place, one) {
  say($("b", place), one.now);
  const known = (one.curve || []).filter((value) => value !== null);
  place.classList.toggle("flat", known.length < 2);
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const span = known.length ? (one.words(low) === one.words(high) ? one.words(low) : `${one.words(low)} to ${one.words(high)}`) : "";
  say($("small", place), known.length ? `this run: ${span}` : "");
  if (known.length > 1) $("path", place).setAttribute("d", line(one.curve, one.top || high || 1));
}

/** A path through what is known; what is not known is a gap. */
function line(values, top) {
  let pen = "M";
  return values.map((value, at) => {
    if (value === null) { pen = "M"; return ""; }
    const point = `${pen}${(100 * at / (values.length - 1)).toFixed(1)} ${(23 - 22 * Math.min(1, value / top)).toFixed(1)}`;
    pen = "L";
    return point;
  }).join("");
}

function holders(place) {
  const names = (list) => list.map((one) => `${one.run || one.name || "another program"}${one.bytes ? ` ${bytes(one.bytes)}` : ""}`).join(", ");
  const lines = now.gpus.filter((one) => one.holders.length).map((one) => [now.gpus.length > 1 ? `Holds memory of GPU ${one.index}` : "Holds GPU memory", names(one.holders)]);
  lines.push(["Holds memory", names(now.holders.map(({ name, bytes: size }) => ({ name, bytes: size })))]);
  const key = JSON.stringify(lines);
  if (place.dataset.drawn === key) return;
  place.dataset.drawn = key;
  fill(place, lines.map(([what, who]) => h("li", {}, h("b", {}, what), `: ${who}`)));
}
