"""Weights of steps that are done again: they go with their path, but for those that can still be asked to repeat."""

from pathlib import Path
from typing import Any

import pytest
from sqlite_utils import Database
from support import new_run
from training import LONG, attempt, checkpoints, stop_at

from engine import checkpoint, store
from engine.attempt import begin
from engine.generate import Ask, load_speaker
from engine.home import Home

FIELDS = ("prompt", "max_tokens", "temperature", "top_k", "top_p", "seed")

pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture
def run_id(home: Home, db: Database, monkeypatch: pytest.MonkeyPatch) -> str:
    """A run that has asked its prompts at steps 0, 5 to 20, and whose newest whole checkpoint is of step 16."""
    run_id = new_run(home, db, **LONG)
    with monkeypatch.context() as stopping:
        stop_at(stopping, 21, now=True)
        attempt(home, run_id)
    assert checkpoints(home, run_id) == [8, 16] and ages(db, run_id) == [0, 5, 8, 10, 15, 16, 20]
    return run_id


def ages(db: Database, run_id: str) -> list[int]:
    return [row["step"] for row in store.ages(db, run_id)]


def files(home: Home, run_id: str) -> list[str]:
    return sorted(path.name.removesuffix(".safetensors") for path in (home.run(run_id) / "sampling").iterdir())


def said(db: Database, run_id: str, step: int) -> store.Row:
    """What a run said first at `step`."""
    return next(db.query("SELECT * FROM samples WHERE run_id = ? AND step = ? ORDER BY id", [run_id, step]))


def keep(db: Database, run_id: str, step: int) -> store.Row:
    """Its first words of `step`, as an exhibit."""
    sample = said(db, run_id, step)
    store.keep(db, sample["id"], "good", "Kept")
    return sample


def again(home: Home, db: Database, sample: store.Row, sha256: str = "") -> str:
    speaker = load_speaker(home, db, sample["run_id"], sample["step"], sha256=sha256)
    return speaker.answer([Ask(**{field: sample[field] for field in FIELDS})])[0].text


def next_attempt(home: Home, db: Database, run_id: str) -> None:
    begin(home, db, run_id).recorder.close()


def other_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the next attempt learn differently, as one does after a roll-back: with half the rates."""
    from engine import train

    def resume(run: Any, dataset: Any, learner: Any) -> tuple[int, float]:
        at = real(run, dataset, learner)
        learner.rate = 0.5
        return at

    real = train.resume
    monkeypatch.setattr(train, "resume", resume)


def test_the_newest_age_is_one_of_the_path_that_the_run_is_on(home: Home, db: Database, run_id: str) -> None:
    next_attempt(home, db, run_id)

    assert ages(db, run_id) == [0, 5, 8, 10, 15, 16]
    assert load_speaker(home, db, run_id).step == 16
    assert files(home, run_id) == ["step_000000", "step_000005", "step_000010", "step_000015"]
    with pytest.raises(store.Refused, match="no weights of step 20; there are 0, 5, 8, 10, 15, 16"):
        load_speaker(home, db, run_id, 20)


def test_ages_of_a_path_that_was_left_do_not_take_the_place_of_newer_ones(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = new_run(home, db, **LONG | {"checkpoint__keep_ages": 2})
    with monkeypatch.context() as stopping:
        stop_at(stopping, 21, now=True)
        attempt(home, run_id)
    with monkeypatch.context() as stopping:
        stop_at(stopping, 18)
        attempt(home, run_id)

    assert [row["step"] for row in store.list_checkpoints(db, run_id, "sampling")] == [10, 15]


def test_an_exhibit_is_asked_again_exactly_whatever_becomes_of_its_step(
    home: Home, db: Database, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    exhibit = keep(db, run_id, 20)

    next_attempt(home, db, run_id)
    assert "step_000020.attempt1" in files(home, run_id) and ages(db, run_id)[-1] == 16
    assert again(home, db, exhibit) == exhibit["text"]

    other_path(monkeypatch)
    attempt(home, run_id)
    anew = next(row for row in store.list_samples(db, run_id) if row["step"] == 20)
    assert anew["weights_sha256"] != exhibit["weights_sha256"]
    assert again(home, db, exhibit, exhibit["weights_sha256"]) == exhibit["text"]
    assert again(home, db, anew) == again(home, db, anew, anew["weights_sha256"]) == anew["text"]
    assert ages(db, run_id)[-1] == 60


def test_weights_that_were_made_anew_do_not_speak_for_those_that_are_gone(
    home: Home, db: Database, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = said(db, run_id, 20)["weights_sha256"]
    other_path(monkeypatch)
    stop_at(monkeypatch, 22)
    attempt(home, run_id)

    with pytest.raises(store.Refused, match="at step 20 that said this are gone: it has done that step again since"):
        load_speaker(home, db, run_id, 20, sha256=gone)


@pytest.mark.parametrize("keep_ages", [0, 3])
def test_what_a_person_asked_can_be_asked_again_unless_ages_are_freed(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch, keep_ages: int
) -> None:
    run_id = new_run(home, db, **LONG | {"checkpoint__keep_ages": keep_ages})
    with monkeypatch.context() as stopping:
        stop_at(stopping, 21, now=True)
        attempt(home, run_id)
    theirs = {name: value for name, value in said(db, run_id, 20).items() if name != "id"} | {"source": "playground"}
    store.add_sample(db, theirs)

    next_attempt(home, db, run_id)

    assert ("step_000020.attempt1" in files(home, run_id)) == (keep_ages == 0)


def test_what_is_set_aside_goes_with_its_exhibit(home: Home, db: Database, run_id: str) -> None:
    sample = keep(db, run_id, 20)
    next_attempt(home, db, run_id)
    next_attempt(home, db, run_id)
    assert "step_000020.attempt1" in files(home, run_id)

    exhibit = next(row["id"] for row in store.search_archive(db)[0] if row["sample_id"] == sample["id"])
    store.remove_exhibit(db, exhibit)
    next_attempt(home, db, run_id)

    assert files(home, run_id)[-1] == "step_000015" and store.list_checkpoints(db, run_id, "kept") == []


def test_the_very_weights_made_again_are_not_kept_twice(
    home: Home, db: Database, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    exhibit = keep(db, run_id, 20)
    stop_at(monkeypatch, 26)
    attempt(home, run_id)
    assert {"step_000020", "step_000020.attempt1"} <= set(files(home, run_id))

    next_attempt(home, db, run_id)

    assert [name for name in files(home, run_id) if "attempt" in name] == []
    assert again(home, db, exhibit, exhibit["weights_sha256"]) == exhibit["text"]


def test_an_attempt_that_was_killed_while_it_began_is_put_right_by_the_next(
    home: Home, db: Database, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    exhibit = keep(db, run_id, 20)

    class Killed(BaseException):
        """Nothing after it happens."""

    def killed(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as killing:
        killing.setattr(store, "set_aside", killed)
        with pytest.raises(Killed):
            begin(home, db, run_id)
    assert ages(db, run_id)[-1] == 20  # the database knows of nothing

    next_attempt(home, db, run_id)

    assert ages(db, run_id)[-1] == 16
    assert again(home, db, exhibit) == exhibit["text"]


def test_setting_weights_aside_twice_changes_nothing(tmp_path: Path) -> None:
    path = checkpoint.save_sampling(tmp_path, 20, {}).path

    first, second = checkpoint.set_aside(path, 20, 1), checkpoint.set_aside(path, 20, 1)

    assert first == second == tmp_path / "sampling" / "step_000020.attempt1.safetensors"
    assert first.exists() and not path.exists()
    assert checkpoint.set_aside(path, 25, 1) is None
