// The end of a run: what goes with it is told first, and what the time capsule has of it goes only if that is asked for.

import { $, fill, h, say } from "./dom.js";
import { bytes } from "./format.js";
import { LONG_MS, emit, get, send } from "./state.js";

const button = (label, kind, onclick, more = {}) => h("button", { type: "button", class: kind, onclick, ...more }, label);
const many = (number, one, more = `${one}s`) => `${number.toLocaleString("en")} ${number === 1 ? one : more}`;

/** Ask in place of `row`, the buttons of the run's sheet. */
export async function confirmDelete(one, row) {
  const no = button("Leave it", "strong", () => { box.replaceWith(row); $("button", row).focus(); });
  const told = h("div", { class: "told" }, h("p", {}, "Looking what goes with it…"));
  const problem = h("p", { class: "problem", role: "alert" });
  const yes = button("Delete it", "plain", () => remove(one, yes, box, problem), { disabled: true });
  const box = h("div", { class: "ask-first", role: "group", "aria-label": `Delete ${one.name}` }, h("p", {}, h("b", {}, `Delete ${one.name}?`)), told, problem, h("div", { class: "row" }, no, yes));
  row.replaceWith(box);
  no.focus();
  try {
    const frees = await get("/api/run/frees", { run: one.id });
    const also = frees.exhibits_count ? h("input", { type: "checkbox", id: "also-exhibits", onchange: () => { yes.disabled = !also.checked; } }) : null;
    fill(told, frees.refusal ? h("p", {}, frees.refusal) : whatGoes(frees), also && !frees.refusal ? exhibits(frees, also) : null);
    yes.disabled = Boolean(frees.refusal || also);
  } catch (error) {
    say(problem, error.message);
  }
  box.scrollIntoView({ block: "nearest" });
}

function whatGoes(frees) {
  const rows = [["metrics", "step"], ["evals", "evaluation"], ["samples", "answer"], ["events", "event"]].filter(([table]) => frees.rows[table])
    .map(([table, word]) => many(frees.rows[table], word));
  return h("ul", {}, h("li", {}, h("b", {}, bytes(frees.bytes)), ` of disk ${frees.bytes ? "are free at once" : "are freed: it has no files"}${frees.checkpoints ? `, with ${many(frees.checkpoints, "set")} of saved weights` : ""}.`),
    rows.length ? h("li", {}, `Its measurements and words go: ${rows.join(", ")}. The room they leave in runs.db is used again.`) : null,
    frees.children_count ? h("li", {}, `${many(frees.children_count, "run")} forked from it (${frees.children.join(", ")}${frees.children_count > frees.children.length ? ", …" : ""}) ${frees.children_count === 1 ? "stays" : "stay"} whole.`) : null,
    h("li", {}, "Nobody can bring it back. To have it out of the way only, put it away."));
}

function exhibits(frees, also) {
  const titles = frees.exhibits.map((one) => `“${one.title}”`).join(", ");
  return h("label", { class: "also" }, also, h("span", {}, `Also remove its ${many(frees.exhibits_count, "exhibit")} from the time capsule: `,
    h("small", {}, titles + (frees.exhibits_count > frees.exhibits.length ? " and more" : ""))));
}

async function remove(one, yes, box, problem) {
  yes.disabled = true;
  say(yes, "Deleting…");
  say(problem, "");
  try {
    const freed = await send("/api/run/delete", { run: one.id, exhibits: Boolean($("#also-exhibits", box)?.checked) }, LONG_MS);
    $("#run-sheet").close();
    $("#runs-title").focus({ preventScroll: true });
    emit("runs-said", `${one.name} is deleted; ${bytes(freed.bytes)} of disk are free again.`);
  } catch (error) {
    say(problem, error.message);
    yes.disabled = false;
    say(yes, "Delete it");
  }
  emit("look");
}
