"""The Kneser-Ney baseline against its definition, written out slowly."""

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

from benchmarks.ngram import Grams, KneserNey, _discounts, bits_per_byte
from engine.data import Recipe, Source, open_dataset, prepare
from engine.home import Home

VOCABULARY = 7
STREAM = np.random.default_rng(5).choice(VOCABULARY - 1, 400, p=[0.4, 0.2, 0.2, 0.1, 0.05, 0.05]).astype(np.int64)


class Slow:
    """Interpolated modified Kneser-Ney with dictionaries, one probability at a time."""

    def __init__(self, stream: list[int], order: int) -> None:
        self.levels = []
        for length in range(1, order + 1):
            if length == order:
                counts = Counter(tuple(stream[i : i + length]) for i in range(len(stream) - length + 1))
            else:
                longer = {tuple(stream[i : i + length + 1]) for i in range(len(stream) - length)}
                counts = Counter(gram[1:] for gram in longer)
            # An n-gram seen only at the very start has no left neighbour: count 0.
            discounts = _discounts(np.array(list(counts.values())))
            followers: dict[tuple[int, ...], list[int]] = defaultdict(list)
            for gram, count in counts.items():
                followers[gram[:-1]].append(count)
            self.levels.append((counts, discounts, followers))

    def probability(self, history: list[int], token: int) -> float:
        result = 1 / VOCABULARY
        for length, (counts, discounts, followers) in enumerate(self.levels, start=1):
            context = tuple(history[len(history) - length + 1 :])
            if len(context) < length - 1 or context not in followers:
                break
            total = sum(followers[context])
            count = counts[(*context, token)]
            left = sum(discounts[min(other, 3)] for other in followers[context]) / total
            result = max(count - discounts[min(count, 3)], 0) / total + left * result
        return float(result)


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_probabilities_are_those_of_the_definition(order: int) -> None:
    fast, slow = KneserNey(Grams(STREAM, VOCABULARY, order), order), Slow(STREAM.tolist(), order)
    unseen = np.random.default_rng(6).integers(0, VOCABULARY, 60)
    expected = [slow.probability(unseen[:i].tolist(), int(token)) for i, token in enumerate(unseen)]
    np.testing.assert_allclose(fast.probabilities(unseen), expected, rtol=1e-12)


@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize("history", [[], [0], [0, 1, 2, 0], [6, 6], [0, 0, 0, 0, 0, 0]])
def test_probabilities_sum_to_one_after_any_history(order: int, history: list[int]) -> None:
    model = KneserNey(Grams(STREAM, VOCABULARY, order), order)
    last = [model.probabilities(np.array([*history, token]))[-1] for token in range(VOCABULARY)]
    assert sum(last) == pytest.approx(1, abs=1e-12)
    assert min(last) > 0


def test_a_predictable_text_costs_little_and_longer_contexts_help() -> None:
    stream = np.tile([0, 1, 0, 2, 0, 3], 500).astype(np.int64)
    bits = [-np.log2(KneserNey(Grams(stream, 4), order).probabilities(stream)).mean() for order in (1, 2, 3)]
    assert bits[0] > bits[1] > bits[2]
    assert bits[2] < 0.05


def test_a_dataset_gives_one_figure_for_each_order(tmp_path: Path) -> None:
    (tmp_path / "source.txt").write_text("\f".join(f"Chapter {n}. The cat sat on mat {n * n}." for n in range(40)))
    home = Home.at(tmp_path)
    recipe = Recipe((Source(str(tmp_path / "source.txt")),), "bpe:270")
    prepare(home, "cats", recipe, report=lambda _: None, stopped=lambda: False)
    figures = bits_per_byte(open_dataset(home, "cats"), 3)
    assert len(figures) == 3
    assert 8 > figures[0] > figures[1] > figures[2] > 0
