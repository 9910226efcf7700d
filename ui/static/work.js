// Work on a capsule that takes its time: followed to its end, and what stands on a cover.

import { h } from "./dom.js";
import { count, date } from "./format.js";
import { get, state } from "./state.js";
import { limited, parameters } from "./wanted.js";

const LOOK_MS = 300;
const BIG = 1e6;

/** The result of a job; throws its sentence. `hear` gets its progress, 0 to 1, while it runs; `signal` ends the waiting. */
export async function follow(job, hear = () => {}, signal = null) {
  for (;;) {
    const now = await get("/api/capsule/job", { job });
    if (now.state === "done") return now.result;
    if (now.state !== "running") throw new Error(now.error || "It was cancelled.");
    if (now.total) hear(now.done / now.total);
    await new Promise((done) => setTimeout(done, LOOK_MS));
    if (signal?.aborted) throw new Error("It was cancelled.");
  }
}

export const size = (bytes) => (bytes >= 1e9 ? `${(bytes / 1e9).toFixed(1)} GB` : bytes >= BIG ? `${(bytes / 1e6).toFixed(bytes >= 1e7 ? 0 : 1)} MB` : `${Math.max(1, Math.round(bytes / 1e3))} kB`);

/** What stands on a cover; `more` is said below it. */
export function cover(one, more = "") {
  const runs = one.runs.length > 3 ? `${one.runs.slice(0, 3).join(", ")} and ${one.runs.length - 3} more` : one.runs.join(", ");
  const many = one.exhibits === 1 ? "1 exhibit" : `${count(one.exhibits)} exhibits`;
  return h("div", { class: "on-cover" }, h("h3", {}, one.title), one.sender ? h("p", {}, `from ${one.sender}`) : null,
    h("p", { class: "note" }, `${many} of ${runs}, ${one.weights ? `with ${size(one.weights)} of weights` : "without weights"}, packed ${date(one.created_at)}`),
    more ? h("p", { class: "state" }, more) : null);
}

/** The filter that the gallery shows now, as parameters of a route; "" where it shows everything. */
export function shown() {
  if (state.capsule.room || !limited().length) return "";
  return String(new URLSearchParams(Object.entries(parameters()).filter(([, value]) => value !== null && value !== "")));
}
