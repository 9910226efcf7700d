"""Asking the prompts of a run while it trains: once for everybody who wants it now, refused where nothing trains."""

import pytest
from helpers import supervised, wait_for
from sqlite_utils import Database
from support import new_run
from training import LONG, attempt, checkpoints, final_weights, in_between, stop_in_answers

from engine import launch, store
from engine.asking import COMMAND, sample_now
from engine.home import Home
from engine.store import Refused


def wishes(db: Database, run_id: str) -> list[store.Row]:
    return list(db["commands"].rows_where("run_id = ? AND kind = ?", [run_id, COMMAND]))


def test_wishes_that_wait_are_one(home: Home, db: Database) -> None:
    run_id = new_run(home, db)
    store.update_state(db, run_id, status="running")

    for _ in range(3):
        assert sample_now(db, "tiny")["id"] == run_id

    assert len(wishes(db, run_id)) == 1


@pytest.mark.parametrize("status", ["queued", "preparing", "compiling", "paused", "stopping"])
def test_a_run_that_does_not_train_yet_or_right_now_is_refused(home: Home, db: Database, status: str) -> None:
    run_id = new_run(home, db)
    store.update_state(db, run_id, status=status)

    with pytest.raises(Refused, match=f"tiny is {status}; its prompts can be asked once it trains"):
        sample_now(db, run_id)

    assert not wishes(db, run_id)


@pytest.mark.parametrize("status", ["finished", "stopped", "crashed", "failed", "diverged"])
def test_a_run_that_has_ended_is_refused(home: Home, db: Database, status: str) -> None:
    run_id = new_run(home, db)
    store.end_run(db, run_id, status)

    with pytest.raises(Refused, match=f"tiny is {status}; only a run that trains"):
        sample_now(db, run_id)


@pytest.mark.usefixtures("alone")
def test_the_trainer_asks_and_says_so_and_ends_with_the_same_weights(home: Home, db: Database) -> None:
    """Fault 22: whoever wants to hear it now changes nothing of what it learns."""
    seldom = LONG | {"sample__every": 10**9}
    quiet, asked = new_run(home, db, **seldom), ""
    attempt(home, quiet)
    asked = new_run(home, db, **seldom)

    def want() -> None:
        own = store.connect(home.database)
        wait_for(lambda: checkpoints(home, asked))
        sample_now(own, asked)
        own.close()

    wanting = in_between(want)
    attempt(home, asked)
    wanting.join()

    (wish,) = wishes(db, asked)
    steps = sorted({row["step"] for row in store.list_samples(db, asked)})
    assert len(steps) == 3 and wish["result"] == f"asked at step {steps[1]}"
    assert wish["created_at"] <= wish["taken_at"] <= wish["done_at"]
    assert final_weights(home, asked) == final_weights(home, quiet)


@pytest.mark.usefixtures("alone")
def test_an_answer_cut_short_by_a_stop_is_told_and_given_when_the_run_goes_on(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = new_run(home, db, **LONG)
    attempt(home, straight)
    run_id = new_run(home, db, **LONG)
    with monkeypatch.context() as cutting:
        stop_in_answers(cutting, 10)

        def want() -> None:
            own = store.connect(home.database)
            wait_for(lambda: store.get_run(own, run_id)["status"] == "running")
            sample_now(own, run_id)
            own.close()

        wanting = in_between(want)
        attempt(home, run_id)
        wanting.join()
    assert store.get_run(db, run_id)["status"] == "stopped"
    assert all(wish["done_at"] and wish["result"] for wish in wishes(db, run_id))

    store.request_resume(db, run_id, "cpu")
    attempt(home, run_id)

    assert final_weights(home, run_id) == final_weights(home, straight)
    assert {row["step"] for row in store.list_samples(db, run_id)} >= set(range(0, 61, 5))


def test_a_wish_of_a_run_that_ends_first_is_done_with(home: Home, db: Database) -> None:
    run_id = new_run(home, db)
    store.update_state(db, run_id, status="running")
    sample_now(db, run_id)
    store.take_commands(db, (COMMAND,), run_id)
    sample_now(db, run_id)

    store.end_run(db, run_id, "crashed")

    for wish in wishes(db, run_id):
        assert wish["taken_at"] and wish["done_at"] and wish["result"] == "the run ended first"


def test_it_reaches_a_trainer_in_another_process(home: Home, db: Database) -> None:
    with supervised(home, "--points", "1000000"):
        run_id = launch.start_run(home, "seedling")
        wait_for(lambda: launch.run_status(home, run_id)["status"] == "running")

        sample_now(db, run_id)

        (wish,) = wait_for(lambda: [one for one in wishes(db, run_id) if one["done_at"]])
        step = int(wish["result"].removeprefix("asked at step "))
        wait_for(lambda: any(row["step"] == step for row in store.list_samples(db, run_id)))
