"""The rows of a step in micro-batches: the same ones whatever their number, each with the bounds of its documents."""

import numpy as np
import pytest
import torch
from support import VOCABULARY, tiny_config

from engine.attention import document_bounds
from engine.batches import DOCUMENT, Feed, split
from engine.data import Rows
from engine.device import choose_place

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
