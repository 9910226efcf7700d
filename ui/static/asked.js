// How an answer was asked: what is read from a stored one, and in words.

const NAMES = ["temperature", "top_k", "top_p", "min_p", "repetition_penalty", "max_tokens", "seed"];

/** The settings of a stored sample, as a question takes them. */
export function settingsOf(one) {
  const stop = typeof one.stop === "string" ? JSON.parse(one.stop) : one.stop || [];
  return { ...Object.fromEntries(NAMES.map((name) => [name, one[name]])), min_p: one.min_p ?? 0, repetition_penalty: one.repetition_penalty ?? 1, stop };
}

/** A stored sample as a wish to ask again: the very weights that said it, exactly as they were asked. */
export const wishOf = (one) => ({ run: one.run_id, step: one.step, prompt: one.prompt, weights: one.weights_sha256, ...settingsOf(one) });

/** The settings in one line; those that change nothing are left away. */
export function inWords(one) {
  const { seed, temperature, top_k, top_p, min_p, repetition_penalty, max_tokens, stop } = settingsOf(one);
  const parts = [`seed ${seed}`, `temperature ${temperature}`, `top-k ${top_k}`, `top-p ${top_p}`, min_p ? `min-p ${min_p}` : "",
    repetition_penalty === 1 ? "" : `repetition penalty ${repetition_penalty}`, `${max_tokens} tokens at most`,
    stop.length ? `ends before ${stop.map((text) => `“${escaped(text)}”`).join(" or ")}` : ""];
  return parts.filter(Boolean).join(", ");
}

/** Texts that end an answer, one a line, as they are typed: \n is a new line, \t a tab, \\ the sign itself. */
export const escaped = (text) => text.replace(/[\\\n\t]/g, (sign) => ({ "\\": "\\\\", "\n": "\\n", "\t": "\\t" })[sign]);
const plain = (line) => line.replace(/\\(n|t|\\)/g, (_, sign) => ({ n: "\n", t: "\t", "\\": "\\" })[sign]);
export const stopsOf = (typed) => typed.split("\n").filter(Boolean).map(plain);
