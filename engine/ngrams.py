"""Whether words stand in a training text: the longest run of an answer that does, and the passage around it.

The index of a dataset lies in datasets/NAME/index, made by engine/ngrams_build.py. It knows where phrases of four words
stand; what is found is compared with the shard itself, word by word, so a found run is really there. Missed are runs
shorter than `Manifest.shortest` words, and of a phrase that stands at more than MOST places those beyond, unless
another phrase of the run leads there. Words are those of engine/wording.py: capitals and signs make no difference.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.data.shards import Dataset, Tokens, check_length, check_name, documents_file, open_dataset, shard_file
from engine.home import Home
from engine.ngrams_region import MOST_IN_A_TOKEN, Region
from engine.ngrams_tokens import BORDER, WINDOW, Spelling, grams
from engine.wording import hashes_of, words

VERSION = 1
MANIFEST, PLACES, STARTS, WORDS, COUNTS = "index.json", "phrases.places", "phrases.starts", "words.bin", "words.counts"
MOST = 200
"""Places of one phrase that are looked at."""
PATIENCE = 400
"""Places that are looked at for one answer, those of the rarest phrases first."""
BLOCK = 16
"""Tokens that are read first on each side of a place; then four times as many, and so on."""
GLANCE = 12
"""Tokens that tell most wrong places from right ones."""
AROUND = 400
"""Characters of the training text that are shown on each side of a run."""


@dataclass(frozen=True)
class Manifest:
    """What an index says of itself."""

    version: int
    sha256: str
    """Of the shard that it was made from; the index is of no use for another one."""
    tokens: int
    words: int
    distinct: int
    """Different words."""
    window: int
    stride: int
    """Every which phrase is entered."""
    bits: int
    """Phrases are found by so many first bits of their number."""
    places: str
    """The numbers that places are written in."""
    files: dict[str, int]

    @property
    def shortest(self) -> int:
        """Runs of so many words are found."""
        return self.window + self.stride - 1


@dataclass(frozen=True)
class Run:
    """A run of an answer's words that stands in the training text."""

    first: int
    """Its first word in the answer."""
    words: int
    start: int
    """The token of the training text in which it begins."""
    end: int
    """The token after it."""


@dataclass(frozen=True)
class Passage:
    """A run in the training text, with what stands around it."""

    before: str
    run: str
    after: str
    document: int | None
    """Counted from 1; None where the dataset does not note where documents end."""
    documents: int


def folder_of(dataset: Path) -> Path:
    """Where the index of a dataset lies."""
    return dataset / "index"


def fingerprint(dataset: Dataset) -> str:
    """What tells the training text from any other: its sha256, or, on a card without it, its length."""
    entry = dataset.card["files"][shard_file("train")]
    return str(entry.get("sha256") or f"{entry['bytes']} bytes")


def read_manifest(folder: Path) -> Manifest | None:
    """What the index in a folder says of itself; None where there is none that this version reads."""
    try:
        found = Manifest(**json.loads((folder / MANIFEST).read_text(encoding="utf-8")))
        sizes = all((folder / name).stat().st_size == size for name, size in found.files.items())
        return found if found.version == VERSION and sizes else None
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def is_made(dataset: Dataset) -> bool:
    """Whether the dataset has an index, of this very text."""
    found = read_manifest(folder_of(dataset.folder))
    return found is not None and found.sha256 == fingerprint(dataset)


def open_index(home: Home, name: str) -> "Index | None":
    """The index of a dataset, kept open; None where there is none yet. Raises Refused for a damaged dataset,
    ConfigError for what no dataset can be called.
    """
    folder = home.dataset(check_name(name))
    try:
        changed = folder_of(folder).joinpath(MANIFEST).stat().st_mtime_ns
        card = (folder / "card.json").stat().st_mtime_ns
    except OSError:
        return None
    return _opened(home, name, changed, card)


@lru_cache(maxsize=4)
def _opened(home: Home, name: str, changed: int, card: int) -> "Index | None":
    dataset = open_dataset(home, name)
    return Index(dataset) if is_made(dataset) else None


class Index:
    """A dataset's training text, searched for words and runs of words."""

    def __init__(self, dataset: Dataset) -> None:
        folder = folder_of(dataset.folder)
        manifest = read_manifest(folder)
        assert manifest is not None, "is_made says so"
        self.dataset, self.manifest, self.spelling = dataset, manifest, Spelling(dataset)
        self._train: Tokens = np.asarray(dataset.train)
        self._places: npt.NDArray[np.unsignedinteger[Any]] = _map(folder / PLACES, manifest.places)
        self._starts: npt.NDArray[np.unsignedinteger[Any]] = _map(folder / STARTS, manifest.places)
        self._words: npt.NDArray[np.uint64] = _map(folder / WORDS, "<u8")
        self._counts: npt.NDArray[np.uint32] = _map(folder / COUNTS, "<u4")

    def counts(self, texts: Sequence[str]) -> list[int]:
        """How often each word stands in the training text."""
        wanted = hashes_of(texts)
        if not len(self._words) or not len(wanted):
            return [0] * len(texts)
        place = np.minimum(np.searchsorted(self._words, wanted), len(self._words) - 1)
        counts: list[int] = np.where(self._words[place] == wanted, self._counts[place], 0).tolist()
        return counts

    def longest(self, texts: Sequence[str]) -> Run | None:
        """The longest run of words that stands in the training text, of equally long ones any; None where none does."""
        return self.search(texts)[0]

    def search(self, texts: Sequence[str]) -> tuple[Run | None, int]:
        """The same, and how many of the words lie in a run that stands there, this one or another."""
        check_length(self.dataset.train)
        best: Run | None = None
        seen: list[Run] = []
        for query, place in self._candidates(texts):
            if any(run.first <= query < run.first + run.words and run.start <= place < run.end for run in seen):
                continue
            run = self._run(texts, query, place)
            if run is None:
                continue
            seen.append(run)
            if best is None or run.words > best.words:
                best = run
            if best.words == len(texts):
                break
        return best, len({word for run in seen for word in range(run.first, run.first + run.words)})

    def passage(self, start: int, end: int) -> Passage:
        """The tokens from `start` to `end` with the words around them in their document."""
        train, number, first, last = self._train, None, 0, len(self._train)
        ends = self._ends()
        if ends.size:
            at = int(np.searchsorted(ends, start, side="right"))
            number, first = at + 1, int(ends[at - 1]) if at else 0
            last = int(ends[at]) if at < ends.size else last
        lead, tail = train[max(first, start - 2 * AROUND) : start], train[end : min(last, end + 2 * AROUND)]
        before = self.spelling.text(lead).rpartition(BORDER)[2].decode("utf-8", "replace")
        after = self.spelling.text(tail).partition(BORDER)[0].decode("utf-8", "replace")
        run = self.spelling.text(train[start:end]).decode("utf-8", "replace")
        cut_before, cut_after = before[-AROUND:].lstrip("\ufffd"), after[:AROUND].rstrip("\ufffd")
        if len(before) > AROUND or start - 2 * AROUND > first:
            cut_before = f"… {cut_before.partition(' ')[2]}"
        if len(after) > AROUND or end + 2 * AROUND < last - 1:
            cut_after = f"{cut_after.rpartition(' ')[0]} …"
        blank = len(run) - len(run.lstrip())
        return Passage(cut_before + run[:blank], run[blank:], cut_after, number, int(ends.size))

    def _candidates(self, texts: Sequence[str]) -> Iterator[tuple[int, int]]:
        """Words of the answer with places where a phrase that begins there may stand; the rarest phrases first."""
        buckets = (grams(hashes_of(texts)) >> np.uint64(64 - self.manifest.bits)).astype(np.int64)
        if not len(buckets) or not len(self._places):
            return
        begins, ends = self._starts[buckets].astype(np.int64), self._starts[buckets + 1].astype(np.int64)
        looked = 0
        for query in np.argsort(ends - begins, kind="stable").tolist():
            found = self._places[begins[query] : min(int(ends[query]), int(begins[query]) + MOST)]
            looked += len(found)
            for place in found.tolist():
                yield query, place
            if looked > PATIENCE:
                return

    def _run(self, texts: Sequence[str], query: int, place: int) -> Run | None:
        """The run around the phrase that begins at a word and at a token; None where other words stand there."""
        if not self._begins(texts, query, place):
            return None
        length, train = BLOCK, self._train
        while True:
            region = Region.read(self.spelling, train, place, length)
            at = region.place_of(texts[query])
            if at is None:
                return None
            found = region.words
            ahead = _same(texts[query:], [word.text for word in found[at:]])
            back = _same(texts[:query][::-1], [word.text for word in found[:at][::-1]])
            more_ahead = at + ahead == len(found) and not region.ends and query + ahead < len(texts)
            more_back = back == at and not region.begins and back < query
            if not (more_ahead or more_back):
                break
            length *= 4
        if ahead + back < WINDOW:
            return None
        start, end = region.tokens(found[at - back].start, found[at + ahead - 1].end, self.spelling, train)
        return Run(query - back, back + ahead, start, end)

    def _begins(self, texts: Sequence[str], query: int, place: int) -> bool:
        """Whether the phrase may begin at a token: a quick look at the words of the next few."""
        raw = self.spelling.text(self._train[place : place + GLANCE])
        found = [word.text for word in words(raw.decode("utf-8", "surrogateescape"))][:-1]
        wanted = list(texts[query : query + WINDOW])
        return any(found[skip : skip + WINDOW] == wanted[: len(found) - skip] for skip in range(MOST_IN_A_TOKEN))

    def _ends(self) -> npt.NDArray[np.unsignedinteger[Any]]:
        """Where the documents of the training text end, in tokens; empty where that is not noted."""
        try:
            return np.memmap(self.dataset.folder / documents_file("train"), np.uint64, mode="r")
        except (OSError, ValueError):  # not there, or empty
            return np.zeros(0, np.uint64)


def _same(one: Sequence[str], other: Sequence[str]) -> int:
    """With how many equal words two sequences begin."""
    for number, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return number
    return min(len(one), len(other))


def _map(path: Path, kind: str) -> npt.NDArray[Any]:
    if path.stat().st_size == 0:  # an empty file cannot be mapped
        return np.zeros(0, np.dtype(kind))
    return np.asarray(np.memmap(path, np.dtype(kind), mode="r"))  # plain: a memmap's slices are slow
