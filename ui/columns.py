"""What runs measured, as columns of numbers: read once, column by column as they are asked for, grown by cursor."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from sqlite_utils import Database

from engine import store

Array = NDArray[np.floating[Any]]
CHUNK = 100_000
"""Rows read at once: their text takes 2 MB a column."""
CACHED_BYTES = 500_000_000
"""Kept in memory for all runs together: ten million steps with every column."""
PLACES = ("step", "tokens", "elapsed_seconds")
"""Columns that never fall, the horizontal axes. They are counted beyond what a float32 can; measured values are not."""


@dataclass
class Columns:
    """Rows of one run in one table, an array a column; NULL is NaN. `cursor` is the id of the last row."""

    cursor: int = 0
    rows: int = 0
    data: dict[str, Array] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Array:
        return self.data[name][: self.rows]

    @property
    def bytes(self) -> int:
        """Memory that the arrays take."""
        return sum(array.nbytes for array in self.data.values())

    def append(self, block: dict[str, Array], cursor: int) -> None:
        """Add rows, given for every column that is held."""
        count = len(next(iter(block.values())))
        for name, values in block.items():
            held = self.data[name]
            if self.rows + count > len(held):
                grown = np.empty(max(1024, (self.rows + count) * 5 // 4), held.dtype)
                grown[: self.rows] = held[: self.rows]
                self.data[name] = held = grown
            held[self.rows : self.rows + count] = values
        self.rows, self.cursor = self.rows + count, cursor


@dataclass
class Entry:
    """A run's columns with the lock of whoever reads them."""

    columns: Columns = field(default_factory=Columns)
    lock: threading.Lock = field(default_factory=threading.Lock)


class SeriesCache:
    """Metrics and evaluations of the runs looked at lately, keyed by run id, attempt and table."""

    def __init__(self, limit: int = CACHED_BYTES) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._held: OrderedDict[tuple[str, int, str], Entry] = OrderedDict()

    def metrics(self, db: Database, run_id: str, attempt: int, names: Sequence[str] = store.METRICS[1:]) -> Columns:
        """The columns `names` of the run's current metrics up to now."""
        return self._current(db, run_id, attempt, "metrics", names)

    def evals(self, db: Database, run_id: str, attempt: int, names: Sequence[str] = store.EVALS[1:]) -> Columns:
        """The columns `names` of the run's current evaluations up to now."""
        return self._current(db, run_id, attempt, "evals", names)

    def room(self) -> int:
        """Bytes that can still be kept without giving anything up."""
        with self._lock:
            return self._limit - sum(entry.columns.bytes for entry in self._held.values())

    def _current(self, db: Database, run_id: str, attempt: int, table: str, names: Sequence[str]) -> Columns:
        entry = self._entry((run_id, attempt, table))
        with entry.lock:
            held = entry.columns
            try:
                _complete(db, held, table, run_id, names)
            except _Changed:
                entry.columns = held = Columns()
                _complete(db, held, table, run_id, names)
            found = Columns(held.cursor, held.rows, {name: held.data[name] for name in names})
        self._give_up()
        return found

    def _entry(self, key: tuple[str, int, str]) -> Entry:
        with self._lock:
            # A resumed run marks old rows as superseded, so rows of an earlier attempt cannot be trusted.
            for old in [old for old in self._held if old[0] == key[0] and old[1] != key[1]]:
                del self._held[old]
            entry = self._held.setdefault(key, Entry())
            self._held.move_to_end(key)
            return entry

    def _give_up(self) -> None:
        """Let go of what was not looked at for the longest time until the rest fits."""
        with self._lock:
            taken = sum(entry.columns.bytes for entry in self._held.values())
            while taken > self._limit and len(self._held) > 2:
                taken -= self._held.popitem(last=False)[1].columns.bytes


class _Changed(Exception):
    """Rows read earlier are not current any more."""


def _complete(db: Database, held: Columns, table: str, run_id: str, names: Sequence[str]) -> None:
    """Read columns that were never asked for up to the cursor, then new rows of all columns."""
    missing = [name for name in names if name not in held.data]
    if missing and held.rows:
        old = Columns(data=_empty(missing))
        _read(db, old, table, run_id, held.cursor)
        if old.rows != held.rows or old.cursor != held.cursor:
            raise _Changed
        capacity = len(next(iter(held.data.values())))
        for name, array in old.data.items():
            held.data[name] = np.resize(array[: old.rows], capacity) if old.rows else array
    elif missing:
        held.data |= _empty(missing)
    _read(db, held, table, run_id)


def _read(db: Database, held: Columns, table: str, run_id: str, last: int = 2**62) -> None:
    names = list(held.data)
    while True:
        cursor, texts = store.numbers_after(db, table, run_id, names, held.cursor, CHUNK, last)
        if not cursor:
            return
        arrays = (
            np.array(orjson.loads(text), dtype=held.data[name].dtype) for name, text in zip(names, texts, strict=True)
        )
        held.append(dict(zip(names, arrays, strict=True)), cursor)


def _empty(names: Sequence[str]) -> dict[str, Array]:
    return {name: np.empty(0, np.float64 if name in PLACES else np.float32) for name in names}
