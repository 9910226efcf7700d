"""Prepared datasets as a run meets them: opened, checked, and refused in a sentence."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.config import ConfigError, RunConfig, load_preset
from engine.data import Dataset, check_available, check_fit, open_dataset
from engine.home import Home
from engine.store import Refused

CONTEXT = 16
END = 0


def config_of(**overrides: Any) -> RunConfig:
    settings = {"data.dataset": "made", "model.context": CONTEXT, "train.batch_tokens": 64, "model.vocab_size": 300}
    return load_preset("seedling", settings | overrides)


def write(home: Home, train: int = 1000, val: int = 100, card: dict[str, Any] | None = None) -> Path:
    """A dataset of so many tokens, a tenth of them ends of documents; returns its folder."""
    folder = home.dataset("made")
    folder.mkdir(parents=True)
    files, counts = {}, {}
    for split, size in (("train", train), ("val", val)):
        tokens = np.arange(size) % 10
        path = folder / f"{split}.bin"
        tokens.astype(np.uint16).tofile(path)
        files[path.name] = {"bytes": 2 * size, "sha256": "0" * 64}
        counts |= {f"{split}_tokens": size, f"{split}_documents": int((tokens == END).sum())}
    whole = {"name": "made", "vocab_size": 300, "separator_id": END, "dtype": "uint16", "files": files} | counts
    (folder / "card.json").write_text(json.dumps(whole | (card or {})), encoding="utf-8")
    return folder


def change(folder: Path, **values: Any) -> None:
    """Give the card other values."""
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    (folder / "card.json").write_text(json.dumps(card | values), encoding="utf-8")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.at(tmp_path / "home")


def opened(home: Home, **made: Any) -> Dataset:
    write(home, **made)
    return open_dataset(home, "made")


def refusal(home: Home, config: RunConfig) -> str:
    with pytest.raises((ConfigError, Refused)) as raised:
        check_available(home, config)
    sentence = str(raised.value)
    assert str(home.path) not in sentence and "\n" not in sentence
    return sentence


def test_tokens_are_mapped_and_not_read(home: Home) -> None:
    dataset = opened(home)

    assert isinstance(dataset.train, np.memmap) and dataset.train.dtype == np.uint16
    assert (len(dataset.train), len(dataset.val), dataset.vocab_size, dataset.separator) == (1000, 100, 300, END)
    check_fit(dataset, config_of())


def test_a_vocabulary_that_does_not_match_names_both_sizes(home: Home) -> None:
    write(home)

    assert refusal(home, config_of(**{"model.vocab_size": 512})) == (
        "model.vocab_size = 512, but the dataset made has 300 pieces; set model.vocab_size=300."
    )


@pytest.mark.parametrize("split", ["train", "val"])
def test_an_empty_dataset_says_so(home: Home, split: str) -> None:
    write(home, **{split: 0})

    name = {"train": "training", "val": "validation"}[split]
    assert refusal(home, config_of()) == (
        f"The dataset made is empty: it has 0 {name} tokens; prepare it again from more text."
    )


@pytest.mark.parametrize(
    ("split", "has", "needs"), [("train", 2 * CONTEXT, 2 * CONTEXT + 1), ("val", CONTEXT, CONTEXT + 1)]
)
def test_a_dataset_shorter_than_a_row_names_both_lengths(home: Home, split: str, has: int, needs: int) -> None:
    write(home, **{split: has})

    name = {"train": "training", "val": "validation"}[split]
    assert refusal(home, config_of()) == (
        f"The dataset made has {has} {name} tokens, but model.context = {CONTEXT} needs at least {needs}; choose a "
        "smaller context or more text."
    )


def test_the_shortest_dataset_that_fits(home: Home) -> None:
    check_fit(opened(home, train=2 * CONTEXT + 1, val=CONTEXT + 1), config_of())


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_text_of_which_nothing_can_be_learned_is_refused(home: Home, split: str) -> None:
    """A tokenizer that knows none of the text's characters leaves the ends of documents alone."""
    write(home, card={f"{split}_documents": {"train": 1000, "val": 100}[split]})

    assert "tokens to learn from: its tokenizer made nothing of the text but the ends" in refusal(home, config_of())


def test_documents_need_a_token_that_ends_them(home: Home) -> None:
    write(home, card={"separator_id": None})

    check_available(home, config_of())
    assert "names no token that ends documents" in refusal(home, config_of(**{"train.documents": True}))


@pytest.mark.parametrize(("name", "command"), [("smollm-1b", "prepare smollm-1b`"), ("mine", "prepare mine --source")])
def test_a_dataset_that_is_not_there_is_told_with_the_command_that_makes_it(
    home: Home, name: str, command: str
) -> None:
    sentence = refusal(home, config_of(**{"data.dataset": name}))

    assert sentence.startswith(f"The dataset {name}") and f"`python -m engine {command}" in sentence


@pytest.mark.parametrize(
    "card",
    [
        {"vocab_size": "many"},
        {"vocab_size": None},
        {"vocab_size": 70_000},
        {"train_documents": "x"},
        {"dtype": "O"},
        {"dtype": "float16"},
    ],
)
def test_a_card_that_is_none_of_ours_is_refused(home: Home, card: dict[str, Any]) -> None:
    write(home, card=card)

    assert refusal(home, config_of()).startswith("The dataset made is damaged: its card")


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: (folder / "train.bin").write_bytes(b"\0"),
        lambda folder: (folder / "val.bin").unlink(),
        lambda folder: (folder / "card.json").write_text("{"),
        lambda folder: (folder / "card.json").write_text("[]"),
        lambda folder: (folder / "card.json").write_text('{"files": {}}'),
        lambda folder: change(folder, vocab_size="300"),
        lambda folder: change(folder, vocab_size=True),
        lambda folder: change(folder, dtype="float32"),
        lambda folder: change(folder, train_documents=None),
        lambda folder: change(folder, files={"train.bin": {"bytes": 2000, "sha256": ""}}),
    ],
    ids=["cut", "gone", "no json", "a list", "empty", "words", "a truth", "fractions", "nothing", "one file"],
)
def test_what_is_not_whole_is_refused_with_what_to_do(home: Home, harm: Callable[[Path], Any]) -> None:
    harm(write(home))

    sentence = refusal(home, config_of())

    assert sentence.startswith("The dataset made is damaged") and "delete datasets/made" in sentence
