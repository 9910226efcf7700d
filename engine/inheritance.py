"""What a fork takes over from its parent: weights, optimizer, its place in the text. On the disk, and without torch.

The parent's files are linked where the file system can do that, else copied; either way the fork has its own, which
stay when the parent lets go of its own.
"""

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from engine import store
from engine.config import ConfigError, RunConfig
from engine.home import Home
from engine.manifest import CorruptCheckpoint, read_manifest, verify, write_manifest
from engine.space import reason
from engine.store import Refused
from engine.sync import sync

WEIGHTS, OPTIMIZER, STATE = "model.safetensors", "optimizer.safetensors", "state.json"


@dataclass(frozen=True)
class Heritage:
    """What goes on in a fork, and what begins anew."""

    state: dict[str, Any]
    """The loop's state at that step, as a checkpoint has it (engine/saver.py)."""
    optimizer: bool
    """Whether what the optimizers remember goes on."""
    text_anew: str
    """Why the order of the text begins anew, as the end of a sentence; "" where it goes on."""

    @property
    def rate(self) -> float:
        """What the parent's learning rates were multiplied with after it went back."""
        return float(self.state["rate"])


@dataclass(frozen=True)
class Inherited:
    """A whole checkpoint that waits for the run it belongs to."""

    folder: Path
    row: store.Row
    """Of `checkpoints`: step, tokens, path, bytes, sha256."""

    def move_to(self, folder: Path) -> None:
        """Make it the folder of a run, at once."""
        self.folder.rename(folder)
        sync(folder.parent)


def has_optimizer(home: Home, run_id: str, row: store.Row) -> bool:
    """Whether a row of `checkpoints` has what the optimizers remember beside the weights."""
    return bool(row["kind"] == "full") and (home.run(run_id) / row["path"] / OPTIMIZER).exists()


def text_of(
    home: Home, db: Database, parent: store.Row, row: store.Row, before: RunConfig, config: RunConfig
) -> Heritage:
    """What a run of `config` takes over with the weights of `row`; raises Refused or ConfigError for another text whose
    pieces these weights do not know."""
    from engine.data import check_available  # numpy and tokenizers: not for a status line

    check_available(home, config)
    exact = has_optimizer(home, parent["id"], row)
    known = _state(home, parent["id"], row) if row["kind"] == "full" else _newest_state(home, db, parent["id"])
    if known is None and row["kind"] == "full":
        raise Refused(f"The checkpoint of {parent['name']} at step {row['step']:,} is damaged; choose another step.")
    here = _dataset(home, config)
    there = known["dataset_sha256"] if known else here if config.data == before.data else None
    anew = ""
    if config.data.dataset != before.data.dataset and here is None:
        raise Refused(
            f"The dataset {config.data.dataset} is not prepared yet, so nobody knows whether the weights of "
            f"{parent['name']} know its pieces; prepare it first: `python -m engine prepare {config.data.dataset}`."
        )
    if here is not None and here != there:
        _check_pieces(home, parent, config)
        anew = f"it reads {config.data.dataset}"
    elif config.model.context != before.model.context:
        anew = "model.context has changed"
    elif config.train.seed != before.train.seed:
        anew = "train.seed has changed"
    step, tokens = row["step"], row["step"] * config.train.batch_tokens
    state: dict[str, Any] = {
        "model": asdict(config.model),
        "step": step,
        "tokens": tokens,
        "rows": step * config.rows_per_step,
        "elapsed_seconds": known["elapsed_seconds"] if known and known["step"] == step else _seconds(db, parent, step),
        "dataset_sha256": here or there,
        "scaler": known["scaler"] if known and exact else {},
        "rate": known.get("rate", 1.0) if known and exact else 1.0,
        "unasked": False,  # its age at this step is the parent's, who answers for it
        "text_from": step if anew else (known or {}).get("text_from", 0),
    }
    return Heritage(state, exact, anew)


@contextmanager
def hand_over(
    home: Home, parent: store.Row, row: store.Row, config: RunConfig, heritage: Heritage
) -> Iterator[Inherited]:
    """A copy of the weights of `row` as a whole checkpoint in a folder that starts with a dot, with the tokenizer.

    What nobody has moved from there is removed at the end. Raises Refused for weights that are damaged or have gone.
    """
    made = home.run(f".fork-{secrets.token_hex(5)}")
    checkpoint = made / f"step_{row['step']:06d}"
    which = f"{parent['name']} at step {row['step']:,}"
    try:
        try:
            digest = _copy(home.run(parent["id"]), row, checkpoint, heritage)
            verify(checkpoint)
        except FileNotFoundError as error:
            raise Refused(f"The weights of {which} have just gone; choose another step.") from error
        except OSError as error:
            raise Refused(f"The weights of {which} cannot be copied: {reason(error)}.") from error
        except CorruptCheckpoint as error:
            raise Refused(f"The weights of {which} cannot be used: {error}") from error
        size = sum(file.stat().st_size for file in checkpoint.iterdir())
        values = {"path": checkpoint.name, "bytes": size, "sha256": digest}
        yield Inherited(made, {"step": row["step"], "tokens": heritage.state["tokens"], **values})
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _copy(source: Path, row: store.Row, checkpoint: Path, heritage: Heritage) -> str:
    """Put together what the fork begins with; returns the sha256 of the weights as they were saved."""
    checkpoint.mkdir(parents=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        if (source / name).exists():
            _link(source / name, checkpoint.parent / name)
    if row["kind"] == "full":
        listed = read_manifest(source / row["path"])
        listed = {name: listed[name] for name in (WEIGHTS, OPTIMIZER) if name in listed}
        for name in listed:
            _link(source / row["path"] / name, checkpoint / name)
    else:
        listed = {WEIGHTS: {"bytes": row["bytes"], "sha256": row["sha256"]}}
        _link(source / row["path"], checkpoint / WEIGHTS)
    write_manifest(checkpoint, listed, {STATE: (json.dumps(heritage.state, indent=1) + "\n").encode()})
    return str(listed[WEIGHTS]["sha256"])


def _link(source: Path, target: Path) -> None:
    """One file in two places where the file system can do that, else a copy of it; raises FileNotFoundError."""
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:  # other file systems have no such links, or none for this user
        shutil.copyfile(source, target)
        with target.open("rb") as file:
            os.fsync(file.fileno())


def _dataset(home: Home, config: RunConfig) -> str | None:
    """The sha256 of the training text, or None where it is not prepared."""
    from engine.data import open_dataset

    if not home.dataset(config.data.dataset).joinpath("card.json").is_file():
        return None
    return str(open_dataset(home, config.data.dataset).card["files"]["train.bin"]["sha256"])


def _check_pieces(home: Home, parent: store.Row, config: RunConfig) -> None:
    """Raise ConfigError unless the dataset was made with the tokenizer that the parent's weights know."""
    from engine import tokenizer
    from engine.data import open_dataset

    name, own = config.data.dataset, home.tokenizer(parent["id"])
    theirs = open_dataset(home, name).tokenizer_path
    if own.read_bytes() != theirs.read_bytes() and tokenizer.read(own).to_str() != tokenizer.read(theirs).to_str():
        raise ConfigError(
            f"data.dataset = {name} has another tokenizer than {parent['name']}, so these weights cannot read it; "
            f"prepare the text with --tokenizer checkpoints/{parent['id']}/tokenizer.json."
        )


def _state(home: Home, run_id: str, row: store.Row) -> dict[str, Any] | None:
    with suppress(OSError, ValueError):
        found = json.loads((home.run(run_id) / row["path"] / STATE).read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
    return None


def _newest_state(home: Home, db: Database, run_id: str) -> dict[str, Any] | None:
    """Of any checkpoint of a run: which text it reads does not change."""
    found = (_state(home, run_id, row) for row in reversed(store.list_checkpoints(db, run_id, "full")))
    return next((state for state in found if state), None)


def _seconds(db: Database, parent: store.Row, step: int) -> float:
    """How long the parent had worked when it was at `step`."""
    at = {name: place for place, name in enumerate(store.METRICS)}
    before = [row for row in store.metrics_after(db, parent["id"], 0) if (row[at["step"]] or 0) <= step]
    return float(before[-1][at["elapsed_seconds"]] or 0.0) if before else 0.0
