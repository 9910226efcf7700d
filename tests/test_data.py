"""Prepared datasets: opening, what is missing, what does not fit, the starter novels."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from books import make, never, silent, write_books

from engine import tokenizer
from engine.config import ConfigError, RunConfig, load_preset
from engine.data import Dataset, Progress, check_available, documents, ensure_dataset, open_dataset
from engine.home import Home
from engine.store import Refused


def config_of(dataset: str, **overrides: Any) -> RunConfig:
    return load_preset(
        "seedling",
        {"data.dataset": dataset, "model.context": 16, "train.batch_tokens": 64, "model.vocab_size": 300, **overrides},
    )


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.at(tmp_path / "home")


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("books")
    return make(Home.at(folder), write_books(folder / "source"))


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return ensure_dataset(Home.at(tmp_path_factory.mktemp("starter")), load_preset("seedling"), silent, never)


def test_a_missing_dataset_says_what_to_do_now(home: Home) -> None:
    for preset in ("blueberry-nano", "blueberry-nano-published", "blueberry-88m"):
        for check in (
            lambda config: check_available(home, config),
            lambda config: ensure_dataset(home, config, silent, never),
        ):
            with pytest.raises(Refused) as raised:
                check(load_preset(preset))
            for part in (
                "smollm-1b (1,000,000,000 tokens)",
                "engine prepare smollm-1b`",
                "the preset seedling or sprout",
            ):
                assert part in str(raised.value)
    with pytest.raises(Refused, match="The dataset starter is not prepared yet"):
        open_dataset(home, "starter")
    check_available(home, load_preset("seedling"))
    with pytest.raises(ConfigError):
        open_dataset(home, "../../etc")


def _cut(folder: Path) -> None:
    shard = (folder / "train.bin").read_bytes()
    (folder / "train.bin").unlink()
    (folder / "train.bin").write_bytes(shard[:-2])


@pytest.mark.parametrize(
    "damage",
    [
        _cut,
        lambda folder: (folder / "val.bin").unlink(),
        lambda folder: (folder / "tokenizer.json").write_text("{}"),
        lambda folder: (folder / "card.json").write_text("{"),
        lambda folder: (folder / "card.json").write_text("[]"),
    ],
)
def test_a_damaged_dataset_is_refused(home: Home, tmp_path: Path, damage: Callable[[Path], Any]) -> None:
    damage(make(home, write_books(tmp_path / "source", books=1)).folder)
    with pytest.raises(Refused, match=r"The dataset books is damaged: .*; delete datasets/books"):
        open_dataset(home, "books")


def test_vocabulary_and_context_must_fit_the_config(home: Home, tmp_path: Path) -> None:
    dataset = make(home, write_books(tmp_path / "source"))
    assert ensure_dataset(home, config_of("books"), silent, never).train.tobytes() == dataset.train.tobytes()
    with pytest.raises(
        ConfigError,
        match=r"model.vocab_size = 512, but the dataset books has 300 pieces; set "
        r"model.vocab_size=300\.",
    ):
        check_available(home, config_of("books", **{"model.vocab_size": 512}))
    with pytest.raises(ConfigError, match=r"has [\d,]+ training tokens, but model.context = 8192 needs at least"):
        check_available(home, config_of("books", **{"model.context": 8192, "train.batch_tokens": 8192}))
    with pytest.raises(ConfigError, match=r"model.vocab_size = 4096 must equal the 2048 pieces of data.tokenizer"):
        check_available(home, load_preset("seedling", {"data.tokenizer": "bpe:2048"}))
    bundled = {"data.dataset": "starter-smollm2", "data.tokenizer": "smollm2"}
    with pytest.raises(ConfigError, match=r"model.vocab_size = 4096 must equal the 49152 pieces of data.tokenizer"):
        check_available(home, load_preset("seedling", bundled))
    check_available(home, load_preset("seedling", bundled | {"model.vocab_size": 49_152}))


def test_the_card_is_json_a_person_can_read(books: Dataset) -> None:
    lines = (books.folder / "card.json").read_text(encoding="utf-8").splitlines()
    assert json.loads("\n".join(lines)) == books.card
    assert len(lines) > 20


# The starter novels


def test_the_starter_novels_become_a_dataset(starter: Dataset) -> None:
    assert starter.vocab_size == 4096
    assert starter.card["documents"] == 739
    assert len(starter.train) > 2_000_000
    assert 0.03 <= starter.card["val_bytes"] / starter.card["bytes"] < 0.05
    assert starter.train.max() < 4096
    text = tokenizer.load(starter.tokenizer_path).decode(starter.val.tolist())
    for person in ("Alice", "Emma", "Fanny", "Elizabeth", "Elinor", "Ahab", "Holmes", "Pierre"):
        assert person in text


def test_chapters_begin_with_their_headings(starter: Dataset) -> None:
    firsts = [text.split("\n", 1)[0] for text in documents(Path(__file__).parents[1] / "data" / "starter")]
    headings = [first for first in firsts if first.upper().startswith(("CHAPTER", "BOOK", "VOLUME", "ADVENTURE"))]
    assert len(headings) > 700


def test_a_second_run_opens_the_same_dataset(starter: Dataset) -> None:
    reports: list[Progress] = []
    home = Home.at(starter.folder.parents[1])
    again = ensure_dataset(home, load_preset("sprout"), reports.append, never)
    assert again.card == starter.card
    assert reports == []
    with pytest.raises(ConfigError, match=r"model.vocab_size=4096, or make another one with data.dataset=starter-2048"):
        check_available(home, load_preset("seedling", {"model.vocab_size": 2048}))
