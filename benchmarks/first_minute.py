"""What a newcomer waits for, in a real Chromium: `python -m benchmarks.first_minute [--home DIR] [--whole] [--json]`.

Starts app.py in a new home (or in DIR), opens the page, presses Start, and prints the seconds until the port is open,
until the page is drawn, and from Start to the first training step in the chart: without and then with the dataset
prepared. `--whole` lets the second run finish with the page open and prints how long it took.
"""

import argparse
import contextlib
import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from docs import chromium
from engine import launch
from engine.home import PROJECT, Home

POINTS = """(run) => (document.querySelector('#loss-chart .plot')?.data || [])
  .some((trace) => trace.name.startsWith(run) && trace.name.endsWith('each step') && trace.x.length > 0)"""


def seconds_until(condition: Callable[[], bool], timeout: float = 60.0) -> float:
    """How long it takes until `condition` holds; raises TimeoutError."""
    start = time.perf_counter()
    while not condition():
        if time.perf_counter() - start > timeout:
            raise TimeoutError(f"nothing happened for {timeout:.0f} s")
        time.sleep(0.01)
    return time.perf_counter() - start


def is_open(port: int) -> bool:
    """Whether something listens on the port."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def press_start(page: Any, name: str) -> float:
    """Seconds from pressing Start to the first training step of the new run in the chart."""
    page.fill("#run-name input", name)
    page.wait_for_function("document.querySelector('#plan').textContent.includes(' steps')")
    start = time.perf_counter()
    page.click("#start")
    page.wait_for_function(POINTS, arg=name, timeout=60_000)
    return time.perf_counter() - start


def measure(home: Home, whole: bool) -> dict[str, Any]:
    """Walk through the first minute."""
    from playwright.sync_api import sync_playwright

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    report: dict[str, Any] = {}
    app = subprocess.Popen(
        [sys.executable, "app.py", "--home", str(home.path), "--port", str(port), "--no-open"],
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        report["port_open"] = seconds_until(lambda: is_open(port))
        with sync_playwright() as driver:
            browser = chromium.launch(driver)
            page = browser.new_page(viewport={"width": 1280, "height": 860})
            for visit in ("first", "second"):
                begun = time.perf_counter()
                page.goto(f"http://127.0.0.1:{port}/")
                page.wait_for_selector("body.ready")
                report[f"{visit}_visit_drawn"] = time.perf_counter() - begun
                if not page.is_visible("#start"):
                    page.get_by_text("Start another").click()
                begun = time.perf_counter()
                report["start_to_step_" + ("with_preparation" if visit == "first" else "prepared")] = press_start(
                    page, visit
                )
                run_id = launch.status_of(newest(home))["id"]
                if visit == "second" and whole:
                    ended = launch.wait_until_ended(home, run_id, 1800)
                    report |= {"whole_run": time.perf_counter() - begun, "status": ended["status"]}
                else:
                    launch.stop_run(home, run_id, now=True)
                    launch.wait_until_ended(home, run_id, 60)
            browser.close()
    finally:
        app.send_signal(signal.SIGTERM)
        app.wait(timeout=10)
    return report


def newest(home: Home) -> Any:
    """The run that was made last."""
    from engine import store

    db = store.connect(home.database)
    try:
        return store.list_runs(db)[0]
    finally:
        db.close()


def main(argv: list[str] | None = None) -> int:
    """Print what was measured and return 0."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.first_minute", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--home")
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        report = measure(Home.at(given.home or folder), given.whole)
    if given.json:
        print(json.dumps(report))
    else:
        for name, value in report.items():
            print(f"{name.replace('_', ' '):32}" + (f"{value:8.2f} s" if isinstance(value, float) else f"  {value}"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
