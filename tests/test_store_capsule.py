"""The time capsule: found by words and ages, changed, taken out; the index stays in step."""

import pytest
from sqlite_utils import Database
from support import new_run
from test_store_words import say

from engine import store
from engine.home import Home
from engine.store import changes

HOSTILE = [
    '"',
    '""" OR "',
    "AND",
    "NEAR(a b",
    "title:",
    "* ^ -",
    "(((((",
    "a* OR b*",
    "x\x00y",
    "\ud800",
    "\u202e\u200f",
    "%_",
    "'; DROP TABLE archive; --",
    "word " * 500,
    "(" * 1000,
    "a" * 1000,
]


def kept(db: Database, run_id: str, title: str, step: int = 4, **said: str) -> int:
    return store.keep(db, say(db, run_id, step, **said), "good", title, "")


def titles(db: Database, query: str) -> set[str]:
    return {row["title"] for row in store.search_archive(db, query)[0]}


def test_all_words_must_occur_and_the_last_may_be_a_beginning(home: Home, db: Database) -> None:
    run_id = new_run(home, db)
    kept(db, run_id, "Tea", prompt="The Hatter", text=" poured the tea for Zoë")
    kept(db, run_id, "Croquet", prompt="The Queen", text=" played with hats")

    assert titles(db, "hat") == {"Tea", "Croquet"}
    assert titles(db, "hat queen") == set()
    assert titles(db, "QUEEN ha") == {"Croquet"}
    assert titles(db, "zoe") == {"Tea"}
    assert titles(db, "tea hatt") == {"Tea"}


@pytest.mark.parametrize("query", HOSTILE, ids=range(len(HOSTILE)))
def test_no_search_raises(home: Home, db: Database, query: str) -> None:
    kept(db, new_run(home, db), "Tea")

    found, total = store.search_archive(db, query)

    assert len(found) == total < 2


def test_operators_are_words_and_signs_are_found_as_they_are(home: Home, db: Database) -> None:
    run_id = new_run(home, db)
    kept(db, run_id, "Either OR neither")
    kept(db, run_id, "A smile :-)")

    assert titles(db, "either or") == {"Either OR neither"}
    assert titles(db, ":-)") == {"A smile :-)"}


def test_the_index_follows_what_is_changed_and_taken_out(home: Home, db: Database) -> None:
    sample = say(db, new_run(home, db), 4)
    exhibit = store.keep(db, sample, "good", "Marmalade")

    store.keep(db, sample, "good", "Treacle")
    assert titles(db, "marmalade") == set() and titles(db, "treacle") == {"Treacle"}

    store.remove_exhibit(db, exhibit)
    assert titles(db, "treacle") == set()
    assert store.get_sample(db, sample)["id"] == sample
    for gone in (store.get_exhibit, store.remove_exhibit):
        with pytest.raises(store.Refused, match="may have been removed"):
            gone(db, exhibit)

    assert store.keep(db, sample, "good", "Again") > exhibit, "an address never means another exhibit"


def test_published_exhibits_stay(db: Database) -> None:
    published, _ = store.search_archive(db, run_id=store.REFERENCE_ID)

    with pytest.raises(store.Refused, match="published exhibits stay"):
        store.remove_exhibit(db, published[0]["id"])


def test_ages_limit_what_is_found(home: Home, db: Database) -> None:
    run_id = new_run(home, db)
    for step in (1, 10, 100):
        kept(db, run_id, f"At {step}", step)

    def found(**ages: int) -> list[str]:
        return [row["title"] for row in store.search_archive(db, run_id=run_id, **ages)[0]]  # type: ignore[arg-type]

    assert found(youngest=2560) == ["At 100", "At 10"]
    assert found(oldest=2560) == ["At 10", "At 1"]
    assert found(youngest=257, oldest=2560) == ["At 10"]


def test_categories_in_use_are_listed(home: Home, db: Database) -> None:
    store.keep(db, say(db, new_run(home, db), 1), "Haiku", "Frog")

    assert "Haiku" in store.categories(db)


def test_a_category_stays_as_it_was_written_and_is_found_however_it_is_written(home: Home, db: Database) -> None:
    run_id = new_run(home, db)
    for step, category in enumerate(("haiku", "Haiku", "GOOD", "Élan vital"), start=1):
        store.keep(db, say(db, run_id, step), category, f"At {step}")

    def found(category: str) -> list[str]:
        return [row["category"] for row in store.search_archive(db, category=category, run_id=run_id)[0]]

    assert found("HAIKU") == ["Haiku", "haiku"]
    assert found("good") == ["good"] and found("élan Vital") == ["Élan vital"] and found("hai") == []
    assert set(store.categories(db)) - set(store.CATEGORIES) == {"Haiku", "Élan vital"}


def test_an_archive_from_before_the_index_is_found(home: Home, db: Database) -> None:
    kept(db, new_run(home, db), "Old friend")
    for name in ("kept", "changed", "removed"):
        db.conn.execute(f"DROP TRIGGER archive_{name}")
    db.conn.execute("DROP TABLE archive_words")

    changes.full_text_search(db)

    assert titles(db, "old friend") == {"Old friend"}
