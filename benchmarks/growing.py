"""What it costs to move through a run's life: `python -m engine bench growing [--ages 500] [--prompts 12] [--json]`.

A home is written with a run that answered each of its prompts at each of its ages (80 words an answer, a curve of
100,000 steps), and nine runs like it that only take up room. app.py serves it in a process of its own. Each request is
asked for `--rounds` times at ages spread over the life, the first time apart: the server has then read nothing.
In a Chromium, where there is one: from an arrow key on the slider until the stage has the words of the other age.
"""

import argparse
import json
import os
import random
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from sqlite_utils import Database

from benchmarks.options import tell, whole
from benchmarks.page.server import Server
from engine import config, launch, process, store
from engine.home import Home

LIMIT_MS = 50.0
STEPS, TOKENS, WORDS, RUNS = 100_000, 4096, 80, 10
COMMON = ["the", "of", "and", "a", "to", "in", "he", "was", "that", "it", "his", "had", "boat", "sea", "gull", "rain"]
NAMES = ("run_id", "attempt", "step", "tokens", "suite", "prompt", "text", "source", "created_at")
PRESS = """async () => {
  const slider = document.querySelector('#growing-slider');
  const words = () => document.querySelector('#growing-stage .words').textContent;
  const before = words();
  const began = performance.now();
  slider.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowLeft', bubbles: true, cancelable: true}));
  while (words() === before) {
    if (performance.now() - began > 10000) throw Error('the words never came');
    await new Promise(requestAnimationFrame);
  }
  return performance.now() - began;
}"""


def rows_of(run_id: str, ages: int, prompts: int) -> Iterator[tuple[Any, ...]]:
    """Answers to every prompt at every age, no two alike, in the order of NAMES."""
    dice = random.Random(run_id)
    for age in range(ages):
        step = STEPS * age // max(1, ages - 1)
        for prompt in range(prompts):
            text = " ".join(dice.choice(COMMON) for _ in range(WORDS))
            yield (run_id, 1, step, step * TOKENS, "stories", prompt_of(prompt), f" {text}", "periodic", 1.7e9 + step)


def prompt_of(number: int) -> str:
    """A prompt like others."""
    return f"Prompt number {number} begins with"


def add_life(db: Database, name: str, ages: int, prompts: int, curve: bool) -> str:
    """A run that has ended, with its words."""
    run_id = store.create_run(db, config.load_preset("seedling"), "seedling", name, "cpu")
    with store.writing(db):
        store.insert_many(db, "samples", NAMES, rows_of(run_id, ages, prompts))
        if curve:
            place = ("run_id", "attempt", "step", "tokens", "elapsed_seconds")
            for table, loss, every in (("metrics", "train_loss", 1), ("evals", "val_loss", 100)):
                steps = range(every, STEPS + 1, every)
                points = ((run_id, 1, step, step * TOKENS, step / 10, 3 + 5000 / (step + 1000)) for step in steps)
                store.insert_many(db, table, (*place, loss), points)
    store.end_run(db, run_id, "finished")
    return run_id


def timed(do: Callable[[], Any]) -> float:
    """How long it takes in milliseconds."""
    began = time.perf_counter()
    do()
    return 1000 * (time.perf_counter() - began)


def measure(home: Home, ages: int, prompts: int, rounds: int) -> dict[str, Any]:
    """Write the home, serve it, and ask."""
    launch.open_home(home)
    db = store.connect(home.database)
    tell(f"writing {RUNS * ages * prompts:,} answers")
    for number in range(1, RUNS):
        add_life(db, f"other-{number}", ages, prompts, curve=False)
    run_id = add_life(db, "grown", ages, prompts, curve=True)
    steps = [age["step"] for age in store.ages_of_words(db, run_id)]
    samples = [row["id"] for row in store.answers(db, run_id, "stories", prompt_of(0))]
    db.close()
    dice = random.Random(1)

    def block() -> dict[str, Any]:
        at = dice.randrange(max(1, len(steps) - 60))
        part = {"first": steps[at], "last": steps[min(at + 59, len(steps) - 1)]}
        return {"run": run_id, "suite": "stories", "prompt": prompt_of(dice.randrange(prompts))} | part

    def pair() -> dict[str, Any]:
        return dict(zip(("before", "after"), dice.sample(samples, 2), strict=True))

    questions: dict[str, tuple[str, Callable[[], dict[str, Any]]]] = {
        "the life, its ages and curve": ("", lambda: {"run": run_id}),
        "60 ages of one prompt": ("/answers", block),
        "all prompts of one age": ("/age", lambda: {"run": run_id, "step": dice.choice(steps)}),
        "which words changed": ("/changes", pair),
    }
    lock = process.hold_lock(home.supervisor_lock)
    assert lock is not None, "a new home has no supervisor"
    with lock:
        server = Server(home)
        try:
            report = {name: asked(server, path, given, rounds) for name, (path, given) in questions.items()}
            report["an arrow key, until its words are there"] = in_a_browser(server.address, run_id, rounds)
        finally:
            server.close()
    return {name: figures for name, figures in report.items() if figures}


def asked(server: Server, path: str, given: Callable[[], dict[str, Any]], rounds: int) -> dict[str, float]:
    """Milliseconds of a request: the first, the median, 95%, and kilobytes of an answer."""
    sizes: list[int] = []

    def ask() -> None:
        with urllib.request.urlopen(f"{server.address}/api/growing{path}?{urlencode(given())}", timeout=60) as answer:
            sizes.append(len(answer.read()))

    first, *others = [timed(ask) for _ in range(rounds + 1)]
    return {"first": first} | spread(others) | {"kilobytes": max(sizes) / 1000}


def spread(times: list[float]) -> dict[str, float]:
    """Median and 95% of some times."""
    return {"median": statistics.median(times), "95%": sorted(times)[int(0.95 * (len(times) - 1))]}


def in_a_browser(address: str, run_id: str, rounds: int) -> dict[str, float]:
    """The same for a press of an arrow key; nothing without a Chromium."""
    from playwright.sync_api import sync_playwright

    from docs import chromium

    with sync_playwright() as driver:
        if not Path(chromium.path(driver)).exists():
            return {}
        browser = chromium.launch(driver)
        page = browser.new_page(viewport={"width": 1280, "height": 860}, reduced_motion="reduce")
        page.goto(f"{address}/?tab=growing&run={run_id}")
        page.wait_for_selector("body.ready")
        page.wait_for_selector("#growing-stage .words")
        times = [page.evaluate(PRESS) for _ in range(rounds)]
        browser.close()
    return spread(times)


def main(argv: list[str] | None = None) -> int:
    """Print what was measured; 1 where a request took longer than its limit."""
    parser = argparse.ArgumentParser(
        prog="python -m engine bench growing",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--ages", type=whole, default=500)
    parser.add_argument("--prompts", type=whole, default=12)
    parser.add_argument("--rounds", type=whole, default=100)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        report = measure(Home.at(folder), given.ages, given.prompts, given.rounds)
    missed = [name for name, figures in report.items() if figures["median"] > LIMIT_MS]
    load = round(os.getloadavg()[0], 1)
    if given.json:
        print(json.dumps({"load": load, "missed": missed, "figures": report}))
        return 1 if missed else 0
    about = f"{given.ages} ages x {given.prompts} prompts, {RUNS} such runs, load {load}"
    print(f"{about}; milliseconds, limit {LIMIT_MS:g}")
    for name, figures in report.items():
        print(f"{name:40}" + "  ".join(f"{what} {value:.1f}" for what, value in figures.items()))
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
