// Which runs are laid over each other on the Compare tab; the address keeps them.

import { emit, runById, state, writeAddress } from "./state.js";

/** Runs on one chart, and runs whose settings are laid beside each other; the server compares no more either. */
export const [MOST, BESIDE] = [200, 50];

export const own = () => state.runs.filter((one) => one.kind !== "published");

/** Ids of the runs on the chart: those in the address, else the two newest in sight. */
export function chosen() {
  const wanted = state.chosen ? [...state.chosen] : own().filter((one) => !one.away).slice(0, 2).map((one) => one.id);
  return wanted.filter((id) => runById(id) && runById(id).kind !== "published").slice(0, MOST);
}

export function choose(ids) {
  state.chosen = new Set(ids);
  writeAddress();
  emit("chosen");
}
