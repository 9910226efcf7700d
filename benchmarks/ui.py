"""What a refresh of the charts costs: three runs of N points that grow by 10 steps a second, one refresh a second.

python -m engine bench ui [--points 100000 1000000] [--refreshes 50]
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from engine import config, store
from engine.home import Home
from engine.store import Row

RUNS = 3
GROWTH = 10
LIMIT_MS, LIMIT_BYTES = 15.0, 2000


def main(argv: Sequence[str] | None = None) -> int:
    """Print one table; exit status 1 when a refresh costs more than it may."""
    parser = argparse.ArgumentParser(prog="python -m engine bench ui", description=__doc__)
    parser.add_argument("--points", type=int, nargs="+", default=[100_000, 1_000_000], help="points of each run")
    parser.add_argument("--refreshes", type=int, default=50)
    args = parser.parse_args(argv)
    print(f"{RUNS} runs, {GROWTH} new steps of each between two refreshes; milliseconds of the server, median (95%)")
    print("| points a run | refresh ms | refresh bytes | idle refresh ms | whole curve, cold | whole curve | zoom |")
    print("|---|---|---|---|---|---|---|")
    good = True
    for points in args.points:
        with tempfile.TemporaryDirectory() as folder:
            good = measure(Home.at(folder), points, args.refreshes) and good
    return 0 if good else 1


def measure(home: Home, points: int, refreshes: int) -> bool:
    """One row of the table."""
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    from engine import launch
    from ui.columns import SeriesCache
    from ui.guard import Guard
    from ui.reading import Reader
    from ui.routes import make_router

    ids = fill(home, points)
    app = FastAPI()
    app.include_router(make_router(Reader(home, lambda home, db: None), launch, SeriesCache()))
    app.add_middleware(Guard)
    client = TestClient(app, base_url="http://127.0.0.1:7860")

    def series(run_id: str, **more: Any) -> Callable[[], Any]:
        return lambda: client.get("/api/series", params={"run": run_id, "x": "tokens", **more}).json()

    cold = [timed(series(run_id)) for run_id in ids]
    warm = [timed(series(run_id)) for _ in range(5) for run_id in ids]
    zoom = [timed(series(run_id, lo=points * 400, hi=points * 600)) for _ in range(5) for run_id in ids]
    cursors = {run_id: (1, *series(run_id)()["at"]) for run_id in ids}
    times, sizes, idle = [], [], []
    db = store.connect(home.database)
    for number in range(refreshes):
        add_points(db, ids, points + number * GROWTH, GROWTH)
        shown = ",".join(f"{run_id}:{':'.join(map(str, cursors[run_id]))}" for run_id in ids)
        address = f"/api/live?runs={shown}&selected={ids[0]}&events=0"
        started = time.perf_counter()
        answer = client.get(address)
        times.append((time.perf_counter() - started) * 1000)
        sizes.append(len(answer.content))
        cursors |= {run_id: (1, *news["at"]) for run_id, news in answer.json()["runs"].items()}
        shown = ",".join(f"{run_id}:{':'.join(map(str, cursors[run_id]))}" for run_id in ids)
        idle.append(timed(lambda: client.get(f"/api/live?runs={shown}&selected={ids[0]}&events=0")))  # noqa: B023
    db.close()
    print(
        f"| {points:,} | {spread(times)} | {max(sizes)} | {spread(idle)} | {spread(cold)} | {spread(warm)} "
        f"| {spread(zoom)} |",
        flush=True,
    )
    return percentile(times) < LIMIT_MS and max(sizes) < LIMIT_BYTES


def fill(home: Home, points: int) -> list[str]:
    """Runs that train, with `points` rows of metrics each."""
    store.migrate(home.database)
    db = store.connect(home.database)
    ids = [
        store.create_run(db, config.load_preset("seedling"), "seedling", f"run-{number}", f"cuda:{number}")
        for number in range(RUNS)
    ]
    for run_id in ids:
        store.update_state(
            db,
            run_id,
            status="running",
            phase="training",
            attempt=1,
            step=points,
            tokens=points * 1000,
            train_loss=3.14159,
            val_loss=3.2,
            tokens_per_second=298_000.0,
            eta_seconds=1234.5,
            progress=0.5,
        )
    for first in range(0, points, 50_000):
        add_points(db, ids, first, min(50_000, points - first))
    db.close()
    return ids


def add_points(db: Any, ids: list[str], first: int, count: int) -> None:
    """`count` steps of every run, with an evaluation at each hundredth."""
    with store.writing(db):
        for step in range(first, first + count):
            for run_id in ids:
                store.insert(db, "metrics", metric(run_id, step))
                if step % 100 == 0:
                    store.insert(db, "evals", evaluation(run_id, step))


def metric(run_id: str, step: int) -> Row:
    """A step of a loss that falls and trembles."""
    tremble = (step * 7919 % 1000) / 1000
    return {
        "run_id": run_id,
        "attempt": 1,
        "step": step,
        "tokens": step * 1000,
        "elapsed_seconds": step * 0.1,
        "train_loss": 3 + 5 / (1 + step / 1000) + 0.2 * tremble,
        "learning_rate": 0.02 * (1 - step / 1e7),
        "grad_norm": 0.3 + tremble / 10,
        "tokens_per_second": 298_000 + 1000 * tremble,
    }


def evaluation(run_id: str, step: int) -> Row:
    """An evaluation beside it."""
    return {
        "run_id": run_id,
        "attempt": 1,
        "step": step,
        "tokens": step * 1000,
        "elapsed_seconds": step * 0.1,
        "val_loss": 3.1,
        "val_accuracy": 0.4,
        "val_perplexity": 22.2,
        "val_bits_per_byte": 1.1,
    }


def timed(action: Callable[[], Any]) -> float:
    """Milliseconds of one call."""
    started = time.perf_counter()
    action()
    return (time.perf_counter() - started) * 1000


def percentile(values: Sequence[float]) -> float:
    """The value that 95% of the values do not exceed."""
    return sorted(values)[max(0, round(0.95 * len(values)) - 1)]


def spread(values: Sequence[float]) -> str:
    """Median and 95th percentile."""
    return f"{statistics.median(values):.1f} ({percentile(values):.1f})"


if __name__ == "__main__":
    import sys

    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    raise SystemExit(main())
