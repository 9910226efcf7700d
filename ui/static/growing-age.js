// How old it was: the words over the curve, the sliders under it, the cursors on it.

import { $, say } from "./dom.js";
import { loss } from "./format.js";
import { point } from "./growing-curve.js";
import { ageName } from "./growing-stage.js";
import { run } from "./state.js";

/** How old it was then: the words, the sliders and the cursors. */
export function drawAge(seen, at, beside) {
  const here = seen.ages[at];
  const words = told(seen, here);
  say($("#growing-age .old"), run()?.kind === "published" ? "Published, December 2025" : ageName(here));
  say($("#growing-age .then"), words);
  say($("#growing-age .place"), seen.ages.length > 1 ? `${(at + 1).toLocaleString("en")} of ${seen.ages.length.toLocaleString("en")} ages` : "");
  const slider = $("#growing-slider");
  slider.value = here.tokens;
  slider.setAttribute("aria-valuetext", `${ageName(here)}, ${words}`);
  $("#growing-younger").disabled = at === 0;
  $("#growing-older").disabled = at === seen.ages.length - 1;
  const two = beside >= 0;
  $("#growing-compare").setAttribute("aria-expanded", two);
  say($("#growing-compare"), two ? "Stop comparing" : "Compare with another age");
  $("#growing-beside").hidden = !two;
  if (two) {
    $("#growing-other").value = seen.ages[beside].tokens;
    $("#growing-other").setAttribute("aria-valuetext", `${ageName(seen.ages[beside])}, ${told(seen, seen.ages[beside])}`);
    say($("#growing-beside span"), `Compared with: ${ageName(seen.ages[beside])}, ${told(seen, seen.ages[beside])}`);
  }
  point(here.tokens, two ? seen.ages[beside].tokens : null);
}

function told(seen, one) {
  const step = `step ${one.step.toLocaleString("en")}`;
  const of = one.of ? `${seen.past.find((parent) => parent.id === one.of)?.name}, before the fork, ` : "";
  if (one.val_loss === undefined) return `${of}${step}, before its loss was measured`;
  return `${of}${step}, validation loss ${loss(one.val_loss)}${one.measured === one.step ? "" : ` at step ${one.measured.toLocaleString("en")}`}`;
}
