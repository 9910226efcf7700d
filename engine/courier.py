"""The supervisor's part of alerts: it sees that a run stands still, and sends what is to be told. No torch.

Sending is a thread's, because a webhook may take its time: neither that nor its failure touches the runs.
"""

import threading
import time
from collections.abc import Callable
from contextlib import closing

from sqlite_utils import Database

from engine import alerts, store
from engine.children import tell
from engine.home import Home
from engine.phrases import duration

STANDSTILL = 300.0
"""Seconds without a step after which a run may stand still."""
STEPS = 10.0
"""The same in steps of this run, where they take long."""
PAUSES = (5.0, 20.0)
"""Seconds before the second and the third try."""
LEASE = 60.0
"""Seconds in which nobody else tries what one sender tries: it may have been killed, then the next one goes on."""
PATIENCE = 180.0
"""Seconds that a supervisor without other work stays for an alert to be sent."""
FAREWELL = 2.0
"""Seconds that a supervisor which was told to end gives a message under way."""


class Stalls:
    """When each running run made its last step."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[str, tuple[tuple[int, int, str], float]] = {}

    def look(self, db: Database, run: store.Row) -> None:
        """Look at a run whose process lives, and tell once an attempt that it stands still."""
        if run["status"] != "running":
            self._seen.pop(run["id"], None)
            return
        now, at = self._clock(), (run["attempt"], run["step"], run["phase"])
        seen, since = self._seen.get(run["id"], (None, now))
        if seen != at:
            self._seen[run["id"]] = at, now
        elif now - since > patience(run):
            doing = f" ({run['phase']})" if run["phase"] else ""
            message = f"It has been at step {run['step']:,}{doing} for {duration(now - since)}; its process lives."
            if store.add_stall(db, run, message):
                store.add_event(db, run["id"], "stalled", message, run["step"])
            self._seen[run["id"]] = at, now

    def forget(self, open_runs: set[str]) -> None:
        """Keep in mind only runs that have not ended."""
        self._seen = {run_id: seen for run_id, seen in self._seen.items() if run_id in open_runs}


def patience(run: store.Row) -> float:
    """Seconds that a run may stay at one step: STANDSTILL, or STEPS steps at its usual speed where that is longer."""
    if not run["tokens_per_second"] or not run["step"]:
        return STANDSTILL
    step_seconds = float(run["tokens"] / run["step"] / run["tokens_per_second"])
    return max(STANDSTILL, STEPS * step_seconds)


class Courier:
    """Sends the alerts of one home."""

    def __init__(self, home: Home, clock: Callable[[], float] = time.time) -> None:
        self.home, self._clock = home, clock
        self._thread: threading.Thread | None = None

    def tick(self, db: Database) -> bool:
        """Send what is due, without waiting for it; whether something is to be sent that is worth staying for."""
        now = self._clock()
        waiting = []
        for alert in alerts.waiting(db)[1]:
            if not alerts.is_over(alert, now):
                waiting.append(alert)
            elif not self._sending():
                store.settle_alert(db, alert["id"], "failed", alert["error"] or "It could not be sent in time.")
        if not self._sending() and any(alert["due_at"] <= now for alert in waiting):
            self._thread = threading.Thread(target=self._run, name="courier", daemon=True)
            self._thread.start()
        return any(now - alert["created_at"] < PATIENCE for alert in waiting)

    def leave(self) -> None:
        """Let a message under way arrive, if it is quick."""
        if self._thread is not None:
            self._thread.join(FAREWELL)

    def _sending(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _run(self) -> None:
        try:
            with closing(store.connect(self.home.database)) as db:
                self.deliver(db)
        except store.UNUSABLE as error:
            tell(f"alerts: runs.db cannot be used now: {error}")  # the next tick tries again

    def deliver(self, db: Database) -> None:
        """Try each alert that is due once; several senders may do so at the same time."""
        while True:
            now = self._clock()
            found, waiting = alerts.waiting(db)
            due = [alert for alert in waiting if alert["due_at"] <= now and not alerts.is_over(alert, now)]
            if not due:
                return
            alert = due[0]
            if not store.claim_alert(db, alert, now + LEASE):
                continue
            problem = alerts.post(found, alerts.text(found.template, alert))
            if not problem:
                store.settle_alert(db, alert["id"], "sent")
            elif alert["tries"] + 1 < alerts.TRIES:
                store.settle_alert(db, alert["id"], "waiting", problem, self._clock() + PAUSES[alert["tries"]])
            else:
                store.settle_alert(db, alert["id"], "failed", problem)
            tell(f"run {alert['run_id']}: alert {alert['kind']} {'not sent: ' + problem if problem else 'sent'}")
