"""What looks wrong about how a model learns: each broken run is told its cause, healthy ones are told nothing."""

import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from sqlite_utils import Database
from support import new_run, tiny_config, tiny_model
from torch import Tensor
from training import as_in_a_process_of_its_own, attempt

from engine import store
from engine.batches import Batch, Feed
from engine.diagnose import KIND, Diagnosis, Group, large_scores, token_entropy
from engine.examine import Examination
from engine.home import Home
from engine.model import Transformer
from engine.optim import Optimizers

STEPS = 100
QUIET = {"train__tokens": STEPS * 256, "sample__every": 10**6, "checkpoint__every": 10**6, "eval__every": 25}


def told(home: Home, db: Database, **changes: Any) -> list[str]:
    """The sentences that a whole run of the tiny model was told about how it learns."""
    run_id = new_run(home, db, **QUIET | changes)
    with as_in_a_process_of_its_own():
        assert attempt(home, run_id) == 0
    said = [event["message"] for event in store.list_events(db, run_id) if event["kind"] == KIND]
    looks = store.looks(db, run_id)
    assert looks[0]["step"] == 1 and len(looks) >= 20
    return said


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"schedule__shape": "cosine", "schedule__warmup": 0.1, "schedule__decay": 0.9, "train__seed": 2},
        {"model__experts": 4, "model__experts_per_token": 2, "model__mlp_width": 24},
        {"optimizer__muon_lr": 0.03, "optimizer__adamw_lr": 0.01, "model__init": "normal", "model__width": 64},
        {
            "train__batch_tokens": 512,
            "train__tokens": STEPS * 512,
            "optimizer__cautious": True,
            "train__documents": True,
        },
    ],
    ids=["plain", "cosine", "experts", "normal-first-weights", "large-batch"],
)
def test_a_healthy_run_is_told_nothing(home: Home, db: Database, changes: dict[str, Any]) -> None:
    assert told(home, db, **changes) == []


def test_a_rate_thirty_times_too_high_is_named(home: Home, db: Database) -> None:
    said = told(home, db, optimizer__muon_lr=0.6, optimizer__adamw_lr=0.18)

    assert len(said) == 1 and "learning rate looks too high (optimizer.muon_lr = 0.6; try 0.03)" in said[0]


def test_a_rate_a_hundred_times_too_low_is_named(home: Home, db: Database) -> None:
    said = told(home, db, optimizer__muon_lr=0.0002, optimizer__adamw_lr=0.00006)

    assert len(said) == 1 and "learning rate looks too low (optimizer.muon_lr = 0.0002; try 0.01)" in said[0]


def test_a_router_that_leaves_experts_idle_is_named(home: Home, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def one_sided(self: Transformer, seed: int) -> None:
        drawn(self, seed)
        for name, parameter in self.named_parameters():
            if name.endswith("mlp.gate.weight"):
                with torch.no_grad():
                    parameter[1], parameter[2:] = -parameter[0], 0.0
                parameter.register_hook(torch.zeros_like)

    drawn = Transformer.init_weights
    monkeypatch.setattr(Transformer, "init_weights", one_sided)

    said = told(home, db, model__experts=4, model__mlp_width=24, train__balance_loss=0.0)

    assert len(said) == 1
    assert "2 of 4 experts of layer 1 get hardly any text" in said[0] and "train.balance_loss = 0; try 0.01" in said[0]


def test_a_huge_batch_without_a_warm_up_is_named(home: Home, db: Database) -> None:
    said = told(home, db, train__batch_tokens=2048, train__micro_batch=0, train__tokens=24 * 2048, schedule__warmup=0.0)

    assert len(said) == 1 and said[0].startswith("It began at the full learning rate, and each of its 24 steps")
    assert "schedule.warmup = 0; try 0.1" in said[0] and "train.batch_tokens = 2,048" in said[0]


def test_shuffled_targets_are_noticed(home: Home, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    read: Callable[[Feed, int], Iterator[Batch]] = Feed.step

    def shuffled(self: Feed, step: int) -> Iterator[Batch]:
        for batch in read(self, step):
            order = torch.randperm(batch.targets.numel(), generator=torch.Generator().manual_seed(step))
            yield Batch(batch.inputs, batch.targets.flatten()[order].view_as(batch.targets), batch.bounds)

    monkeypatch.setattr(Feed, "step", shuffled)

    said = told(home, db)

    assert len(said) == 1 and "no better than counting how often each token occurs" in said[0]


def test_a_run_that_goes_on_is_told_once(home: Home, db: Database) -> None:
    run_id = new_run(home, db, **QUIET | {"optimizer__muon_lr": 0.6, "checkpoint__every": 50})
    with as_in_a_process_of_its_own():
        assert attempt(home, run_id) == 0
    store.update_state(db, run_id, status="preparing")
    (home.run(run_id) / "step_000100").rename(home.run(run_id) / ".away")
    with as_in_a_process_of_its_own():
        assert attempt(home, run_id) == 0

    steps = [look["step"] for look in store.looks(db, run_id)]
    assert steps == sorted(set(steps)), "what was done again is superseded"
    assert len([event for event in store.list_events(db, run_id) if event["kind"] == KIND]) == 1


class Learning:
    """A tiny model, its optimizers, and a gradient of some text."""

    def __init__(self, **changes: Any) -> None:
        self.config = tiny_config(**changes)
        self.model = tiny_model()
        self.optimizers = Optimizers(self.model, self.config.optimizer, torch.float32)
        self.text = torch.randint(300, (1, 64), generator=torch.Generator().manual_seed(0))
        self.seen: list[tuple[int, dict[str, Group], list[float]]] = []
        self.examination = Examination(
            self.model, self.optimizers, self.config, self.text, lambda *look: self.seen.append(look)
        )

    def step(self, step: int) -> Tensor:
        """One update; returns the length of the gradient before it was clipped."""
        self.model.zero_grad()
        torch.autograd.backward(self.model.loss(self.text[:, :-1], self.text[:, 1:])[0])
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.train.grad_clip)
        with self.examination.of(step, norm):
            self.optimizers.step(1.0)
        return norm


def test_what_is_seen_is_what_happened() -> None:
    learning = Learning()
    before = {name: parameter.detach().clone() for name, parameter in learning.model.named_parameters()}

    norm = learning.step(1)

    ((step, groups, attention),) = learning.seen
    assert step == 1 and len(attention) == learning.config.model.layers
    assert sum(group.gradient**2 for group in groups.values()) == pytest.approx(float(norm) ** 2, rel=1e-4)
    embedding = learning.model.embed_tokens.weight.detach()
    moved = (embedding - before["embed_tokens.weight"]).square().mean().sqrt()
    assert groups["embedding"].weight == pytest.approx(float(before["embed_tokens.weight"].square().mean().sqrt()))
    assert groups["embedding"].ratio == pytest.approx(float(moved) / groups["embedding"].weight, rel=1e-4)
    assert set(groups) == {*learning.optimizers.muon.stacks, "embedding", "gains"}


def test_the_largest_score_is_that_of_the_attention() -> None:
    """By hand: with one layer's queries and keys equal and gains of 3, a score of itself is 9 x sqrt(size)."""
    learning = Learning()
    attention = learning.model.layers[0].self_attn
    with torch.no_grad():
        attention.k_proj.weight.copy_(attention.q_proj.weight[: len(attention.k_proj.weight)])
        attention.q_norm.weight.fill_(3.0)
        attention.k_norm.weight.fill_(3.0)

    scores = learning.examination.largest_scores()

    assert scores[0] == pytest.approx(9 * math.sqrt(learning.config.model.head_size), rel=1e-3)


def test_looking_changes_nothing_and_is_left_out_where_it_is_not_due() -> None:
    watched, alone = Learning(), Learning(train__examine=0)
    with as_in_a_process_of_its_own():
        for step in range(1, 25):
            watched.step(step)
            alone.step(step)

    assert [look[0] for look in watched.seen] == list(range(1, 25)), "24 steps are looked at all"
    assert alone.seen == []
    for one, other in zip(watched.model.parameters(), alone.model.parameters(), strict=True):
        assert torch.equal(one, other)
    long = Learning(train__tokens=2000 * 256).examination
    assert [step for step in range(1, 201) if long.due(step)] == [
        *(1, 2, 4, 8, 16, 32),
        *range(50, 201, 50),
    ]


def diagnosis(**changes: Any) -> tuple[Diagnosis, list[str]]:
    """One that tells into a list."""
    said: list[str] = []
    record = lambda **row: json.dumps(row, allow_nan=False)  # noqa: E731 - what is stored must be JSON
    return Diagnosis(tiny_config(**changes), 4.2, record, lambda kind, sentence, step: said.append(sentence)), said


def test_a_loss_that_is_no_number_confuses_nobody() -> None:
    found, said = diagnosis(schedule__warmup=0.2)
    for step in range(1, 25):
        found.loss(step, math.nan)
        found.look(step, {"mlp.up_proj": Group(1.0, 0.1, 0.002)}, [math.inf if step > 20 else 3.0])

    assert len(said) == 1 and said[0].startswith("Attention scores of layer 1 reach inf")


def test_scores_are_large_from_a_hundred_on() -> None:
    assert large_scores([3.0, 99.0]) == [] and large_scores([]) == []
    assert "layer 2 reach 140" in large_scores([3.0, 140.0])[0].sentence


def test_the_entropy_is_that_of_the_tokens() -> None:
    assert token_entropy(np.array([0, 0, 1, 1], np.uint16)) == pytest.approx(math.log(2))
    assert token_entropy(np.zeros(9, np.uint32)) == 0
    assert token_entropy(np.array([0, 1, 2, 3, 3, 3], np.uint16), most=4) == pytest.approx(math.log(4))
