"""What the time capsule costs with very many exhibits and samples: search, pages, filters, a new answer, first paint.

`python -m engine bench gallery [--exhibits 10K] [--samples 1M] [--queries 300] [--rounds 5] [--home DIR] [--json]`

Method. A home of 20 finished runs is written, with 1,000,000 answers of 60 words each, drawn from the starter novels as
often as they occur there, with measures, and 10,000 of them as exhibits with categories and tags. app.py serves it in a
process of its own; one connection asks it, and the time from request to whole answer is taken, HTTP and JSON included:

- *exhibits*, *said*: one to three words (the last one cut to a beginning half of the time), half of them with filters:
  run, age, dates, measure, and for exhibits category and tag; a page that is there. Every query is another one.
- *worst*: beginnings that very many words have, each asked three times.
- *measures*: each measure alone and with the most frequent word, each asked three times; one kind is very rare.
- *insert*: one answer stored in a transaction of its own, as a trainer does, with the search and without it (a row that
  is superseded is not indexed), in turns; the longest too, since the index merges its parts now and then. Then what was
  measured about it, in a transaction of its own too.
- *paint*: from the navigation to the frame in which the cards are painted and the opening frame is gone, taken inside
  the page: in a new browser, and opened again.

Exit status 1 when a limit is missed. Beside other programs times grow: the load is told.
"""

import argparse
import http.client
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from benchmarks.options import tell, whole
from benchmarks.page.homes import Big
from benchmarks.page.museum import (
    BEGAN,
    CATEGORIES,
    MEASURES,
    MONTH,
    PROMPTS,
    RUNS,
    SAMPLE,
    STEPS,
    TAGS,
    TOKENS,
    measured,
    museum,
    vocabulary,
)
from benchmarks.page.report import Line
from benchmarks.page.server import Failed, Server, serving
from benchmarks.page.window import SIZE, browsing
from engine import store
from engine.home import Home
from engine.phrases import table

BEGINNINGS = ("t", "th", "the", "that", "with", "s", "wh", "once upon a t", "the of and", "xyzzy", "")
INSERTS = 1000
LINES = (
    Line("exhibits_p50", "exhibits: search, filter or page, median", "ms"),
    Line("exhibits_p95", "exhibits: search, filter or page, 95%", "ms", 100),
    Line("exhibits_max", "exhibits: the slowest", "ms"),
    Line("said_p50", "everything said: search, filter or page, median", "ms"),
    Line("said_p95", "everything said: search, filter or page, 95%", "ms", 100),
    Line("said_max", "everything said: the slowest", "ms"),
    Line("worst_exhibits", "exhibits: frequent beginnings, the slowest", "ms", 100),
    Line("worst_said", "everything said: frequent beginnings, the slowest", "ms", 100),
    Line("measures_exhibits", "exhibits: by a measure, the slowest", "ms", 100),
    Line("measures_said", "everything said: by a measure, the slowest", "ms", 100),
    Line("insert_p50", "storing an answer, median", "ms"),
    Line("insert_max", "storing an answer, the slowest", "ms"),
    Line("bare_p50", "  the same without the search", "ms"),
    Line("bare_max", "  the same without the search, the slowest", "ms"),
    Line("measured_p50", "storing its measures, median", "ms"),
    Line("paint_again", "first paint of the gallery, page opened again", "s", 1.5),
    Line("paint_new", "  the same in a new browser", "s"),
    Line("frame_new", "  the page's frame in a new browser", "s", 1.5),
    Line("paint_said", "first paint of everything said, page opened again", "s", 1.5),
)
PAINTED = """
    window.painted = new Promise((done) => {
      const look = () => document.querySelector("body.ready :is(#gallery .exhibit, #everything .hit)")
        ? requestAnimationFrame(() => setTimeout(() => done(performance.now()))) : requestAnimationFrame(look);
      look();
    });"""

FRAME = "performance.getEntriesByName('first-contentful-paint')[0].startTime"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; exit status 1 when a limit is missed, 2 where nothing could be measured."""
    given = _parser().parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="blueberry-gallery-") as temporary:
        home, made = museum(Path(given.home or temporary), given.exhibits, given.samples)
        try:
            found = _measured(home, given)
        except Failed as error:
            print(error)
            return 2
    missed = [line.key for line in LINES if line.key in found and line.reached(found[line.key]) is False]
    about = (
        f"{given.exhibits:,} exhibits, {given.samples:,} samples; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    if given.json:
        print(json.dumps({"about": about, "figures": found, "made": made, "missed": missed}))
        return bool(missed)
    print(about)
    rows = [
        [line.label, f"{found[line.key]:.3g} {line.unit}", "" if line.limit is None else f"{line.limit:g} {line.unit}"]
        for line in LINES
        if line.key in found
    ]
    print(table(("FIGURE", "MEASURED", "LIMIT"), rows, right=("MEASURED", "LIMIT")))
    print(f"runs.db has {home.database.stat().st_size / 1e6:,.0f} MB.")
    for key in missed:
        print(f"MISSED   {key}")
    return bool(missed)


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m engine bench gallery", description=(__doc__ or "").partition("\n")[0]
    )
    made.add_argument("--exhibits", type=whole, default=10_000, metavar="N")
    made.add_argument("--samples", type=whole, default=1_000_000, metavar="N")
    made.add_argument("--queries", type=whole, default=300, metavar="N", help="of each kind")
    made.add_argument("--rounds", type=whole, default=5, metavar="N", help="openings of the page")
    made.add_argument("--home", default="", metavar="DIR", help="where the home is kept for the next time")
    made.add_argument("--json", action="store_true", help="print data for programs")
    return made


def _measured(home: Home, given: argparse.Namespace) -> dict[str, float]:
    found: dict[str, float] = {}
    dice, words = random.Random(2), vocabulary()
    with serving(Big(home, (), 0)) as server:
        ask = _asker(server)
        for path, kind in (("/api/exhibits", "exhibits"), ("/api/said", "said")):
            tell(f"searching {kind}")
            ask(path)
            times = [ask(f"{path}?{urlencode(_query(dice, words, kind))}") for _ in range(given.queries)]
            found |= {f"{kind}_{name}": value for name, value in _summary(times).items()}
            found[f"worst_{kind}"] = max(ask(f"{path}?{urlencode({'q': one})}") for one in BEGINNINGS * 3)
            of_measures = [{"measured": name, "q": word} for name in store.KINDS for word in ("", "the")]
            found[f"measures_{kind}"] = max(ask(f"{path}?{urlencode(one)}") for one in of_measures * 3)
        found |= _inserts(home, dice, words)
        found |= _paints(server, given.rounds)
    return found


def _summary(times: list[float]) -> dict[str, float]:
    return {"p50": statistics.median(times), "p95": statistics.quantiles(times, n=20)[-1], "max": max(times)}


def _asker(server: Server) -> Callable[[str], float]:
    """What asks one question and tells how many milliseconds the answer took."""
    connection = http.client.HTTPConnection(urlsplit(server.address).netloc, timeout=60)

    def ask(path: str) -> float:
        begun = time.perf_counter()
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise Failed(f"{path} answered {answer.status}.")
        return (time.perf_counter() - begun) * 1000

    return ask


def _query(dice: random.Random, words: list[str], kind: str) -> dict[str, Any]:
    """What somebody might look for."""
    asked: dict[str, Any] = {}
    if dice.random() < 0.8:
        typed = [word.strip(".,;:!?\"'()_-") for word in dice.choices(words, k=dice.randrange(1, 4))]
        if dice.random() < 0.5:
            typed[-1] = typed[-1][: max(2, len(typed[-1]) // 2)]
        asked["q"] = " ".join(filter(None, typed))
        if not any(letter.isalnum() for letter in asked["q"]):
            del asked["q"]
    if dice.random() < 0.5:
        return asked | ({"page": dice.randrange(200)} if kind == "exhibits" and not asked else {})
    if dice.random() < 0.5:
        asked["young"] = dice.choice((100_000, 1_000_000, 10_000_000, 30_000_000))
    if dice.random() < 0.5:
        asked["old"] = dice.choice((300_000, 3_000_000, 30_000_000, dice.randrange(STEPS * TOKENS)))
    if dice.random() < 0.5:
        begin = BEGAN + dice.random() * RUNS * MONTH
        asked |= {
            "since": begin // 3600 * 3600,
            "until": (begin + dice.choice((1, 7, 90, 365)) * 86_400) // 3600 * 3600,
        }
    if dice.random() < 0.2:
        asked["measured"] = dice.choice(tuple(store.KINDS))
    if kind == "exhibits" and dice.random() < 0.5:
        asked["category"] = dice.choice(CATEGORIES)
    if kind == "exhibits" and dice.random() < 0.5:
        asked["tag"] = dice.choice(TAGS)
    return asked


def _inserts(home: Home, dice: random.Random, words: list[str]) -> dict[str, float]:
    """Milliseconds to store one answer, indexed and not, and what was measured about it."""
    tell("storing answers")
    db = store.connect(home.database)
    run_id = store.list_runs(db)[0]["id"]
    times: dict[int, list[float]] = {0: [], 1: [], 2: []}
    for number in range(2 * INSERTS):
        text = f" {' '.join(dice.choices(words, k=60))}"
        values = (
            run_id, 1, number, number, "bench", PROMPTS[0], text, 7, 0.8, 0, 0.95, 80, 80, "length", None, "float32",
            "cpu", "live", time.time(),
        )  # fmt: skip
        row = dict(zip(SAMPLE, values, strict=True)) | {"superseded": number % 2}
        begun = time.perf_counter()
        sample = store.add_sample(db, row)
        times[number % 2].append((time.perf_counter() - begun) * 1000)
        about = dict(zip(MEASURES, measured(dice, sample), strict=True))
        begun = time.perf_counter()
        store.put_measures(db, about)
        times[2].append((time.perf_counter() - begun) * 1000)
    db.close()
    found = {"measured_p50": statistics.median(times[2])}
    for name, which in (("insert", 0), ("bare", 1)):
        found |= {f"{name}_p50": statistics.median(times[which]), f"{name}_max": max(times[which])}
    return found


def _paints(server: Server, rounds: int) -> dict[str, float]:
    """Seconds until cards are painted, medians."""
    tell("opening the page")
    times: dict[str, list[float]] = {"paint_new": [], "frame_new": [], "paint_again": [], "paint_said": []}
    with browsing() as browser:
        for _ in range(rounds):
            context = browser.new_context(viewport=SIZE)
            page = context.new_page()
            page.add_init_script(PAINTED)
            for name, room in (("paint_new", ""), ("paint_again", ""), ("paint_said", "&room=said&q=whale")):
                page.goto(f"{server.address}/?tab=capsule{room}", wait_until="commit")
                times[name].append(float(page.evaluate("window.painted")) / 1000)
                if name == "paint_new":
                    times["frame_new"].append(float(page.evaluate(FRAME)) / 1000)
            context.close()
    return {name: statistics.median(values) for name, values in times.items()}
