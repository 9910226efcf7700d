"""Backups of a home's runs.db: where they lie and what they are called. Old ones are never deleted."""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from engine import store
from engine.home import Home


@dataclass(frozen=True)
class Backup:
    """A finished backup: its file and its size in bytes."""

    path: Path
    bytes: int


def back_up(home: Home, to: str | Path = "", report: Callable[[float], None] = lambda share: None) -> Backup:
    """Copy runs.db, also while runs train, to the file `to` or to backups/ in the home; raises Refused.

    `to` may be a folder, which then gets a file named after the moment. Weights and datasets are not part of it.
    """
    name = time.strftime("runs-%Y%m%d-%H%M%S.db")
    target = Path(to).expanduser() if to else home.backups / name
    if target.is_dir():
        target /= name
    with closing(store.connect(home.database)) as db:
        return Backup(target, store.backup(db, target.absolute(), report))
