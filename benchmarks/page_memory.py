"""Whether an open page keeps its memory flat: `python -m benchmarks.page_memory [--minutes 10] [--json]`.

A run grows by ten steps a second, evaluations and samples now and then; the page watches it in Chromium, asking once a
second. The JavaScript heap is read after a garbage collection, from the second minute on, when everything is loaded.
"""

import argparse
import json
import math
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

from benchmarks.first_minute import is_open, seconds_until
from docs import chromium
from engine import launch, process, store
from engine.config import load_preset
from engine.home import PROJECT, Home


def grow(home: Home, run_id: str, ended: threading.Event) -> None:
    """Write ten steps a second, an evaluation every 50 and a sample every 100, until `ended`."""
    db = store.connect(home.database)
    step = 0
    while not ended.wait(0.1):
        step += 1
        at: store.Row = {"run_id": run_id, "attempt": 1, "step": step, "tokens": step * 4096}
        loss = 3 + 5 * math.exp(-step / 500)
        with store.writing(db):
            store.insert(
                db,
                "metrics",
                at
                | {
                    "train_loss": loss,
                    "learning_rate": 0.02,
                    "grad_norm": 0.5,
                    "tokens_per_second": 40_960.0,
                    "elapsed_seconds": step / 10,
                },
            )
            if step % 50 == 0:
                store.insert(
                    db,
                    "evals",
                    at
                    | {
                        "val_loss": loss,
                        "val_accuracy": 0.3,
                        "val_perplexity": math.exp(loss),
                        "val_bits_per_byte": loss / 2.6,
                        "elapsed_seconds": step / 10,
                    },
                )
            if step % 100 == 0:
                store.insert(
                    db,
                    "samples",
                    at
                    | {
                        "suite": "stories",
                        "prompt": "Alice was",
                        "text": f"beginning to get very tired, {step} times. " * 6,
                        "seed": 7,
                        "temperature": 0.8,
                        "top_k": 0,
                        "top_p": 0.95,
                        "max_tokens": 80,
                        "dtype": "float32",
                        "device": "cpu",
                        "source": "periodic",
                        "created_at": time.time(),
                    },
                )
            store.update_state(db, run_id, step=step, tokens=step * 4096, train_loss=loss, heartbeat_at=time.time())
    db.close()


def watched_run(home: Home) -> str:
    """A run that this very process pretends to train, so that nobody declares it dead."""
    launch.open_home(home)
    db = store.connect(home.database)
    run_id = store.create_run(db, load_preset("seedling"), "seedling", "watched", "cpu")
    for command in store.take_commands(db, ("start",), run_id):
        store.finish_command(db, command["id"], "a benchmark")
    store.update_state(
        db, run_id, status="running", phase="training", attempt=1, started_at=time.time(), **process.identity()
    )
    db.close()
    return run_id


def heap_megabytes(session: Any) -> float:
    """The page's JavaScript heap after a garbage collection."""
    session.send("HeapProfiler.collectGarbage")
    return float(session.send("Runtime.getHeapUsage")["usedSize"]) / 1e6


def measure(home: Home, minutes: float) -> dict[str, Any]:
    """Watch, and read the heap once a minute."""
    from playwright.sync_api import sync_playwright

    run_id, ended = watched_run(home), threading.Event()
    writer = threading.Thread(target=grow, args=(home, run_id, ended))
    writer.start()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    app = subprocess.Popen(
        [sys.executable, "app.py", "--home", str(home.path), "--port", str(port), "--no-open"],
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    heap: list[float] = []
    try:
        seconds_until(lambda: is_open(port))
        with sync_playwright() as driver:
            browser = chromium.launch(driver)
            page = browser.new_page(viewport={"width": 1280, "height": 860})
            page.goto(f"http://127.0.0.1:{port}/?run={run_id}")
            page.wait_for_selector("body.ready")
            session = page.context.new_cdp_session(page)
            page.wait_for_timeout(60_000)
            for _ in range(round(minutes) + 1):
                heap.append(heap_megabytes(session))
                print(f"{heap[-1]:.2f} MB", file=sys.stderr, flush=True)
                if len(heap) <= round(minutes):
                    page.wait_for_timeout(60_000)
            browser.close()
    finally:
        ended.set()
        writer.join()
        app.send_signal(signal.SIGTERM)
        app.wait(timeout=10)
    return {"minutes": minutes, "heap_mb": heap, "growth_mb": heap[-1] - heap[0]}


def main(argv: list[str] | None = None) -> int:
    """Print what was measured and return 0."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.page_memory", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        report = measure(Home.at(folder), given.minutes)
    if given.json:
        print(json.dumps(report))
    else:
        print(
            f"heap after garbage collection, minute by minute: {', '.join(f'{mb:.1f}' for mb in report['heap_mb'])} MB"
        )
        print(f"growth in {given.minutes:g} minutes: {report['growth_mb']:.2f} MB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
