// The runs of a board by name and stroke: a click hides one or shows it again, a double click or Shift and Enter leaves it alone.

import { fill, h, $$ } from "./dom.js";
import { curveColour, strokePattern } from "./palette.js";

/** A short stroke as the run's line has it. */
export const swatch = (run) => h("svg", { class: "swatch", viewBox: "0 0 26 8", "aria-hidden": "true" },
  h("line", { x1: 0, y1: 4, x2: 26, y2: 4, stroke: curveColour(run), "stroke-width": 2.5, "stroke-dasharray": strokePattern(run) }));

/** Fill `place` with the runs, `hidden` ones greyed; `changed(ids)` gets the ids to hide. `words` explain the strokes. */
export function legend(place, runs, hidden, words, changed) {
  const drawn = JSON.stringify([runs.map((run) => [run.id, run.name, run.colour]), [...hidden], words, document.body.className.includes("dark")]);
  if (place.dataset.drawn === drawn) return;
  place.dataset.drawn = drawn;
  const focused = place.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  const only = (run) => changed(hidden.size === runs.length - 1 && !hidden.has(run.id) ? new Set() : new Set(runs.map((one) => one.id).filter((id) => id !== run.id)));
  const toggle = (run) => { const ids = new Set(hidden); if (!ids.delete(run.id)) ids.add(run.id); changed(ids); };
  fill(place, runs.map((run) => h("button", { type: "button", class: "key", "data-key": run.id, "aria-pressed": String(!hidden.has(run.id)),
    title: runs.length > 1 ? `Hide or show ${run.name}; double click, or Shift and Enter: this run alone` : null,
    onclick: (event) => (event.shiftKey || event.detail === 2 ? only(run) : toggle(run)) }, swatch(run), run.name)),
  hidden.size ? h("button", { type: "button", class: "key all", "data-key": "all", onclick: () => changed(new Set()) }, "Show all runs") : null,
  words ? h("span", { class: "how" }, words) : null);
  if (focused) ($$("button", place).find((one) => one.dataset.key === focused) || $$("button", place)[0])?.focus();
}
