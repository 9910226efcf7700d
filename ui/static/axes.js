// The horizontal axes: what they are called, where a value lies on them, how it is read.

import { count, duration } from "./format.js";

/** Dates are drawn as if they were UTC, so that they read as the person's own. */
const OFFSET_MS = new Date().getTimezoneOffset() * 60000;

export const AXES = {
  tokens: { label: "Tokens", title: "tokens", format: "~s", at: (x) => `${count(x)} tokens` },
  steps: { label: "Steps", title: "steps", format: "~s", at: (x) => `step ${Math.round(x).toLocaleString("en")}` },
  time: { label: "Time", title: "time worked", at: (x) => duration(x * 60) },
  date: { label: "Date", title: "date", at: (x) => new Date(x + OFFSET_MS).toLocaleString("en", { dateStyle: "medium", timeStyle: "medium", hour12: false }) },
};

/** A value of the server (steps, tokens, seconds) on a chart's axis, and back. Time is drawn in minutes, dates in milliseconds. */
export function placeOn(axis) {
  if (axis === "time") return (value) => value / 60;
  if (axis === "date") return (value) => value * 1000 - OFFSET_MS;
  return (value) => value;
}

export function backFrom(axis) {
  if (axis === "time") return (x) => x * 60;
  if (axis === "date") return (x) => (x + OFFSET_MS) / 1000;
  return (x) => x;
}

/** A number of the chart from what Plotly says of its axis: a date as text, a logarithm, a number. */
export function fromPlotly(value, axis, log) {
  if (axis === "date") return typeof value === "number" ? value : Date.parse(`${String(value).replace(" ", "T")}Z`);
  return log ? 10 ** Number(value) : Number(value);
}

const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 7200, 14400, 43200];

/** Round minutes, hours or days of time worked between two ends, as Plotly wants its ticks. */
export function timeTicks([low, high]) {
  const step = STEPS.find((one) => (high - low) / one <= 8) || STEPS[STEPS.length - 1];
  if (high - low < 4 || step <= 1) return { tickformat: "~f", ticksuffix: " min" };
  const ticks = [];
  for (let at = Math.ceil(Math.max(low, 0) / step) * step; at <= high; at += step) ticks.push(at);
  return { tickmode: "array", tickvals: ticks, ticktext: ticks.map(clock) };
}

function clock(minutes) {
  if (minutes < 60) return `${minutes} min`;
  const [days, hours, rest] = [Math.floor(minutes / 1440), Math.floor((minutes % 1440) / 60), minutes % 60];
  return [days && `${days} d`, hours && `${hours} h`, rest && `${rest} min`].filter(Boolean).join(" ");
}

/** 1, 2 and 5 of each power of ten that values reach, where that is more than a few; Plotly's own are too many or unlabelled. */
export function logTicks(lowest, highest) {
  if (highest / lowest < 3) return {};
  const [low, high] = [Math.log10(lowest) - 0.1, Math.log10(highest) + 0.1];
  const steps = high - low > 3 ? [1] : high - low > 1.2 ? [1, 3] : [1, 2, 3, 5, 7];
  const ticks = [];
  for (let power = Math.floor(low); power <= high; power += 1) ticks.push(...steps.map((step) => step * 10 ** power));
  return { tickmode: "array", tickvals: ticks, ticktext: ticks.map((tick) => (tick < 1 ? String(Number(tick.toPrecision(1))) : count(tick))) };
}
