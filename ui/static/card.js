// One exhibit as a card; pinned ones stand in front, in an order that is changed here. All its texts are text nodes.

import { $, $$, h } from "./dom.js";
import { mark } from "./categories.js";
import { askAgain, lossThen, miniature, open, said, settings } from "./exhibit.js";
import { age, date } from "./format.js";
import { send } from "./state.js";
import { marked } from "./texts.js";
import { tell, want } from "./wanted.js";

const PIN = "M7 2h6l-1 5 3 3v2h-4v5l-1 2-1-2v-5H5v-2l3-3z";

/** `again` draws the gallery anew after the card has moved. */
export function card(one, curve, query, again) {
  const published = one.run_kind === "published";
  const link = (event) => { if (!event.ctrlKey && !event.metaKey) { event.preventDefault(); open(one.id); } };
  return h("article", { class: `exhibit${one.place === null ? "" : " pinned"}`, tabindex: "-1", "data-id": String(one.id) },
    h("div", { class: "card-top" }, mark(one.category), order(one, again)),
    h("h2", {}, h("a", { href: `?tab=capsule&exhibit=${one.id}`, onclick: link }, marked(one.title, query))),
    said(one, query),
    h("button", { type: "button", class: "quiet read", hidden: true, "aria-label": `Read on: ${one.title}`, onclick: () => open(one.id) }, "Read on"),
    one.note && one.text ? h("p", { class: "note" }, marked(one.note, query)) : null,
    tagList(one),
    h("div", { class: "foot" }, miniature(curve, one), h("p", { title: settings(one) }, h("b", {}, marked(one.run_name, query)),
      h("br"), published ? "published, December 2025" : `${age(one.tokens)}, ${lossThen(one)}`, h("br"),
      published ? "500 M tokens, counted" : date(one.created_at))),
    published || one.source === "live" ? null : h("button", { type: "button", class: "plain", onclick: () => askAgain(one) }, "Ask again"));
}

/** Its tags; each shows all exhibits that have it. */
function tagList(one) {
  return one.tags.length ? h("div", { class: "chips tagged" }, one.tags.map((tag) => h("button", { type: "button", class: "tag", "aria-label": `Show all tagged ${tag}`,
    onclick: () => want({ tagged: tag }) }, tag))) : null;
}

function order(one, again) {
  const pinned = one.place !== null;
  const button = (name, label, path, onclick, more = {}) => h("button", { type: "button", class: `sign ${name}`, "aria-label": label, title: label.split(":")[0], onclick, ...more },
    h("svg", { viewBox: "0 0 20 20", "aria-hidden": "true" }, h("path", { d: path })));
  const step = (after) => async () => {
    const cards = $$("#gallery .exhibit.pinned");
    const beside = cards[cards.findIndex((card) => card.dataset.id === String(one.id)) + (after ? 1 : -1)];
    if (!beside) return tell(after ? "It is the last of the pinned exhibits on this page." : "It is the first of the pinned exhibits.");
    return change("/api/place", { exhibit: one.id, beside: Number(beside.dataset.id), after }, after ? ".later" : ".earlier");
  };
  const change = async (path, what, focus) => {
    try {
      await send(path, what);
      await again();
    } catch (error) {
      tell(error.message);
    }
    $(`#gallery [data-id="${one.id}"] ${focus}`)?.focus();
  };
  return h("div", { class: "order" }, pinned ? [button("earlier", `Move earlier: ${one.title}`, "M12 4l-6 6 6 6", step(false)), button("later", `Move later: ${one.title}`, "M8 4l6 6-6 6", step(true))] : null,
    button("pin", pinned ? `Take the pin off: ${one.title}` : `Pin, to stand in front: ${one.title}`, PIN,
      () => change("/api/pin", { exhibit: one.id, pinned: !pinned }, ".pin"), { "aria-pressed": String(pinned) }));
}
