// Before Start: what a run with the chosen settings would need, measured for some seconds on the device.

import { $, fill, h, say } from "./dom.js";
import { bytes, clock, date, duration, speed } from "./format.js";
import { Away, emit, on, stream } from "./state.js";

let asked = null;
let under = null;
let last = null;

export function mount() {
  $("#preflight button").addEventListener("click", () => (under ? cancelMeasuring() : measure()));
  document.addEventListener("keydown", (event) => event.key === "Escape" && under && cancelMeasuring());
  on("selected", () => !under && doing(""));
}

/** Show what is known for the settings of `answer`; `what` they are as they are sent, null where they cannot be measured now. */
export function offerMeasuring(answer, what) {
  asked = answer.error ? null : what;
  $("#preflight").hidden = !asked && !under;
  if (!under) say($("#preflight button"), answer.measurement ? "Measure again" : "Measure here");
  if (last && JSON.stringify(asked) !== last) {
    last = null;
    doing("");
  }
  show(answer.error ? null : answer.measurement);
}

/** "measured at 14:05", or the day if that was another one. */
export function measured({ measured_at: at }) {
  const today = date(at) === date(Date.now() / 1000);
  return today ? `measured at ${clock(at).slice(0, 5)}` : `measured on ${date(at)}`;
}

/** End the measurement that is under way; its process ends with its stream. */
export function cancelMeasuring() {
  under?.abort();
}

async function measure() {
  const mine = (under = new AbortController());
  last = JSON.stringify(asked);
  let problem = "The measurement ended without a result.";
  say($("#preflight button"), "Cancel");
  $("#preflight").setAttribute("aria-busy", "true");
  doing("Starting the measurement");
  try {
    await stream("/api/preflight", asked, (line) => {
      if (line.measurement) problem = "";
      else if (line.error) problem = line.error;
      else doing(line.message, line.tokens_per_second);
    }, mine.signal);
  } catch (error) {
    problem = error instanceof Away || error instanceof Error ? error.message : problem;
  }
  under = null;
  say($("#preflight button"), problem ? "Measure here" : "Measure again");
  $("#preflight").removeAttribute("aria-busy");
  doing(mine.signal.aborted ? "Cancelled." : problem || "Measured.");
  $("#preflight .doing").classList.add(...(mine.signal.aborted ? [] : [problem ? "problem" : "sr"]));
  if (!problem) $("#preflight details").open = true;
  emit("measured");
}

/** The stage is read aloud, the speed that changes four times a second is not. */
function doing(stage, pace) {
  $("#preflight .doing").classList.remove("problem", "sr");
  say($("#preflight .doing"), stage);
  say($("#preflight .pace"), pace ? speed(pace) : "");
}

function show(found) {
  const details = $("#preflight details");
  details.hidden = !found;
  if (!found) return;
  const ends = clock(Date.now() / 1000 + found.seconds).slice(0, 5);
  const days = found.seconds > 86400 ? `, ${date(Date.now() / 1000 + found.seconds)}` : "";
  say($("summary", details), measured(found).replace(/^m/, "M"));
  fill($("dl", details), [
    ["In one pass", `${found.micro_batch.toLocaleString("en")} ${found.micro_batch === 1 ? "row" : "rows"}`],
    ["Peak memory", `${bytes(found.memory)} of ${bytes(found.memory_there)}`, found.memory > found.memory_there],
    ["Speed", speed(found.tokens_per_second)],
    ["Takes", `${duration(found.seconds)}, started now until ${ends}${days}`],
    ["Disk", `${bytes(found.disk)} of ${bytes(found.disk_free)} free`, found.disk > found.disk_free],
    ["Cost", found.cost]].filter(([, value]) => value).map(([label, value, much]) =>
    [h("dt", {}, label), h("dd", { class: much ? "much" : null }, value, much ? h("b", {}, " More than there is") : null)]));
  const notes = [found.scaled ? `Measured with ${found.scaled}; the rest is worked out.` : "", found.crowded, ...found.notes];
  fill($(".notes", details), notes.filter(Boolean).map((note) => h("p", { class: "note" }, note)));
}
