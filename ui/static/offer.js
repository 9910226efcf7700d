// A preset whose text is not here: what making it would take, how far its job is, and the way there.

import { $, say } from "./dom.js";
import { bytes, count, duration } from "./format.js";
import { emit, state } from "./state.js";

const ENDED = { stopped: "was stopped", failed: "failed", crashed: "crashed" };

const jobOf = (name) => state.data?.jobs.find((one) => one.name === name && (one.open || one.status in ENDED));

/** Show the button for the dataset `name`, or none for ""; the sentence that says what stands in the way of a start. */
export function offer(name) {
  const cost = state.presets?.preparable?.[name];
  $("#offer").hidden = !cost;
  if (!cost) return name && "It cannot start yet: its text is not here (see the card above).";
  const job = jobOf(name);
  say($("#offer button"), !job ? "Prepare its text" : job.open ? "See how far it is" : "See its job");
  if (!job) return `Its text, ${name}, is not here yet: ${count(cost.tokens)} tokens, about ${bytes(cost.bytes)} on disk and ${duration(cost.seconds)} to prepare (estimate).`;
  if (!job.open) return `Its text, ${name}, is not here: preparing it ${ENDED[job.status]}. The Data tab has its job, to resume or discard.`;
  const share = Number.isFinite(job.progress) ? `: ${Math.round(100 * job.progress)}%` : "";
  const left = Number.isFinite(job.eta_seconds) ? `, ${duration(job.eta_seconds)} left` : "";
  return `Its text, ${name}, is being prepared${share}${left}. It can start then.`;
}

/** Where the button leads: to the job that there is, or to the form that starts one. */
export const takeOffer = (name) => (jobOf(name) ? emit("show", "data") : emit("prepare", { name }));
