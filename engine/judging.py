"""Measures answers, proposes what they look like and keeps that; makes the index of a training text it is needed for.

`python -m engine judge` is for people, `python -m engine.judging --home DIR` for the page, which runs it at the lowest
priority whenever something new was said. A trainer knows nothing of either.
"""

import argparse
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlite_utils import Database

from engine import store
from engine.config import ConfigError
from engine.data.progress import Stopped
from engine.data.shards import CARD, Dataset, is_embedded, open_dataset
from engine.home import Home
from engine.measures import change, distinct, loop, stuck_share, unknown_share
from engine.ngrams import Index, Passage, fingerprint, is_made, open_index
from engine.ngrams_build import build
from engine.ngrams_tokens import Spelling
from engine.proposals import propose
from engine.store import Refused, Row
from engine.wording import said

VERSION = 1
"""Of definitions and rules; answers measured by older ones are measured again."""
UNUSABLE: tuple[type[Exception], ...] = (*store.UNUSABLE, OSError)
BATCH = 200
"""Answers that are kept in one transaction."""

Report = Callable[[str, float], None]
"""What is done, in words, and which share of it."""
Asked = Callable[[], bool]


def measure(sample: Row, before: Row | None, index: Index | None) -> Row:
    """Everything that is measured about an answer without its model; `before` is that of the age before."""
    words = [word.text for word in said(sample["prompt"], sample["text"], sample["finish"])]
    stretch = loop(words)
    found: Row = {
        "sample_id": sample["id"],
        "words": len(words),
        "distinct_1": distinct(words, 1),
        "distinct_2": distinct(words, 2),
        "distinct_3": distinct(words, 3),
        "loop_words": stretch.words,
        "loop_phrase": stretch.phrase,
        "loop_share": _share(stretch.words, words),
        "stuck_share": stuck_share(sample["text"]),
        "change": None if before is None else _change(sample, before, words),
        **(_looked_up(words, index) if index else dict.fromkeys(LOOKED_UP)),
        "version": VERSION,
        "made_at": time.time(),
    }
    return found | {"proposal": propose(found)}


LOOKED_UP = (
    "unknown_share",
    "familiar_share",
    "copied_words",
    "copied_share",
    "copied_first",
    "copied_start",
    "copied_end",
    "text_sha256",
)


def judge(home: Home, db: Database, sample_id: int) -> Row:
    """The measures of an answer, made now if they are missing or more can be known; raises Refused without a sample."""
    sample = store.get_sample(db, sample_id)
    found = store.get_measures(db, sample_id)
    run = store.get_run(db, sample["run_id"])
    index = index_of(home, run["kind"], run["dataset"], sample["created_at"])
    wanted = index.manifest.sha256 if index else found and found["text_sha256"]
    if found and found["version"] >= VERSION and found["text_sha256"] == wanted:
        return found
    store.put_measures(db, measure(sample, store.answer_before(db, sample), index))
    made = store.get_measures(db, sample_id)
    if made is None:
        raise Refused(f"There is no sample {sample_id}.")
    return made


def weigh_at_leisure(home: Home, stopped: Asked) -> None:
    """Ask weights on the disk how sure they were of what they said, as long as no run trains or waits."""

    def busy() -> bool:
        with closing(store.connect(home.database)) as db:
            return bool(store.open_runs(db))

    with closing(store.connect(home.database)) as db:
        wanted = any(row["there"] for row in store.unweighed(db))
    if wanted and not busy():
        from engine.certainty import weigh  # torch: only for this

        weigh(home, stopped=lambda: stopped() or busy())


def index_of(home: Home, kind: str, dataset: str, said_at: float) -> Index | None:
    """The index of the text that a run of this kind had read when it spoke; None where there is none (yet)."""
    if text_is_elsewhere(kind, dataset):
        return None
    try:
        index = open_index(home, dataset)
    except (ConfigError, Refused):  # a dataset that was deleted or is damaged: the answers are measured without
        return None
    return None if index is None or is_another_text(index.dataset, said_at) else index


def text_is_elsewhere(kind: str, dataset: str) -> bool:
    """Whether the text of such a run is not in this home: of the same name may be another one.

    The starter novels come with every home, so a run on them that came in a capsule has read what lies here too.
    """
    return kind != "trained" and not (kind == "imported" and is_embedded(dataset))


def is_another_text(dataset: Dataset, said_at: float) -> bool:
    """Whether a dataset was prepared after this was said, and so is not the one that was read, whatever its name."""
    made = dataset.card.get("created_at")
    if not made or is_embedded(dataset.name):
        return False
    return datetime.fromisoformat(made).timestamp() > said_at


def obstacle(home: Home, name: str) -> str:
    """Why a dataset can have no index, in a sentence; "" where it can."""
    try:
        changed = (home.dataset(name) / CARD).stat().st_mtime_ns
    except OSError:
        return f"The dataset {name} is not in this home any more."
    return _obstacle(home, name, changed)


@lru_cache(maxsize=16)
def _obstacle(home: Home, name: str, changed: int) -> str:
    try:
        Spelling(open_dataset(home, name))
    except (ConfigError, Refused) as error:
        return str(error)
    return ""


def passage(home: Home, run: Row, measured: Row) -> Passage | None:
    """Where the copied run stands in the training text; None where there is none, or the text is another one now."""
    # Whether it is the text that was read was asked when it was measured.
    index = index_of(home, run["kind"], run["dataset"], math.inf) if measured["copied_words"] else None
    if index is None or index.manifest.sha256 != measured["text_sha256"]:
        return None
    return index.passage(measured["copied_start"], measured["copied_end"])


def judge_all(
    home: Home,
    run_id: str = "",
    report: Report = lambda what, share: None,
    stopped: Asked = lambda: False,
) -> int:
    """Measure every answer (of one run) that was not, making what indexes are missing; how many were measured.

    Raises Stopped. What is measured so far stays.
    """
    with closing(store.connect(home.database, patience=30)) as db:
        names = [store.get_run(db, run_id)["dataset"]] if run_id else store.datasets_of_answers(db)
        texts = {name: sha256 for name in names if (sha256 := _indexed(home, name, report, stopped))}
        made, after = 0, 0
        while rows := store.unmeasured(db, VERSION, after, run_id, BATCH):
            made, after = made + _keep(home, db, rows, stopped), rows[-1]["id"]
            report("answers", 0.0)
        for name, sha256 in texts.items():
            after = 0
            while rows := store.not_looked_up(db, name, sha256, after, BATCH):
                after = rows[-1]["id"]
                # Others have read another text of that name: they would be measured in vain each time.
                theirs = [row for row in rows if index_of(home, row["run_kind"], name, row["created_at"])]
                made += _keep(home, db, theirs, stopped)
    return made


def _keep(home: Home, db: Database, samples: Sequence[Row], stopped: Asked) -> int:
    """Measure some answers and keep that in one transaction, so that the trainer waits for one commit."""
    made = []
    for sample in samples:
        if stopped():
            raise Stopped
        index = index_of(home, sample["run_kind"], sample["dataset"], sample["created_at"])
        made.append(measure(sample, store.answer_before(db, sample), index))
    with store.writing(db):
        for row in made:
            store.put_measures(db, row)
    return len(made)


def _indexed(home: Home, name: str, report: Report, stopped: Asked) -> str:
    """Make the index of a dataset where it is missing; the sha256 of its text, or "" where there is no index."""
    try:
        dataset = open_dataset(home, name)
        whole = build(home, dataset, lambda share: report(name, share), stopped)
    except (ConfigError, Refused):  # deleted, damaged, or without a text that can be put together
        return ""
    return fingerprint(dataset) if whole and is_made(dataset) else ""


def _looked_up(words: list[str], index: Index) -> Row:
    """What the training text says about the words of an answer."""
    run, familiar = index.search(words)
    return {
        "unknown_share": unknown_share([count > 0 for count in index.counts(words)]),
        "familiar_share": _share(familiar, words),
        "copied_words": run.words if run else 0,
        "copied_share": _share(run.words if run else 0, words),
        "copied_first": run.first if run else None,
        "copied_start": run.start if run else None,
        "copied_end": run.end if run else None,
        "text_sha256": index.manifest.sha256,
    }


def _change(sample: Row, before: Row, words: list[str]) -> float | None:
    return change([word.text for word in said(sample["prompt"], before["text"], before["finish"])], words)


def _share(part: int, words: Sequence[Any]) -> float | None:
    return part / len(words) if words else None


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what is new in a home, as the page asks for it."""
    parser = argparse.ArgumentParser(prog="python -m engine.judging", description=__doc__)
    parser.add_argument("--home", required=True)
    given = parser.parse_args(argv)
    os.nice(19)  # everything else comes first
    home, parent = Home.at(given.home), os.getppid()

    def left() -> bool:
        return os.getppid() != parent  # nobody waits for it any more

    try:
        judge_all(home, stopped=left)
        weigh_at_leisure(home, left)
    except Stopped:
        return 0
    except UNUSABLE as error:
        print(f"Not all answers were measured: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
