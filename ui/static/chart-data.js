// The curves that a board of charts holds: read for many runs at once, read anew when another part or axis is looked at, grown while runs train.

import { extend, fromSeries } from "./curves.js";
import { placeOn } from "./axes.js";
import { get } from "./state.js";

/** Points of all curves of one chart together, and of one. */
const TOGETHER = 12000;
const [FEWEST, MOST] = [200, 1200];
/** A server that has not read these runs yet takes a second for a million steps. */
const PATIENCE_MS = 120000;

export class Curves {
  /** `changed` is called with the names of the curves that are new. */
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

  /** Look at these runs in this way; what is not here is read, the first run before the others. Resolves when it is. */
  want(ids, look) {
    this.ids = ids;
    this.look = { ...look, names: new Set(look.names) };
    const key = JSON.stringify([look.axis, look.zoom, look.smooth]);
    const lacking = new Map();
    for (const id of ids) {
      const asked = this.asked.get(id);
      const names = asked?.key === key ? [...look.names].filter((name) => !asked.names.has(name)) : [...look.names];
      if (!names.length) continue;
      this.asked.set(id, { key, names: new Set(look.names) });
      const group = names.join(",");
      lacking.set(group, [...(lacking.get(group) || []), id]);
    }
    const parts = [...lacking].flatMap(([names, group]) => (this.held.has(group[0]) ? [[names, group]] : [[names, group.slice(0, 1)], [names, group.slice(1)]]));
    const wanted = parts.filter(([, group]) => group.length);
    if (wanted.length) this.waiting = this.read(wanted, ids.length, key);
    return this.waiting;
  }

  /** Read these again. */
  again(ids) {
    for (const id of ids) this.asked.delete(id);
  }

  /** Read ahead what a gesture may come to; of several such looks the newest, one at a time. `want` takes it from here. */
  foresee(ids, look) {
    this.latest = [ids, look];
    this.coming = request(ids, [...look.names].join(","), look, pointsOf(ids.length));
    if (this.ahead?.busy) return;
    const asked = this.coming;
    const ahead = this.ahead = { key: JSON.stringify(asked), busy: true, answer: get("/api/series", asked, PATIENCE_MS) };
    ahead.answer.catch(() => null).then(() => {
      ahead.busy = false;
      if (this.ahead === ahead && this.coming !== asked) this.foresee(...this.latest);
    });
  }

  /** What the server says, which may be on its way already. */
  answerTo(asked) {
    const { ahead } = this;
    this.ahead = this.coming = null;
    return ahead?.key === JSON.stringify(asked) ? ahead.answer : get("/api/series", asked, PATIENCE_MS);
  }

  async read(parts, together, key) {
    const { axis, zoom, smooth } = this.look;
    const points = pointsOf(together);
    for (const [names, ids] of parts) {
      try {
        const answer = await this.answerTo(request(ids, names, this.look, points));
        const facts = { axis, key, part: Boolean(zoom), percent: smooth, most: points, names: new Set(names.split(",")) };
        for (const one of answer.runs) if (this.asked.get(one.run)?.key === key) this.keep({ ...fromSeries(one, placeOn(axis)), ...facts });
      } catch (error) {
        this.again(ids);
        console.warn(error.message);
      }
      this.changed(names.split(","));
    }
    if (this.ids.some((id) => !this.asked.has(id)) && this.stale) { this.stale = false; await this.want(this.ids, this.look); }
  }

  /** Some curves of a run, beside those that are here if they were read at the same step. */
  keep(curves) {
    const held = this.held.get(curves.run);
    const all = this.asked.get(curves.run).names;
    if ([...all].every((name) => curves.names.has(name)) || held?.key !== curves.key) { this.held.set(curves.run, curves); return; }
    if (String(held.at) !== String(curves.at)) { this.again([curves.run]); this.stale = true; return; }
    for (const table of ["m", "s", "e"]) Object.assign(held[table], curves[table]);
    for (const name of curves.names) held.names.add(name);
  }

  /** What is here of the runs that can still grow, for /api/live. */
  cursors(ids) {
    return ids.map((id) => [id, this.get(id)]).filter(([, curves]) => curves)
      .map(([id, curves]) => [id, curves.attempt, ...curves.at].join(":")).join(",");
  }

  /** New points from /api/live; a curve that must be read again is forgotten until it is wanted. */
  grow(news, axis) {
    for (const [id, one] of Object.entries(news)) {
      const curves = this.held.get(id);
      if (one.again) { this.again([id]); continue; }
      if (!curves || curves.axis !== axis || this.look.axis !== axis) continue;
      const place = placeOn(axis);
      extend(curves, one, place, this.look.zoom ? place(this.look.zoom[1]) : Infinity);
      // A thinned curve is read anew once it has grown by a tenth, or by as many points as were sent, which take memory in every
      // chart; a whole one when it becomes too long to send whole.
      const most = curves.whole ? curves.most - (curves.rows - curves.grown) : Math.max(curves.most / 4, Math.min(curves.rows / 10, curves.most));
      if (curves.grown > most) this.again([id]);
    }
  }
}

const pointsOf = (together) => Math.max(FEWEST, Math.min(MOST, Math.round(TOGETHER / together)));

const request = (ids, names, { axis, zoom, smooth }, points) => ({
  runs: ids.join(","), x: axis, points, smooth, curves: names, lo: zoom && zoom[0], hi: zoom && zoom[1] });
