"""engine/store/labels.py: names, tags, notes, and runs that are put away."""

from typing import Any

import pytest
from sqlite_utils import Database
from ui_helpers import add_answer, make_run

from engine import store

CONTROL = "\x1b[31mred"


@pytest.fixture
def run(db: Database) -> str:
    """A run that has ended."""
    run_id = make_run(db, "first")
    store.end_run(db, run_id, "stopped")
    return run_id


def labels(db: Database, run_id: str) -> tuple[Any, ...]:
    row = store.get_run(db, run_id)
    return row["tags"], row["notes"], row["put_away_at"] is not None


def test_a_run_has_no_labels_at_first(db: Database, run: str) -> None:
    assert labels(db, run) == ([], "", False)
    assert [row["tags"] for row in store.list_runs(db)] == [[], []]


def test_a_new_name_is_found_and_the_old_one_is_not(db: Database, run: str) -> None:
    store.rename_run(db, run, "second")

    assert store.find_run(db, "second")["id"] == run
    with pytest.raises(store.Refused, match="no run 'first'"):
        store.find_run(db, "first")


@pytest.mark.parametrize("name", ["", "../x", "a b", "x" * 65, "CON\x00", "\u202eabc", "<b>", "-x"])
def test_what_cannot_be_a_name_is_refused(db: Database, run: str, name: str) -> None:
    with pytest.raises(store.Refused, match="1 to 64 letters"):
        store.rename_run(db, run, name)

    assert store.get_run(db, run)["name"] == "first"


def test_two_runs_do_not_get_one_name_and_the_published_one_keeps_its_own(db: Database, run: str) -> None:
    make_run(db, "other")

    with pytest.raises(store.Refused, match="Another run is called other"):
        store.rename_run(db, run, "other")
    with pytest.raises(store.Refused, match="published"):
        store.rename_run(db, store.REFERENCE_ID, "mine")
    with pytest.raises(store.Refused, match="no run"):
        store.rename_run(db, "nobody", "mine")
    store.rename_run(db, run, "first")  # its own name is no other's


def test_the_time_capsule_is_searched_by_the_new_name(db: Database, run: str) -> None:
    kept = store.keep(db, add_answer(db, run, " a marmalade cat"), "good", "Cat")
    add_answer(db, run, " a dog that nobody kept")
    other = store.keep(db, add_answer(db, make_run(db, "elsewhere"), " another cat"), "good", "Cat")

    store.rename_run(db, run, "tabby")

    assert [row["id"] for row in store.search_archive(db, "tabby")[0]] == [kept]
    assert store.search_archive(db, "first")[1] == 0
    assert [row["id"] for row in store.search_archive(db, "elsewhere")[0]] == [other]
    assert db.execute("INSERT INTO archive_words (archive_words) VALUES ('integrity-check')") is not None


def test_tags_are_added_and_taken_off(db: Database, run: str) -> None:
    assert store.change_tags(db, run, ["fast", "  long   word "]) == ["fast", "long word"]
    assert store.change_tags(db, run, ["FAST", "new"], ["Long Word", "never was"]) == ["fast", "new"]
    assert labels(db, run)[0] == ["fast", "new"]
    assert store.list_runs(db)[0]["tags"] == ["fast", "new"]


def test_a_tag_is_any_plain_text(db: Database, run: str) -> None:
    tags = ["سريع", "🚣\u200d♀️", "<img src=x onerror=alert(1)>", "'; DROP TABLE runs; --", "Ünï", "x" * 40]

    assert store.change_tags(db, run, tags) == tags
    assert store.change_tags(db, run, ["U\u0308nï"]) == tags  # the same letters, written in parts


@pytest.mark.parametrize(
    "tag", ["", "  ", "x" * 41, "a,b", CONTROL, "a\u202eb", "\ud800", "\x00", "\u200d" * 2 + "\n\x07"]
)
def test_what_cannot_be_a_tag_is_refused(db: Database, run: str, tag: str) -> None:
    with pytest.raises(store.Refused, match="tag"):
        store.change_tags(db, run, ["good", tag])

    assert labels(db, run)[0] == []


def test_twenty_tags_are_enough(db: Database, run: str) -> None:
    store.change_tags(db, run, [str(number) for number in range(20)])

    with pytest.raises(store.Refused, match="at most 20"):
        store.change_tags(db, run, ["one more"])
    assert store.change_tags(db, run, ["one more"], ["0"])[-1] == "one more"


def test_a_note_is_kept_as_it_was_written(db: Database, run: str) -> None:
    store.set_notes(db, run, "  two lines\r\nand a\ttab 🌊 \u202bעברית\u202c ")

    assert labels(db, run)[1] == "two lines\nand a\ttab 🌊 \u202bעברית\u202c"
    store.set_notes(db, run, "")
    assert labels(db, run)[1] == ""


@pytest.mark.parametrize("note", ["x" * 4001, CONTROL, "\x00", "a\ud800"])
def test_what_cannot_be_a_note_is_refused(db: Database, run: str, note: str) -> None:
    with pytest.raises(store.Refused, match="A note"):
        store.set_notes(db, run, note)

    assert labels(db, run)[1] == ""


def test_a_run_is_put_away_and_comes_back(db: Database, run: str) -> None:
    store.change_tags(db, run, ["old"])
    store.put_away(db, run)
    since = store.get_run(db, run)["put_away_at"]
    store.put_away(db, run)
    assert store.get_run(db, run)["put_away_at"] == since and labels(db, run)[0] == ["old"]

    store.put_away(db, run, False)
    assert labels(db, run) == (["old"], "", False)


def test_what_trains_or_is_published_stays_in_sight(db: Database, run: str) -> None:
    with pytest.raises(store.Refused, match="is running; put it away when it has ended"):
        store.put_away(db, make_run(db, "busy"))
    with pytest.raises(store.Refused, match="published"):
        store.put_away(db, store.REFERENCE_ID)


def test_a_run_that_goes_on_is_not_put_away_any_more(db: Database, run: str) -> None:
    store.put_away(db, run)

    store.request_resume(db, run, "cpu")

    assert labels(db, run)[2] is False


def test_the_newest_evaluations_of_all_runs_are_one_question(db: Database, run: str) -> None:
    for step, superseded in ((1, 0), (2, 0), (3, 1)):
        row = {"run_id": run, "attempt": 1, "step": step, "tokens": step, "val_loss": 9.0 - step}
        store.insert(db, "evals", row | {"elapsed_seconds": 1.0, "superseded": superseded})
    make_run(db, "unmeasured")

    found = store.last_evals(db)

    assert found.keys() == {run, store.REFERENCE_ID} and found[run]["val_loss"] == 7.0
    assert found[store.REFERENCE_ID] == store.last_eval(db, store.REFERENCE_ID)
