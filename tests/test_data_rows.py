"""Feeding: shuffled training rows and fixed validation rows."""

import numpy as np
import pytest

from engine.config import ConfigError
from engine.data import Rows, validation_rows


def test_an_epoch_covers_every_position_once() -> None:
    context = 16
    rows = Rows(np.arange(1000, dtype=np.uint16), context, seed=3)
    assert rows.per_epoch == 61
    offsets = set()
    for epoch in range(4):
        inputs, targets = rows.batch(epoch * rows.per_epoch, rows.per_epoch)
        assert inputs.shape == targets.shape == (61, context)
        assert inputs.dtype == targets.dtype == np.int64
        np.testing.assert_array_equal(targets, inputs + 1)
        seen = np.sort(inputs.ravel())
        np.testing.assert_array_equal(seen, seen[0] + np.arange(61 * context))
        assert 0 <= seen[0] < context
        assert not np.array_equal(np.sort(inputs[:, 0]), inputs[:, 0])
        offsets.add(int(seen[0]))
    assert len(offsets) > 1


def test_rows_can_be_taken_from_anywhere_in_any_portion() -> None:
    tokens = np.random.default_rng(0).integers(0, 300, 777).astype(np.uint16)
    whole = Rows(tokens, 8, seed=1).batch(0, 400)  # four epochs and a part
    for first, count in [(0, 1), (94, 2), (95, 190), (399, 1), (10, 380)]:
        part = Rows(tokens, 8, seed=1).batch(first, count)
        for got, expected in zip(part, whole, strict=True):
            np.testing.assert_array_equal(got, expected[first : first + count])


def test_the_order_depends_on_the_seed_and_epochs_are_counted() -> None:
    tokens = np.arange(1000, dtype=np.uint16)
    rows = Rows(tokens, 16, seed=1)
    assert not np.array_equal(rows.batch(0, 61)[0], Rows(tokens, 16, seed=2).batch(0, 61)[0])
    assert [rows.epoch_of(row) for row in (0, 60, 61, 122)] == [0, 0, 1, 2]
    Rows(tokens, 16, seed=2**63 - 1).batch(0, 1)


def test_the_shortest_text_that_gives_rows() -> None:
    context = 16
    for epoch in range(20):  # whatever the offset, the row and its targets lie inside
        assert Rows(np.arange(33), context, seed=0).batch(epoch, 1)[1].shape == (1, context)
    with pytest.raises(ConfigError, match="has 32 training tokens, but rows of 16 tokens need at least 33"):
        Rows(np.arange(32), context, seed=0)


def test_validation_rows_are_fixed_apart_and_spread() -> None:
    tokens = np.arange(1001, dtype=np.uint16)
    inputs, targets = validation_rows(tokens, 10, 10**9)
    np.testing.assert_array_equal(inputs.ravel(), np.arange(1000))
    np.testing.assert_array_equal(targets, inputs + 1)
    inputs, _ = validation_rows(tokens, 10, 259)
    assert inputs.shape == (25, 10)
    np.testing.assert_array_equal(inputs[:, 0], np.arange(25) * 40)
    assert validation_rows(tokens, 10, 1)[0].shape == (1, 10)
    with pytest.raises(ConfigError, match="has 10 validation tokens, but one row needs 11"):
        validation_rows(tokens[:10], 10, 100)
