"""What the page costs, in a real Chromium: first curves, refreshes, zoom, memory, many clients; beside a peer.

`python -m engine bench ui [--quick] [--only PART ...] [--minutes 10] [--trackio PYTHON] [--home DIR] [--json]`

Method. A home with 3 runs of 1,000,000 steps (with loss, rate, norm, speed and evaluations) is written and served by
app.py in a process of its own; a second process goes on writing 10 steps a second to each run, as trainers do. Every
run has one step with a loss of 50 and one whose loss was no number. A Chromium without a window looks at the page:

- *first*: from the navigation to the frame in which the loss curves of all runs are painted and the opening frame is
  gone, taken inside the page. A new browser has nothing in its cache; a page opened again has. A new server has read
  nothing from the database. Medians of `--rounds`.
- *refresh*: CPU of the server's process beyond that of a second in which nobody looks, bytes that the browser received
  (headers included, whatever was asked for), CPU of the page's main thread; in `--seconds`, for each answer of
  /api/live.
- *zoom*: a drag over a tenth of the chart; from the release of the mouse to the frame in which each curve has four
  times the points in that range. The server's part is that of the requests alone. Median of `--rounds`.
- *spikes*: the data that Plotly draws is read (`gd.data`), at full range and zoomed to 10%, 1% and 0.01%: each run's
  spike has to be in one of its traces with its value, and the step without a number has to be marked.
- *clients*: 50 connections ask for news of these runs once a second each, for `--seconds`.
- *many*: the curves of 50 stopped runs of 100,000 points each, chosen in the address.
- *heap*: the JavaScript heap after a garbage collection, read 10 times in `--minutes`; a growing page. The limit is
  for ten minutes, so it is judged from five minutes on.
- *trackio*, where `--trackio` names a Python that has it: its dashboard with the same losses, growing likewise, each
  opening once. Its canvas cannot be read: a spike counts as drawn when it is in what the dashboard was sent.

Where there is no Chromium, only the clients are measured. Exit status 1 when a limit is missed. Beside other programs
times grow and CPU does not: the load is told.
"""

import argparse
import json
import math
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.options import tell, whole
from benchmarks.page import clients, measures, peer, report
from benchmarks.page.homes import Big, big_home
from benchmarks.page.server import Failed, Server, growing, serving

RATE = 10
"""Steps a second of each run."""
RUNS, CLIENTS = 3, 50
PARTS = ("first", "refresh", "zoom", "spikes", "clients", "heap", "many", "trackio")
JUDGED_FROM = 5.0
"""Minutes."""


class Benchmark:
    """One benchmark, which collects what its parts measure in `report`."""

    def __init__(self, given: argparse.Namespace, folder: Path) -> None:
        self.given, self.folder = given, folder
        self.figures: report.Measured = {}
        self.report: dict[str, Any] = {
            "about": f"{RUNS} runs x {given.points:,} steps, each growing by {RATE} a second; "
            f"many: {given.runs} runs x {given.many_points:,}; {os.cpu_count()} cores",
            "figures": self.figures,
            "details": {},
            "load": {},
            "notes": [],
        }

    def run(self) -> dict[str, Any]:
        """Measure all parts that were asked for."""
        if self._wants("first", "refresh", "zoom", "spikes", "clients", "heap"):
            self._big()
        if self._wants("many"):
            self._many()
        if self._wants("trackio") and self.given.trackio:
            self._peer()
        self.report["missed"] = report.missed(self.figures)
        return self.report

    def _wants(self, *parts: str) -> bool:
        return any(part in self.given.only for part in parts)

    def _part(self, name: str, measure: Callable[[], dict[str, Any]]) -> None:
        """Measure one part if it was asked for; what cannot be measured becomes a note."""
        if not self._wants(name):
            return
        load = os.getloadavg()[0]
        tell(f"{name} (load {load:.1f})")
        self.report["load"][name] = load
        try:
            found = measure()
        except Failed as error:
            self.report["notes"].append(f"{name}: {error}")
            return
        self.report["details"][name] = found.pop("details", {})
        self.figures.update(found)

    def _home(self, runs: int, points: int, together: bool) -> Big:
        tell(f"{runs} runs x {points:,} steps")
        return big_home(self.folder, runs, points, together)

    def _big(self) -> None:
        """Everything that is measured of a few long runs."""
        given, big = self.given, self._home(RUNS, self.given.points, True)
        with growing(big, RUNS, RATE):
            self._part("first", lambda: measures.first(big, given.rounds))
            if not self._wants("refresh", "zoom", "spikes", "clients", "heap"):
                return
            with serving(big) as server:
                server.warm(big.ids)
                self._part("refresh", lambda: measures.refresh(server, big, given.seconds))
                self._part("zoom", lambda: measures.zoom(server, big, given.rounds))
                self._part("spikes", lambda: measures.spikes(server, big))
                self._part("clients", lambda: many_clients(server, big, given.clients, given.seconds))
                self._part("heap", lambda: self._heap(server, big))

    def _heap(self, server: Server, big: Big) -> dict[str, Any]:
        found = measures.heap(server, big, self.given.minutes)
        if self.given.minutes < JUDGED_FROM:
            grown = found.pop("heap_mb")
            note = f"heap: {grown:+.1f} MB for ten minutes, from {self.given.minutes:g} minutes: too few to be judged"
            self.report["notes"].append(note)
        return found

    def _many(self) -> None:
        big = self._home(self.given.runs, self.given.many_points, False)
        self._part("many", lambda: measures.many(big, self.given.rounds))

    def _peer(self) -> None:
        big = self._home(RUNS, self.given.points, True)
        load = os.getloadavg()[0]
        tell(f"trackio (load {load:.1f})")
        self.report["load"]["trackio"] = load
        try:
            self.report["peer"] = peer.measure(self.given.trackio, self.folder, big, self.given.seconds, RATE)
        except Failed as error:
            self.report["notes"].append(f"trackio: {error}")


def many_clients(server: Server, big: Big, count: int, seconds: float) -> dict[str, Any]:
    """What many clients wait for, and what they cost."""
    cursors = clients.cursors_now(server.address, big.ids)
    before = server.cpu_seconds()
    answers = clients.poll(server.address, cursors, count, seconds)
    used = server.cpu_seconds() - before
    return {
        "clients_p50": report.middle(answers.milliseconds),
        "clients_p95": report.percentile(answers.milliseconds) if not answers.failures else math.nan,
        "clients_core": 100 * used / (seconds + clients.EVERY),
        "details": {
            "clients": count,
            "answers": len(answers.milliseconds),
            "failures": answers.failures,
            "cpu_ms": used * 1000 / len(answers.milliseconds),
            "bytes": report.middle(answers.bytes),
        },
    }


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="python -m engine bench ui", description=(__doc__ or "").split("\n")[0])
    made.add_argument("--quick", action="store_true", help="small homes and short times, to see whether it works")
    made.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=", ".join(PARTS))
    for option, value, about in (
        ("--points", 1_000_000, "steps of each of the 3 runs"),
        ("--runs", 50, "runs of the part `many`"),
        ("--many-points", 100_000, "steps of each of these"),
        ("--clients", CLIENTS, "connections that ask for news"),
        ("--rounds", 3, "how often each opening and zoom is measured"),
    ):
        made.add_argument(option, type=whole, default=value, metavar="N", help=f"{about} (default {value:,})")
    made.add_argument("--seconds", type=float, default=30.0, help="of refreshing, and of many clients (default 30)")
    made.add_argument("--minutes", type=float, default=1.0, help="in which the heap is read (default 1; a record: 10)")
    made.add_argument("--trackio", metavar="PYTHON", default="", help="a Python in which `import trackio` works")
    made.add_argument("--home", type=Path, metavar="DIR", help="keep the homes here and use them again")
    made.add_argument("--json", action="store_true", help="print data for programs")
    return made


def small(given: argparse.Namespace) -> argparse.Namespace:
    """The same with everything small."""
    little = {"points": 20_000, "runs": 5, "many_points": 5_000, "clients": 10, "rounds": 1}
    return argparse.Namespace(**vars(given) | little | {"seconds": 5.0, "minutes": 0.1})


def main(argv: Sequence[str] | None = None) -> int:
    """Print one table (or JSON); exit status 1 when a limit is missed."""
    given = parser().parse_args(argv)
    if given.quick:
        given = small(given)
    with tempfile.TemporaryDirectory(prefix="blueberry-bench-", ignore_cleanup_errors=True) as folder:
        try:
            found = Benchmark(given, given.home or Path(folder)).run()
        except Failed as error:
            tell(str(error))
            return 1
    print(json.dumps(found) if given.json else report.shown(found))
    return 1 if found["missed"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
