// Whether a dataset may be called so: told at the field of its name, while it is typed.

import { $, say } from "./dom.js";
import { send } from "./state.js";

const NAME = /^(?!\.)[A-Za-z0-9._-]{1,64}$/;
const PAUSE_MS = 250;
const HELP = "What runs call it: letters, digits, . _ -";
const FREE = { kind: "", sentence: "", wrong: false };
let typing = 0;
let asked = 0;

/** As `judge`, once typing has paused; signs that no name has are told at once. `recipe` is called then. */
export function judgeSoon(recipe) {
  clearTimeout(typing);
  if (!show(signs())) return;
  typing = setTimeout(() => judge(recipe()), PAUSE_MS);
}

/** What stands against the name: {kind, sentence, wrong}; a stopped job of another recipe (kind parts) is told, not wrong. */
export async function judge(recipe) {
  clearTimeout(typing);
  const ticket = (asked += 1);
  const name = $("#prepare-name").value.trim();
  let found = signs();
  if (!found && name) {
    try {
      found = await send("/api/prepare/name", { name, recipe });
    } catch {
      found = FREE; // the server says it again at Start
    }
  }
  const told = { ...FREE, ...found, wrong: Boolean(found?.kind) && found.kind !== "parts" };
  if (ticket === asked) show(told);
  return told;
}

function signs() {
  const name = $("#prepare-name").value.trim();
  return !name || NAME.test(name) ? null : { kind: "name", sentence: "Only 1 to 64 of the letters a to z, digits and . _ - make a name, with no dot in front.", wrong: true };
}

/** Mark the field; whether there is nothing to tell. */
function show(told) {
  const field = $("#prepare-name");
  if (told?.wrong) field.setAttribute("aria-invalid", "true");
  else field.removeAttribute("aria-invalid");
  field.closest("label").dataset.told = told?.kind || "";
  say($("#help-prepare-name"), told?.sentence || HELP);
  return !told?.kind;
}
