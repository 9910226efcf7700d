"""Runs of a model with experts: learned, measured, stopped, gone on with, and asked, like any other."""

import pytest
import torch
from sqlite_utils import Database
from support import new_run, tiny_config
from training import LONG, assert_measured, attempt, final_weights, losses, stop_at

from engine import device, launch, space, store
from engine.generate import Ask, load_speaker
from engine.home import Home

pytestmark = pytest.mark.usefixtures("alone")
MOE = {"model__experts": 4, "model__experts_per_token": 2, "model__mlp_width": 24}
PROMPTS = ["Alice was", "The Rabbit", "a", "Oh dear! Oh dear!", "it was"]


def balances(db: Database, run_id: str) -> list[float | None]:
    found = db.execute("SELECT balance_loss FROM current_metrics WHERE run_id = ? ORDER BY id", [run_id])
    return [row[0] for row in found]


def test_a_stopped_run_goes_on_to_the_weights_of_one_that_was_not(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = new_run(home, db, **LONG, **MOE)
    assert attempt(home, whole) == 0
    parted = new_run(home, db, **LONG, **MOE)
    with monkeypatch.context() as stopping:
        stop_at(stopping, 21)
        assert attempt(home, parted) == 0
    assert store.get_run(db, parted)["status"] == "stopped"

    assert attempt(home, parted) == 0

    assert_measured(db, parted)
    assert final_weights(home, parted) == final_weights(home, whole)
    assert balances(db, parted) == balances(db, whole)


def test_what_its_experts_do_is_measured_apart_from_its_loss(home: Home, db: Database) -> None:
    found = {}
    for weight in (0.0, 5.0):
        run_id = new_run(home, db, **MOE, train__balance_loss=weight, sample__every=10**9)
        assert attempt(home, run_id) == 0
        found[weight] = losses(db, run_id), balances(db, run_id)

    # The first step begins with the same weights: the same loss, whatever the balance weighs.
    assert found[0.0][0][0] == found[5.0][0][0]
    assert all(1 <= value < 4 for _, values in found.values() for value in values if value is not None)
    assert len(found[5.0][1]) == 24 and found[5.0][1][-1] < found[0.0][1][-1]  # type: ignore[operator]
    loads = torch.tensor(store.expert_load(db, run_id))
    assert loads.shape == (2, 4) and loads.min() > 0.05
    torch.testing.assert_close(loads.sum(dim=1), torch.ones(2))
    assert launch.run_status(home, run_id)["expert_load"] == loads.tolist()
    assert len(list(db.execute("SELECT id FROM current_evals WHERE expert_load IS NOT NULL"))) == 2 * 7


def test_a_checkpoint_is_as_large_as_it_was_said_to_be(home: Home, db: Database) -> None:
    run_id = new_run(home, db, **MOE, train__tokens=256, sample__every=10**9)

    assert attempt(home, run_id) == 0

    (full,) = (row for row in store.list_checkpoints(db, run_id) if row["kind"] == "full")
    assert full["bytes"] == pytest.approx(space.checkpoint_bytes(tiny_config(**MOE)), abs=20_000)


def test_a_dense_run_says_nothing_of_experts(home: Home, db: Database) -> None:
    run_id = new_run(home, db, train__tokens=256, sample__every=10**9)

    assert attempt(home, run_id) == 0

    assert balances(db, run_id) == [None] and store.expert_load(db, run_id) is None


def test_small_batches_add_up_to_one(home: Home, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The balance too: it is a mean over rows."""
    monkeypatch.setattr(device, "has_bf16", lambda _: False)
    found = []
    for micro_batch in (0, 1):
        changes = MOE | {"train__balance_loss": 1.0, "train__micro_batch": micro_batch, "sample__every": 10**9}
        run_id = new_run(home, db, train__tokens=6 * 256, **changes)
        attempt(home, run_id)
        found.append((losses(db, run_id), balances(db, run_id)))

    assert found[0][0] == pytest.approx(found[1][0], rel=1e-4)
    assert found[0][1] == pytest.approx(found[1][1], rel=1e-3)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_it_learns_in_half_precision_too(home: Home, db: Database, precision: str) -> None:
    run_id = new_run(home, db, **MOE, train__precision=precision, sample__every=10**9)

    assert attempt(home, run_id) == 0

    found = losses(db, run_id)
    assert found[-1] < found[0] - 1


@pytest.mark.parametrize("threads", [1, 2])
def test_a_prompt_alone_and_in_a_batch_gets_one_answer(home: Home, db: Database, threads: int) -> None:
    run_id = new_run(home, db, **MOE, sample__every=24)
    assert attempt(home, run_id) == 0
    speaker = load_speaker(home, db, run_id)
    asks = {prompt: Ask(prompt=prompt, max_tokens=12, seed=3) for prompt in PROMPTS}
    torch.set_num_threads(threads)
    alone = {prompt: speaker.answer([ask])[0] for prompt, ask in asks.items()}

    for size in (2, 5, 11):
        prompts = [PROMPTS[(3 * place + size) % len(PROMPTS)] for place in range(size)]
        assert speaker.answer([asks[prompt] for prompt in prompts]) == [alone[prompt] for prompt in prompts]
    said = [row for row in store.list_samples(db, run_id) if row["step"] == 24]
    again = speaker.answer([Ask.from_config(row["prompt"], tiny_config().sample) for row in said])
    assert [piece.text for piece in again] == [row["text"] for row in said]
