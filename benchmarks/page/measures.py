"""What a browser sees of the page: openings, refreshes, zooms, spikes, memory. Each part gives figures by key."""

import time
from typing import Any

from benchmarks.page.homes import SPIKE, TOKENS, Big
from benchmarks.page.report import middle, per_ten_minutes
from benchmarks.page.server import Failed, Server, serving
from benchmarks.page.window import Window, browsing, window_of

ZOOMS = (1.0, 0.1, 0.01, 0.0001)
"""Shares of all steps that are shown when spikes are looked for."""
SETTLE = 3.0
"""Seconds that an opened page gets before its refreshes are measured."""
IDLE = 10.0
"""Seconds in which nobody looks at the page."""
READINGS = 10
"""Of the heap."""
Figures = dict[str, Any]
"""By the keys of report.LINES, and `details`."""


def address(server: Server, big: Big, more: str = "") -> str:
    """The Train page with all runs of the home in its charts."""
    return f"{server.address}/?run={big.ids[0]}&with={','.join(big.ids[1:])}{more}"


def opened(server: Server, big: Big, window: Window) -> dict[str, Any]:
    """One opening: seconds, CPU of both sides until then, and the requests."""
    before, cpu = server.cpu_seconds(), window.cost().thread_ms
    drawn = window.open(address(server, big), len(big.curves))
    reached = window.cost().thread_ms
    # A navigation may begin to count anew.
    worked = reached - cpu if reached >= cpu else reached
    return {
        "seconds": None if drawn is None else drawn / 1000,
        "server_cpu": server.cpu_seconds() - before,
        "main_cpu": worked / 1000,
        "requests": window.requests("/api/"),
    }


def first(big: Big, rounds: int) -> Figures:
    """Seconds to the first curves: with a new server, with a new browser, and of a page opened again."""
    found: dict[str, list[dict[str, Any]]] = {"cold": [], "new": [], "again": []}
    with browsing() as browser:
        for _ in range(rounds):
            with serving(big) as server:
                with window_of(browser) as window:
                    found["cold"].append(opened(server, big, window))
                server.warm(big.ids)
                with window_of(browser) as window:
                    found["new"].append(opened(server, big, window))
                    found["again"].append(opened(server, big, window))
    seconds = {f"first_{name}": middle([one["seconds"] for one in every]) for name, every in found.items()}
    work = {f"first_{side}": middle([one[f"{side}_cpu"] for one in found["again"]]) for side in ("main", "server")}
    return seconds | work | {"details": found}


def many(big: Big, rounds: int) -> Figures:
    """The same for many runs at once."""
    found = first(big, rounds)
    return {"many": found["first_again"], "many_cold": found["first_cold"], "details": found["details"]}


def refresh(server: Server, big: Big, seconds: float) -> Figures:
    """What an open page costs for each answer of /api/live; the server's part beyond what it does without a page."""
    idle = server.cpu_seconds()
    time.sleep(min(seconds, IDLE))
    idle = (server.cpu_seconds() - idle) / min(seconds, IDLE)
    with browsing() as browser, window_of(browser) as window:
        window.open(address(server, big), len(big.curves))
        window.wait(SETTLE)
        before, cpu = window.cost(), server.cpu_seconds()
        window.wait(seconds)
        after, used = window.cost(), server.cpu_seconds() - cpu
        requests = window.requests("/api/")
    count = after.refreshes - before.refreshes
    if not count:
        raise Failed(f"The page did not ask for news in {seconds:g} s.")
    return {
        "refreshes_a_minute": 60 * count / seconds,
        "server_ms": 1000 * (used - idle * seconds) / count,
        "server_idle_ms": 1000 * idle,
        "kilobytes": (after.bytes - before.bytes) / count / 1000,
        "main_ms": (after.thread_ms - before.thread_ms) / count,
        "details": {"refreshes": count, "requests": requests},
    }


def zoom(server: Server, big: Big, rounds: int) -> Figures:
    """Milliseconds from the end of a zoom gesture until finer curves are painted, and those of the server in it."""
    times, requests = [], []
    with browsing() as browser:
        for _ in range(rounds):
            with window_of(browser) as window:
                window.open(address(server, big), len(big.curves))
                window.wait(SETTLE)
                times.append(window.zoom())
                requests += window.requests("lo=")
    return {
        "zoom_ms": middle(times),
        "zoom_server_ms": middle([one["server"] for one in requests]),
        "details": {"times": times, "requests": requests},
    }


def spikes(server: Server, big: Big) -> Figures:
    """Shares, in percent, of the runs' spikes and of their steps without a number that are drawn, at several zooms."""
    seen: dict[str, dict[str, list[bool]]] = {"spikes": {}, "marks": {}}
    points = [[curve.name, curve.spike * TOKENS, SPIKE] for curve in big.curves]
    holes = [[curve.name, curve.broken * TOKENS] for curve in big.curves]
    with browsing() as browser, window_of(browser) as window:
        for share in ZOOMS:
            low, high = around(big.curves[0].spike, share, big.points)
            more = "" if share >= 1 else f"&zoom={low * TOKENS:.0f}_{high * TOKENS:.0f}"
            window.open(address(server, big, more), len(big.curves))
            seen["spikes"][f"{share:.2%}"], seen["marks"][f"{share:.2%}"] = window.shows(points, holes)
    return {kind: share_of(found) for kind, found in seen.items()} | {"details": seen}


def share_of(found: dict[str, list[bool]]) -> float:
    """Percent of all that are there."""
    every = [one for at_a_zoom in found.values() for one in at_a_zoom]
    return 100 * sum(every) / len(every)


def around(step: int, share: float, points: int) -> tuple[float, float]:
    """The part that shows this share of all steps, or a hundred, from a little before `step`."""
    width = max(100.0, share * points)
    return step - 0.1 * width, step + 0.9 * width


def heap(server: Server, big: Big, minutes: float) -> Figures:
    """Megabytes by which the heap of an open page grows in ten minutes."""
    with browsing() as browser, window_of(browser) as window:
        window.open(address(server, big), len(big.curves))
        window.wait(min(60.0, 60 * minutes))
        read = [window.heap_mb()]
        for _ in range(READINGS):
            window.wait(60 * minutes / READINGS)
            read.append(window.heap_mb())
    return {"heap_mb": per_ten_minutes(read, minutes), "details": {"megabytes": read}}
