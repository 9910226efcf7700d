"""Checkpoints appear whole or not at all, and none is believed that has changed since."""

import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from support import VOCABULARY, save_checkpoint, tiny_model
from torch import Tensor

from engine import checkpoint
from engine.checkpoint import (
    CorruptCheckpoint,
    Snapshot,
    Written,
    checkpoints,
    load_checkpoint,
    load_sampling,
    look_up,
    newest_valid,
    remove_checkpoint,
    remove_sampling,
    sampling_path,
    sampling_weights,
    save_sampling,
    step_of,
    sweep,
    verify,
    write_checkpoint,
)
from engine.config import OptimizerConfig
from engine.home import PROJECT
from engine.model import Transformer
from engine.optim import Optimizers

FILES = ("model.safetensors", "optimizer.safetensors", "state.json", "manifest.json")


def learned(seed: int = 1, **shape: Any) -> tuple[Transformer, Optimizers]:
    """A model that has made one step, and its optimizers."""
    model = tiny_model(seed, **shape)
    optimizers = Optimizers(model, OptimizerConfig(), torch.float32)
    tokens = torch.arange(64)[None] % VOCABULARY
    model.loss(tokens[:, :-1], tokens[:, 1:])[0].backward()
    optimizers.step(1.0)
    return model, optimizers


def save(folder: Path, step: int, seed: int = 1) -> Written:
    return save_checkpoint(folder, step, *learned(seed), {"step": step})


def flip(path: Path, position: int, bit: int = 0) -> None:
    """Change one bit, as a tired disk does."""
    data = bytearray(path.read_bytes())
    data[position] ^= 1 << bit
    path.write_bytes(data)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    model, optimizers = learned()
    written = save_checkpoint(tmp_path, 12, model, optimizers, {"step": 12, "scaler": {"scale": 8.0}})
    other = tiny_model(seed=2)
    others = Optimizers(other, OptimizerConfig(), torch.float32)

    state = load_checkpoint(tmp_path / "step_000012", other, others)

    assert state == {"step": 12, "scaler": {"scale": 8.0}}
    assert written.path == tmp_path / "step_000012" and names(written.path) == sorted(FILES)
    assert written.bytes == sum((written.path / name).stat().st_size for name in FILES)
    for kept, loaded in ((model.state_dict(), other.state_dict()), (optimizers.tensors(), others.tensors())):
        assert kept.keys() == loaded.keys() and all(torch.equal(kept[name], loaded[name]) for name in kept)


def test_equal_models_have_equal_bytes_wherever_they_lie(tmp_path: Path) -> None:
    one, other = save(tmp_path / "a", 5), save(tmp_path / "elsewhere", 5)

    assert one.sha256 == other.sha256
    assert (one.path / "model.safetensors").read_bytes() == (other.path / "model.safetensors").read_bytes()
    assert b"__metadata__" not in (one.path / "model.safetensors").read_bytes()


def test_a_failing_save_leaves_the_last_checkpoint_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, 5)

    def full(path: Path, data: bytes) -> None:
        path.write_bytes(data[:10])
        if path.name == "optimizer.safetensors":
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "_write_synced", full)
    with pytest.raises(OSError, match="No space left"):
        save(tmp_path, 10)

    assert names(tmp_path) == ["step_000005"]
    assert newest_valid(tmp_path) == (tmp_path / "step_000005", [])


def test_a_failing_save_of_sampling_weights_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        path.write_bytes(data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "_write_synced", full)
    with pytest.raises(OSError, match="No space left"):
        save_sampling(tmp_path, 5, sampling_weights(tiny_model()))

    assert names(tmp_path / "sampling") == []


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = ["tests"]
from engine import checkpoint
from test_checkpoint import learned
write, moment = checkpoint._write_synced, sys.argv[2]
def killed(path, data):
    write(path, data[:len(data) // 2] if path.name == moment else data)
    if path.name == moment:
        os.kill(os.getpid(), signal.SIGKILL)
checkpoint._write_synced = killed
checkpoint.write_checkpoint(Path(sys.argv[1]), 10, checkpoint.Snapshot.of(*learned()), {"step": 10})
"""


def test_a_process_killed_while_saving_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    save(tmp_path, 5)

    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), "manifest.json"], cwd=PROJECT, timeout=60, check=False
    )

    assert ended.returncode == -signal.SIGKILL
    assert names(tmp_path) == [".step_000010", "step_000005"]
    assert newest_valid(tmp_path) == (tmp_path / "step_000005", [])
    sweep(tmp_path)
    assert names(tmp_path) == ["step_000005"]


def test_what_was_left_of_sampling_weights_is_swept_too(tmp_path: Path) -> None:
    save_sampling(tmp_path, 3, sampling_weights(tiny_model()))
    (tmp_path / "sampling" / ".step_000004.safetensors").write_bytes(b"half")

    sweep(tmp_path)

    assert names(tmp_path / "sampling") == ["step_000003.safetensors"]


def test_a_checkpoint_can_take_the_place_of_a_damaged_one(tmp_path: Path) -> None:
    flip(save(tmp_path, 5).path / "model.safetensors", -1)

    save(tmp_path, 5)

    assert newest_valid(tmp_path) == (tmp_path / "step_000005", [])


@pytest.mark.parametrize("name", FILES[:3])
def test_one_flipped_bit_is_noticed_and_the_file_is_named(tmp_path: Path, name: str) -> None:
    first, path = save(tmp_path, 5).path, save(tmp_path, 10).path
    flip(path / name, (path / name).stat().st_size // 2)

    with pytest.raises(CorruptCheckpoint, match=f"^step_000010/{name}: hash mismatch"):
        load_checkpoint(path, *learned())
    found, problems = newest_valid(tmp_path)

    assert found == first
    assert len(problems) == 1 and problems[0].startswith(f"step_000010/{name}: hash mismatch")


def test_no_flipped_bit_of_the_manifest_is_an_unforeseen_error(tmp_path: Path) -> None:
    manifest = save(tmp_path, 5).path / "manifest.json"
    whole, noticed = manifest.read_bytes(), 0
    # Only the model's entry: what is written after it is the same again.
    for position in range(whole.index(b"optimizer")):
        flip(manifest, position, bit=position % 8)
        try:
            verify(manifest.parent)
        except CorruptCheckpoint:
            noticed += 1
        manifest.write_bytes(whole)

    assert noticed > 100


@pytest.mark.parametrize("length", [0, 100, -1])
def test_a_cut_file_is_refused(tmp_path: Path, length: int) -> None:
    weights = save(tmp_path, 5).path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:length])

    with pytest.raises(CorruptCheckpoint, match=r"model\.safetensors: hash mismatch"):
        verify(weights.parent)


def test_a_zero_tail_is_refused(tmp_path: Path) -> None:
    weights = save(tmp_path, 5).path / "model.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[:-1000] + bytes(1000))

    with pytest.raises(CorruptCheckpoint, match="hash mismatch"):
        verify(weights.parent)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused_by_name(tmp_path: Path, name: str) -> None:
    path = save(tmp_path, 5).path
    (path / name).unlink()

    with pytest.raises(CorruptCheckpoint, match=name.replace(".", r"\.")):
        verify(path)


@pytest.mark.parametrize(
    ("shape", "differing"),
    [
        ({"width": 64}, "model.width is 32 there and 64 here"),
        ({"layers": 3, "rope_base": 500.0}, "model.layers is 2 there and 3 here, model.rope_base is 10000.0 there"),
        ({"activation": "relu2"}, "model.activation is swiglu there and relu2 here"),
    ],
)
def test_another_models_checkpoint_is_refused_with_what_differs(
    tmp_path: Path, shape: dict[str, Any], differing: str
) -> None:
    path = save(tmp_path, 5).path
    model = tiny_model(**shape)

    with pytest.raises(CorruptCheckpoint, match=f"step_000005 holds another model.*: {re.escape(differing)}"):
        load_checkpoint(path, model, Optimizers(model, OptimizerConfig(), torch.float32))


def test_where_nothing_is_whole_nothing_is_found(tmp_path: Path) -> None:
    assert newest_valid(tmp_path / "missing") == (None, [])
    for step in (5, 10):
        (save(tmp_path, step).path / "state.json").unlink()

    found, problems = newest_valid(tmp_path)

    assert found is None
    assert [problem.split("/")[0] for problem in problems] == ["step_000010", "step_000005"]


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_sampling_weights_are_the_same_from_their_file_and_from_the_checkpoint(tmp_path: Path) -> None:
    model, optimizers = learned()
    save_checkpoint(tmp_path, 5, model, optimizers, {})
    from_checkpoint, first = load_sampling(tmp_path, 5)
    written = save_sampling(tmp_path, 5, sampling_weights(model))
    from_file, second = load_sampling(tmp_path, 5)

    assert first == second == written.sha256
    assert same(from_checkpoint, from_file)
    assert same(from_file, {name: weight.bfloat16() for name, weight in model.state_dict().items()})
    assert sampling_path(tmp_path, 5) == written.path and written.path.stat().st_size == written.bytes


@pytest.mark.parametrize("length", [0, 5, 500, -1])
def test_cut_sampling_weights_are_refused(tmp_path: Path, length: int) -> None:
    path = save_sampling(tmp_path, 5, sampling_weights(tiny_model())).path
    path.write_bytes(path.read_bytes()[:length])

    with pytest.raises(CorruptCheckpoint, match=r"^sampling/step_000005\.safetensors is damaged"):
        load_sampling(tmp_path, 5)


def test_weights_that_are_nowhere_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CorruptCheckpoint, match="step_000005 has no readable manifest"):
        load_sampling(tmp_path, 5)


def test_the_oldest_comes_first_by_number(tmp_path: Path) -> None:
    for step in (10_000_000, 900, 999_999, 1_000_000):
        (tmp_path / f"step_{step:06d}").mkdir()

    assert [step_of(path) for path in checkpoints(tmp_path)] == [900, 999_999, 1_000_000, 10_000_000]


def test_removing_takes_one_age_and_no_other(tmp_path: Path) -> None:
    for step in (5, 10):
        save(tmp_path, step)
        save_sampling(tmp_path, step, sampling_weights(tiny_model()))

    for _ in range(2):
        remove_checkpoint(tmp_path, 5)
        remove_sampling(tmp_path, 10)

    assert names(tmp_path) == ["sampling", "step_000010"]
    assert names(tmp_path / "sampling") == ["step_000005.safetensors"]


def test_a_snapshot_stays_as_it_was_while_training_goes_on(tmp_path: Path) -> None:
    model, optimizers = learned()
    written = save_checkpoint(tmp_path, 5, model, optimizers, {})
    snapshot = Snapshot.of(model, optimizers, copy=True)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 1
        for average in optimizers.tensors().values():
            average += 1

    assert write_checkpoint(tmp_path, 6, snapshot, {}).sha256 == written.sha256
    assert (tmp_path / "step_000006" / "optimizer.safetensors").read_bytes() == (
        written.path / "optimizer.safetensors"
    ).read_bytes()


def test_looking_a_checkpoint_up_says_what_writing_it_said(tmp_path: Path) -> None:
    written = save(tmp_path, 5)

    assert look_up(written.path) == written


def test_folders_of_other_names_are_left_alone(tmp_path: Path) -> None:
    save(tmp_path, 5)
    (tmp_path / "step_000005 (copy)").mkdir()
    (tmp_path / "step_best").symlink_to(tmp_path / "step_000005")

    assert newest_valid(tmp_path) == (tmp_path / "step_000005", [])
    assert checkpoints(tmp_path) == [tmp_path / "step_000005"]
