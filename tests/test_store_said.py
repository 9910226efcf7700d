"""engine/store/said.py: everything that was said is found by its words, its run, its age and its date."""

import importlib
import random
from pathlib import Path

import pytest
from sqlite_utils import Database
from support import new_run
from test_store_capsule import HOSTILE
from test_store_words import say

from engine import store
from engine.home import Home
from engine.store import changes_fame, said, spans
from engine.store.migrations import MIGRATIONS
from engine.store.search import PAGE, Wanted

DAY = 86_400.0


def texts(db: Database, query: str = "", **wanted: object) -> list[str]:
    found = store.search_samples(db, Wanted(query=query, **wanted))  # type: ignore[arg-type]
    assert found.total == len(found.samples)
    return [one["text"] for one in found.samples if one["source"] != "published"]


def test_words_of_prompts_and_answers_are_found_newest_first(home: Home, db: Database) -> None:
    run_id = new_run(home, db)
    say(db, run_id, 1, "The Hatter", " poured tea for Zoë")
    say(db, run_id, 2, "The Queen", " didn't like hats")

    assert texts(db, "hat") == [" didn't like hats", " poured tea for Zoë"]
    assert texts(db, "QUEEN ha") == [" didn't like hats"] and texts(db, "hat tea queen") == []
    assert texts(db, "zoe") == [" poured tea for Zoë"] and texts(db, "didn't") == [" didn't like hats"]
    assert texts(db, "didn-t") == [" didn't like hats"], "signs part words"
    assert texts(db, "h") == [], "one letter is a word, not a beginning"


@pytest.mark.parametrize("query", HOSTILE, ids=range(len(HOSTILE)))
def test_no_search_raises_anything_but_a_sentence(home: Home, db: Database, query: str) -> None:
    say(db, new_run(home, db), 1)

    try:
        assert store.search_samples(db, Wanted(query=query)).total < 2
    except store.Refused as error:
        assert "signs alone cannot" in str(error)


def test_runs_ages_and_dates_limit_what_is_found(home: Home, db: Database) -> None:
    one = new_run(home, db)
    store.end_run(db, one, "stopped")
    other = new_run(home, db)
    for step in (1, 10, 100):
        say(db, one, step, text=f" one {step}")
        say(db, other, step, text=f" other {step}")
    db.conn.execute("UPDATE samples SET created_at = 20000 * ? + step * 3600 WHERE source = 'playground'", [DAY])

    assert texts(db, run_id=one) == [" one 100", " one 10", " one 1"]
    assert texts(db, "one", run_id=other) == []
    assert texts(db, run_id=one, youngest=2560) == [" one 100", " one 10"]
    assert texts(db, run_id=one, oldest=2560) == [" one 10", " one 1"] and texts(db, run_id=one, oldest=2559) == [
        " one 1"
    ]
    since = 20_000 * DAY + 3600 * 10
    assert texts(db, "other", since=since) == [" other 100", " other 10"]
    assert texts(db, "other", until=since) == [" other 1"]
    assert texts(db, "other", since=since + 1, until=since + DAY) == []
    assert texts(db, run_id="nobody") == [] and texts(db, youngest=10**15) == []


def test_superseded_and_deleted_samples_are_not_found(home: Home, db: Database) -> None:
    run_id = new_run(home, db)
    say(db, run_id, 1, text=" stays")
    say(db, run_id, 9, text=" goes", source="periodic")
    last = say(db, run_id, 9, text=" goes too")

    store.supersede_after(db, run_id, 5)
    assert texts(db, run_id=run_id) == [" goes too", " stays"] and texts(db, "goes") == [" goes too"]
    db.conn.execute("DELETE FROM samples WHERE id = ?", [last])
    assert texts(db, "goes") == []
    db.conn.execute("INSERT INTO sample_words (sample_words) VALUES ('integrity-check')")


def test_exhibits_are_told(home: Home, db: Database) -> None:
    run_id = new_run(home, db)
    exhibit = store.keep(db, say(db, run_id, 1), "good", "Kept")
    say(db, run_id, 2)

    found = store.search_samples(db, Wanted(run_id=run_id)).samples

    assert [one["exhibit"] for one in found] == [None, exhibit]
    assert {one["run_name"] for one in found} == {"tiny"}


@pytest.mark.parametrize("counted", [1000, 120, 60])
def test_every_page_is_reached_forwards_and_backwards(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch, counted: int
) -> None:
    monkeypatch.setattr(said, "COUNTED", counted)
    run_id = new_run(home, db)
    every = [say(db, run_id, step + 1) for step in range(173)][::-1]
    wanted, pages = Wanted(query="alice", run_id=run_id), []

    page = store.search_samples(db, wanted)
    assert page.total == min(173, counted + 1) and not page.newer
    while True:
        pages.append([one["id"] for one in page.samples])
        if not page.older:
            break
        page = store.search_samples(db, wanted, before=pages[-1][-1])
    assert [one for found in pages for one in found] == every and [len(one) for one in pages] == [PAGE, PAGE, PAGE, 23]

    for earlier in pages[-2::-1]:
        page = store.search_samples(db, wanted, after=page.samples[0]["id"])
        assert [one["id"] for one in page.samples] == earlier and page.older
    assert not page.newer


def test_a_home_of_many_samples_is_read_in_later_the_newest_first(home: Home, db: Database) -> None:
    run_id = new_run(home, db)
    ids = [say(db, run_id, step + 1, text=f" word{step}") for step in range(5)]
    db.conn.execute("INSERT INTO sample_words (sample_words) VALUES ('delete-all')")
    db.conn.execute("UPDATE sample_index SET unread = ?", [ids[-1]])

    say(db, run_id, 9, text=" wordnew")
    db.conn.execute("UPDATE samples SET superseded = 1 WHERE id = ?", [ids[3]])
    db.conn.execute("DELETE FROM samples WHERE id = ?", [ids[2]])
    assert texts(db, "word") == [" wordnew"] and store.search_samples(db, Wanted()).unread
    assert said.read_older(db, 2)
    assert texts(db, "word") == [" wordnew", " word4"]
    while said.read_older(db, 2):
        pass
    assert texts(db, "word") == [" wordnew", " word4", " word1", " word0"]
    assert not store.search_samples(db, Wanted()).unread and not said.read_older(db)
    db.conn.execute("INSERT INTO sample_words (sample_words) VALUES ('integrity-check')")


def test_words_of_a_range_cover_it_and_little_else() -> None:
    dice = random.Random(3)
    for _ in range(300):
        low, high = sorted(dice.randrange(10 ** dice.randrange(1, 12)) for _ in range(2))
        words = set(spans.age_words(low, high))
        assert len(words) < 150
        for age in (low, high, (low + high) // 2, dice.randint(low, high)):
            assert words & of_age(age), (low, high, age)
        for age in (low * 98 // 100 - 1, high * 102 // 100 + 2):
            if age > 0 and not low <= age <= high:
                assert not words & of_age(age), (low, high, age)


def of_age(tokens: int) -> set[str]:
    text = str(tokens)
    return {spans.MARK + f"t{len(text)}"} | {f"{spans.MARK}t{len(text)}x{text[:many]}" for many in (1, 2, 3)}


def test_words_of_dates_cover_hours_days_months_and_years() -> None:
    words = [word.removeprefix(spans.MARK) for word in spans.date_words(1_704_063_600.0, 1_735_693_200.0, 0.0)]

    assert words == ["h2023123123", "y2024", "h2025010100"]
    assert spans.date_words(5.0, 1.0, 0.0) == []
    assert len(spans.date_words(None, None, 1_735_693_200.0)) < 120
    assert spans.date_words(float("-inf"), float("inf"), 0.0)[-1] == f"{spans.MARK}y2198"


@pytest.mark.parametrize("at_once", [20_000, 2])
def test_a_home_from_before_the_search_gets_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    opening = importlib.import_module("engine.store.connect")  # `store.connect` is the function
    before = [change.__name__ for change in MIGRATIONS].index("hall_of_fame")
    monkeypatch.setattr(changes_fame, "AT_ONCE", at_once)
    home = Home.at(tmp_path)
    with monkeypatch.context() as older:
        older.setattr(opening, "MIGRATIONS", MIGRATIONS[:before])
        store.migrate(home.database)
        db = store.connect(home.database)
        run_id = new_run(home, db)
        ids = [say(db, run_id, step + 1, text=f" word{step}") for step in range(4)]
        old = {"sample_id": ids[1], "category": "good", "title": "Old", "note": "", "created_at": 1.0}
        store.insert(db, "archive", old)
        db.close()

    store.migrate(home.database)

    db = store.connect(home.database)
    assert store.search_samples(db, Wanted()).unread == (at_once < 4)
    while said.read_older(db, 3):
        pass
    assert texts(db, "word") == [" word3", " word2", " word1", " word0"]
    (exhibit,), total = store.search_exhibits(db, Wanted(run_id=run_id, oldest=512))
    assert (exhibit["title"], exhibit["tags"], exhibit["place"], total) == ("Old", [], None, 1)
    db.close()
