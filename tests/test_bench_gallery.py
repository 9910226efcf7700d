"""benchmarks/gallery.py on a small home: what it makes, what it asks, what it stores."""

import random
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from ui_helpers import FakeLaunch, FakeTalker

from benchmarks import gallery
from benchmarks.page import museum
from engine import store
from engine.home import Home
from ui.actions import Actions
from ui.columns import SeriesCache
from ui.exhibits import make_exhibits
from ui.reading import Reader
from ui.said_routes import make_said

WORDS = ["whale", "tea", "the", "hatter", "--", "sea,"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home of 20 runs with 400 samples and 30 exhibits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(museum, "vocabulary", lambda: WORDS)
        made, took = museum.museum(tmp_path_factory.mktemp("museum"), 30, 400)
        assert set(took) == {"samples_seconds", "measures_seconds", "exhibits_seconds"}
        assert museum.museum(made.path.parent, 30, 400) == (made, took), "made once"
    yield made


def test_the_home_has_what_was_asked_for(home: Home) -> None:
    db = store.connect(home.database)
    everything = store.search_samples(db, store.Wanted())
    assert everything.total == 400 + 3 and not everything.unread
    assert store.search_samples(db, store.Wanted(query="whale")).total > 200
    assert store.search_samples(db, store.Wanted(measured="strange")).total > 100
    exhibits, total = store.search_exhibits(db, store.Wanted())
    assert total == 30 + 3 and exhibits[0]["place"] == 1 and exhibits[0]["val_loss"] > 3
    assert len(store.tags_in_use(db)) == len(museum.TAGS)
    db.close()


def test_every_query_is_answered(home: Home) -> None:
    reader, app, dice = Reader(home, lambda home, db: None), FastAPI(), random.Random(1)
    app.include_router(make_exhibits(reader, Actions(home, FakeLaunch(), FakeTalker(), reader), SeriesCache()))
    app.include_router(make_said(reader))
    found = 0
    with TestClient(app) as client:
        for path, kind in (("/api/exhibits", "exhibits"), ("/api/said", "said")):
            for _ in range(40):
                answer = client.get(path, params=gallery._query(dice, WORDS, kind))
                assert answer.status_code == 200
                found += answer.json()["total"]
    assert found > 100


def test_storing_is_timed_with_the_search_and_without(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "INSERTS", 5)

    found = gallery._inserts(home, random.Random(1), WORDS)

    assert (
        set(found) == {"insert_p50", "insert_max", "bare_p50", "bare_max", "measured_p50"} and min(found.values()) > 0
    )
    db = store.connect(home.database)
    assert store.search_samples(db, store.Wanted()).total == 400 + 3 + 5, "the others are superseded"
    db.close()


def test_quantiles_and_words_of_the_novels() -> None:
    assert gallery._summary([float(one) for one in range(1, 101)]) == {
        "p50": 50.5,
        "p95": pytest.approx(95.95),
        "max": 100,
    }
    words = museum.vocabulary()
    assert len(words) > 1_000_000 and "whale" in words
