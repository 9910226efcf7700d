// The tools above a board: which axis, how smooth, which scales, and the menus they fold into.

import { $, $$, fill, h, say } from "./dom.js";
import { AXES } from "./axes.js";
import { emit, state, writeAddress } from "./state.js";

/** Slider positions and the percent of a run's steps that each averages. */
const SMOOTHING = [0, 0.25, 0.5, 1, 2.5, 5, 10, 20];

/** A menu closes on Escape, which gives the focus back, and on a click beside it. */
export function closing(menu) {
  document.addEventListener("pointerdown", (event) => { if (!menu.contains(event.target)) menu.open = false; });
  menu.addEventListener("keydown", (event) => { if (event.key === "Escape" && menu.open) { menu.open = false; $("summary", menu).focus(); } });
  return menu;
}

/** A folded menu with a title. */
export const menu = (title, ...parts) => closing(h("details", { class: "menu" }, h("summary", {}, title), h("div", { class: "choices" }, parts)));

/** Buttons for the horizontal axis in `place`. */
export function axisButtons(place) {
  fill(place, Object.entries(AXES).map(([axis, { label }]) => h("button", { type: "button", "data-axis": axis, onclick: () => setAxis(axis) }, label)));
}

function setAxis(axis) {
  if (axis === state.axis) return;
  [state.axis, state.zoom, state.compareZoom] = [axis, null, null];
  changed();
}

function changed() {
  writeAddress();
  emit("view");
}

/** "View": smoothing, scales and outliers. Its words follow the state through `tell`. */
export function viewMenu() {
  const slider = h("input", { type: "range", min: 0, max: SMOOTHING.length - 1, step: 1, oninput: () => { state.view.smooth = SMOOTHING[slider.value]; changed(); } });
  const output = h("output", {});
  const tick = (text, read, write) => h("label", { class: "tick" }, h("input", { type: "checkbox", "data-view": text, onchange: (event) => { write(event.target.checked); changed(); } }), h("span", {}, text));
  const ticks = [
    ["Logarithmic x", () => shownLogX(), (on) => { state.view.logx = on; [state.zoom, state.compareZoom] = [null, null]; }],
    ["Logarithmic y", () => state.view.logy, (on) => { state.view.logy = on; }],
    ["Cut off outliers", () => state.view.clip, (on) => { state.view.clip = on; }],
  ];
  let shownLogX = () => state.view.logx;
  const boxes = ticks.map(([text, read, write]) => tick(text, read, write));
  const found = menu("View", h("label", { class: "slide" }, h("span", {}, "Smoothing"), slider, output), boxes);
  found.tell = (logX) => {
    shownLogX = () => logX;
    slider.value = nearestStep(state.view.smooth);
    say(output, state.view.smooth ? `mean of ${state.view.smooth}% of the steps` : "none");
    slider.setAttribute("aria-valuetext", output.textContent);
    boxes.forEach((box, at) => { $("input", box).checked = Boolean(ticks[at][1]()); });
    $("input", boxes[0]).disabled = state.axis === "date";
  };
  return found;
}

const nearestStep = (percent) => SMOOTHING.reduce((best, one, at) => (Math.abs(one - percent) < Math.abs(SMOOTHING[best] - percent) ? at : best), 0);

/** Show which axis is chosen. */
export function tellAxis(place) {
  for (const button of $$("button", place)) button.setAttribute("aria-pressed", String(button.dataset.axis === state.axis));
}
