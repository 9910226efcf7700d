"""Where a run is going, for the page: its end and band, when that is, and how it stands beside others."""

import threading
import time
from typing import Any

import numpy as np
from sqlite_utils import Database

from engine import config, store
from engine.forecast import Array, Curve, forecast, remaining, standing
from engine.inflight import course
from engine.store import Row
from ui.columns import SeriesCache
from ui.curves import check_axis
from ui.series import number, numbers

TOO_EARLY = "Too early to tell where it ends: a forecast comes once a twentieth of the steps is done."
UNKNOWN = "What it has measured so far does not tell where it ends."
SHARE = 0.05
"""Of its steps that a run must have made; before, the warm-up is all that there is."""


class Outlook:
    """Forecasts of the runs looked at, each computed again only when its run was evaluated since."""

    def __init__(self, cache: SeriesCache) -> None:
        self.cache = cache
        self._held: dict[str, tuple[tuple[Any, ...], Curve | None]] = {}
        self._lock = threading.Lock()

    def of(self, db: Database, run: Row, runs: list[Row], axis: str) -> dict[str, Any]:
        """The answer of /api/forecast; `runs` are all runs, newest first."""
        check_axis(axis)
        answer: dict[str, Any] = {"run": run["id"], "x": axis, "beside": self.beside(db, run, runs)}
        if run["kind"] == "published" or run["status"] not in (*store.OPEN, *store.RESUMABLE):
            return answer
        metrics = self.cache.metrics(db, run["id"], run["attempt"], ("step", "elapsed_seconds"))
        steps, elapsed = metrics["step"], metrics["elapsed_seconds"]
        left = remaining(steps, elapsed, run["total_steps"])
        if left and run["status"] in store.OPEN:
            answer["eta"] = {name: number(getattr(left, name), 4) for name in ("seconds", "low", "high")}
        if run["step"] < SHARE * run["total_steps"]:
            return answer | {"why": TOO_EARLY}
        curve = self._curve(db, run)
        if curve is None:
            return answer | {"why": UNKNOWN}
        pace = (elapsed[-1] - elapsed[0]) / max(steps[-1] - steps[0], 1) if len(steps) > 1 else 0.0
        later = (curve.steps - curve.steps[0]) * pace
        x = {
            "steps": curve.steps,
            "tokens": curve.steps * (run["target_tokens"] / run["total_steps"]),
            "time": (elapsed[-1] if len(elapsed) else 0.0) + later,
            "date": (run["ended_at"] or time.time()) + later,
        }[axis]
        end = {name: number(float(getattr(curve, name)[-1]), 4) for name in ("loss", "low", "high")}
        band = {name: numbers(getattr(curve, name), 4) for name in ("loss", "low", "high")}
        return answer | {"end": end, "curve": {"x": numbers(x, 12), **band}}

    def beside(self, db: Database, run: Row, runs: list[Row]) -> list[dict[str, Any]]:
        """How far it is ahead of the run before it that read the same text, and of the published one, in nats."""
        own = self._evaluated(db, run)
        earlier = [
            other
            for other in runs
            if other["kind"] == "trained" and other["dataset"] == run["dataset"] and other["val_loss"] is not None
        ]
        before = [other for other in earlier if other["created_at"] < run["created_at"]][:1]
        published = [other for other in runs if other["kind"] == "published" and other["id"] != run["id"]]
        found = []
        for other in before + published:
            stands = standing(own, self._evaluated(db, other))
            if stands.same_tokens is not None or stands.same_minutes is not None:
                found.append(
                    {
                        "run": other["id"],
                        "name": other["name"],
                        "tokens": number(stands.same_tokens, 3),
                        "time": number(stands.same_minutes, 3),
                        "comparable": other["dataset"] == run["dataset"],
                    }
                )
        return found

    def _evaluated(self, db: Database, run: Row) -> tuple[Array, Array, Array]:
        evals = self.cache.evals(db, run["id"], run["attempt"])
        return evals["tokens"], evals["elapsed_seconds"], evals["val_loss"]

    def _curve(self, db: Database, run: Row) -> Curve | None:
        metrics = self.cache.metrics(db, run["id"], run["attempt"], ("step", "train_loss"))
        evals = self.cache.evals(db, run["id"], run["attempt"])
        # Between evaluations a fiftieth of the run tells something new.
        key = (run["attempt"], run["total_steps"], evals.cursor, 50 * run["step"] // run["total_steps"])
        with self._lock:
            if run["id"] not in self._held or self._held[run["id"]][0] != key:
                chosen, changes = config.from_json(store.get_config(db, run["id"])), store.list_changes(db, run["id"])
                thin = np.unique(np.linspace(0, metrics.rows - 1, 20_000).astype(int)) if metrics.rows else np.arange(0)
                self._held[run["id"]] = (
                    key,
                    forecast(
                        lambda step: course(chosen, changes, step).rate(step, chosen),
                        run["total_steps"],
                        metrics["step"][thin],
                        metrics["train_loss"][thin],
                        evals["step"],
                        evals["val_loss"],
                    ),
                )
            return self._held[run["id"]][1]
