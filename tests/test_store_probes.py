"""engine/store/probes.py: one measurement for one set of settings."""

import pytest
from sqlite_utils import Database

from engine import store


def test_nothing_was_measured_at_first(db: Database) -> None:
    assert store.get_probe(db, "a" * 64) is None


def test_a_measurement_comes_back_as_it_was(db: Database) -> None:
    store.put_probe(db, "a", "cpu", {"model.layers": 2}, {"step_seconds": 0.25, "notes": ["é"]}, now=1000.5)

    assert store.get_probe(db, "a") == {
        "key": "a",
        "device": "cpu",
        "settings": {"model.layers": 2},
        "result": {"step_seconds": 0.25, "notes": ["é"]},
        "measured_at": 1000.5,
    }
    assert store.get_probe(db, "b") is None


def test_a_newer_one_takes_its_place(db: Database) -> None:
    store.put_probe(db, "a", "cpu", {}, {"step_seconds": 1.0}, now=1.0)
    store.put_probe(db, "a", "cpu", {}, {"step_seconds": 2.0}, now=2.0)

    found = store.get_probe(db, "a")
    assert found is not None
    assert (found["result"], found["measured_at"]) == ({"step_seconds": 2.0}, 2.0)
    assert db["probes"].count == 1


def test_a_number_that_is_none_is_not_stored(db: Database) -> None:
    with pytest.raises(ValueError, match="JSON"):
        store.put_probe(db, "a", "cpu", {}, {"step_seconds": float("nan")})
    assert db["probes"].count == 0
