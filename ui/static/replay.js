// "Replay": an exhibit is asked again, with its own weights, seed and settings; is it word for word the same?

import { fill, h, say } from "./dom.js";
import { send } from "./state.js";
import { follow } from "./work.js";

/** A button, and where its answer will stand. */
export function replayPart(exhibit) {
  const said = h("div", { class: "replayed", role: "status" });
  const button = h("button", { type: "button", class: "plain", id: "replay" }, "Replay");
  button.addEventListener("click", async () => {
    button.disabled = true;
    fill(said, h("p", { class: "note" }, "Asking its own weights again…"));
    try {
      const [verdict] = await follow((await send("/api/replay", { exhibit: exhibit.id })).job);
      tell(said, verdict);
    } catch (error) {
      fill(said, h("p", { class: "problem" }, error.message));
    }
    button.disabled = false;
    say(button, "Replay again");
  });
  return { button, said };
}

function tell(place, { state, sentence, was, now }) {
  place.dataset.state = state;
  const signs = { same: "=", different: "≠", "words only": "…" };
  fill(place, h("p", {}, h("b", { "aria-hidden": "true" }, signs[state]), " ", sentence),
    state === "different" ? h("dl", { class: "plain" }, h("dt", {}, "It said"), h("dd", { class: "words" }, was || "nothing more"), h("dt", {}, "It says now"), h("dd", { class: "words" }, now || "nothing more")) : null);
}
