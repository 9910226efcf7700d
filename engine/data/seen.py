"""Which documents came before: exact de-duplication in flat memory, in a file that survives a kill."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from engine.store import Refused
from engine.sync import sync

DIGEST = 16
"""Bytes of a digest: among 10^12 documents, two unlike ones share one with a probability of 10^-15."""
FIRST_BITS = 16
"""The table begins with 2^16 slots, 1.6 MB."""
FULLEST = 0.6
"""Share of the slots in use at which the table grows; about two slots are looked at to find a digest."""
TAIL = 4096
"""Slots behind the last one that a digest can belong to, so that a search never begins again at the front."""
_BLOCK = 2**18
"""Slots that are copied at once when the table grows: 6 MB."""
_ENTRY = np.dtype([("head", ">u8"), ("rest", "V8"), ("number", "<u8")])
_LOOKED = 16
"""Slots that are read at once."""


class Seen:
    """The digests of documents, each with the running number of the document that brought it.

    An open-addressing table with linear probing: 2^bits slots of 16 bytes of digest and 8 of number + 1, zero for an
    empty slot. It is read and written in place, so the memory it takes is the system's cache alone, and a full disk is
    an OSError. Entries are only ever added, or given a lower number, so that a search after a power failure finds
    everything that was there at the last `flush`.
    """

    def __init__(self, path: Path) -> None:
        """Open the table at `path`, or begin one; raises Refused for a file that is none."""
        self.path = path
        self._file = -1
        self._lock = threading.Lock()  # one thread reads documents while another waits for the disk
        if not path.exists():
            _made(path, FIRST_BITS)
        self._open()

    def is_new(self, digest: bytes, number: int) -> bool:
        """Whether no document below `number` brought this digest (16 bytes, evenly distributed); remembers it.

        A job that was killed repeats its last documents with their old numbers: an entry whose number is not below is
        this very document, or a later equal one, and counts as not seen. Raises OSError, and ValueError after `close`.
        """
        with self._lock:
            if self._file < 0:
                raise ValueError("the table is closed")
            place = self._slot(digest)
            while True:
                looked = os.pread(self._file, _LOOKED * _ENTRY.itemsize, place * _ENTRY.itemsize)
                for start in range(0, len(looked), _ENTRY.itemsize):
                    there = int.from_bytes(looked[start + DIGEST : start + _ENTRY.itemsize], "little") - 1
                    if there >= 0 and looked[start : start + DIGEST] != digest:
                        continue
                    if 0 <= there < number:
                        return False
                    os.pwrite(self._file, digest + (number + 1).to_bytes(8, "little"), place * _ENTRY.itemsize + start)
                    self._count += there < 0
                    if self._count > FULLEST * (1 << self._bits):
                        self._grow()
                    return True
                place += _LOOKED
                if not looked:  # behind the tail, which takes 4,096 digests that begin alike
                    self._grow()
                    place = self._slot(digest)

    def flush(self) -> None:
        """Wait until all that was seen is on the disk."""
        with self._lock:
            os.fsync(self._file)

    def close(self) -> None:
        """Flush and let go of the file; a thread that still reads for it is told so."""
        with self._lock:
            if self._file >= 0:
                os.fsync(self._file)
                os.close(self._file)
                self._file = -1

    def __len__(self) -> int:
        return self._count

    def _open(self) -> None:
        self._file = os.open(self.path, os.O_RDWR)
        slots = os.fstat(self._file).st_size // _ENTRY.itemsize - TAIL
        self._bits = slots.bit_length() - 1
        if slots < 2 or slots != 1 << self._bits or os.fstat(self._file).st_size % _ENTRY.itemsize:
            os.close(self._file)
            raise Refused(
                f"{self.path.name}, the list of documents that came before, is damaged; discard what is there and "
                "prepare the dataset again."
            )
        self._count = sum(int(np.count_nonzero(block["number"])) for block in self._blocks())

    def _slot(self, digest: bytes) -> int:
        return int.from_bytes(digest[:8], "big") >> (64 - self._bits)

    def _grow(self) -> None:
        """Write the table anew with twice the slots, and put it in the place of the old one.

        Slots are the first bits of a digest, so the entries of one part of the table come to lie in one part of the
        larger one, in order; a part that ends with an empty slot can be moved alone.
        """
        larger = self.path.with_name(f"{self.path.name}.larger")
        _made(larger, self._bits + 1)
        with larger.open("r+b") as file:
            waiting, start = np.zeros(0, _ENTRY), 0
            for block in self._blocks():
                waiting = np.concatenate([waiting, block])
                empty = np.flatnonzero(waiting["number"] == 0)
                end = int(empty[-1]) + 1 if len(empty) else 0
                _move(waiting[:end], start, self._bits + 1, file)
                waiting, start = waiting[end:], start + end
            _move(waiting, start, self._bits + 1, file)
        sync(larger)
        os.close(self._file)
        larger.replace(self.path)
        sync(self.path.parent)
        self._open()

    def _blocks(self) -> Iterator[npt.NDArray[np.void]]:
        """The whole table, some slots at a time."""
        place = 0
        while raw := os.pread(self._file, _BLOCK * _ENTRY.itemsize, place):
            yield np.frombuffer(raw, _ENTRY)
            place += len(raw)


def _made(path: Path, bits: int) -> None:
    """An empty table of 2^bits slots and the tail."""
    with path.open("wb") as file:
        file.truncate(((1 << bits) + TAIL) * _ENTRY.itemsize)


def _move(part: npt.NDArray[np.void], start: int, bits: int, file: BinaryIO) -> None:
    """Write the entries of one part, which began at slot `start`, to a table of twice the slots, in their new order."""
    entries = part[part["number"] != 0]
    if not len(entries):
        return
    slots = (entries["head"].astype(np.uint64) >> np.uint64(64 - bits)).astype(np.int64)
    order = np.argsort(slots, kind="stable")
    count = np.arange(len(entries))
    places = np.maximum.accumulate(slots[order] - count) + count  # its own slot, or the next that is free
    room = np.zeros(min(2 * len(part), (1 << bits) + TAIL - 2 * start), _ENTRY)
    room[places - 2 * start] = entries[order]
    file.seek(2 * start * _ENTRY.itemsize)
    file.write(room.tobytes())
