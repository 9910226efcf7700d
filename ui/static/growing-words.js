// What one run answered at its ages, read in blocks around the age that is looked at, so that moving to a neighbour waits for nothing.

import { get } from "./state.js";

/** Ages of one prompt that are read at once; the server gives 200 at most. */
const BLOCK = 60;
/** Ages whose page with all prompts is kept. */
const PAGES = 400;
let run = "";
let prompts = new Map();
let pages = new Map();
let changes = new Map();
let under = new Map();

/** Begin with another run, or with another attempt at it: what a resumed run did again is said anew. */
export function forget(id) {
  run = id;
  [prompts, pages, changes, under] = [new Map(), new Map(), new Map(), new Map()];
}

/** Ask again, when it is looked at, where no answer was found: an age may be seen before all of its answers are written. */
export function freshen() {
  for (const known of prompts.values()) {
    for (const [step, sample] of known) if (!sample) known.delete(step);
  }
}

const keyOf = ({ suite, prompt }) => `${suite}\n${prompt}`;

/** The answer to a prompt at a step, null where it was not asked, undefined where that has not been read. */
export const answer = (prompt, step) => prompts.get(keyOf(prompt))?.get(step);
export const page = (age) => {
  const known = pages.get(age.step);
  return known?.answers === age.answers ? known.samples : undefined;
};
export const change = (before, after) => changes.get(`${before} ${after}`);

/** One request at a time for the same thing, forgotten when the run is another one by then. */
function once(key, read) {
  if (!under.has(key)) {
    const mine = under;
    mine.set(key, read().finally(() => mine.delete(key)));
  }
  return under.get(key);
}

/** The answers to a prompt around `ages[at]`. */
export function readAnswers(prompt, ages, at) {
  const block = ages.slice(Math.floor(at / BLOCK) * BLOCK).slice(0, BLOCK);
  if (!block.length || block.every((age) => answer(prompt, age.step) !== undefined)) return Promise.resolve();
  const [first, last] = [block[0].step, block[block.length - 1].step];
  return once(`${keyOf(prompt)} ${first} ${last}`, async () => {
    const held = prompts;
    const { samples } = await get("/api/growing/answers", { run, suite: prompt.suite, prompt: prompt.prompt, first, last });
    const known = held.get(keyOf(prompt)) || new Map();
    held.set(keyOf(prompt), known);
    for (const age of block) if (!known.get(age.step)) known.set(age.step, null);
    for (const sample of samples) if (known.has(sample.step)) known.set(sample.step, known.get(sample.step) || sample);
  });
}

/** The blocks beside it, while nothing else waits; one that cannot be read now is read when it is looked at. */
export async function readAhead(prompt, ages, at) {
  for (const near of [at + BLOCK, at - BLOCK]) {
    if (near < 0 || Math.floor(near / BLOCK) * BLOCK >= ages.length) continue;
    await readAnswers(prompt, ages, Math.min(near, ages.length - 1)).catch(() => null);
  }
}

/** All prompts of one age. */
export function readPage(age) {
  if (page(age)) return Promise.resolve();
  return once(`page ${age.step} ${age.answers}`, async () => {
    const held = pages;
    const { samples } = await get("/api/growing/age", { run, step: age.step });
    held.set(age.step, { answers: age.answers, samples });
    if (held.size > PAGES) held.delete(held.keys().next().value);
  });
}

export async function readPagesNear(ages, at) {
  for (const near of [at + 1, at - 1, at + 2, at + 3]) {
    if (ages[near]) await readPage(ages[near]).catch(() => null);
  }
}

/** Which words two answers share. */
export function readChange(before, after) {
  if (change(before, after)) return Promise.resolve();
  return once(`change ${before} ${after}`, async () => {
    const held = changes;
    held.set(`${before} ${after}`, await get("/api/growing/changes", { before, after }));
  });
}
