"""Preparing at awkward moments: what was stopped goes on, what is equal stays together, and a card adds up."""

import importlib
import json
import random
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from books import never, silent

from engine import tokenizer
from engine.__main__ import parser
from engine.commands_home import recipe_of
from engine.config import ConfigError
from engine.data import Dataset, Progress, Recipe, Source, Stopped, chunks, files, open_dataset, prepare, room
from engine.data.card import command
from engine.data.recipe import Filters
from engine.data.sources import open_source
from engine.home import Home
from engine.space import RESERVE
from engine.store import Refused

WORDS = ["the", "a", "cat", "dog", "sat", "ran", "on", "under", "mat", "tree"]

preparing = importlib.import_module("engine.data.prepare")
"""The module: engine.data has a function of that name."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 20_000)
    return Home.at(tmp_path / "home")


def write_lines(path: Path, documents: int = 400, seed: int = 0, more: str = "") -> Path:
    """A jsonl file of unlike documents of some 200 bytes; `more` stands beside each text."""
    dice = random.Random(seed)
    texts = (" ".join(dice.choices(WORDS, k=50)) for _ in range(documents))
    path.write_text("".join(json.dumps({"text": text, "more": more}) + "\n" for text in texts), encoding="utf-8")
    return path


def after(chunk: int) -> Callable[[], bool]:
    """Whether to stop: as soon as so many chunks count."""
    commits = 0
    commit = preparing.Making.commit

    def counted(making: object) -> None:
        nonlocal commits
        commit(making)
        commits += 1

    preparing.Making.commit = counted
    return lambda: commits >= chunk


@pytest.fixture(autouse=True)
def commit_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing.Making, "commit", preparing.Making.commit)


def stop(home: Home, name: str, recipe: Recipe, chunk: int = 2) -> None:
    with pytest.raises(Stopped):
        prepare(home, name, recipe, report=silent, stopped=after(chunk))


def make(home: Home, name: str, recipe: Recipe) -> Dataset:
    prepare(home, name, recipe, report=silent, stopped=never)
    return open_dataset(home, name)


def texts(dataset: Dataset, split: str) -> set[bytes]:
    ends = np.fromfile(dataset.folder / f"{split}.documents", np.uint64).astype(int)
    return {part.tobytes() for part in np.split(getattr(dataset, split), ends[:-1])}


def test_equal_documents_that_are_kept_lie_on_one_side_however_far_apart(home: Home, tmp_path: Path) -> None:
    source = write_lines(tmp_path / "once.jsonl")
    lines = source.read_text().splitlines(keepends=True)
    source.write_text("".join(lines * 3))
    recipe = Recipe((Source(str(source)),), deduplicate=False)
    made = make(home, "thrice", recipe)
    assert made.card["documents"] == 3 * 400
    assert made.card["val_documents"] % 3 == 0 < made.card["val_documents"]
    assert not texts(made, "train") & texts(made, "val")
    assert "those with the smallest sha256" in made.card["split"]

    stop(home, "again", recipe)
    again = make(home, "again", recipe)
    assert again.card["files"] == made.card["files"]


def test_a_tokenizer_that_is_gone_is_not_missed(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    tokenizer.smollm2().save(str(path))
    recipe = Recipe((Source(str(write_lines(tmp_path / "a.jsonl"))),), tokenizer=str(path))
    whole = make(home, "whole", recipe)
    stop(home, "some", recipe)
    path.unlink()
    assert make(home, "some", recipe).card["files"] == whole.card["files"]


def test_a_state_that_cannot_be_read_now_is_not_thrown_away(home: Home, tmp_path: Path) -> None:
    recipe = Recipe((Source(str(write_lines(tmp_path / "a.jsonl"))),))
    stop(home, "some", recipe)
    state = home.job_state("some").rename(home.making("some") / "aside")
    home.job_state("some").mkdir()
    with pytest.raises(Refused, match="datasets/some cannot be written: Is a directory"):
        make(home, "some", recipe)
    assert state.is_file()


def test_what_is_written_already_needs_no_more_room(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Source(str(write_lines(tmp_path / "a.jsonl")))
    recipe = Recipe((source,), tokens=15_000)
    stop(home, "some", recipe)
    written = (home.making("some") / "train.bin").stat().st_size
    monkeypatch.setattr(room, "free_disk", lambda path: RESERVE + 2 * recipe.tokens - written)
    assert make(home, "some", recipe).card["train_tokens"] >= recipe.tokens


def test_a_budget_larger_than_the_text_needs_no_more_room_than_the_text(home: Home, tmp_path: Path) -> None:
    recipe = Recipe((Source(str(write_lines(tmp_path / "a.jsonl"))),), tokens=10**12)
    home.dataset("x").mkdir(parents=True)
    room.check_space(home, "x", recipe, [open_source(recipe.sources[0])])
    with pytest.raises(Refused, match="GB are free"):
        room.check_space(home, "x", recipe, [])  # a hub is not asked before the job


def test_a_card_adds_up_where_a_budget_ends_a_mixture(home: Home, tmp_path: Path) -> None:
    sources = [Source(str(write_lines(tmp_path / f"{part}.jsonl", seed=part)), weight=part) for part in (1.0, 3.0)]
    card = make(home, "mix", Recipe(tuple(sources), tokens=15_000, filters=Filters(min_characters=180))).card
    assert card["documents_beyond_budget"] > 0
    dropped = sum(card["dropped"].values())
    assert card["documents"] + dropped + card["documents_beyond_budget"] == card["documents_read"]
    assert sum(source["text_bytes"] for source in card["sources"]) == card["bytes"]
    assert sum(source["documents"] for source in card["sources"]) == card["documents"]


def test_the_command_of_a_card_asks_for_the_same(tmp_path: Path) -> None:
    recipe = Recipe((Source("a"),), "gpt2", 5, Filters(2, 30, 0.5, 0.25), False, "</s>", "CC0")
    assert recipe_of(parser().parse_args(shlex.split(command("mine", recipe))[3:])) == recipe


def test_a_learned_vocabulary_has_one_separator() -> None:
    with pytest.raises(ConfigError, match=r"separator = '</s>' must be <\|endoftext\|> where a vocabulary is learned"):
        Recipe((Source("starter"),), "bpe:300", separator="</s>")


def test_progress_follows_the_text_where_it_ends_before_the_budget(home: Home, tmp_path: Path) -> None:
    shares: list[float] = []

    def report(progress: Progress) -> None:
        if progress.stage == "encoding" and progress.share is not None:
            shares.append(progress.share)

    source = Source(str(write_lines(tmp_path / "a.jsonl")))
    prepare(home, "far", Recipe((source,), tokens=10**9), report=report, stopped=never)
    assert shares == sorted(shares) and shares[-1] > 0.5


@pytest.mark.parametrize(("weights", "share"), [((0.0, 0.0), 0.01), ((0.5, 0.5), 1.0)])
def test_a_small_source_is_a_small_part_of_the_work(
    home: Home, tmp_path: Path, weights: tuple[float, float], share: float
) -> None:
    paths = [write_lines(tmp_path / f"{count}.jsonl", count, seed=count) for count in (5, 495)]
    recipe = Recipe(tuple(Source(str(file), weight=weight) for file, weight in zip(paths, weights, strict=True)))
    shares: list[float] = []

    def report(progress: Progress) -> None:
        shares.append(progress.share or 0.0)

    readers = [open_source(source) for source in recipe.sources]
    with preparing.Making(home.making("two"), recipe) as making:
        work = preparing.Work(recipe, readers, making, report, never)
        while not work.chunks.ended[0] and (read := work.chunks._next()):  # the second one is hardly begun then
            making.state.counts["train"].bytes += sum(document.bytes for document in read)
        readers[1]._share = 0.0
        work._reading()
    assert shares[-1] == pytest.approx(share, rel=0.3)


def test_documents_of_a_few_letters_come_in_many_chunks(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "MOST_DOCUMENTS", 100)
    sizes: list[int] = []
    encode = preparing.Work._encode

    def counted(work: object, chunk: chunks.Chunk, vocabulary: object) -> None:
        sizes.append(len(chunk.documents))
        encode(work, chunk, vocabulary)

    monkeypatch.setattr(preparing.Work, "_encode", counted)
    source = tmp_path / "a.jsonl"
    source.write_text("".join(f'{{"text": "{number}"}}\n' for number in range(350)))
    assert make(home, "tiny", Recipe((Source(str(source)),))).card["documents"] == 350
    assert sizes == [100, 100, 100, 50]


def test_validation_gets_its_share_of_the_text_and_not_of_what_lies_beside_it(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "BLOCK", 4096)
    work_share = preparing.share_for
    known: list[int | None] = []

    def share_for(total: int | None) -> float:
        known.append(total)
        return float(work_share(total))

    source = write_lines(tmp_path / "a.jsonl", more="x" * 2000)
    monkeypatch.setattr(preparing, "share_for", share_for)
    made = make(home, "beside", Recipe((Source(str(source)),)))
    assert known[0] == pytest.approx(made.card["bytes"], rel=0.1)
    assert source.stat().st_size > 8 * made.card["bytes"]
