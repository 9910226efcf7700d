"""Feeding: shuffled training rows and fixed validation rows."""

from pathlib import Path

import numpy as np
import pytest

from engine.config import ConfigError
from engine.data import Epochs, Rows, validation_rows
from engine.store import Refused


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


@pytest.mark.parametrize("bad", [300, 301, 65_535])
def test_a_token_beyond_the_vocabulary_is_named_before_a_model_sees_it(tmp_path: Path, bad: int) -> None:
    tokens = shard(tmp_path, np.random.default_rng(0).integers(0, 300, 1000))
    tokens[517] = bad

    rows = Rows(tokens, 8, 1, vocab_size=300)
    sentence = rf"datasets/tiny/train\.bin is damaged: its token 517 is {bad:,}, but the vocabulary has 300 pieces"
    with pytest.raises(Refused, match=sentence):
        rows.batch(0, 2 * rows.per_epoch)
    with pytest.raises(Refused, match=sentence):
        validation_rows(tokens, 8, 1000, vocab_size=300)
    Rows(tokens, 8, 1, vocab_size=bad + 1).batch(0, 2 * rows.per_epoch)


def test_a_token_beyond_the_vocabulary_is_found_as_the_last_target_too() -> None:
    """Of all rows but the last, the last target is the next row's first input."""
    tokens = np.zeros(33, np.uint32)
    tokens[1:] = 9
    tokens[16] = 10  # the middle of the only row that begins at 0, or the target of the one that ends before it

    for seed in range(20):
        rows = Rows(tokens, 16, seed, vocab_size=10)
        with pytest.raises(Refused, match="The text is damaged: its token 16 is 10"):
            rows.batch(0, 1)


def test_a_file_that_is_cut_while_it_is_read_is_a_sentence(tmp_path: Path) -> None:
    """A mapped file that is too short ends a process with SIGBUS where it is read."""
    rows = Rows(shard(tmp_path, np.arange(100_000) % 300), 16, 1)
    rows.batch(0, 4)

    with (tmp_path / "datasets" / "tiny" / "train.bin").open("r+b") as file:
        file.truncate(1000)

    with pytest.raises(Refused, match=r"datasets/tiny/train\.bin was cut short .* has 1,000 bytes instead of 200,000"):
        rows.batch(4, 4)


def test_a_file_that_is_deleted_while_it_is_read_stays_readable(tmp_path: Path) -> None:
    rows = Rows(shard(tmp_path, np.arange(1000) % 300), 16, 1)
    before = rows.batch(3, 4)

    (tmp_path / "datasets" / "tiny" / "train.bin").unlink()

    np.testing.assert_array_equal(rows.batch(3, 4), before)


def test_each_new_epoch_is_told_once_and_many_ever_more_rarely() -> None:
    rows = Rows(np.arange(101, dtype=np.uint16), 10, seed=1)  # 9 rows an epoch
    told: list[tuple[str, str, int]] = []
    epochs = Epochs(rows, 2, lambda *words: told.append(words))

    for step in range(1, 9 * 120 // 2):
        epochs.look(step)

    assert [step for _, _, step in told[:3]] == [5, 10, 14]  # rows 9, 18 and 27 are the first of their epochs
    assert told[0][:2] == ("epoch", "The whole text (90 tokens) was read once; from here on it comes again.")
    assert [sentence.split("read ")[1].split(";")[0] for _, sentence, _ in told[1:]] == [
        f"{times} times" for times in (*range(2, 10), *range(10, 101, 10))
    ]


def test_what_an_earlier_attempt_told_of_epochs_is_not_told_again() -> None:
    rows = Rows(np.arange(101, dtype=np.uint16), 10, seed=1)
    told: list[int] = []
    epochs = Epochs(rows, 2, lambda _kind, _sentence, step: told.append(step), told=5)

    for step in range(3, 12):
        epochs.look(step)

    assert told == [10]


def test_a_step_of_several_epochs_is_told_once() -> None:
    rows = Rows(np.arange(101, dtype=np.uint16), 10, seed=1)
    told: list[str] = []
    Epochs(rows, 40, lambda _kind, sentence, _step: told.append(sentence)).look(1)

    assert told == ["The whole text (90 tokens) was read 4 times; from here on it comes again."]


def shard(folder: Path, tokens: np.ndarray) -> np.memmap:
    """Tokens as they lie in a home, mapped."""
    path = folder / "datasets" / "tiny" / "train.bin"
    path.parent.mkdir(parents=True)
    tokens.astype(np.uint16).tofile(path)
    return np.memmap(path, np.uint16, mode="r+")
