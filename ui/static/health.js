// Whether home and machine are well, as the doctor says, and the backup of the database.

import { $, fill, h, say } from "./dom.js";
import { bytes } from "./format.js";
import { LONG_MS, get, on, send, state } from "./state.js";

const SIGNS = { ok: ["M4 10.5l4 4 8-9", "well"], warning: ["M10 4v8M10 15.5v.5", "mind"], problem: ["M5 5l10 10M15 5L5 15", "problem"] };

export function mount() {
  on("tab", (tab) => tab === "data" && examine());
  on("datasets", () => state.tab === "data" && examine());
  $("#look-again").addEventListener("click", examine);
  $("#back-up").addEventListener("click", backUp);
}

/** What the doctor finds, which takes a moment: asked for when the tab is opened and when a dataset came or went. */
async function examine() {
  const list = $("#health ul");
  list.setAttribute("aria-busy", "true");
  $("#look-again").disabled = true;
  if (!list.children.length) fill(list, h("li", { class: "note" }, "Looking…"));
  try {
    fill(list, (await get("/api/health", {}, LONG_MS)).findings.map(finding));
  } catch (error) {
    fill(list, h("li", { class: "problem" }, error.message));
  }
  $("#look-again").disabled = false;
  list.setAttribute("aria-busy", "false");
}

function finding(one) {
  const [path, word] = SIGNS[one.state];
  return h("li", { "data-state": one.state }, h("span", { class: "mark" }, h("svg", { viewBox: "0 0 20 20", "aria-hidden": "true" }, h("path", { d: path })),
    h("span", { class: "sr" }, word)), h("b", {}, one.name), h("span", {}, one.sentence));
}

async function backUp() {
  const button = $("#back-up");
  button.disabled = true;
  say($("#backed-up"), "Copying…");
  try {
    const made = await send("/api/backup", {}, LONG_MS);
    say($("#backed-up"), `Kept as backups/${made.name} in this home, ${bytes(made.bytes)}.`);
  } catch (error) {
    say($("#backed-up"), error.message);
  }
  button.disabled = false;
}
