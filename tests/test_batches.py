"""The rows of a step in micro-batches: the same ones whatever their number, each with the bounds of its documents."""

import threading
from itertools import pairwise

import numpy as np
import pytest
import torch
from support import VOCABULARY, tiny_config

from engine.attention import document_bounds
from engine.batches import DOCUMENT, Ahead, Batch, Feed, split
from engine.config import ConfigError
from engine.data import Rows
from engine.device import choose_place
from engine.store import Refused

ROWS, LENGTH = 8, 64
PLACE = choose_place(tiny_config().train)


@pytest.fixture
def rows() -> Rows:
    return Rows(np.random.default_rng(1).integers(1, VOCABULARY, 64 * LENGTH).astype(np.uint16), LENGTH, 1)


@pytest.mark.parametrize("micro_batch", [1, 2, 8])
def test_a_step_is_the_same_rows_in_whatever_micro_batches(rows: Rows, micro_batch: int) -> None:
    for step in (0, 3):
        inputs, targets = rows.batch(step * ROWS, ROWS)

        parts = list(Feed(rows, PLACE, ROWS, micro_batch).step(step))

        assert [len(part.inputs) for part in parts] == [micro_batch] * (ROWS // micro_batch)
        assert np.array_equal(torch.cat([part.inputs for part in parts]).numpy(), inputs)
        assert np.array_equal(torch.cat([part.targets for part in parts]).numpy(), targets)
        assert all(part.bounds is None for part in parts)


def test_each_micro_batch_has_the_bounds_of_its_own_rows(rows: Rows) -> None:
    end = int(rows.batch(0, ROWS)[0][2, 7])

    for part in Feed(rows, PLACE, ROWS, 2, end).step(0):
        again = document_bounds(part.inputs.numpy(), end)
        assert part.bounds is not None and part.bounds[: len(again)].tolist() == again.tolist()
        assert len(part.bounds) == part.inputs.numel() // DOCUMENT + 1 and part.bounds[-1] == part.inputs.numel()


def test_more_documents_than_there_is_room_for_make_the_bounds_grow(rows: Rows) -> None:
    inputs, targets = rows.batch(0, ROWS)
    inputs[:2] = 0

    few, many = (part.bounds for part in (next(split((inputs[3:], targets[3:]), 2, PLACE, 0)),
                                          next(split((inputs, targets), 2, PLACE, 0))))  # fmt: skip

    assert few is not None and len(few) == 2 * LENGTH // DOCUMENT + 1
    assert many is not None and many.tolist() == list(range(2 * LENGTH + 1))


def test_the_last_rows_may_be_fewer(rows: Rows) -> None:
    parts = list(split(rows.batch(0, 7), 3, PLACE))

    assert [len(part.inputs) for part in parts] == [3, 3, 1]


@pytest.mark.parametrize("world", [2, 4, 8])
def test_several_ranks_read_parts_of_each_step_that_make_it_whole(rows: Rows, world: int) -> None:
    """Of the rows of a step each is read by one rank, and in the order of ranks they are what one would read alone."""
    for step in (0, 7, 8):  # the text has 62 rows, so that step 7 crosses into its second epoch
        alone = [part.inputs for part in Feed(rows, PLACE, ROWS, 1).step(step)]

        shared = [
            part.inputs
            for rank in range(world)
            for part in Feed(rows, PLACE, ROWS, 1, rank=rank, world=world).step(step)
        ]

        assert torch.equal(torch.cat(shared), torch.cat(alone))


def test_rows_that_cannot_be_shared_evenly_are_refused(rows: Rows) -> None:
    with pytest.raises(ConfigError, match=r"8 rows in a step, which 3 devices cannot share .* multiple of 192 tokens"):
        Feed(rows, PLACE, ROWS, 1, rank=0, world=3)


class Reading:
    """Reads steps as a feed does, and tells which and where; holds still while it is told to."""

    def __init__(self, fails_at: int = -1) -> None:
        self.fails_at, self.steps, self.threads = fails_at, list[int](), set[str]()
        self.may, self.done = threading.Event(), threading.Semaphore(0)
        self.may.set()

    def __call__(self, step: int) -> list[Batch]:
        self.may.wait(10)
        self.steps.append(step)
        self.threads.add(threading.current_thread().name)
        self.done.release()
        if step == self.fails_at:
            raise Refused(f"step {step} cannot be read")
        return [Batch(torch.tensor([step]), torch.tensor([step]))]


def test_the_next_step_is_read_while_nobody_asks() -> None:
    reading = Reading()
    ahead = Ahead(reading, PLACE)

    assert int(ahead.take(5)[0].inputs) == 5
    for _ in range(2):
        assert reading.done.acquire(timeout=10)
    reading.may.clear()  # what comes now has to be there already
    assert int(ahead.take(6)[0].inputs) == 6
    reading.may.set()
    ahead.close()

    assert reading.steps[:2] == [5, 6] and threading.current_thread().name not in reading.threads


def test_another_step_than_the_next_is_read_when_it_is_asked_for() -> None:
    ahead = Ahead(Reading(), PLACE)

    assert [int(ahead.take(step)[0].inputs) for step in (0, 1, 7, 7, 3, 4)] == [0, 1, 7, 7, 3, 4]
    ahead.close()


def test_what_a_thread_cannot_read_is_raised_where_it_is_asked_for() -> None:
    ahead = Ahead(Reading(fails_at=2), PLACE)

    assert [int(ahead.take(step)[0].inputs) for step in (0, 1)] == [0, 1]
    with pytest.raises(Refused, match="step 2 cannot be read"):
        ahead.take(2)
    ahead.close()


def test_a_thread_reads_what_the_loop_would(rows: Rows) -> None:
    feed = Feed(rows, PLACE, ROWS, 2, end=3)
    ahead = Ahead(feed._read, PLACE)

    for step in range(12):
        for mine, its in zip(ahead.take(step), feed.step(step), strict=True):
            assert torch.equal(mine.inputs, its.inputs) and torch.equal(mine.targets, its.targets)
            assert mine.bounds is not None and its.bounds is not None and torch.equal(mine.bounds, its.bounds)
    ahead.close()
    feed.close()

    assert not [thread for thread in threading.enumerate() if thread.name.startswith("feed")]


def test_on_a_cpu_no_thread_reads(rows: Rows) -> None:
    """Two cores have better things to do, and reading is a ten-thousandth of a step there."""
    list(Feed(rows, PLACE, ROWS, 2).step(0))

    assert not [thread for thread in threading.enumerate() if thread.name.startswith("feed")]


def test_documents_are_the_ones_of_the_text_and_rows_begin_one(rows: Rows) -> None:
    """Each stretch between two bounds lies in one row and has its end only as its last token."""
    end = 3
    for part in Feed(rows, PLACE, ROWS, 4, end).step(1):
        assert part.bounds is not None
        flat, bounds = part.inputs.flatten(), part.bounds.unique().tolist()
        pieces = [flat[first:last] for first, last in pairwise(bounds)]
        assert sum(map(len, pieces)) == flat.numel()
        assert all(not (piece[:-1] == end).any() for piece in pieces)
        rows_begin = set(range(0, flat.numel(), LENGTH))
        assert rows_begin < set(bounds)
        assert {first for first in bounds[1:-1] if flat[first - 1] != end} <= rows_begin
