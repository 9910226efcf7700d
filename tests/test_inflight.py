"""Settings changed while a run trains: taken between two steps, told, and repeated exactly by a run that goes back."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from sqlite_utils import Database
from support import new_run, tiny_config
from training import attempt, kinds, losses, steps, stop_at, weights

from engine import changing, fork, launch, store
from engine.config import ConfigError
from engine.home import Home
from engine.inflight import Course, check_changes, course, told
from engine.meter import Meter

RATE, STEP = store.METRICS.index("learning_rate"), store.METRICS.index("step")


@pytest.fixture(autouse=True)
def nobody_starts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests train in this process."""
    monkeypatch.setattr(launch, "ensure_supervisor", lambda home: None)
    monkeypatch.setattr(launch, "start_supervisor", lambda home: None)  # it would end this very process
    monkeypatch.setattr(launch, "reconcile", lambda home, db: None)


Wishes = Callable[[Mapping[int, Mapping[str, Any]]], None]


@pytest.fixture
def wish(home: Home, monkeypatch: pytest.MonkeyPatch) -> Wishes:
    """Let a person change settings of the next run when it has made some steps, and the trainer hear of it at once."""

    def wanted(at: Mapping[int, Mapping[str, Any]]) -> None:
        add, left = Meter.add, dict(at)

        def added(self: Meter, step: int, *measured: Any) -> None:
            add(self, step, *measured)
            if step in left:
                self.read()
                assert self.recorder.flush()
                changing.change_run(home, self.recorder.run_id, left.pop(step))
                assert self.recorder.flush()

        monkeypatch.setattr(Meter, "add", added)

    return wanted


def rates(db: Database, run_id: str) -> dict[int, float]:
    return {int(row[STEP] or 0): row[RATE] or 0.0 for row in store.metrics_after(db, run_id, 0)}


def changed_events(db: Database, run_id: str) -> list[tuple[int, str]]:
    return [(one["step"], one["message"]) for one in store.list_events(db, run_id) if one["kind"] == "changed"]


@pytest.mark.usefixtures("alone")
class TestTraining:
    """With a real tiny model."""

    def test_a_factor_holds_from_the_next_step_on(self, home: Home, db: Database, wish: Wishes) -> None:
        plain = new_run(home, db)
        attempt(home, plain)
        wish({10: {"rate_factor": 0.5}, 16: {"rate_factor": 2}})
        run_id = new_run(home, db)
        assert attempt(home, run_id) == 0

        before, after = rates(db, plain), rates(db, run_id)
        assert all(after[step] == before[step] for step in range(1, 11))
        assert all(after[step] == before[step] / 2 for step in range(11, 17))
        assert all(after[step] == before[step] * 2 for step in range(17, 25))
        assert losses(db, run_id)[:11] == losses(db, plain)[:11]
        told = changed_events(db, run_id)
        assert told[0][1].startswith("Learning rate halved: factor 0.5 (was 1) from step 11 on; Muon's is ")
        assert [step for step, _ in told] == [10, 16] and "raised: factor 2 (was 0.5)" in told[1][1]
        assert [(row["key"], row["value"], row["step"]) for row in store.list_changes(db, run_id)] == [
            ("rate_factor", 0.5, 10),
            ("rate_factor", 2.0, 16),
        ]

    def test_intervals_change_what_is_measured_asked_and_saved(self, home: Home, db: Database, wish: Wishes) -> None:
        wish({8: {"eval.every": 3, "sample.every": 5, "checkpoint.every": 11}})
        run_id = new_run(home, db, checkpoint__keep=10)
        attempt(home, run_id)

        assert steps(db, run_id, "current_evals") == [0, 4, 8, 9, 12, 15, 18, 21, 24]
        assert sorted({row["step"] for row in store.list_samples(db, run_id)}) == [0, 6, 10, 15, 20, 24]
        assert store.saved_steps(db, run_id) == [8, 11, 22, 24]
        assert json.loads(store.get_config(db, run_id))["eval"]["every"] == 4, "the snapshot has changed"

    def test_it_ends_earlier_with_all_that_belongs_to_an_end(self, home: Home, db: Database, wish: Wishes) -> None:
        plain = new_run(home, db)
        attempt(home, plain)
        wish({10: {"train.tokens": 15 * 256}})
        run_id = new_run(home, db)
        assert attempt(home, run_id) == 0

        run = store.get_run(db, run_id)
        assert (run["status"], run["step"], run["total_steps"], run["target_tokens"]) == ("finished", 15, 15, 15 * 256)
        assert run["progress"] is None and store.saved_steps(db, run_id)[-1] == 15
        assert steps(db, run_id, "current_evals")[-1] == 15
        assert 15 in {row["step"] for row in store.list_samples(db, run_id)}
        assert losses(db, run_id) == losses(db, plain)[:15], "the schedule must stay"

    def test_it_ends_later_where_its_last_rate_is_worth_it(self, home: Home, db: Database, wish: Wishes) -> None:
        wish({10: {"train.tokens": 30 * 256}})
        run_id = new_run(home, db, schedule__final=0.1)
        assert attempt(home, run_id) == 0

        run, found = store.get_run(db, run_id), rates(db, run_id)
        assert (run["status"], run["step"], run["total_steps"]) == ("finished", 30, 30)
        assert all(found[step] == pytest.approx(0.002) for step in range(25, 31))

    def test_its_schedule_is_stretched_when_that_is_asked_for(self, home: Home, db: Database, wish: Wishes) -> None:
        wish({6: {"train.tokens": 48 * 256, "schedule.tokens": 48 * 256}})
        run_id = new_run(home, db)
        attempt(home, run_id)
        longer = new_run(home, db, train__tokens=48 * 256)
        attempt(home, longer)

        stretched, planned = rates(db, run_id), rates(db, longer)
        assert all(stretched[step] == planned[step] for step in range(7, 49))

    def test_an_end_that_it_has_passed_meanwhile_is_the_next_step(
        self, home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run_id = new_run(home, db)
        add = Meter.add

        def late(self: Meter, step: int, *measured: Any) -> None:
            add(self, step, *measured)
            if step == 12:
                store.give_command(store.connect(home.database), run_id, "set", json.dumps({"train.tokens": 256}))
                assert self.recorder.flush()

        monkeypatch.setattr(Meter, "add", late)
        assert attempt(home, run_id) == 0
        run = store.get_run(db, run_id)
        assert (run["status"], run["step"], run["total_steps"]) == ("finished", 13, 13)

    def test_a_run_that_goes_back_makes_the_same_changes_at_the_same_steps(
        self, home: Home, db: Database, wish: Wishes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wishes = {5: {"rate_factor": 0.5}, 13: {"rate_factor": 3}, 14: {"train.tokens": 21 * 256, "eval.every": 2}}
        whole = new_run(home, db)
        with monkeypatch.context():
            wish(wishes)
            attempt(home, whole)
        monkeypatch.undo()
        monkeypatch.setattr(launch, "reconcile", lambda home, db: None)

        parted = new_run(home, db)
        wish(wishes)
        stop_at(monkeypatch, 15, now=True)  # without a save: back to step 8
        attempt(home, parted)
        assert store.get_run(db, parted)["status"] == "stopped"
        monkeypatch.undo()
        assert attempt(home, parted) == 0

        assert ("resumed", 8) in kinds(db, parted)
        assert weights(home, parted, 21) == weights(home, whole, 21)
        assert steps(db, parted, "current_evals") == steps(db, whole, "current_evals")
        assert rates(db, parted) == rates(db, whole)
        assert changed_events(db, parted) == changed_events(db, whole), "a change was told twice"

    def test_what_is_asked_of_a_run_that_has_ended_holds_when_it_goes_on(
        self, home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run_id = new_run(home, db)
        with monkeypatch.context() as stopping:
            stop_at(stopping, 11)
            attempt(home, run_id)
        changing.change_run(home, run_id, {"rate_factor": 0.5})
        assert store.waiting_changes(db, run_id)
        attempt(home, run_id)

        (change,) = store.list_changes(db, run_id)
        assert (change["step"], change["value"]) == (11, 0.5)
        assert changed_events(db, run_id)[0][0] == 11 and not store.waiting_changes(db, run_id)

    def test_a_newer_change_wins_over_one_that_an_attempt_which_came_further_had_made(
        self, home: Home, db: Database, wish: Wishes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wish({14: {"rate_factor": 0.5}})
        run_id = new_run(home, db)
        stop_at(monkeypatch, 15, now=True)
        attempt(home, run_id)
        monkeypatch.undo()
        monkeypatch.setattr(launch, "reconcile", lambda home, db: None)
        changing.change_run(home, run_id, {"rate_factor": 4})
        attempt(home, run_id)

        assert [(row["value"], row["step"]) for row in store.list_changes(db, run_id)] == [(4.0, 8)]
        found = rates(db, run_id)
        assert found[16] == pytest.approx(4 * Course.planned(tiny_config()).rate(15, tiny_config()))

    def test_a_fork_goes_on_with_what_was_changed_before_it(self, home: Home, db: Database, wish: Wishes) -> None:
        wish({5: {"rate_factor": 0.5, "eval.every": 2}, 12: {"rate_factor": 3}})
        parent = new_run(home, db, checkpoint__keep=10)
        attempt(home, parent)

        plan = fork.plan_fork(home, db, store.get_run(db, parent), 8)
        assert "What was changed while tiny ran goes on: rate_factor = 0.5, eval.every = 2." in plan.notes
        child = fork.fork_run(home, parent, 8, "child")
        attempt(home, child)
        assert rates(db, child)[24] == pytest.approx(rates(db, parent)[24] / 6)
        assert steps(db, child, "current_evals") == list(range(10, 25, 2))

        same = fork.fork_run(home, parent, 16, "same")
        attempt(home, same)
        assert weights(home, same, 24) == weights(home, parent, 24)
        quick = fork.plan_fork(home, db, store.get_run(db, parent), 16, {"eval.every": 7})
        assert quick.carried == {"rate_factor": 3.0}


def check(wanted: Any, done: int = 10, **changes: Any) -> dict[str, float]:
    config = tiny_config(**changes)
    return check_changes(config, Course.planned(config), done, wanted)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({}, "Nothing was given to change"),
        ({"rate_factor": 0}, "rate_factor = 0 must be a number from 0.01 to 100"),
        ({"rate_factor": 101}, "rate_factor = 101 must be a number from 0.01 to 100"),
        ({"rate_factor": float("nan")}, "rate_factor = nan must be a number"),
        ({"rate_factor": True}, "rate_factor = True must be a number"),
        ({"rate_factor": "half"}, "rate_factor = 'half' must be a number"),
        ({"rate_fator": 1}, "rate_fator cannot change while a run trains (did you mean rate_factor?)"),
        ({"model.width": 64}, "model.width cannot change while a run trains; rate_factor, eval.every"),
        ({"eval.every": 0}, "eval.every = 0 must be a finite number >= 1"),
        ({"eval.every": 2.5}, "eval.every = 2.5 must be a whole number"),
        ({"checkpoint.every": "often"}, 'checkpoint.every = "often" must be a whole number'),
        ({"train.tokens": 2560}, "train.tokens = 2,560 is behind the run, which has read 2,560 tokens"),
        ({"train.tokens": 10**15}, "train.tokens = 1000000000000000 must be"),
        ({"schedule.tokens": 100}, "schedule.tokens = 100 is behind the run"),
        ({"train.tokens": 256 * 25}, "the learning rate has fallen to 0 and nothing is learned any more"),
        ({"train.tokens": 256 * 25}, "set schedule.tokens=6400 too"),
    ],
)
def test_what_cannot_be_set_is_refused_in_a_sentence(wanted: Any, words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        check(wanted)
    assert words in str(refused.value)


def test_values_come_in_their_types() -> None:
    wanted = {"rate_factor": 2, "eval.every": 5.0, "train.tokens": 20 * 256}
    assert check(wanted) == {"rate_factor": 2.0, "eval.every": 5, "train.tokens": 5120}
    assert check({"train.tokens": 256 * 40}, schedule__decay=0.0) == {"train.tokens": 10240}


def test_what_holds_is_a_function_of_the_step() -> None:
    config = tiny_config()
    changes = [
        {"key": "rate_factor", "value": 0.5, "step": 3},
        {"key": "train.tokens", "value": 10 * 256, "step": 5},
        {"key": "rate_factor", "value": 4.0, "step": None},
    ]
    assert course(config, changes, 2) == Course.planned(config)
    assert (course(config, changes, 3).rate_factor, course(config, changes, 4).total_steps) == (0.5, 24)
    assert (course(config, changes, 5).total_steps, course(config, changes, 5).schedule_steps) == (10, 24)
    assert (course(config, changes).rate_factor, course(config, changes).total_steps) == (4.0, 10)


def test_each_change_is_a_sentence() -> None:
    config = tiny_config()
    now = Course.planned(config)
    for key, value, words in (
        ("eval.every", 8, "Evaluates every 8 steps (was 4) from step 11 on."),
        ("sample.every", 8, "Asks the prompts every 8 steps (was 6) from step 11 on."),
        ("checkpoint.every", 5, "Saves every 5 steps (was 8) from step 11 on."),
        ("train.tokens", 5120, "It ends at step 20 (5,120 tokens), was step 24; the learning rate keeps to its"),
        ("schedule.tokens", 10240, "The learning rate's schedule is over 40 steps (was 24) from step 11 on: Muon's"),
        ("rate_factor", 2.0, "Learning rate doubled: factor 2 (was 1) from step 11 on"),
    ):
        assert told(config, now, now.changed(key, value, config), key, 10).startswith(words)


def test_runs_that_cannot_go_on_are_refused(home: Home, db: Database) -> None:
    run_id = new_run(home, db)
    store.end_run(db, run_id, "finished")
    with pytest.raises(store.Refused, match="tiny has finished; fork it"):
        changing.change_run(home, run_id, {"rate_factor": 0.5})
    with pytest.raises(store.Refused, match="is a published run"):
        changing.change_run(home, store.REFERENCE_ID, {"rate_factor": 0.5})


def test_what_waits_counts_when_more_is_asked_for(home: Home, db: Database) -> None:
    run_id = new_run(home, db)
    changing.change_run(home, run_id, {"rate_factor": 0.5})
    assert "lowered: factor 0.1 (was 0.5)" in changing.change_run(home, run_id, {"rate_factor": 0.1}).notes[0]
    assert [(row["key"], row["value"]) for row in store.take_changes(db, run_id)] == [
        ("rate_factor", 0.5),
        ("rate_factor", 0.1),
    ]
    assert store.take_changes(db, run_id) == []
