// The line that a forked run came from: its parents' curves up to the step of the fork, faint, before its own.

import { addLayer } from "./chart-extras.js";
import { curveColour, faint } from "./palette.js";
import { runById, state } from "./state.js";
import { smoothed } from "./curves.js";

/** The runs that the selected run was forked from, the nearest first. */
export function ancestors(id) {
  const found = [];
  for (let run = runById(id); run?.parent_run_id && !found.includes(run.parent_run_id); run = runById(run.parent_run_id)) found.push(run.parent_run_id);
  return found.filter(runById);
}

/** Draw them on the loss chart; `curvesOf(id)` are a run's curves, or undefined. */
export function mount(curvesOf) {
  addLayer((chart, axis) => {
    // A fork goes on counting its parent's steps and tokens; its time is its own.
    if (chart !== "loss-chart" || !["steps", "tokens"].includes(axis) || state.zoom) return null;
    let child = runById(state.selected);
    const traces = [];
    for (const id of ancestors(state.selected)) {
      const [curves, own] = [curvesOf(id), curvesOf(child.id)];
      const end = own?.m.loss?.x[0];
      if (!curves || end === undefined) break;
      const { x, y } = smoothed(curves);
      const upTo = x.findIndex((value) => value > end);
      const [until, colour] = [upTo < 0 ? x.length : upTo, curveColour(runById(state.selected))];
      traces.push({ type: "scatter", mode: "lines", name: `${runById(id).name} up to the fork`, x: x.slice(0, until), y: y.slice(0, until), hoverinfo: "skip",
        line: { color: colour.startsWith("#") ? faint(colour, 0.55) : colour, width: 2, dash: "2px,4px" } });
      child = runById(id);
    }
    return { traces };
  });
}
