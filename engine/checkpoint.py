"""Weights on disk: checkpoints that can resume a run, and the small files that can say its words again.

A checkpoint is a folder `step_NNNNNN` that appears whole or not at all: everything is written to a folder whose name
starts with a dot, synced, listed in a manifest with sizes and sha256, and renamed. Sampling weights are one bf16 file
`sampling/step_NNNNNN.safetensors`, written the same way; where a later attempt does the step again and the weights stay
for what they said, they become `sampling/step_NNNNNN.attemptN.safetensors`.
"""

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file, save
from torch import Tensor, nn

from engine.manifest import CorruptCheckpoint as CorruptCheckpoint
from engine.manifest import verify as verify
from engine.model import Transformer
from engine.optim import Optimizers
from engine.sync import sync


@dataclass(frozen=True)
class Written:
    """What was written: where (below the run's folder), how much, and the sha256 of the weights."""

    path: Path
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Snapshot:
    """The numbers of one step, on the CPU."""

    weights: dict[str, Tensor]
    averages: dict[str, Tensor]
    """What the optimizers remember."""
    shape: dict[str, Any]
    """The model's config."""

    @classmethod
    def of(cls, model: Transformer, optimizers: Optimizers, copy: bool = False) -> "Snapshot":
        """The numbers as they are; with `copy` they stay so while training goes on."""
        weights = {name: parameter.detach() for name, parameter in model.named_parameters()} | optimizers.averages
        return cls(_on_cpu(weights, copy), _on_cpu(optimizers.tensors(), copy), asdict(model.config))


def write_checkpoint(folder: Path, step: int, snapshot: Snapshot, state: dict[str, Any]) -> Written:
    """Write everything that is needed to go on from `step` to `folder`/step_NNNNNN.

    Raises OSError when the disk does not take it, and leaves nothing half written.
    """
    final, temporary = folder / _name(step), folder / f".{_name(step)}"
    files = {
        "model.safetensors": save(snapshot.weights),
        "optimizer.safetensors": save(snapshot.averages),
        "state.json": (json.dumps({"model": snapshot.shape} | state, indent=1) + "\n").encode(),
    }
    manifest = {name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()}
    files["manifest.json"] = (json.dumps(manifest, indent=1) + "\n").encode()
    _remove(temporary)
    try:
        temporary.mkdir(parents=True)
        for name, data in files.items():
            _write_synced(temporary / name, data)
        sync(temporary)
        _remove(final)
        temporary.rename(final)
    except BaseException:
        _remove(temporary)  # half a checkpoint only fills a full disk further
        raise
    sync(folder)
    return Written(final, sum(map(len, files.values())), str(manifest["model.safetensors"]["sha256"]))


def load_checkpoint(path: Path, model: Transformer, optimizers: Optimizers) -> dict[str, Any]:
    """Restore model and optimizers from a checkpoint; returns its loop state. Raises CorruptCheckpoint.

    One that a fork began with may have weights only (engine/fork.py): its optimizers begin anew.
    """
    verify(path)
    state: dict[str, Any] = json.loads((path / "state.json").read_text(encoding="utf-8"))
    wanted = asdict(model.config)
    # Absent in the first checkpoints there were, which said nothing about their model.
    there = state.pop("model", wanted)
    if differing := [name for name in wanted if name in there and there[name] != wanted[name]]:
        fields = ", ".join(f"model.{name} is {there[name]} there and {wanted[name]} here" for name in differing)
        raise CorruptCheckpoint(f"{path.name} holds another model than this run's config describes: {fields}.")
    try:
        model.load_state_dict(load_file(path / "model.safetensors"))
        remembered = path / "optimizer.safetensors"
        optimizers.load_tensors(load_file(remembered) if remembered.exists() else None)
    except SafetensorError as error:
        raise CorruptCheckpoint(f"{path.name} holds a file that is not in the safetensors format.") from error
    except (RuntimeError, KeyError) as error:
        raise CorruptCheckpoint(f"{path.name} holds another model than this run's config describes.") from error
    return state


def look_up(path: Path) -> Written:
    """What `write_checkpoint` said of a checkpoint that lies at `path`; raises CorruptCheckpoint."""
    verify(path)
    manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    size = sum(file.stat().st_size for file in path.iterdir())
    return Written(path, size, str(manifest["model.safetensors"]["sha256"]))


def newest_valid(folder: Path) -> tuple[Path | None, list[str]]:
    """The newest checkpoint of a run that passes `verify`, and a sentence for each newer one that does not."""
    problems = []
    for path in reversed(checkpoints(folder)):
        try:
            verify(path)
        except CorruptCheckpoint as error:
            problems.append(str(error))
        else:
            return path, problems
    return None, problems


def save_sampling(folder: Path, step: int, weights: dict[str, Tensor]) -> Written:
    """Write sampling weights (see `sampling_weights`) to `folder`/sampling/step_NNNNNN.safetensors."""
    target = sampling_path(folder, step)
    target.parent.mkdir(parents=True, exist_ok=True)
    data = save(weights)
    temporary = target.with_name(f".{target.name}")
    try:
        _write_synced(temporary, data)
        temporary.replace(target)
    except BaseException:
        _remove(temporary)
        raise
    sync(target.parent)
    return Written(target, len(data), hashlib.sha256(data).hexdigest())


def sampling_weights(model: nn.Module) -> dict[str, Tensor]:
    """The weights rounded to bf16 on the CPU: what a sample is made with, kept so that it can be made again."""
    return {name: weight.detach().cpu().bfloat16().contiguous() for name, weight in model.named_parameters()}


def load_sampling(folder: Path, step: int) -> tuple[dict[str, Tensor], str]:
    """The bf16 weights of `step` and their sha256, from the sampling file or else from the checkpoint.

    Both ways give the same numbers and the same hash. Raises CorruptCheckpoint where neither is there or whole.
    """
    path = sampling_path(folder, step)
    if path.exists():
        return read_sampling(path)
    checkpoint = folder / _name(step)
    verify(checkpoint)
    weights = {name: tensor.to(torch.bfloat16) for name, tensor in load_file(checkpoint / "model.safetensors").items()}
    return weights, hashlib.sha256(save(weights)).hexdigest()


def read_sampling(path: Path) -> tuple[dict[str, Tensor], str]:
    """The weights in one sampling file and their sha256; raises CorruptCheckpoint, or OSError where it is not there."""
    data = path.read_bytes()
    try:
        return load(data), hashlib.sha256(data).hexdigest()
    except SafetensorError as error:
        raise CorruptCheckpoint(f"sampling/{path.name} is damaged: {error}.") from error


def sampling_path(folder: Path, step: int) -> Path:
    """Where the sampling weights of `step` lie in a run's folder."""
    return folder / "sampling" / f"{_name(step)}.safetensors"


def set_aside(path: Path, step: int, attempt: int) -> Path | None:
    """Give sampling weights a name that no later attempt writes to; returns it, or None where they are not there.

    Done again it changes nothing, whether or not it had come to its end.
    """
    target = path.with_name(f"{_name(step)}.attempt{attempt}.safetensors")
    if path.exists():
        path.replace(target)
        sync(target.parent)
    return target if target.exists() else None


def remove_checkpoint(folder: Path, step: int) -> None:
    """Take a checkpoint off the disk; one that is not there is no error."""
    path, temporary = folder / _name(step), folder / f".{_name(step)}"
    if path.is_dir():
        _remove(temporary)
        path.rename(temporary)  # at once: killed while it goes, it must not look like a damaged one
    _remove(temporary)


def remove_sampling(folder: Path, step: int) -> None:
    """Take the sampling weights of `step` off the disk; none is no error."""
    _remove(sampling_path(folder, step))


def sweep(folder: Path) -> None:
    """Remove what an interrupted save left behind."""
    for path in [*folder.glob(".step_*"), *folder.glob("sampling/.step_*")]:
        _remove(path)


def _name(step: int) -> str:
    return f"step_{step:06d}"


def step_of(path: Path) -> int:
    """The optimizer step a checkpoint's folder is named after."""
    return int(path.name.removeprefix("step_"))


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run's folder, whole or damaged, oldest step first."""
    return sorted((path for path in folder.glob("step_*") if path.name[5:].isdecimal()), key=step_of)


def _on_cpu(tensors: dict[str, Tensor], copy: bool) -> dict[str, Tensor]:
    return {
        name: tensor.to("cpu", copy=copy, memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
