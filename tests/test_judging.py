"""Answers measured, looked up in their training text and judged; nothing twice, nothing lost."""

import json
import time
from pathlib import Path

import pytest
from shelves import make_dataset
from sqlite_utils import Database
from ui_helpers import add_answer, make_run

from engine import judging, ngrams, store
from engine.__main__ import main
from engine.data import open_dataset
from engine.data.progress import Stopped
from engine.home import Home
from engine.judging import judge, judge_all, passage
from engine.ngrams_build import build
from engine.proposals import propose, reason

STORY = "Alice was beginning to get very tired of sitting by her sister on the bank, and of having nothing to do"
COPY = " get very tired of sitting by her sister on the bank"


def starter(home: Home) -> None:
    make_dataset(home, "starter", (STORY, "The captain of the ship"), separator_id=0)


def test_an_answer_is_measured_looked_up_and_judged(home: Home, db: Database) -> None:
    starter(home)
    run_id = make_run(db)
    first = add_answer(db, run_id, " get very tired of the ship", 10, "Alice was beginning to", finish="end")
    sample = add_answer(db, run_id, COPY, 20, "Alice was beginning to", finish="end")

    without = judge(home, db, sample)
    assert (without["words"], without["copied_words"], without["proposal"]) == (11, None, None)
    assert build(home, open_dataset(home, "starter"))
    found = judge(home, db, sample)
    assert (found["copied_words"], found["copied_share"], found["copied_first"]) == (11, 1.0, 0)
    assert (found["unknown_share"], found["familiar_share"], found["proposal"]) == (0, 1, "memorised")
    assert found["change"] == pytest.approx(1 - 2 * 5 / (6 + 11))
    assert reason(found) == "11 of 11 words stand in a row in the training text"
    around = passage(home, store.get_run(db, run_id), found)
    assert around is not None and around.before == "Alice was beginning to " and around.document == 1
    assert judge(home, db, sample) == found
    assert judge(home, db, first)["change"] is None


def test_a_text_of_the_same_name_is_not_taken_for_the_one_that_was_read(home: Home, db: Database) -> None:
    """A run that came from elsewhere has read another one, and so has a run that spoke before it was prepared."""
    make_dataset(home, "stories", (STORY, "The captain of the ship"), separator_id=0)
    assert build(home, open_dataset(home, "stories"))
    card = home.dataset("stories") / "card.json"
    run_id = make_run(db)
    db.execute("UPDATE runs SET dataset = 'stories'")
    sample = add_answer(db, run_id, COPY, 20, "Alice was beginning to", finish="end")
    assert judge(home, db, sample)["copied_words"] == 11

    for made, kind, copied in (
        ("2999-01-01", "trained", None),
        ("1999-01-01", "trained", 11),
        ("1999-01-01", "imported", None),
    ):
        card.write_text(json.dumps(json.loads(card.read_text()) | {"created_at": f"{made}T00:00:00+00:00"}))
        db.execute("UPDATE runs SET kind = ?", [kind])
        for judged in (lambda: judge(home, db, sample), lambda: judge_all(home)):
            db.execute("DELETE FROM measures")
            judged()
            found = store.get_measures(db, sample)
            assert found is not None and found["copied_words"] == copied
        assert judge_all(home) == 0, "nothing is measured again in vain"


def test_everything_is_judged_once_and_again_when_the_text_or_the_rules_change(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = make_run(db)
    samples = [add_answer(db, run_id, COPY, step) for step in range(5)]
    published = db["samples"].count - 5
    assert judge_all(home) == 5 + published and judge_all(home) == 0
    assert {row["text_sha256"] for row in db["measures"].rows} == {None}

    starter(home)
    assert judge_all(home) == 5  # the index is made, and those of this text are looked up in it
    assert ngrams.is_made(open_dataset(home, "starter"))
    assert {store.get_measures(db, sample)["proposal"] for sample in samples} == {"memorised"}  # type: ignore[index]

    monkeypatch.setattr(judging, "VERSION", 2)
    assert judge_all(home, run_id) == 5 and judge_all(home) == published


def test_a_stop_keeps_whole_batches(home: Home, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "BATCH", 2)
    run_id = make_run(db)
    for step in range(5):
        add_answer(db, run_id, COPY, step)
    asked: list[int] = []

    def third() -> bool:
        asked.append(1)
        return len(asked) == 4

    with pytest.raises(Stopped):
        judge_all(home, run_id, stopped=third)
    assert db["measures"].count == 2
    assert judge_all(home, run_id) == 3


def test_a_damaged_dataset_leaves_the_other_measures(home: Home, db: Database) -> None:
    starter(home)
    (home.dataset("starter") / "train.bin").write_bytes(b"")
    sample = add_answer(db, make_run(db), " no, no, no, no, no, no, no, no.")
    assert judge_all(home) >= 1
    found = store.get_measures(db, sample)
    assert found is not None and (found["proposal"], found["text_sha256"]) == ("loop", None)
    assert judge(home, db, sample) == found


PLAIN = {"words": 20, "distinct_2": 0.95, "stuck_share": 0.0, "loop_words": 0}
LOOKED_UP = {"copied_words": 5, "copied_share": 0.25, "unknown_share": 0.0, "familiar_share": 0.5}


@pytest.mark.parametrize(
    ("measured", "expected", "because"),
    [
        ({}, "hallucination", "50% of it is made of phrases from the training text, not more"),
        ({"familiar_share": 0.9}, "good", "90% of it is made of phrases"),
        ({"familiar_share": 0.2}, "strange", "only 20% of it is made of phrases"),
        ({"unknown_share": 0.05}, "strange", "1 of 20 words is not"),
        ({"copied_words": 12, "copied_share": 0.6}, "memorised", "12 of 20 words"),
        ({"copied_words": 12, "copied_share": 0.4}, "hallucination", ""),
        ({"stuck_share": 0.5}, "loop", "50% of it says the same signs"),
        ({"stuck_share": 0.5, "loop_words": 9}, "loop", "9 of 20 words are one phrase"),
        ({"distinct_2": 0.5}, "loop", "only 50% of its pairs"),
        ({"copied_words": None}, None, ""),
        ({"words": 4}, None, ""),
        ({"words": 0, "distinct_2": None, "stuck_share": 1.0}, "loop", "100% of it"),
    ],
)
def test_the_rules(measured: dict[str, object], expected: str | None, because: str) -> None:
    row = PLAIN | LOOKED_UP | measured
    assert propose(row) == expected
    assert because in reason(row | {"proposal": expected})


def test_an_answer_is_measured_in_less_than_50_ms(home: Home, db: Database) -> None:
    starter(home)
    assert build(home, open_dataset(home, "starter"))
    run_id = make_run(db)
    samples = [store.get_sample(db, add_answer(db, run_id, f"{COPY} and it was so {n}." * 8)) for n in range(20)]
    index = judging.index_of(home, "trained", "starter", time.time())
    started = time.process_time()
    for sample in samples:
        judging.measure(sample, sample, index)
    assert (time.process_time() - started) / len(samples) < 0.05


def test_the_command_tells_what_a_run_looks_like(home: Home, db: Database, capsys: pytest.CaptureFixture[str]) -> None:
    starter(home)
    run_id = make_run(db)
    add_answer(db, run_id, COPY, finish="end")
    add_answer(db, run_id, " no, no, no, no, no, no, no, no.")
    assert main(["judge", "one", "--home", str(home.path), "--only", "loop"]) == 0
    printed = capsys.readouterr().out
    assert "Memorised               1" in printed and "Loop                    1" in printed
    assert "step 10: " in printed and "no, no, no" in printed and "tired" not in printed
    assert main(["judge", "one", "--home", str(home.path), "--json"]) == 0
    assert [row["proposal"] for row in json.loads(capsys.readouterr().out)] == ["memorised", "loop"]


def test_the_process_of_the_page_measures_everything(home: Home, db: Database, tmp_path: Path) -> None:
    import subprocess
    import sys

    starter(home)
    sample = add_answer(db, make_run(db), COPY, finish="end")
    command = [sys.executable, "-m", "engine.judging", "--home", str(home.path)]
    assert subprocess.run(command, check=False, timeout=60).returncode == 0
    found = store.get_measures(db, sample)
    assert found is not None and found["proposal"] == "memorised"
