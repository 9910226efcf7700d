"""Make the pictures of README and docs/screenshots from a real run of the page.

python docs/screenshots.py                 # trains a seedling first, about five minutes on two cores
python docs/screenshots.py --home DIR      # a home that has a finished run
"""

import argparse
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from docs import chromium  # noqa: E402
from engine import launch, store  # noqa: E402
from engine.home import Home  # noqa: E402

OUT = PROJECT / "docs" / "screenshots"
DESK, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 844}
LARGEST = 300_000
KEPT = (("good", "A good line"), ("strange", "What it meant, nobody knows"), ("hallucination", "It never happened"))


def main(argv: Sequence[str] | None = None) -> int:
    """Write docs/screenshots/*.png."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", help="use this home's newest run instead of training one")
    parser.add_argument("--tokens", type=int, help="train on fewer tokens, for trying this script out")
    args = parser.parse_args(argv)
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        home = Home.at(args.home or folder)
        launch.open_home(home)
        with served(home) as address, opened() as browser:
            if not args.home:
                shoot(browser, address, "first-open")
                run_id = launch.start_run(home, "seedling", "", {"train.tokens": args.tokens} if args.tokens else {})
                wait_until(home, run_id, 0.35)
                shoot(browser, address, "training", f"?run={run_id}")
                shoot(browser, address, "training-dark", f"?run={run_id}", dark=True)
                shoot(browser, address, "training-phone", f"?run={run_id}", size=PHONE)
                launch.wait_until_ended(home, run_id, 3600)
            run_id = newest(home)
            keep_some(home, run_id)
            shoot(browser, address, "finished", f"?run={run_id}")
            shoot(browser, address, "play", f"?run={run_id}&tab=play", talk=True)
            shoot(browser, address, "time-capsule", f"?run={run_id}&tab=capsule")
            shoot(browser, address, "time-capsule-dark", f"?run={run_id}&tab=capsule", dark=True)
            shoot(browser, address, "time-capsule-phone", f"?run={run_id}&tab=capsule", size=PHONE)
    return 0


@contextlib.contextmanager
def served(home: Home) -> Iterator[str]:
    """An app.py for `home`; yields its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [sys.executable, "app.py", "--home", str(home.path), "--port", str(port), "--no-open"],
        cwd=PROJECT,
        env=os.environ | {"BLUEBERRY_PASSWORD": ""},
    )
    try:
        until = time.monotonic() + 60
        while not answers(address):
            assert time.monotonic() < until, "the page does not open"
            time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=20)


def answers(address: str) -> bool:
    """Whether the page can be read."""
    try:
        urllib.request.urlopen(address, timeout=60).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def opened() -> Iterator[Any]:
    """A Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = chromium.launch(driver)
        yield browser
        browser.close()


def shoot(
    browser: Any,
    address: str,
    name: str,
    query: str = "",
    *,
    dark: bool = False,
    talk: bool = False,
    size: dict[str, int] = DESK,
) -> None:
    """One picture."""
    context = browser.new_context(viewport=size, color_scheme="dark" if dark else "light", reduced_motion="reduce")
    page = context.new_page()
    page.goto(f"{address}/{query}")
    page.wait_for_selector("body.ready")
    if talk:
        page.wait_for_function("document.querySelectorAll('#play-age option').length > 1")
        page.fill("#prompt textarea", "The captain of the ship")
        page.click("#generate")
        page.wait_for_selector("body:not(.asking) #output .continuation", timeout=60_000)
    page.wait_for_timeout(2500)  # the charts of a picture have no event to wait for
    target = OUT / f"{name}.png"
    page.screenshot(path=str(target))
    context.close()
    size_now = target.stat().st_size
    assert size_now <= LARGEST, f"{target.name} has {size_now:,} bytes; {LARGEST:,} at most"
    print(f"{target.relative_to(PROJECT)}  {size_now // 1000} kB", flush=True)


def wait_until(home: Home, run_id: str, share: float) -> None:
    """Return when the run has done `share` of its steps or has ended."""
    while True:
        status = launch.run_status(home, run_id)
        if status["status"] not in store.OPEN or (status["step"] or 0) >= share * status["total_steps"]:
            return
        time.sleep(0.5)


def newest(home: Home) -> str:
    """The run that was made last."""
    db = store.connect(home.database)
    try:
        return str(store.list_runs(db)[0]["id"])
    finally:
        db.close()


def keep_some(home: Home, run_id: str) -> None:
    """Keep an answer of each category, of different ages, unless something is kept already."""
    db = store.connect(home.database)
    if not store.search_archive(db, run_id=run_id)[1]:
        samples = [row for row in store.list_samples(db, run_id) if row["suite"] == "stories" and row["step"]]
        for (category, title), row in zip(KEPT, samples[:: max(1, len(samples) // 3)], strict=False):
            store.keep(db, row["id"], category, title)
    db.close()


if __name__ == "__main__":
    raise SystemExit(main())
