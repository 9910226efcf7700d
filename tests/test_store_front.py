"""engine/store/front.py: exhibits that stand in front, in an order of one's own, and tags."""

import pytest
from sqlite_utils import Database
from support import new_run
from test_store_words import say

from engine import store
from engine.home import Home
from engine.store import front
from engine.store.search import Wanted


@pytest.fixture
def exhibits(home: Home, db: Database) -> list[int]:
    """Four of one run, called 0 to 3, the last one kept last."""
    run_id = new_run(home, db)
    return [store.keep(db, say(db, run_id, step + 1), "good", str(step), f"note {step}") for step in range(4)]


def shown(db: Database, **wanted: object) -> list[str]:
    found, total = store.search_exhibits(db, Wanted(**wanted))  # type: ignore[arg-type]
    mine = [one["title"] for one in found if one["run_kind"] != "published"]
    assert total == len(found)
    return mine


def test_pinned_exhibits_stand_before_the_newest(db: Database, exhibits: list[int]) -> None:
    assert shown(db) == ["3", "2", "1", "0"]
    store.pin(db, exhibits[0])
    store.pin(db, exhibits[1])
    store.pin(db, exhibits[0])  # once more: it keeps its place
    assert shown(db) == ["0", "1", "3", "2"]
    assert shown(db, pinned=True) == ["0", "1"]

    store.pin(db, exhibits[0], False)
    assert shown(db) == ["1", "3", "2", "0"]
    assert store.get_exhibit(db, exhibits[0])["place"] is None


def test_pinned_exhibits_change_places(db: Database, exhibits: list[int]) -> None:
    for one in exhibits:
        store.pin(db, one)

    store.place_beside(db, exhibits[3], exhibits[0], after=False)
    assert shown(db) == ["3", "0", "1", "2"]
    store.place_beside(db, exhibits[3], exhibits[1], after=True)
    assert shown(db) == ["0", "1", "3", "2"]

    store.pin(db, exhibits[2], False)
    for one, other in ((exhibits[2], exhibits[0]), (exhibits[0], exhibits[2]), (exhibits[0], exhibits[0]), (0, 99)):
        with pytest.raises(store.Refused, match="pin both first"):
            store.place_beside(db, one, other, after=True)


def test_what_cannot_be_pinned_is_refused(db: Database, exhibits: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(store.Refused, match="no exhibit 99999"):
        store.pin(db, 99_999)
    monkeypatch.setattr(front, "MOST_PINNED", 2)
    for one in exhibits[:2]:
        store.pin(db, one)
    with pytest.raises(store.Refused, match="2 exhibits are pinned already"):
        store.pin(db, exhibits[2])


def test_moving_an_exhibit_leaves_its_words_in_the_search(db: Database, exhibits: list[int]) -> None:
    for one in exhibits:
        store.pin(db, one)
    store.place_beside(db, exhibits[0], exhibits[3], after=True)

    assert shown(db, query="note 2") == ["2"]
    db.conn.execute("INSERT INTO archive_words (archive_words, rank) VALUES ('integrity-check', 1)")


def test_tags_are_kept_as_written_and_found_however_they_are_written(home: Home, db: Database) -> None:
    run_id = new_run(home, db)
    sample, other = say(db, run_id, 1), say(db, run_id, 2)
    exhibit = store.keep(db, sample, "good", "A", tags=[" Sea ", "sea", "Élan vital"])
    store.keep(db, other, "good", "B", tags=["SEA"])

    assert store.get_exhibit(db, exhibit)["tags"] == ["Sea", "Élan vital"]
    assert shown(db, tag="sEa") == ["B", "A"] and shown(db, tag="élan VITAL") == ["A"] and shown(db, tag="e") == []
    assert [(row["tag"], row["exhibits"]) for row in store.tags_in_use(db)] == [("Sea", 2), ("Élan vital", 1)]

    store.keep(db, sample, "good", "A again")
    assert store.get_exhibit(db, exhibit)["tags"] == ["Sea", "Élan vital"], "not said: they stay"
    store.keep(db, sample, "good", "A", tags=[])
    assert store.get_exhibit(db, exhibit)["tags"] == []


@pytest.mark.parametrize("tags", [["a,b"], [""], ["x" * 41], ["\x07"], [str(number) for number in range(21)]])
def test_tags_that_are_none_are_refused_and_nothing_is_kept(home: Home, db: Database, tags: list[str]) -> None:
    sample = say(db, new_run(home, db), 1)

    with pytest.raises(store.Refused):
        store.keep(db, sample, "good", "A", tags=tags)

    assert shown(db) == []


def test_tags_go_with_their_exhibit(db: Database, home: Home) -> None:
    exhibit = store.keep(db, say(db, new_run(home, db), 1), "good", "A", tags=["sea"])

    store.remove_exhibit(db, exhibit)

    assert store.tags_in_use(db) == [] and db["exhibit_tags"].count == 0


def test_exhibits_are_sorted_and_limited_by_date(db: Database, exhibits: list[int]) -> None:
    for at, one in enumerate(exhibits):
        db.conn.execute("UPDATE archive SET created_at = ? WHERE id = ?", [1000.0 * at, one])

    def sorted_by(sort: str) -> list[str]:
        found, _ = store.search_exhibits(db, Wanted(until=10_000.0), sort=sort)
        return [one["title"] for one in found]

    assert sorted_by("newest") == sorted_by("nonsense") == ["3", "2", "1", "0"]
    assert sorted_by("oldest") == sorted_by("youngest") == sorted_by("title") == ["0", "1", "2", "3"]
    assert sorted_by("eldest") == ["3", "2", "1", "0"]
    assert shown(db, since=1000.0, until=3000.0) == ["2", "1"]
    assert shown(db, until=1000.0) == ["0"]


def test_a_random_exhibit_matches_and_is_another_one(db: Database, exhibits: list[int]) -> None:
    store.pin(db, exhibits[1])
    store.pin(db, exhibits[2])
    only = Wanted(pinned=True)

    assert {store.random_exhibit(db, only) for _ in range(40)} == {exhibits[1], exhibits[2]}
    assert {store.random_exhibit(db, only, exhibits[1]) for _ in range(10)} == {exhibits[2]}
    assert store.random_exhibit(db, Wanted(query="note 3"), exhibits[3]) == exhibits[3], "there is no other"
    assert store.random_exhibit(db, Wanted(query="nothing like it")) == 0
