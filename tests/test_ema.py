"""The moving average of the weights: what it is, that training never feels it, and that it is what is kept."""

import pytest
import torch
from safetensors.torch import load_file
from sqlite_utils import Database
from support import new_run, save_checkpoint, tiny_model
from test_optim import learn, some_tokens, weights_of
from training import LONG, attempt, checkpoints, final_weights, stop_at

from engine import space, store
from engine.checkpoint import load_checkpoint
from engine.config import OptimizerConfig, from_json
from engine.generate import load_speaker
from engine.home import Home
from engine.optim import Optimizers

EMA = {"optimizer__ema": 0.9}


def test_it_moves_toward_the_weights_by_its_share_and_not_at_a_masked_step() -> None:
    model = tiny_model()
    optimizers = Optimizers(model, OptimizerConfig(ema=0.75), torch.float32)
    expected = weights_of(model)
    for finite in (True, False, True):
        learn(model, some_tokens())
        optimizers.masked_step(1.0, torch.tensor(finite))
        if finite:
            expected = expected.lerp(weights_of(model), 0.25)

    torch.testing.assert_close(torch.cat([one.flatten() for one in optimizers.averages.values()]), expected)


def test_the_model_has_the_averages_for_a_while_and_in_the_same_memory() -> None:
    model = tiny_model()
    optimizers = Optimizers(model, OptimizerConfig(ema=0.75), torch.float32)
    learn(model, some_tokens())
    optimizers.step(1.0)
    own, places = weights_of(model), [parameter.data_ptr() for parameter in model.parameters()]

    with pytest.raises(ZeroDivisionError), optimizers.averaged():
        inside = weights_of(model)
        assert places == [parameter.data_ptr() for parameter in model.parameters()]
        raise ZeroDivisionError

    assert not torch.equal(inside, own) and torch.equal(weights_of(model), own)
    assert torch.equal(inside, torch.cat([one.flatten() for one in optimizers.averages.values()]))


def test_a_run_keeps_its_averages_and_goes_on_from_its_weights(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch, alone: None
) -> None:
    plain = new_run(home, db, **LONG)
    assert attempt(home, plain) == 0
    whole = new_run(home, db, **LONG, **EMA)
    assert attempt(home, whole) == 0
    parted = new_run(home, db, **LONG, **EMA)
    with monkeypatch.context() as stopping:
        stop_at(stopping, 21)
        assert attempt(home, parted) == 0
    assert attempt(home, parted) == 0

    assert final_weights(home, parted) == final_weights(home, whole) != final_weights(home, plain)
    newest = home.run(whole) / f"step_{checkpoints(home, whole)[-1]:06d}"
    raw = load_file(newest / "optimizer.safetensors")
    trained = load_file(home.run(plain) / newest.name / "model.safetensors")
    assert all(torch.equal(raw[f"raw.{name}"], tensor) for name, tensor in trained.items())
    # What is asked is what is kept, from either file.
    kept = load_file(newest / "model.safetensors")
    for name, tensor in load_speaker(home, db, whole, 60).model.named_parameters():
        assert torch.equal(tensor.bfloat16(), kept[name].bfloat16()), name


def test_its_checkpoint_is_as_large_as_it_was_said_to_be(home: Home, db: Database) -> None:
    run_id = new_run(home, db, **EMA)
    config = from_json(store.get_config(db, run_id))
    model = tiny_model()
    optimizers = Optimizers(model, config.optimizer, torch.float32)
    learn(model, some_tokens())
    optimizers.step(1.0)
    written = save_checkpoint(home.run(run_id), 1, model, optimizers, {"step": 1})

    assert written.bytes == pytest.approx(space.checkpoint_bytes(config), rel=0.05)
    other = tiny_model(seed=5)
    again = Optimizers(other, config.optimizer, torch.float32)
    load_checkpoint(written.path, other, again)
    assert torch.equal(weights_of(other), weights_of(model))
    assert all(torch.equal(again.averages[name], value) for name, value in optimizers.averages.items())
