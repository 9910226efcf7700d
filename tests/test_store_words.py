"""What runs measure and say, read by cursor; what people keep, found again."""

import pytest
from sqlite_utils import Database
from support import new_run

from engine import store
from engine.home import Home


def measure(db: Database, run_id: str, attempt: int, steps: range) -> None:
    shared = {"run_id": run_id, "attempt": attempt, "elapsed_seconds": 1.0}
    for step in steps:
        store.insert(db, "metrics", shared | {"step": step, "tokens": step * 256, "train_loss": 3.0})
        store.insert(db, "evals", shared | {"step": step, "tokens": step * 256, "val_loss": 2.5})
        say(db, run_id, step, source="periodic")
        say(db, run_id, step, source="playground")


def say(
    db: Database,
    run_id: str,
    step: int,
    prompt: str = "Alice",
    text: str = " was",
    source: str = "playground",
    suite: str = "stories",
) -> int:
    return store.add_sample(
        db,
        {
            "run_id": run_id,
            "attempt": 1,
            "step": step,
            "tokens": step * 256,
            "suite": suite,
            "prompt": prompt,
            "text": text,
            "source": source,
            "created_at": 1.0 * step,
        },
    )


def test_a_cursor_reads_what_is_new(home: Home, db: Database) -> None:
    run_id = new_run(home, db)
    measure(db, run_id, 1, range(1, 6))
    first = store.metrics_after(db, run_id, 0, limit=2)

    rest = store.metrics_after(db, run_id, int(first[-1][0] or 0))

    assert [row[1] for row in (*first, *rest)] == [1, 2, 3, 4, 5]
    assert dict(zip(store.METRICS, first[0], strict=True)) | {"id": 0} == {
        "id": 0,
        "step": 1,
        "tokens": 256,
        "elapsed_seconds": 1.0,
        "train_loss": 3.0,
        "learning_rate": None,
        "grad_norm": None,
        "tokens_per_second": None,
    }
    assert [row[store.EVALS.index("val_loss")] for row in store.evals_after(db, run_id, 0)] == [2.5] * 5


def test_steps_done_again_are_read_once(home: Home, db: Database) -> None:
    run_id = new_run(home, db)
    measure(db, run_id, 1, range(1, 9))

    store.supersede_after(db, run_id, 5)
    measure(db, run_id, 2, range(6, 8))

    assert [row[1] for row in store.metrics_after(db, run_id, 0)] == [1, 2, 3, 4, 5, 6, 7]
    assert store.last_eval(db, run_id)["step"] == 7  # type: ignore[index]
    assert db["metrics"].count_where("run_id = ?", [run_id]) == 10  # nothing is deleted
    said = [(row["step"], row["source"]) for row in store.list_samples(db, run_id)]
    assert sorted(step for step, source in said if source == "periodic") == [1, 2, 3, 4, 5, 6, 7]
    assert sorted(step for step, source in said if source == "playground") == [1, 2, 3, 4, 5, 6, 6, 7, 7, 8]
    assert len(store.evals_after(db, store.REFERENCE_ID, 0)) == 62


def test_the_newest_events_are_read_with_the_oldest_first(home: Home, db: Database) -> None:
    run_id = new_run(home, db)
    for number in range(5):
        store.add_event(db, run_id, "note", str(number), number)

    assert [event["message"] for event in store.list_events(db, run_id, limit=3)] == ["2", "3", "4"]
    cursor = store.list_events(db, run_id)[3]["id"]
    assert [event["message"] for event in store.list_events(db, run_id, cursor)] == ["4"]


def test_a_kept_sample_is_found_by_its_words_category_and_run(home: Home, db: Database) -> None:
    run_id = new_run(home, db)
    sample = say(db, run_id, 4, prompt="The Hatter", text=" poured the tea")
    store.insert(
        db, "evals", {"run_id": run_id, "attempt": 1, "step": 3, "tokens": 1, "val_loss": 2.5, "elapsed_seconds": 1}
    )

    store.keep(db, sample, " Strange ", " Tea ", "at six o'clock")

    for query in ("hatter", "POURED", "tea", "six o'clock", "tiny"):
        found, total = store.search_archive(db, query, run_id=run_id)
        assert total == len(found) == 1, query
    (exhibit,), _ = store.search_archive(db, category="strange", run_id=run_id)
    assert (exhibit["title"], exhibit["note"], exhibit["run_name"], exhibit["step"], exhibit["val_loss"]) == (
        "Tea",
        "at six o'clock",
        "tiny",
        4,
        2.5,
    )
    for nothing in ({"query": "100%"}, {"query": "coffee"}, {"category": "good", "run_id": run_id}, {"run_id": "no"}):
        assert store.search_archive(db, **nothing) == ([], 0)


def test_keeping_again_changes_the_label_and_keeps_the_place(home: Home, db: Database) -> None:
    sample = say(db, new_run(home, db), 1)

    first = store.keep(db, sample, "good", "One")
    second = store.keep(db, sample, "my own", "Two", "better")

    found, total = store.search_archive(db, category="my own")
    assert first == second and total == 1 and (found[0]["title"], found[0]["note"]) == ("Two", "better")


@pytest.mark.parametrize(
    ("category", "title", "note", "sentence"),
    [
        ("", "T", "", "A category needs 1 to 40 characters"),
        ("x" * 41, "T", "", "A category needs"),
        ("good", "  ", "", "A title needs 1 to 200 characters"),
        ("good", "x" * 201, "", "A title needs"),
        ("good", "T", "x" * 4001, "A note has at most 4,000 characters; this one has 4,001"),
    ],
)
def test_labels_have_limits(home: Home, db: Database, category: str, title: str, note: str, sentence: str) -> None:
    sample = say(db, new_run(home, db), 1)

    with pytest.raises(store.Refused, match=sentence):
        store.keep(db, sample, category, title, note)


def test_a_sample_that_is_not_there_cannot_be_kept(db: Database) -> None:
    with pytest.raises(store.Refused, match=r"There is no sample 99999\."):
        store.keep(db, 99_999, "good", "T")


def test_exhibits_come_in_pages_of_fifty_with_the_newest_first(home: Home, db: Database) -> None:
    run_id = new_run(home, db)
    for step in range(53):
        store.keep(db, say(db, run_id, step), "good", f"Title {step}")

    pages = [store.search_archive(db, run_id=run_id, page=page) for page in (0, 1, 2, -1)]

    assert [(len(found), total) for found, total in pages] == [(50, 53), (3, 53), (0, 53), (50, 53)]
    assert [exhibit["step"] for exhibit in pages[0][0] + pages[1][0]] == list(range(52, -1, -1))


def test_what_is_said_is_kept_to_the_last_character(home: Home, db: Database) -> None:
    text = "<script>alert(1)</script> \u202e'; DROP TABLE runs; -- né 火 \n\t end\ufffd"

    sample = say(db, new_run(home, db), 1, text=text)

    assert store.get_sample(db, sample)["text"] == text


def test_answers_by_prompt_and_age(home: Home, db: Database) -> None:
    run_id = new_run(home, db)
    for step in (0, 5):
        for prompt in ("Alice", "Queen"):
            say(db, run_id, step, prompt, f" at {step}", "periodic")
    say(db, run_id, 5, "Alice", " played", "playground")

    newest = store.newest_samples(db, run_id)
    assert [(row["prompt"], row["text"]) for row in newest] == [("Alice", " at 5"), ("Queen", " at 5")]
    assert [row["text"] for row in store.answers(db, run_id, "stories", "Alice")] == [" at 0", " at 5"]
    assert store.newest_sample_id(db, run_id) == 1 + newest[-1]["id"]
    assert store.newest_sample_id(db, "nobody") == 0


def test_an_answer_tells_when_the_age_before_said_the_very_same(home: Home, db: Database) -> None:
    run_id = new_run(home, db)
    for step, text in ((0, " the"), (5, " the"), (9, " tea"), (12, " the"), (14, " the")):
        say(db, run_id, step, "Alice", text, "periodic")
        say(db, run_id, step, "Alice", " the", "playground")
        say(db, run_id, step, "Queen", " the", "periodic")

    ages = store.answers(db, run_id, "stories", "Alice")

    assert [(row["step"], row["same_as"]) for row in ages] == [(0, None), (5, 0), (9, None), (12, None), (14, 12)]
    assert {row["prompt"]: row["same_as"] for row in store.newest_samples(db, run_id)} == {"Alice": 12, "Queen": 12}


def test_weights_on_disk_are_indexed_by_kind_and_forgotten(home: Home, db: Database) -> None:
    run_id = new_run(home, db)

    def index(step: int, kind: str, sha256: str = "0") -> None:
        store.add_checkpoint(
            db, run_id, attempt=1, step=step, tokens=step * 256, kind=kind, path="p", bytes=1, sha256=sha256
        )

    for step in (10, 5):
        index(step, "sampling")
        index(step, "full")
    index(5, "full", sha256="1")  # written again

    assert [(row["step"], row["kind"], row["sha256"]) for row in store.list_checkpoints(db, run_id)] == [
        (5, "sampling", "0"),
        (5, "full", "1"),
        (10, "sampling", "0"),
        (10, "full", "0"),
    ]
    store.forget_checkpoint(db, run_id, 5, "full")
    store.forget_checkpoint(db, run_id, 10, "sampling")
    assert [row["step"] for row in store.list_checkpoints(db, run_id, "full")] == [10]
    assert [(age["step"], age["tokens"]) for age in store.ages(db, run_id)] == [(5, 1280), (10, 2560)]
