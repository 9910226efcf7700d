"""How much disk and memory a run's weights take, and how much there is. No torch."""

import errno
import math
import os
import shutil
from contextlib import suppress
from pathlib import Path

import psutil

from engine.config import RunConfig
from engine.home import Home
from engine.store import DatabaseError, Refused, StoreError

RESERVE = 64 * 2**20
"""Bytes of disk that weights leave to runs.db, its log and the logs (assumption: days of a run's rows)."""

UNSTORABLE: tuple[type[Exception], ...] = (OSError, StoreError, Refused, *DatabaseError)
"""What a disk that is full or gone raises, through files or through the database."""


def checkpoint_bytes(config: RunConfig) -> int:
    """About how large one checkpoint is: fp32 weights, one average of the matrices, two of everything else;
    and the weights behind their moving average, where that is kept."""
    model = config.model
    router = model.experts * model.width if model.experts > 1 else 0
    others = (
        model.vocab_size * model.width + model.layers * (router + 2 * model.width + 2 * model.head_size) + model.width
    )
    return 4 * ((3 if config.optimizer.ema else 2) * model.parameters + others)


def age_bytes(config: RunConfig) -> int:
    """The size of the bf16 weights of one age."""
    return 2 * config.model.parameters


def run_bytes(config: RunConfig, done: int = 0) -> int:
    """About how much disk a whole run takes: what retention keeps, the checkpoint being written, and all ages.

    A fork begins with `done` steps and a copy of the checkpoint of that step.
    """
    rules, total = config.checkpoint, config.total_steps - done
    saves = math.ceil(total / rules.every)
    kept = rules.keep + rules.keep_best + (total // math.lcm(rules.every, rules.keep_every) if rules.keep_every else 0)
    ages = total // config.sample.every + 1 + (total % config.sample.every > 0)
    if rules.keep_ages:
        # Ages go when a checkpoint is written, so those since the last one are there too.
        ages = min(ages, rules.keep_ages + rules.every // config.sample.every + 1)
    return (min(kept, saves) + 1 + (done > 0)) * checkpoint_bytes(config) + ages * age_bytes(config)


def check_disk(home: Home, config: RunConfig, done: int = 0) -> None:
    """Raise Refused, with what would help, when a new run's weights cannot fit into the home's file system.

    `done`: as in `run_bytes`.
    """
    needed, free = run_bytes(config, done) + RESERVE, free_disk(home.path)
    if needed > free:
        raise Refused(
            f"This run needs about {_gigabytes(needed)} of disk for its weights and {_gigabytes(free)} are free; free "
            "some space, or set sample.every higher, checkpoint.keep lower, or checkpoint.keep_ages."
        )


def free_disk(path: Path) -> int:
    """Bytes that can be written where `path` lies."""
    return shutil.disk_usage(path).free


def folder_bytes(folder: Path) -> int:
    """What the files in a folder take; a link to one takes nothing, and what goes meanwhile neither."""
    if folder.is_symlink():
        return 0
    total = 0
    for inside, _, files in os.walk(folder):
        for file in files:
            with suppress(FileNotFoundError):
                total += Path(inside, file).lstat().st_size
    return total


def free_memory(group: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes of memory that can be taken without swapping; in a container, no more than its limit leaves.

    psutil knows the machine only. `group` is where Linux (cgroup v2) says what this process may have and has.
    """
    machine = int(psutil.virtual_memory().available)
    try:
        limit, used = ((group / name).read_text(encoding="ascii").strip() for name in ("memory.max", "memory.current"))
        stat = dict(line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines())
    except OSError:
        return machine  # no container, or a system without such limits
    if limit == "max":
        return machine
    return min(machine, int(limit) - int(used) + int(stat.get("inactive_file", 0)))


def reason(error: Exception) -> str:
    """What one of UNSTORABLE says, without paths, as part of a sentence."""
    if isinstance(error, (StoreError, Refused)):
        return str(error).removesuffix(".")
    if not isinstance(error, OSError):
        return f"runs.db: {error}"
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return "the disk is full" if full else (error.strerror or str(error) or type(error).__name__)


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
