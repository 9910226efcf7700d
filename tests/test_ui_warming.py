"""ui/warming.py: the newest runs are in memory before anybody asks, and nothing that is wrong stops the page."""

import logging
from pathlib import Path

import pytest
from sqlite_utils import Database
from ui_helpers import add_points, make_run

from engine import launch, store
from engine.home import Home
from ui import warming
from ui.columns import SeriesCache


def test_the_newest_runs_are_read_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home.at(tmp_path)
    launch.open_home(home)
    db = store.connect(home.database)
    run_id = make_run(db)
    add_points(db, run_id, 1, 20)
    cache = SeriesCache()

    warming.start(home, cache).join()

    def never(*asked: object) -> None:
        raise AssertionError("read again")

    after = store.numbers_after
    monkeypatch.setattr(store, "numbers_after", lambda *asked: (0, []) if asked[4] else never(*asked))
    assert cache.metrics(db, run_id, 1, warming.COLUMNS)["train_loss"].shape == (20,)
    monkeypatch.setattr(store, "numbers_after", after)
    db.close()


def test_what_does_not_fit_is_left(db: Database, tmp_path: Path) -> None:
    home = Home.at(tmp_path / "other")
    launch.open_home(home)
    cache = SeriesCache(limit=warming.ROOM - 1)

    warming.warm(home, cache)

    assert cache.room() == warming.ROOM - 1


def test_a_home_without_a_database_is_noted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        warming.warm(Home.at(tmp_path), SeriesCache())

    assert "not read ahead" in caplog.text
