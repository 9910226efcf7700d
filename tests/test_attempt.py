"""Attempts at a run: skipping and going back when the loss is no number, and what a later attempt still knows."""

import gc
import json
import weakref
from typing import Any

import pytest
import torch
from sqlite_utils import Database
from support import new_run
from torch import Tensor
from training import (
    EPOCHS,
    LONG,
    PROMPTS,
    assert_whole,
    attempt,
    checkpoints,
    kinds,
    losses,
    steps,
    stop_at,
    weights,
)

from engine import attempt as module
from engine import store
from engine.home import Home
from engine.model import Transformer
from engine.optim import Optimizers
from engine.recorder import Recorder

pytestmark = pytest.mark.usefixtures("alone")


def break_steps(monkeypatch: pytest.MonkeyPatch, *bad: int, where: str = "loss") -> list[int]:
    """Let the loss, or the gradient alone, be no number in the n-th step that is made, counted over all attempts."""
    real, made = Transformer.loss, [0]

    def broken(self: Transformer, tokens: Tensor, targets: Tensor, *others: Any) -> tuple[Tensor, ...]:
        loss, *others = real(self, tokens, targets)
        if torch.is_grad_enabled():
            made[0] += 1
            if (made[0] + 1) // 2 in bad:  # two passes make a step
                if where == "loss":
                    loss = loss * torch.nan
                else:
                    loss.register_hook(lambda gradient: gradient * torch.inf)
        return loss, *others

    monkeypatch.setattr(Transformer, "loss", broken)
    return made


@pytest.mark.parametrize("where", ["loss", "gradient"])
@pytest.mark.parametrize("policy", ["stop", "skip", "roll-back"])
def test_no_policy_lets_a_bad_step_reach_weights_or_averages(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch, policy: str, where: str
) -> None:
    run_id, seen = new_run(home, db, train__on_nonfinite=policy, train__tokens=12 * 256), []
    break_steps(monkeypatch, 10, where=where)
    step = Optimizers.step

    def watched(self: Optimizers, factor: float, finite: Tensor, *others: Any) -> None:
        step(self, factor, finite, *others)
        numbers = [*self.param_groups[0]["params"], *self.tensors().values()]
        seen.append((bool(finite), all(bool(number.isfinite().all()) for number in numbers)))

    monkeypatch.setattr(Optimizers, "step", watched)
    attempt(home, run_id)

    assert seen[9] == (False, True) and all(whole for _, whole in seen)
    assert [good for good, _ in seen].count(False) == 1


def test_a_skipped_step_changes_nothing_and_is_told(home: Home, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = new_run(home, db, **LONG | {"train__on_nonfinite": "skip", "checkpoint__every": 1, "checkpoint__keep": 99})
    break_steps(monkeypatch, 11, 12)

    assert attempt(home, run_id) == 0

    assert weights(home, run_id, 12) == weights(home, run_id, 10) != weights(home, run_id, 13)
    averages = [(home.run(run_id) / f"step_{step:06d}" / "optimizer.safetensors").read_bytes() for step in (10, 12)]
    assert averages[0] == averages[1]
    assert [loss is None for loss in losses(db, run_id)] == [step in (11, 12) for step in range(1, 61)]
    assert sorted(kinds(db, run_id)) == [*EPOCHS, ("skipped", 12)]
    assert store.get_run(db, run_id)["status"] == "finished"


def test_a_run_that_only_skips_has_diverged(home: Home, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = new_run(home, db, **LONG | {"train__on_nonfinite": "skip"})
    break_steps(monkeypatch, *range(11, 60))

    assert attempt(home, run_id) == 1

    run = store.get_run(db, run_id)
    assert run["status"] == "diverged" and "no number in 20 of the steps 11 to 30" in run["error"]


def test_going_back_takes_the_last_checkpoint_and_half_the_rates(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = new_run(home, db, **LONG | {"train__on_nonfinite": "roll-back"})
    break_steps(monkeypatch, 21)

    assert attempt(home, run_id) == 0

    assert_whole(home, db, run_id)
    assert store.get_run(db, run_id)["attempt"] == 2
    assert kinds(db, run_id) == [("roll-back", 21), ("resumed", 16), *EPOCHS]
    by_attempt: dict[int, dict[int, float]] = {1: {}, 2: {}}
    for row in db["metrics"].rows_where("run_id = ?", [run_id]):
        by_attempt[row["attempt"]][row["step"]] = row["learning_rate"]
        assert row["superseded"] == (row["attempt"] == 1 and row["step"] > 16)
    assert min(by_attempt[2]) == 17
    for step in range(17, 22):
        assert by_attempt[2][step] == pytest.approx(by_attempt[1][step] / 2)
    said = db["samples"].rows_where("run_id = ? AND step = 20 ORDER BY id", [run_id])
    assert [row["superseded"] for row in said] == [1] * PROMPTS + [0] * PROMPTS
    assert json.loads((home.run(run_id) / "step_000060" / "state.json").read_text())["rate"] == 0.5


def test_the_model_that_went_wrong_is_gone_before_the_next_one_is_made(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two at once may not fit into a GPU."""
    run_id = new_run(home, db, **LONG | {"train__on_nonfinite": "roll-back", "train__tokens": 16 * 256})
    break_steps(monkeypatch, 11)
    models: list[weakref.ref[Transformer]] = []
    real = Transformer.init_weights

    def made(self: Transformer, seed: int) -> None:
        assert all(model() is None for model in models)
        models.append(weakref.ref(self))
        real(self, seed)

    monkeypatch.setattr(Transformer, "init_weights", made)
    gc.disable()
    try:
        assert attempt(home, run_id) == 0
    finally:
        gc.enable()

    assert len(models) == 2


def test_before_the_first_checkpoint_it_goes_back_to_the_beginning(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = new_run(home, db, **LONG | {"train__on_nonfinite": "roll-back"})
    break_steps(monkeypatch, 3)

    assert attempt(home, run_id) == 0

    assert_whole(home, db, run_id)
    assert kinds(db, run_id) == [("roll-back", 3), ("resumed", 0), *EPOCHS]


def test_it_goes_back_a_few_times_only_and_never_forgets_how_often(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = new_run(home, db, **LONG | {"train__on_nonfinite": "roll-back"})
    with monkeypatch.context() as breaking:
        break_steps(breaking, *range(11, 10**4))
        assert attempt(home, run_id) == 1

    run = store.get_run(db, run_id)
    assert (run["status"], run["attempt"]) == ("diverged", 4)
    assert "after going back 3 times" in run["error"] and checkpoints(home, run_id) == [8]
    assert [kind for kind, _ in kinds(db, run_id)] == [*["roll-back", "resumed"] * 3, "diverged"]

    assert attempt(home, run_id) == 0
    rates = {row["step"]: row["learning_rate"] for row in db["metrics"].rows_where("attempt IN (1, 5)")}
    first = next(db["metrics"].rows_where("attempt = 1 AND step = 9"))["learning_rate"]
    assert rates[9] == pytest.approx(first / 8)
    assert_whole(home, db, run_id)


def test_a_resume_after_going_back_keeps_the_rate_and_the_weights(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for stops in (False, True):
        run_id = new_run(home, db, **LONG | {"train__on_nonfinite": "roll-back"})
        with monkeypatch.context() as breaking:
            break_steps(breaking, 21)
            if stops:
                stop_at(breaking, 30)
            assert attempt(home, run_id) == 0
        if stops:
            assert store.get_run(db, run_id)["status"] == "stopped"
            # Whoever looks at the checkpoint alone knows it too.
            monkeypatch.setattr(store, "list_events", lambda *_, **__: [])
            assert attempt(home, run_id) == 0
        found.append(weights(home, run_id, 60))

    assert found[0] == found[1]


def test_a_stop_while_it_goes_back_is_heard(home: Home, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = new_run(home, db, **LONG | {"train__on_nonfinite": "roll-back"})
    break_steps(monkeypatch, 11)
    begin = module.begin

    def stopped(*given: Any) -> module.Run:
        run = begin(*given)
        run.recorder.stop.set()
        return run

    monkeypatch.setattr(module, "begin", stopped)
    assert attempt(home, run_id) == 0

    assert store.get_run(db, run_id)["status"] == "stopped" and checkpoints(home, run_id) == [8]
    assert steps(db, run_id) == list(range(1, 9))


def test_it_does_not_go_back_while_the_database_has_not_what_was_measured(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that came later would not be marked as repeated."""
    run_id = new_run(home, db, **LONG | {"train__on_nonfinite": "roll-back"})
    break_steps(monkeypatch, 3)
    monkeypatch.setattr(Recorder, "flush", lambda self, timeout=0.0: False)

    assert attempt(home, run_id) == 1

    assert store.get_run(db, run_id)["status"] == "diverged"


def test_how_a_run_ended_is_stored_as_soon_as_the_database_takes_it(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id, tried = new_run(home, db), []
    end = store.end_run

    def full(*given: Any, **named: Any) -> bool:
        tried.append(1)
        if len(tried) == 1:
            raise store.DatabaseError[0]("database or disk is full")
        return end(*given, **named)

    monkeypatch.setattr(store, "end_run", full)
    monkeypatch.setattr("engine.outage.RETRY", 0.01)

    assert attempt(home, run_id, work=lambda run: "stopped") == 0
    assert len(tried) == 2 and store.get_run(db, run_id)["status"] == "stopped"
