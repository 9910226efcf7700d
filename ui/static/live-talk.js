// Talking to the run that trains now: its age in Play, and what its words cost.

import { speed } from "./format.js";

/** In place of an age. */
export const NOW = "live";

/** The age "now" of a run, where it trains. */
export const now = (one) => (one?.status === "running" ? [[NOW, "Now, from the run that trains"]] : []);

/** The age a select has on, as the server takes it. */
export const ageOf = (select) => (select.value === NOW ? NOW : Number(select.value || -1));

export const ABOUT = "It answers between its steps, with the weights of that moment. These are not kept: its words can be, but nobody can ask them again.";
export const WAITS = "It answers after the step it is in";

/** What an answer cost the training, in words. */
export function cost(piece) {
  const { training } = piece;
  return training ? `while it spoke, training made ${speed(training.while)} instead of ${speed(training.alone)}` : null;
}
