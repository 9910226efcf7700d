// Who is asked in Play: a run and an age, or up to four of them side by side.

import { $, $$, h, options, say } from "./dom.js";
import { age, isOpen } from "./format.js";
import { ABOUT, NOW, ageOf, now } from "./live-talk.js";
import { get, run, runById, state } from "./state.js";

const MOST = 4;
let changed = () => {};
let rows = [];

export function mount(told) {
  changed = told;
  rows = [new Who($("#whos .who"))];
  $("#beside").addEventListener("click", () => another());
}

/** Runs that can be asked. */
const own = () => state.runs.filter((one) => one.kind !== "published");

/** One run and one age. */
class Who {
  constructor(element) {
    this.element = element;
    [this.run, this.age] = $$("select", element);
    this.ages = [];
    this.run.addEventListener("change", () => { this.run.dataset.chosen = "yes"; this.read(); changed(); });
    this.age.addEventListener("change", note);
  }

  people() {
    options(this.run, own().length ? own().map((one) => [one.id, one.name]) : [["", "No model yet: start one on the Train tab"]]);
  }

  /** The ages of its run; `wanted` is one to choose, -1 the newest. */
  async read(wanted = null) {
    const id = this.run.value;
    if (!id) { this.ages = []; options(this.age, [["", "–"]]); return note(); }
    const facts = state.tab === "play" ? await get("/api/run", { run: id }).catch(() => null) : null;
    if (!facts || this.run.value !== id) return undefined;
    this.ages = facts.ages;
    const [newest, ...older] = [...this.ages].reverse();
    const exact = (one) => [String(one.step), `${age(one.tokens)}, step ${one.step.toLocaleString("en")}`];
    const chosen = wanted ?? Number(this.age.value || -1);
    options(this.age, !newest ? [["-1", "Nothing saved yet"], ...now(runById(id))]
      : [["-1", `Newest: ${newest.tokens ? age(newest.tokens) : "before its first step"}`], ...now(runById(id)), ...(newest.step === chosen ? [exact(newest)] : []), ...older.map(exact)]);
    if (wanted !== null && this.ages.some((one) => one.step === wanted)) this.age.value = String(wanted);
    return note();
  }

  /** Where its age stands among the ages of its run. */
  place() {
    const at = this.ages.findIndex((one) => String(one.step) === this.age.value);
    return at < 0 ? this.ages.length - 1 : at;
  }

  asked() {
    const one = this.ages[this.place()];
    return { run: this.run.value, step: ageOf(this.age), name: runById(this.run.value)?.name || "", old: one ? age(one.tokens) : "" };
  }
}

/** One more, of the age that is farthest from those of the same run that are asked already. */
async function another() {
  if (rows.length >= MOST || !rows[0].run.value) return;
  const element = h("div", { class: "who" }, field("Who"), field("How old"),
    h("button", { type: "button", class: "quiet leave", "aria-label": "Do not ask this one" }, "✕"));
  const one = new Who(element);
  $(".leave", element).addEventListener("click", () => leave(one));
  rows.push(one);
  $("#whos").append(element);
  one.people();
  one.run.value = rows[0].run.value;
  one.run.dataset.chosen = "yes";
  shown();
  await one.read();
  const taken = rows.filter((other) => other !== one && other.run.value === one.run.value).map((other) => other.place());
  const far = (at) => Math.min(...taken.map((other) => Math.abs(other - at)));
  const best = one.ages.reduce((found, _, at) => (far(at) > far(found) ? at : found), 0);
  if (one.ages.length) one.age.value = best === one.ages.length - 1 ? "-1" : String(one.ages[best].step);
}

const field = (label) => h("label", { class: "field" }, h("span", {}, label), h("select"));

function leave(one) {
  rows = rows.filter((other) => other !== one);
  one.element.remove();
  shown();
  $("#beside").focus();
}

function shown() {
  $("#panel-play").classList.toggle("together", rows.length > 1);
  $("#beside").disabled = !rows[0].run.value || rows.length >= MOST;
  say($("#beside"), rows.length > 1 ? "And another one" : "Ask another one beside it");
  changed();
}

/** Fill in the runs and the ages of all rows anew. */
export function people() {
  for (const one of rows) one.people();
  const first = rows[0].run;
  if (run() && run().kind !== "published" && !first.dataset.chosen) first.value = state.selected;
  shown();
  return readAges();
}

export const readAges = () => Promise.all(rows.map((one) => one.read()));

/** Only this run, at this age (-1: its newest). */
export async function choose(id, step = -1) {
  for (const other of rows.slice(1)) other.element.remove();
  rows = rows.slice(0, 1);
  rows[0].people();
  rows[0].run.value = id;
  rows[0].run.dataset.chosen = "yes";
  rows[0].age.value = "-1";
  shown();
  await rows[0].read(step);
}

/** Everybody who is asked, each with the words for it. */
export const chosen = () => rows.map((one) => one.asked()).filter((one) => one.run);

/** What one may wonder about while choosing whom to ask. */
function note() {
  const { run: select, ages } = rows[0];
  const one = runById(select.value);
  const newest = ages[ages.length - 1];
  const words = run()?.kind === "published" && one ? `The weights of ${run().name} are not part of this home, so it cannot be asked; ${one.name} can.`
    : one && rows[0].age.value === NOW ? ABOUT
    : one && isOpen(one) && newest && !newest.tokens ? "It has only just begun: until its first save you talk to random numbers." : "";
  $("#who-note").hidden = !words;
  say($("#who-note"), words);
}
