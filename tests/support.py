"""What the tests of the engine share: a config, a model and a dataset that are small enough to train in a second."""

import atexit
import errno
import io
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
from sqlite_utils import Database
from tokenizers import Tokenizer

from engine import checkpoint, data, store
from engine.checkpoint import sampling_weights
from engine.config import RunConfig, load_preset
from engine.generate import Speaker, make_speaker
from engine.home import PROJECT, Home
from engine.model import Transformer
from engine.optim import Optimizers

VOCABULARY = 300
TINY: dict[str, Any] = {
    "data.dataset": "tiny",
    "data.tokenizer": f"bpe:{VOCABULARY}",
    "model.layers": 2,
    "model.width": 32,
    "model.heads": 4,
    "model.kv_heads": 2,
    "model.mlp_width": 48,
    "model.context": 64,
    "model.vocab_size": VOCABULARY,
    "train.tokens": 24 * 256,
    "train.batch_tokens": 256,
    "train.micro_batch": 2,
    "train.device": "cpu",
    "train.precision": "fp32",
    "eval.every": 4,
    "eval.tokens": 512,
    "sample.every": 6,
    "sample.suites": "stories",
    "sample.max_tokens": 6,
    "checkpoint.every": 8,
    "checkpoint.keep": 2,
}
"""A whole run of 24 steps takes about a second; its 96 rows are more than the 82 of one epoch."""


class FullDisk(io.StringIO):
    """A file that takes nothing."""

    def write(self, text: str) -> int:
        """Raise what a full disk raises."""
        raise OSError(errno.ENOSPC, "No space left on device")


def tiny_config(**changes: Any) -> RunConfig:
    """TINY with some settings changed; a double underscore stands for the dot."""
    return load_preset("seedling", TINY | {key.replace("__", "."): value for key, value in changes.items()})


def save_checkpoint(
    folder: Path, step: int, model: Transformer, optimizers: Optimizers, state: dict[str, Any]
) -> checkpoint.Written:
    """A checkpoint of a model as it is now."""
    return checkpoint.write_checkpoint(folder, step, checkpoint.Snapshot.of(model, optimizers), state)


def tiny_model(seed: int = 1, **changes: Any) -> Transformer:
    """A fp32 model of TINY's shape; its zero matrices are filled too, so that every weight matters."""
    model = Transformer(replace(tiny_config().model, **changes))
    model.init_weights(seed)
    dice = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += torch.randn(parameter.shape, generator=dice) * 0.1
    return model


def speaker_of(model: Transformer, words: Tokenizer) -> Speaker:
    """A model that answers on a CPU, as if it were of step 3 of some run."""
    return make_speaker(
        model.config,
        sampling_weights(model),
        words,
        torch.device("cpu"),
        run_id="run",
        attempt=1,
        step=3,
        tokens=768,
        weights_sha256="0" * 64,
    )


@cache
def _prepared() -> Path:
    """The tiny dataset, made once for all tests of a session."""
    folder = Path(mkdtemp(prefix="blueberry-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    novel = next(data.documents(PROJECT / "data" / "starter" / "alice_in_wonderland.txt.xz"))[:9000]
    pages = [novel[start : start + 900] for start in range(0, len(novel), 900)]
    (folder / "tiny.txt").write_text("\f".join(pages), encoding="utf-8")
    home = Home.at(folder / "home")
    recipe = data.Recipe((data.Source(str(folder / "tiny.txt")),), f"bpe:{VOCABULARY}")
    data.prepare(home, "tiny", recipe, report=lambda _: None, stopped=lambda: False)
    return home.dataset("tiny")


def give_dataset(home: Home) -> Path:
    """Put the tiny dataset into a home; returns its folder."""
    return Path(shutil.copytree(_prepared(), home.dataset("tiny")))


def new_run(home: Home, db: Database, **changes: Any) -> str:
    """A run of the tiny config that waits for its trainer; returns its id."""
    if not home.dataset("tiny").exists():
        give_dataset(home)
    return store.create_run(db, tiny_config(**changes), "seedling", "tiny", "cpu")


def at_once(count: int, work: Callable[[int], Any]) -> list[Any]:
    """What `work` gives in `count` threads that start together; a refusal counts as a result."""
    barrier, results = threading.Barrier(count), [None] * count

    def one(number: int) -> None:
        barrier.wait()
        try:
            results[number] = work(number)
        except (store.Refused, store.StoreError, *store.DatabaseError) as error:
            results[number] = error

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
