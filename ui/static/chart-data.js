// The curves that a board of charts holds: read for many runs at once, read anew when another part or axis is looked at, grown while runs train.

import { extend, fromSeries } from "./curves.js";
import { placeOn } from "./axes.js";
import { get } from "./state.js";

/** Points of all curves of one chart together, and of one. */
const TOGETHER = 16000;
const [FEWEST, MOST] = [200, 1500];
/** Runs that nobody has read yet may take the server a while: they come in parts, the first one alone. */
const PART = 10;

export class Curves {
  /** `changed` is called when there is something new to draw. */
  constructor(changed) {
    this.changed = changed;
    this.held = new Map();
    this.asked = new Map();
    this.look = { axis: "tokens", zoom: null, smooth: 2.5, names: new Set(["loss"]) };
    this.waiting = Promise.resolve();
  }

  get(id) {
    const curves = this.held.get(id);
    return curves && curves.axis === this.look.axis ? curves : undefined;
  }

  /** Look at these runs in this way; what is not here is read. Resolves when it is. */
  want(ids, look) {
    this.look = look;
    const key = JSON.stringify([look.axis, look.zoom, look.smooth, [...look.names].sort()]);
    const missing = ids.filter((id) => this.asked.get(id) !== key);
    for (const id of missing) this.asked.set(id, key);
    const seen = missing.filter((id) => this.held.has(id));
    const fresh = missing.filter((id) => !this.held.has(id));
    const parts = [seen, fresh.slice(0, 1)];
    for (let at = 1; at < fresh.length; at += PART) parts.push(fresh.slice(at, at + PART));
    if (missing.length) this.waiting = this.read(parts.filter((part) => part.length), ids.length, key);
    return this.waiting;
  }

  /** Read these again. */
  again(ids) {
    for (const id of ids) this.asked.delete(id);
  }

  async read(parts, together, key) {
    const { axis, zoom, smooth } = this.look;
    const names = new Set(this.look.names);
    const points = Math.max(FEWEST, Math.min(MOST, Math.round(TOGETHER / together)));
    for (const ids of parts) {
      try {
        const answer = await get("/api/series", {
          runs: ids.join(","), x: axis, points, smooth, curves: [...names].join(","), lo: zoom && zoom[0], hi: zoom && zoom[1] });
        for (const one of answer.runs) {
          if (this.asked.get(one.run) !== key) continue; // meanwhile something else is looked at
          this.held.set(one.run, { ...fromSeries(one, placeOn(axis)), axis, part: Boolean(zoom), percent: smooth, most: points, names });
        }
      } catch (error) {
        for (const id of ids) if (this.asked.get(id) === key) this.asked.delete(id);
        console.warn(error.message);
      }
      this.changed();
    }
  }

  /** What is here of the runs that can still grow, for /api/live. */
  cursors(ids) {
    return ids.map((id) => [id, this.get(id)]).filter(([, curves]) => curves)
      .map(([id, curves]) => [id, curves.attempt, ...curves.at].join(":")).join(",");
  }

  /** New points from /api/live; says whether any curve must be read again. */
  grow(news, axis) {
    let again = false;
    for (const [id, one] of Object.entries(news)) {
      const curves = this.held.get(id);
      if (one.again) { this.again([id]); again = true; continue; }
      if (!curves || curves.axis !== axis || this.look.axis !== axis) continue;
      const place = placeOn(axis);
      extend(curves, one, place, this.look.zoom ? place(this.look.zoom[1]) : Infinity);
      // A thinned curve is read anew once it has grown by a tenth; a whole one when it becomes too long to send whole.
      const most = curves.whole ? curves.most - (curves.rows - curves.grown) : Math.max(curves.most / 4, curves.rows / 10);
      if (curves.grown > most) { this.again([id]); again = true; }
    }
    if (Object.keys(news).length) this.changed();
    return again;
  }
}
