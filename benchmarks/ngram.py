"""How far counting gets: interpolated modified Kneser-Ney models of orders 1 to 5 on a prepared dataset.

    python -m benchmarks.ngram --home HOME [--dataset starter] [--run RUN]

Every token of the validation split but the first is predicted from the tokens before it (separators too), by a model
of the training split. Bits per byte = bits of all of them / bytes of text they stand for, as in a run's evaluation.
The method: Chen and Goodman, "An empirical study of smoothing techniques for language modeling" (1999).
"""

import argparse
import sys
import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine import store, tokenizer
from engine.config import DEFAULT_PRESET, ConfigError, load_preset
from engine.data import Dataset, ensure_dataset, open_dataset
from engine.home import Home

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
HIGHEST = 5


@dataclass(frozen=True)
class Level:
    """The n-grams of one length: sorted keys (context id x vocabulary + token), where an n-gram's id is its place.

    `discounted[id]` is the count less its discount over the context's total; `left[context id]` the share of
    probability that a context leaves to the shorter one (1 where the context was never seen).
    """

    keys: Ints
    discounted: Floats
    left: Floats


class KneserNey:
    """Interpolated modified Kneser-Ney of one order; lower levels count in how many contexts a token was seen."""

    def __init__(self, grams: "Grams", order: int) -> None:
        """`grams` must hold the n-grams of the training tokens up to `order`."""
        self.vocabulary, self.order = grams.vocabulary, order
        self.levels = [grams.level(length, highest=length == order) for length in range(1, order + 1)]

    def probabilities(self, tokens: Ints) -> Floats:
        """P(token | all tokens before it) for each position of a 1-D stream, float64, never zero."""
        result = np.full(len(tokens), 1 / self.vocabulary)
        context = np.zeros(len(tokens), np.int64)  # the empty context, known everywhere
        for level in self.levels:
            seen = context >= 0
            place, found = _find(level.keys, context * self.vocabulary + tokens, seen)
            own = np.where(found, level.discounted[place], 0.0)
            result = np.where(seen, own + level.left[np.where(seen, context, 0)] * result, result)
            gram = np.where(found, place, -1)  # ids of the n-grams that end here are the contexts of the next token
            context = np.concatenate([[-1], gram[:-1]])
        return result


class Grams:
    """All n-grams of a token stream up to a length, as ids per position."""

    def __init__(self, tokens: Ints, vocabulary: int, longest: int = HIGHEST) -> None:
        """`tokens` is 1-D with values below `vocabulary`."""
        self.vocabulary = vocabulary
        self.keys: list[Ints] = []
        self.raw: list[Ints] = []
        self.suffix: list[Ints] = []  # id of the n-gram without its first token
        context, shorter = np.zeros(len(tokens), np.int64), np.zeros(len(tokens), np.int64)
        for length in range(1, longest + 1):
            present = tokens[length - 1 :]
            keys, first, ids, counts = np.unique(
                context * vocabulary + present, return_index=True, return_inverse=True, return_counts=True
            )
            self.keys.append(keys)
            self.raw.append(counts.astype(np.int64))
            self.suffix.append(shorter[first])
            context, shorter = ids[:-1], ids[1:]

    def level(self, length: int, *, highest: bool) -> Level:
        """Probabilities of the n-grams of one length, from raw counts (highest) or from numbers of left neighbours."""
        keys = self.keys[length - 1]
        counts = self.raw[length - 1] if highest else np.bincount(self.suffix[length], minlength=len(keys))
        contexts = keys // self.vocabulary
        number = len(self.keys[length - 2]) if length > 1 else 1
        discounts = _discounts(counts)
        capped = np.minimum(counts, 3)
        totals = np.bincount(contexts, counts, minlength=number)
        saved = np.bincount(contexts, discounts[capped], minlength=number)
        known = totals > 0
        left = np.divide(saved, totals, out=np.ones(number), where=known)
        safe = np.where(known, totals, 1.0)
        return Level(keys, (counts - discounts[capped]) / safe[contexts], left)


def bits_per_byte(dataset: Dataset, highest: int = HIGHEST) -> list[float]:
    """Validation bits per byte of the models of orders 1 to `highest`."""
    lengths = tokenizer.byte_lengths(tokenizer.load(dataset.tokenizer_path))
    training, validation = (np.asarray(part).astype(np.int64) for part in (dataset.train, dataset.val))
    grams = Grams(training, dataset.vocab_size, highest)
    text = int(lengths[validation[1:]].sum())
    return [
        float(-np.log2(KneserNey(grams, order).probabilities(validation)[1:]).sum() / text)
        for order in range(1, highest + 1)
    ]


def _discounts(counts: Ints) -> Floats:
    """What is taken from counts of 0, 1, 2, and 3 or more: Chen and Goodman's estimates, kept within the count."""
    n1, n2, n3, n4 = (int((counts == count).sum()) for count in (1, 2, 3, 4))
    if not (n1 and n2 and n3):
        return np.array([0.0, 0.5, 0.75, 0.75])  # too few n-grams to estimate from; an assumption
    y = n1 / (n1 + 2 * n2)
    estimates = [0.0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]
    return np.clip(estimates, 0.0, [0.0, 1.0, 2.0, 3.0])


def _find(keys: Ints, wanted: Ints, valid: npt.NDArray[np.bool_]) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Places of `wanted` in sorted `keys`, and whether each is really there."""
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return place, valid & (keys[place] == wanted)


def main(argv: list[str] | None = None) -> int:
    """Print one line for each order, and one for a run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ngram", description=__doc__.partition("\n")[0])
    parser.add_argument("--home", help="folder with datasets/ and runs.db")
    parser.add_argument("--dataset", default="starter", help="name of a prepared dataset (default: starter)")
    parser.add_argument("--run", help="also print the last validation figure of this run: id or name")
    chosen = parser.parse_args(argv)
    try:
        home = Home.at(chosen.home)
        if chosen.dataset == "starter":
            dataset = ensure_dataset(home, load_preset(DEFAULT_PRESET), lambda _: None, lambda: False)
        else:
            dataset = open_dataset(home, chosen.dataset)
        started = time.perf_counter()
        figures = bits_per_byte(dataset)
        print(
            f"{dataset.name}: {len(dataset.train):,} training tokens, {len(dataset.val):,} validation tokens, "
            f"vocabulary {dataset.vocab_size:,}; {time.perf_counter() - started:.1f} s"
        )
        for order, figure in enumerate(figures, start=1):
            print(f"Kneser-Ney {order}-gram  {figure:.4f} bits per byte")
        if chosen.run:
            print(_run_line(home, chosen.run))
    except (ConfigError, store.Refused, store.StoreError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _run_line(home: Home, text: str) -> str:
    db = store.connect(home.database)
    try:
        run = store.find_run(db, text)
        evaluation = store.last_eval(db, run["id"])
    finally:
        db.close()
    if evaluation is None or evaluation["val_bits_per_byte"] is None:
        raise store.Refused(f"The run {run['name']} has no validation figure in bits per byte yet.")
    return f"{run['name']}, step {evaluation['step']:,}  {evaluation['val_bits_per_byte']:.4f} bits per byte"


if __name__ == "__main__":
    sys.exit(main())
