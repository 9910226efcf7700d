"""The weights of a run speak at every age that is kept, and only if they are what was saved."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from sqlite_utils import Database
from support import new_run, save_checkpoint, tiny_model

from engine import store
from engine.checkpoint import sampling_path, sampling_weights, save_sampling
from engine.config import OptimizerConfig
from engine.generate import Ask, load_speaker
from engine.home import Home
from engine.optim import Optimizers


@pytest.fixture
def run_id(home: Home, db: Database) -> str:
    """A run with sampling weights of steps 3 and 6, and a checkpoint of step 9."""
    run_id = new_run(home, db)
    folder = home.run(run_id)
    folder.mkdir(parents=True)
    shutil.copyfile(home.dataset("tiny") / "tokenizer.json", home.tokenizer(run_id))
    for step in (3, 6):
        written = save_sampling(folder, step, sampling_weights(tiny_model(step)))
        index(db, run_id, step, "sampling", written)
    model = tiny_model(9)
    optimizers = Optimizers(model, OptimizerConfig(), torch.float32)
    index(db, run_id, 9, "full", save_checkpoint(folder, 9, model, optimizers, {}))
    return run_id


def index(db: Database, run_id: str, step: int, kind: str, written: Any) -> None:
    store.add_checkpoint(
        db,
        run_id,
        attempt=1,
        step=step,
        tokens=step * 256,
        kind=kind,
        path=written.path.name,
        bytes=written.bytes,
        sha256=written.sha256,
    )


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def test_the_newest_weights_speak_unless_an_age_is_named(home: Home, db: Database, run_id: str) -> None:
    newest, young = load_speaker(home, db, run_id), load_speaker(home, db, run_id, 3)

    assert (newest.step, newest.tokens, young.step, young.run_id) == (9, 2304, 3, run_id)
    assert torch.equal(young.model.norm.weight, tiny_model(3).norm.weight.bfloat16().float())
    ask = Ask(prompt="Alice", max_tokens=12)
    assert newest.answer([ask]) != young.answer([ask])


def test_weights_from_a_checkpoint_speak_as_those_from_their_own_file(home: Home, db: Database, run_id: str) -> None:
    from_checkpoint = load_speaker(home, db, run_id, 9)
    index(db, run_id, 9, "sampling", save_sampling(home.run(run_id), 9, sampling_weights(tiny_model(9))))
    from_file = load_speaker(home, db, run_id, 9)

    ask = Ask(prompt="Alice", max_tokens=12)
    assert from_checkpoint.weights_sha256 == from_file.weights_sha256
    assert from_checkpoint.answer([ask]) == from_file.answer([ask])


def refusal(home: Home, db: Database, run_id: str, step: int | None = None) -> str:
    with pytest.raises(store.Refused) as caught:
        load_speaker(home, db, run_id, step)
    return str(caught.value)


def test_an_age_that_is_not_kept_names_those_that_are(home: Home, db: Database, run_id: str) -> None:
    assert refusal(home, db, run_id, 4) == "tiny has no weights of step 4; there are 3, 6, 9."


def test_a_run_without_weights_says_what_to_wait_for(home: Home, db: Database) -> None:
    assert refusal(home, db, new_run(home, db)).startswith("tiny has no weights on disk yet; wait for its first sample")


def test_the_published_run_has_none(home: Home, db: Database) -> None:
    assert refusal(home, db, store.REFERENCE_ID) == "The weights of Blueberry-Nano were not published here."
    assert refusal(home, db, "nobody") == "There is no run 'nobody'."


def test_weights_that_have_changed_on_disk_are_not_believed(home: Home, db: Database, run_id: str) -> None:
    damage(sampling_path(home.run(run_id), 3))
    damage(home.run(run_id) / "step_000009" / "model.safetensors")

    assert refusal(home, db, run_id, 3) == "The weights of tiny at step 3 have changed on disk since they were saved."
    assert "model.safetensors: hash mismatch" in refusal(home, db, run_id, 9)


def test_weights_that_are_cut_or_gone_are_refused_in_a_sentence(home: Home, db: Database, run_id: str) -> None:
    sampling_path(home.run(run_id), 3).write_bytes(b"half")
    sampling_path(home.run(run_id), 6).unlink()

    assert refusal(home, db, run_id, 3).startswith("The weights of tiny at step 3 cannot be used: sampling/step_000003")
    assert refusal(home, db, run_id, 6).startswith("The weights of tiny at step 6 cannot be used: step_000006 has no")


def test_a_model_keeps_its_words_when_the_dataset_is_gone(home: Home, db: Database, run_id: str) -> None:
    shutil.rmtree(home.dataset("tiny"))

    assert load_speaker(home, db, run_id, 3).step == 3

    home.tokenizer(run_id).unlink()
    assert "The tokenizer tokenizer.json is not there" in refusal(home, db, run_id, 3)
