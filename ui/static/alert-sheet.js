// "Tell me": what is told about runs, by the browser and through a webhook, and what was told lately.

import { $, $$, fill, h, say, shutByBackdrop } from "./dom.js";
import { moment } from "./format.js";
import { LONG_MS, get, send } from "./state.js";
import { TONES, notifies, notify } from "./alerts.js";

const WORDS = { sent: "sent", failed: "could not be sent", waiting: "", quiet: "" };
let watch = () => {};
let parts = {};

export function mount(given) {
  ({ watch } = given);
  const dialog = h("dialog", { id: "tell-sheet", class: "sheet", "aria-labelledby": "tell-title" });
  shutByBackdrop(dialog);
  dialog.addEventListener("close", () => { parts = {}; fill(dialog); });
  $("#topbar").after(dialog);
  $("#tell-me").addEventListener("click", open);
}

const button = (label, kind, onclick, more = {}) => h("button", { type: "button", class: kind, onclick, ...more }, label);

export async function open() {
  const dialog = $("#tell-sheet");
  fill(dialog, h("div", { class: "whole" }, h("h2", { id: "tell-title", tabindex: "-1", autofocus: true }, "Tell me"), h("p", { class: "note" }, "Opening…")));
  dialog.showModal();
  dialog.scrollTop = 0;
  try {
    const [settings, { alerts }] = await Promise.all([get("/api/alerts/settings"), get("/api/alerts")]);
    if (dialog.open) draw(settings, alerts);
  } catch (error) {
    if (dialog.open) say($(".note", dialog), error.message);
  }
}

function draw(settings, alerts) {
  parts = {
    said: h("p", { class: "note", role: "status" }), problem: h("p", { class: "problem", role: "alert" }),
    address: h("input", { type: "text", inputmode: "url", id: "tell-webhook", autocomplete: "off", spellcheck: "false", maxlength: "2000", "aria-describedby": "tell-webhook-help" }),
    help: h("small", { id: "tell-webhook-help" }), remove: button("Remove the webhook", "quiet", () => act(save({ webhook: "" }), "Nothing is sent any more.")),
    format: h("select", { id: "tell-format", onchange: keyShown }, h("option", { value: "json" }, "JSON"), h("option", { value: "plain" }, "Plain text")),
    key: h("input", { type: "text", id: "tell-key", maxlength: "64", autocomplete: "off", spellcheck: "false", value: settings.key }),
    template: h("input", { type: "text", id: "tell-template", maxlength: "1000", autocomplete: "off", value: settings.template }),
  };
  parts.format.value = settings.format;
  parts.keyField = field("tell-key", "Key of the text", parts.key, "text for Slack and Mattermost, content for Discord");
  known(settings);
  keyShown();
  fill($("#tell-sheet"), h("article", { class: "whole" }, h("h2", { id: "tell-title", tabindex: "-1" }, "Tell me"),
    h("form", { onsubmit: (event) => { event.preventDefault(); act(save(), "Saved."); } },
      h("fieldset", { class: "kinds" }, h("legend", {}, "About a run, when"), Object.entries(settings.known).map(([kind, means]) => h("label", {},
        h("input", { type: "checkbox", value: kind, checked: settings.kinds.includes(kind) }), h("span", {}, h("b", {}, kind), h("small", {}, means))))),
      browserPart(),
      h("fieldset", { class: "hook" }, h("legend", {}, "Through a webhook"), field("tell-webhook", "Address", parts.address, parts.help),
        h("div", { class: "pair" }, field("tell-format", "Sent as", parts.format, "plain text for ntfy"), parts.keyField),
        field("tell-template", "Text", parts.template, `Filled in: ${settings.placeholders.map((name) => `{${name}}`).join(" ")}`)),
      parts.problem, parts.said,
      h("div", { class: "row" }, h("button", { type: "submit", class: "strong" }, "Save"), button("Save and send a test", "plain", test), parts.remove, button("Close", "quiet", () => $("#tell-sheet").close()))),
    h("section", { class: "told" }, h("h3", {}, "Alerts"), alerts.length ? h("ol", {}, alerts.reverse().map(line)) : h("p", { class: "note" }, "Nothing has happened yet."))));
  $("#tell-title").focus({ preventScroll: true });
}

const field = (id, label, input, help) => h("div", { class: "field" }, h("label", { for: id }, label), input, typeof help === "string" ? h("small", {}, help) : help);

function browserPart() {
  const state = h("p", { class: "note", role: "status" });
  const act = button("", "plain", async () => { say(state, await notify(!notifies())); named(); });
  const named = () => { say(act, notifies() ? "Stop telling here" : "Tell me in this browser"); };
  named();
  return h("fieldset", {}, h("legend", {}, "In this browser, also while the page is hidden"), act, state);
}

function line(alert) {
  const sent = WORDS[alert.state] || "";
  return h("li", { "data-tone": TONES[alert.kind] || "warn" }, h("time", {}, moment(alert.at)), h("div", {},
    h("p", {}, button(alert.name, "name", () => watch(alert.run_id), { "aria-label": `See the run ${alert.name}` }), ` ${alert.kind}`, sent ? h("small", {}, ` · ${sent}`) : null),
    h("p", { class: "said" }, alert.message), alert.error ? h("p", { class: "note" }, alert.error) : null));
}

function keyShown() {
  parts.keyField.hidden = parts.format.value !== "json";
}

/** Show what is known of the webhook: its host; the address itself is kept on the server. */
function known(settings) {
  parts.address.value = "";
  parts.address.placeholder = settings.webhook ? `${settings.webhook} – type another to replace it` : "https://…";
  say(parts.help, settings.webhook ? `Alerts go to ${settings.webhook}. Its whole address is a secret and is not shown again.`
    : "An address that Slack, Discord, Mattermost, ntfy and others give you; kept in this home, shown to nobody.");
  parts.remove.hidden = !settings.webhook;
}

async function save(also = {}) {
  const typed = parts.address.value.trim();
  const kinds = $$(".kinds input:checked", $("#tell-sheet")).map((box) => box.value);
  const settings = await send("/api/alerts/settings", { kinds, format: parts.format.value, key: parts.key.value, template: parts.template.value, ...(typed ? { webhook: typed } : {}), ...also });
  if (parts.address) known(settings);
}

function test() {
  act(save().then(() => send("/api/alerts/test", {}, LONG_MS)).then((answer) => answer.said), "");
}

/** Say what came of something, with the buttons at rest meanwhile. */
async function act(work, done) {
  const { said, problem } = parts;
  const buttons = $$("#tell-sheet form .row button");
  say(said, "One moment…");
  say(problem, "");
  for (const one of buttons) one.setAttribute("aria-disabled", "true");
  try {
    const answer = await work;
    say(said, done || answer);
  } catch (error) {
    say(said, "");
    say(problem, error.message);
  }
  for (const one of buttons) one.removeAttribute("aria-disabled");
}
