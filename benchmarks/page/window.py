"""A page in Chromium and what it costs: times from inside the page, work of its main thread, bytes, heap."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.page.server import Failed
from docs import chromium

PROBE = Path(__file__).with_name("probe.js")
SIZE = {"width": 1280, "height": 860}
PATIENCE_MS, ZOOM_PATIENCE_MS, SHOW_PATIENCE_MS = 60_000, 10_000, 5_000
REST = 0.3
"""Seconds that a hand rests where a marked part ends before it lets go."""
FRACTION = 0.45, 0.55
"""Of the chart's width, between which a zoom gesture goes."""
DENSER = 4
"""So many times the points of before have to be in a range after zooming in ten times."""


@contextlib.contextmanager
def browsing() -> Iterator[Any]:
    """A Chromium; raises Failed where there is none."""
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError as error:
        raise Failed("playwright is not installed: pip install playwright") from error
    with sync_playwright() as driver:
        try:
            browser = chromium.launch(driver)
        except Error as error:
            raise Failed(
                "There is no Chromium here: apt-get install chromium, or playwright install chromium"
            ) from error
        yield browser
        browser.close()


@dataclass
class Cost:
    """What a page has cost so far."""

    thread_ms: float
    """CPU of its main thread."""
    bytes: int
    refreshes: int


def costs_of(context: Any, page: Any) -> Callable[[], Cost]:
    """What asks for the cost of a page that is about to be opened."""
    session = context.new_cdp_session(page)
    counted = {"refreshes": 0, "bytes": 0}

    def received(event: Any) -> None:
        counted["refreshes"] += "/api/live" in event["response"]["url"]

    def finished(event: Any) -> None:
        counted["bytes"] += int(event["encodedDataLength"])

    def cost() -> Cost:
        found = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
        # With threadTicks the tasks' time is CPU time of the main thread.
        return Cost(found["TaskDuration"] * 1000, counted["bytes"], counted["refreshes"])

    session.on("Network.responseReceived", received)
    session.on("Network.loadingFinished", finished)
    session.send("Network.enable")
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    return cost


class Window:
    """One page with the probe in it."""

    def __init__(self, context: Any) -> None:
        self.page = context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.add_init_script(path=str(PROBE))
        self.cost = costs_of(context, self.page)
        self._session = context.new_cdp_session(self.page)

    def open(self, address: str, runs: int) -> float | None:
        """Milliseconds from the navigation until the loss curves of so many runs are painted; None if never."""
        self.page.goto(address, wait_until="commit")
        return self._number("([count, patience]) => probe.first(count, patience)", runs, PATIENCE_MS)

    def _number(self, script: str, *arguments: Any) -> float | None:
        found = self.page.evaluate(script, arguments)
        return None if found is None else float(found)

    def heap_mb(self) -> float:
        """The JavaScript heap after a garbage collection."""
        self._session.send("HeapProfiler.collectGarbage")
        return float(self._session.send("Runtime.getHeapUsage")["usedSize"]) / 1e6

    def wait(self, seconds: float) -> None:
        """Let the page go on."""
        self.page.wait_for_timeout(seconds * 1000)

    def requests(self, part: str) -> list[dict[str, Any]]:
        """What the page asked our server for."""
        found: list[dict[str, Any]] = self.page.evaluate("part => probe.requests(part)", part)
        return found

    def zoom(self) -> float | None:
        """Milliseconds from the release of the mouse after a drag over the loss chart until all curves are redrawn."""
        before = self.page.evaluate(
            """([low, high]) => {
                const [first, last] = probe.range();
                return probe.pointsInside([first + low * (last - first), first + high * (last - first)]);
            }""",
            FRACTION,
        )
        self.page.evaluate("probe.forget()")
        script = "([before, times, patience]) => { window.zooming = probe.zoomed(before, times, patience); }"
        self.page.evaluate(script, [before, DENSER, ZOOM_PATIENCE_MS])
        area = self.page.locator("#loss-chart .nsewdrag").first.bounding_box()
        left, right = (area["x"] + part * area["width"] for part in FRACTION)
        height = area["y"] + area["height"] / 2
        self.page.mouse.move(left, height)
        self.page.mouse.down()
        self.page.mouse.move(right, height, steps=6)
        self.wait(REST)
        self.page.mouse.up()
        return self._number("() => window.zooming")

    def shows(self, points: list[list[Any]], holes: list[list[Any]]) -> tuple[list[bool], list[bool]]:
        """Which of these points (run, x, y) are in the drawn data, and which of these places (run, x) have a mark for
        what was no number; waits a little for those that are not there yet."""
        found = self.page.evaluate(
            "([points, holes, patience]) => probe.shows(points, holes, patience)", [points, holes, SHOW_PATIENCE_MS]
        )
        return found[0], found[1]


@contextlib.contextmanager
def window_of(browser: Any) -> Iterator[Window]:
    """A window that has never seen the page."""
    context = browser.new_context(viewport=SIZE)
    try:
        yield Window(context)
    finally:
        context.close()
