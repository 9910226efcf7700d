"""What was measured as a table for people: each figure with its limit, and the peer's beside it."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.phrases import table

Measured = dict[str, Any]
"""Figures by key, in the units of LINES; None where something never happened."""


@dataclass(frozen=True)
class Line:
    """One figure: what it is, its unit, and what it may be at most (or must be at least)."""

    key: str
    label: str
    unit: str
    limit: float | None = None
    at_least: bool = False

    def reached(self, value: float | None) -> bool | None:
        """Whether the limit is kept; None where there is none. What never happened has missed it."""
        if self.limit is None:
            return None
        if value is None or math.isnan(value):
            return False
        return value >= self.limit if self.at_least else value <= self.limit


LINES = (
    Line("first_again", "first curves, page opened again", "s", 1.5),
    Line("first_main", "  CPU of the browser's main thread in it", "s"),
    Line("first_server", "  CPU of the server in it", "s"),
    Line("first_new", "first curves, a new browser", "s"),
    Line("first_cold", "first curves, new server and new browser", "s"),
    Line("refreshes_a_minute", "refreshes in 60 s", ""),
    Line("server_ms", "a refresh: CPU of the server", "ms", 10),
    Line("server_idle_ms", "a second without a page: CPU of the server", "ms"),
    Line("kilobytes", "a refresh: received, headers included", "kB", 1.0),
    Line("main_ms", "a refresh: CPU of the browser's main thread", "ms", 120),
    Line("zoom_ms", "zoom, from the gesture to redrawn", "ms", 150),
    Line("zoom_server_ms", "zoom, a curve on the server", "ms"),
    Line("spikes", "spikes drawn, all runs at all zooms", "%", 100, at_least=True),
    Line("marks", "steps without a number marked", "%", 100, at_least=True),
    Line("clients_p50", "answer to one of many clients, median", "ms"),
    Line("clients_p95", "answer to one of many clients, 95%", "ms", 100),
    Line("clients_core", "many clients: share of a core", "%", 25),
    Line("many", "first curves of many runs, page opened again", "s", 2.5),
    Line("many_cold", "first curves of many runs, new server", "s"),
    Line("heap_mb", "growth of the heap in ten minutes", "MB", 2.0),
)


def rows(measured: Measured, peer: Measured) -> list[list[str]]:
    """Cells for every line that was measured of us or of the peer."""
    found = []
    for line in LINES:
        if line.key not in measured and line.key not in peer:
            continue
        ours, theirs = measured.get(line.key), peer.get(line.key)
        judged = verdict(line, ours) if line.key in measured else ""
        cells = [line.label, said(ours, line.unit) if line.key in measured else "", limit_said(line), judged]
        if peer:
            cells += [said(theirs, line.unit) if line.key in peer else "", ratio(line, ours, theirs)]
        found.append(cells)
    return found


def shown(report: dict[str, Any]) -> str:
    """The report as a person reads it."""
    peer = report.get("peer", {})
    head = ["FIGURE", "MEASURED", "LIMIT", ""]
    right = ["MEASURED", "LIMIT"]
    if peer.get("figures"):
        head += [peer["name"].upper(), "THEIRS/OURS"]
        right += head[-2:]
    body = rows(report["figures"], peer.get("figures", {}))
    lines = [report["about"], "", table(head, body, right)] if body else [report["about"]]
    lines += [f"load before each part: {', '.join(f'{name} {load:.1f}' for name, load in report['load'].items())}"]
    return "\n".join((*lines, *report["notes"]))


def missed(measured: Measured) -> list[str]:
    """Keys of the figures that are beyond their limits."""
    return [line.key for line in LINES if line.key in measured and line.reached(measured[line.key]) is False]


def verdict(line: Line, value: float | None) -> str:
    """Whether a limit is kept, as a word."""
    kept = line.reached(value)
    return "" if kept is None else "reached" if kept else "MISSED"


def limit_said(line: Line) -> str:
    """The limit with its unit."""
    return "" if line.limit is None else f"{line.limit:g} {line.unit}"


def said(value: float | None, unit: str) -> str:
    """A figure with its unit and as many digits as mean something."""
    if value is None or math.isnan(value):
        return "never"
    digits = 0 if abs(value) >= 100 or unit in ("%", "") else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f} {unit}".rstrip()


def ratio(line: Line, ours: float | None, theirs: float | None) -> str:
    """Their figure as a multiple of ours; shares have none."""
    return f"{theirs / ours:.1f}x" if ours and theirs and line.unit != "%" else ""


def middle(values: Sequence[float | None]) -> float | None:
    """The median; None where half of them never happened."""
    found = statistics.median(math.inf if value is None else value for value in values)
    return None if math.isinf(found) else float(found)


def percentile(values: Sequence[float], share: float = 0.95) -> float:
    """The value that this share of the values does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def per_ten_minutes(heap: Sequence[float], minutes: float) -> float:
    """Megabytes that the heap grows in ten minutes: the slope of a line through readings at equal distances."""
    if len(heap) < 2:
        return math.nan
    times = [minutes * number / (len(heap) - 1) for number in range(len(heap))]
    return 10 * statistics.linear_regression(times, heap).slope
