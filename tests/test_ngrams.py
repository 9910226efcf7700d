"""The index of a training text: every run it finds is there, and none that it promises to find is missed."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from books import make, write_books
from shelves import make_dataset

from engine import ngrams, ngrams_build, tokenizer
from engine.data import Dataset, open_dataset
from engine.data.progress import Stopped
from engine.home import Home
from engine.ngrams import Index, open_index
from engine.ngrams_build import build
from engine.wording import words

STORY = "Alice was beginning to get very tired of sitting by her sister on the bank, and of having nothing to do"
TEXTS = (STORY, "Once or twice she had peeped into the book. “But it had no pictures,” said Élise – 世界!", "the end")


def index_of(home: Home, texts: tuple[str, ...] = TEXTS) -> Index:
    make_dataset(home, "small", texts, separator_id=0)
    assert build(home, open_dataset(home, "small"))
    found = open_index(home, "small")
    assert found is not None
    return found


def longest(index: Index, text: str) -> tuple[int, str, int | None]:
    """Words of the longest run, the run as it stands in the training text, its document."""
    run = index.longest([word.text for word in words(text)])
    if run is None:
        return 0, "", None
    passage = index.passage(run.start, run.end)
    return run.words, passage.run, passage.document


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "She said: VERY tired — of sitting\nby her brother",
            (6, "very tired of sitting by her", 1),
        ),
        ("it had no pictures said Élise", (6, "it had no pictures,” said Élise", 2)),
        ("no pictures said Élise 世界", (5, "no pictures,” said Élise – 世界", 2)),
        (STORY, (21, STORY, 1)),
        ("to do once or twice she", (4, "Once or twice she", 2)),  # not across the end of a document
        ("her sister on mars and of having something", (0, "", None)),
        ("élise said it had", (0, "", None)),
        ("", (0, "", None)),
    ],
)
def test_the_longest_run_by_hand(home: Home, text: str, expected: tuple[int, str, int | None]) -> None:
    assert longest(index_of(home), text) == expected


def test_the_passage_around_a_run(home: Home) -> None:
    index = index_of(home)
    run = index.longest(["had", "peeped", "into", "the", "book"])
    assert run is not None and (run.first, run.words) == (0, 5)
    passage = index.passage(run.start, run.end)
    assert passage.before == "Once or twice she "
    assert passage.run == "had peeped into the book"
    assert passage.after == ". “But it had no pictures,” said Élise – 世界!"
    assert (passage.document, passage.documents) == (2, 3)


def test_a_long_text_is_cut_around_a_run(home: Home) -> None:
    far = " ".join(f"word{number}" for number in range(500))
    index = index_of(home, (f"{far} Alice met the queen {far}",))
    run = index.longest(["so", "alice", "met", "the", "queen", "again"])
    assert run is not None
    passage = index.passage(run.start, run.end)
    assert passage.before.startswith("… word") and passage.before.endswith("word499 ")
    assert passage.after.startswith(" word0") and passage.after.endswith(" …")
    assert 300 < len(passage.before) <= ngrams.AROUND + 3


def test_words_are_counted_as_the_rule_has_them(home: Home) -> None:
    index = index_of(home)
    assert index.counts(["of", "alice", "Élise", "mars", "book"]) == [2, 1, 1, 0, 1]
    assert index.counts([]) == []
    expected = Counter(word.text for text in TEXTS for word in words(text))
    assert index.manifest.words == expected.total() and index.manifest.distinct == len(expected)
    assert index.counts(list(expected)) == list(expected.values())


def slow_longest(texts: list[list[str]], query: list[str]) -> int:
    """The definition, written out: the longest run of words of the query within one document."""
    best = 0
    for text in texts:
        lengths = [0] * (len(text) + 1)
        for word in query:
            lengths = [0, *(lengths[at] + 1 if word == other else 0 for at, other in enumerate(text))]
            best = max(best, *lengths)
    return best


def whole_texts(dataset: Dataset) -> list[list[str]]:
    """The words of every training document, from the shard, by the tokenizer itself."""
    vocabulary = tokenizer.load(dataset.tokenizer_path)
    ends = np.fromfile(dataset.folder / "train.documents", np.uint64).astype(int).tolist()
    parts = [dataset.train[first : end - 1] for first, end in zip([0, *ends[:-1]], ends, strict=True)]
    return [[word.text for word in words(vocabulary.decode(part.tolist()))] for part in parts]


@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize("chunk", [700, 2**20])
def test_found_is_what_a_slow_search_finds(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stride: int, chunk: int
) -> None:
    monkeypatch.setattr(ngrams_build, "CHUNK", chunk)
    monkeypatch.setattr(ngrams_build, "stride_of", lambda words: stride)
    dataset = make(home, write_books(tmp_path / "books"))
    assert build(home, dataset)
    index, texts = Index(dataset), whole_texts(dataset)
    dice = np.random.default_rng(7)
    for _ in range(60):
        text = texts[dice.integers(len(texts))]
        first, length = int(dice.integers(len(text))), int(dice.integers(1, 40))
        query = [*dice.choice(text, 5).tolist(), *text[first : first + length], *dice.choice(text, 5).tolist()]
        run, truth = index.longest(query), slow_longest(texts, query)
        found = run.words if run else 0
        assert found <= truth
        assert found == truth if truth >= index.manifest.shortest else True
        if run:
            passage = index.passage(run.start, run.end)
            stands = [word.text for word in words(passage.run)]
            assert " ".join(query[run.first : run.first + run.words]) in " ".join(stands)


def test_an_interrupted_building_goes_on_and_ends_the_same(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ngrams_build, "CHUNK", 500)
    dataset = make(home, write_books(tmp_path / "books"))
    shares: list[float] = []
    with pytest.raises(Stopped):
        build(home, dataset, shares.append, lambda: len(shares) == 3)
    state = json.loads((dataset.folder / ".index" / "state.json").read_text())
    assert state["tokens"] == 1500 and not ngrams.is_made(dataset)
    with (dataset.folder / ".index" / "words-00").open("ab") as file:
        file.write(b"half an entry of a killed attempt")

    assert build(home, dataset, shares.append)
    assert shares == sorted(shares) and shares[-1] == 1
    made = {path.name: path.read_bytes() for path in ngrams.folder_of(dataset.folder).iterdir()}
    assert not (dataset.folder / ".index").exists()

    ngrams_build.discard(home, "books")
    assert build(home, dataset)
    again = {path.name: path.read_bytes() for path in ngrams.folder_of(dataset.folder).iterdir()}
    assert made == again and len(made) == 5


def test_an_index_of_another_text_is_none(home: Home) -> None:
    index_of(home)
    card = home.dataset("small") / "card.json"
    changed = json.loads(card.read_text())
    changed["files"]["train.bin"]["sha256"] = "0" * 64
    card.write_text(json.dumps(changed))
    assert not ngrams.is_made(open_dataset(home, "small"))
    assert open_index(home, "small") is None
    assert build(home, open_dataset(home, "small"))
    assert open_index(home, "small") is not None


def test_a_damaged_index_is_none_and_made_again(home: Home) -> None:
    index = index_of(home)
    (ngrams.folder_of(index.dataset.folder) / ngrams.PLACES).write_bytes(b"")
    assert not ngrams.is_made(index.dataset)
    assert build(home, index.dataset) and ngrams.is_made(index.dataset)


def test_one_process_at_a_time(home: Home) -> None:
    dataset = open_dataset(home, make_dataset(home, "small", separator_id=0).name)
    code = f"""import sys
from pathlib import Path
from engine.process import hold_lock
lock = hold_lock(Path({str(dataset.folder / ".index.lock")!r}))
print("held", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        assert not build(home, dataset)
        other.communicate("")
    assert build(home, dataset)


def test_a_text_without_words_has_an_index_too(home: Home) -> None:
    index = index_of(home, ("...", "!"))
    assert index.longest(["a", "b", "c", "d"]) is None and index.counts(["a"]) == [0]
