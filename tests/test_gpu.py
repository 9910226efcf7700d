"""What only a CUDA device can show: `pytest -m gpu`. Elsewhere these are skipped."""

import functools
import json
import math
from pathlib import Path

import pytest
import torch
from training import stop_at

from engine import store
from engine.config import load_preset
from engine.generate import Ask, load_speaker
from engine.home import Home
from engine.loss import linear_cross_entropy
from engine.model import Transformer
from engine.optim import Optimizers
from engine.train import main

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    # torch itself warns about its own internals when it compiles.
    pytest.mark.filterwarnings("default"),
]

SHORT = {
    "train.device": "cuda",
    "train.tokens": 40 * 4096,
    "eval.every": 20,
    "sample.every": 20,
    "checkpoint.every": 10,
    "eval.tokens": 8192,
    "sample.max_tokens": 16,
}


def train_once(home: Home, **overrides: object) -> store.Row:
    store.migrate(home.database)
    db = store.connect(home.database)
    run_id = store.create_run(db, load_preset("seedling", {**SHORT, **overrides}), "seedling", "gpu", "cuda:0")
    assert main(["--home", str(home.path), run_id]) == 0
    return store.get_run(db, run_id)


@pytest.mark.parametrize("precision", ["auto", "fp16", "fp32"])
def test_a_run_learns_and_speaks_in_every_precision(tmp_path: Path, precision: str) -> None:
    home = Home(tmp_path)

    run = train_once(home, **{"train.precision": precision})

    assert run["status"] == "finished" and run["val_loss"] < 6.5
    db = store.connect(home.database)
    sample = next(row for row in store.list_samples(db, run["id"]) if row["step"] == 40)
    speaker = load_speaker(home, db, run["id"], 40, "cuda")
    again = speaker.answer([Ask.from_config(sample["prompt"], load_preset("seedling", SHORT).sample)])[0]
    assert again.text == sample["text"]


def test_an_fp16_run_leaves_out_a_step_that_overflows_and_goes_on_with_its_scale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scale of 2^40 overflows at once: steps are left out while it halves, then the run learns; a stopped run keeps
    the scale it has found."""
    monkeypatch.setattr(torch.amp, "GradScaler", functools.partial(torch.amp.GradScaler, init_scale=2.0**40))
    home, changes = Home(tmp_path), {**SHORT, "train.precision": "fp16"}
    store.migrate(home.database)
    db = store.connect(home.database)
    run_id = store.create_run(db, load_preset("seedling", changes), "seedling", "gpu", "cuda:0")
    with monkeypatch.context() as stopping:
        stop_at(stopping, 32)
        assert main(["--home", str(home.path), run_id]) == 0
    stopped = saved_scaler(home, run_id, 32)["scale"]

    assert main(["--home", str(home.path), run_id]) == 0

    run = store.get_run(db, run_id)
    assert run["status"] == "finished" and run["val_loss"] < 8.0 and run["environment"]["precision"] == "fp16"
    ended = saved_scaler(home, run_id, 40)["scale"]
    assert 1.0 <= ended <= stopped < 2.0**40
    # One halving for each step whose gradient was no number, and for no other.
    norms = db.execute("SELECT grad_norm FROM current_metrics WHERE run_id = ?", [run_id]).fetchall()
    assert len(norms) == 40 and sum(norm is None for (norm,) in norms) == 40 - math.log2(ended)


def test_a_step_that_overflows_changes_no_weight_and_halves_the_scale() -> None:
    config = load_preset("seedling", {"model.init": "normal"})
    with torch.device("cuda"):
        model = Transformer(config.model, torch.float16)
    model.init_weights(1)
    optimizers = Optimizers(model, config.optimizer, torch.bfloat16)
    scaler = torch.amp.GradScaler("cuda")
    tokens = torch.randint(config.model.vocab_size, (4, config.model.context + 1), device="cuda")
    changed, scales = [], []
    for share in (1.0, math.inf, 1.0):
        before = [parameter.detach().clone() for parameter in model.parameters()]
        loss, *_ = model.loss(tokens[:, :-1], tokens[:, 1:])
        torch.autograd.backward(scaler.scale(loss / tokens.numel() * share))
        scaler.unscale_(optimizers)
        grad_norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizers, 1.0, loss.detach().isfinite() & grad_norm.isfinite())
        scaler.update()
        optimizers.zero_grad()
        pairs = zip(before, model.parameters(), strict=True)
        changed.append(sum(not torch.equal(old, new) for old, new in pairs))
        scales.append(scaler.get_scale())

    assert changed == [len(before), 0, len(before)] and scales == [65536.0, 32768.0, 32768.0]


def saved_scaler(home: Home, run_id: str, step: int) -> dict[str, float]:
    """The scaler's state in a checkpoint."""
    state = json.loads((home.run(run_id) / f"step_{step:06d}" / "state.json").read_text(encoding="utf-8"))
    found: dict[str, float] = state["scaler"]
    return found


def test_a_compiled_run_learns_as_an_eager_one(tmp_path: Path) -> None:
    eager = train_once(Home(tmp_path / "eager"))
    compiled = train_once(Home(tmp_path / "compiled"), **{"train.compile": True})

    assert math.isclose(eager["val_loss"], compiled["val_loss"], rel_tol=0.01)


def test_a_resumed_run_goes_on_as_one_that_was_not_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, home = train_once(Home(tmp_path / "whole")), Home(tmp_path / "parted")
    store.migrate(home.database)
    db = store.connect(home.database)
    run_id = store.create_run(db, load_preset("seedling", SHORT), "seedling", "gpu", "cuda:0")
    with monkeypatch.context() as stopping:
        stop_at(stopping, 15)
        assert main(["--home", str(home.path), run_id]) == 0
    assert store.get_run(db, run_id)["status"] == "stopped"

    assert main(["--home", str(home.path), run_id]) == 0

    assert math.isclose(store.get_run(db, run_id)["val_loss"], whole["val_loss"], rel_tol=1e-3)


@pytest.mark.parametrize("good", [True, False])
def test_a_masked_update_waits_for_nothing_and_changes_nothing_where_it_should_not(good: bool) -> None:
    config = load_preset("seedling", {"optimizer.weight_decay": 0.1})
    with torch.device("cuda"):
        model = Transformer(config.model, torch.bfloat16)
    model.init_weights(1)
    optimizers = Optimizers(model, config.optimizer, torch.bfloat16)
    tokens = torch.randint(config.model.vocab_size, (4, config.model.context + 1), device="cuda")
    before = [parameter.detach().clone() for parameter in model.parameters()]
    for last in (False, True):
        loss, *_ = model.loss(tokens[:, :-1], tokens[:, 1:])
        torch.autograd.backward(loss / tokens.numel() * (1.0 if good else math.inf))
        torch.cuda.set_sync_debug_mode("error" if last else "default")
        try:
            grad_norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizers.step(1.0, loss.detach().isfinite() & grad_norm.isfinite())
            optimizers.zero_grad()
        finally:
            torch.cuda.set_sync_debug_mode("default")

    same = [torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True)]
    assert not any(same) if good else all(same)


def test_the_loss_is_plain_cross_entropy() -> None:
    torch.manual_seed(0)
    hidden = torch.randn(5000, 64, device="cuda", requires_grad=True)
    weight = torch.randn(999, 64, device="cuda", requires_grad=True)
    targets = torch.randint(999, (5000,), device="cuda")

    ours, _ = linear_cross_entropy(hidden, weight, targets)
    plain = torch.nn.functional.cross_entropy(hidden @ weight.T, targets, reduction="sum")

    torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-2)
    for mine, theirs in zip(
        torch.autograd.grad(ours, (hidden, weight)), torch.autograd.grad(plain, (hidden, weight)), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-2, atol=1e-3)
