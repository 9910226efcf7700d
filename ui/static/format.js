// Numbers and states in words, the same everywhere on the page.

const SCALES = [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "k"]];

/** 3,212,000 as "3.2 M", 512 as "512". */
export function count(value) {
  if (value === null || value === undefined) return "–";
  for (const [scale, letter] of SCALES) {
    if (value >= scale * 0.9995) {
      const scaled = value / scale;
      return `${scaled >= 100 ? Math.round(scaled) : trim(scaled.toFixed(1))} ${letter}`;
    }
  }
  return String(Math.round(value));
}

/** The same where that is exact, else every digit: 3,000,000 as "3 M", 524,288 as "524,288". */
export function readable(value) {
  const [number, letter] = count(value).split(" ");
  const scale = SCALES.find(([, name]) => name === letter)?.[0] || 1;
  return Math.round(Number(number) * scale) === value ? count(value) : value.toLocaleString("en");
}

export const age = (tokens) => (tokens ? `${count(tokens)} tokens old` : "not born yet");

export function loss(value) {
  return Number.isFinite(value) ? value.toFixed(3) : "–";
}

export function perplexity(lossValue) {
  if (!Number.isFinite(lossValue)) return "–";
  const value = Math.exp(lossValue);
  if (value >= 1e6) return "> 1 M";
  return value >= 100 ? Math.round(value).toLocaleString("en") : value.toFixed(value >= 10 ? 1 : 2);
}

export const bits = (value) => (Number.isFinite(value) ? value.toFixed(3) : "–");
export const percent = (value) => (Number.isFinite(value) ? `${(100 * value).toFixed(1)}%` : "–");

export function speed(value) {
  if (value >= 1e6) return `${trim((value / 1e6).toFixed(1))} M tok/s`;
  return Number.isFinite(value) ? `${value >= 1e5 ? Math.round(value / 1e3) + "k" : value >= 1e4 ? trim((value / 1e3).toFixed(1)) + "k" : Math.round(value).toLocaleString("en")} tok/s` : "–";
}

export function duration(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  if (seconds < 1) return "under 1 s";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  const days = Math.round(hours / 24);
  return days < 730 ? `${days} days` : `${Math.round(days / 365)} years`;
}

/** The same as an estimate: "about 34 s", but "under 1 s". */
export const roughly = (seconds) => (seconds < 1 ? duration(seconds) : `about ${duration(seconds)}`);

export function bytes(value) {
  if (value >= 1e9) return `${trim((value / 1e9).toFixed(1))} GB`;
  if (value >= 1e6) return `${value < 1e7 ? trim((value / 1e6).toFixed(1)) : Math.round(value / 1e6)} MB`;
  return value >= 1000 ? `${Math.round(value / 1000)} kB` : `${value} bytes`;
}

/** 0.94 as "$0.94", 0.0042 as "$0.0042", with a word behind it: "0.94 EUR" (engine/phrases.py says it the same way). */
export function amount(value, currency) {
  if (!Number.isFinite(value)) return "–";
  const named = (digits) => (/\p{L}$/u.test(currency) ? `${digits} ${currency}` : `${currency}${digits}`);
  if (value > 0 && value < 0.0001) return `under ${named("0.0001")}`;
  return named(value >= 1000 ? Math.round(value).toLocaleString("en") : value >= 0.1 || !value ? value.toFixed(2) : String(Number(value.toPrecision(2))));
}

/** Joules as kWh, or as Wh below a tenth of that. */
export function energy(joules) {
  if (!Number.isFinite(joules)) return "–";
  const hours = joules / 3600;
  if (hours < 0.01) return hours ? "under 0.01 Wh" : "0 Wh";
  return hours >= 100 ? `${(hours / 1000).toFixed(2)} kWh` : `${Number(hours.toPrecision(2))} Wh`;
}

/** Documents that were left out, by reason: "too short: 12, repeats itself: 4". */
export function leftOut(dropped) {
  return Object.entries(dropped || {}).filter(([, number]) => number).map(([reason, number]) => `${reason}: ${number.toLocaleString("en")}`).join(", ");
}

export function setting(value) {
  if (typeof value === "number" && Number.isInteger(value) && value >= 10000) return value.toLocaleString("en");
  return typeof value === "boolean" ? (value ? "yes" : "no") : String(value);
}

/** When something is that will be in `seconds`: "17:42", from tomorrow on with its day. */
export function ahead(seconds) {
  const then = new Date(Date.now() + seconds * 1000);
  const time = then.toLocaleTimeString("en", { hour: "2-digit", minute: "2-digit", hour12: false });
  if (then.toDateString() === new Date().toDateString()) return time;
  return `${then.toLocaleDateString("en", { weekday: "short", day: "numeric", month: "short" })}, ${time}`;
}

export function date(seconds) {
  return new Date(seconds * 1000).toLocaleDateString("en", { day: "numeric", month: "long", year: "numeric" });
}

export function clock(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString("en", { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
}

// Made once: a new formatter for each of 200 rows would take longer than all the rest of the table.
const THIS_YEAR = new Intl.DateTimeFormat("en", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const EARLIER = new Intl.DateTimeFormat("en", { day: "numeric", month: "short", year: "numeric" });

/** When something was, as short as a table needs it. */
export function moment(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  const then = new Date(seconds * 1000);
  return (then.getFullYear() === new Date().getFullYear() ? THIS_YEAR : EARLIER).format(then);
}

const STATUS = {
  queued: "Waiting in line", preparing: "Preparing", compiling: "Compiling", running: "Running", paused: "Paused",
  stopping: "Stopping", stopped: "Stopped", finished: "Finished", failed: "Failed", diverged: "Diverged", crashed: "Crashed",
};
const PHASE = { training: "Training", evaluating: "Evaluating", sampling: "Asking the prompts", saving: "Saving" };

/** The status pill's words; a running run says what it is doing. */
export function status(run) {
  if (run.kind === "published") return "Published, December 2025";
  if (run.kind === "imported") return `Came in a capsule, ${(STATUS[run.status] || run.status).toLowerCase()}`;
  if (run.status === "stopped" && run.money?.used_up) return `Stopped: the budget of ${amount(run.money.budget, run.money.currency)} is used up`;
  return run.status === "running" ? PHASE[run.phase] || "Running" : STATUS[run.status] || run.status;
}

export const statusName = (run) => (run.kind === "published" ? "published" : run.kind === "imported" ? "imported" : (STATUS[run.status] || run.status).toLowerCase());
export const isOpen = (run) => ["queued", "preparing", "compiling", "running", "paused", "stopping"].includes(run.status);
/** Whether a run has its device: it is open and does not wait in line. */
export const owns = (run) => isOpen(run) && run.status !== "queued";
export const isResumable = (run) => run.kind !== "imported" && ["stopped", "crashed", "failed", "diverged"].includes(run.status);

/**
 * What a model said after its prompt. Its own words begin with their blank, or with none where they end the prompt's last word; a published
 * excerpt has lost it, and may repeat the prompt.
 */
export function continuation(prompt, text, published) {
  const excerpt = () => (text.startsWith(prompt) ? text.slice(prompt.length) : /^\w/.test(text) ? ` ${text}` : text);
  const rest = published ? excerpt() : text;
  return rest.trimEnd().replace(/\n\s*\n\s*/g, "\n\n");
}

const trim = (text) => text.replace(/\.0$/, "");
