"""Prepared datasets as they lie in a home: token shards, tokenizer.json and card.json, opened and checked."""

import json
import mmap
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.config import ConfigError, RunConfig
from engine.data.recipe import KNOWN
from engine.home import Home
from engine.store import Refused
from engine.tokenizer import known_size

STARTER = "starter"
CARD, TOKENIZER = "card.json", "tokenizer.json"
SPLITS = ("train", "val")
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")

Tokens = npt.NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True)
class Dataset:
    """A prepared dataset, its tokens memory-mapped: `train` and `val` are 1-D uint16 or uint32."""

    name: str
    folder: Path
    card: dict[str, Any]
    train: Tokens
    val: Tokens

    @property
    def tokenizer_path(self) -> Path:
        """The tokenizer.json that made the tokens."""
        return self.folder / TOKENIZER

    @property
    def vocab_size(self) -> int:
        """Every token is below this."""
        return int(self.card["vocab_size"])

    @property
    def separator(self) -> int:
        """The token that ends every document."""
        return int(self.card["separator_id"])


def shard_file(split: str) -> str:
    """The tokens of a split, one after the other."""
    return f"{split}.bin"


def documents_file(split: str) -> str:
    """Where each document of a split ends: uint64 counts of tokens from the beginning of the shard."""
    return f"{split}.documents"


def dtype_of(vocab_size: int) -> str:
    """The numbers that tokens below `vocab_size` are written in."""
    return "uint16" if vocab_size <= 2**16 else "uint32"


def check_name(name: str) -> str:
    """The name, if a folder may be called so; raises ConfigError."""
    if not _NAME.fullmatch(name):
        raise ConfigError(f"data.dataset = {name[:80]!r} must be 1 to 64 letters, digits, or . _ - (no dot in front).")
    return name


def is_embedded(name: str) -> bool:
    """Whether the dataset is made from the starter novels: `starter`, or `starter-` and anything."""
    return name == STARTER or name.startswith(f"{STARTER}-")


def open_dataset(home: Home, name: str) -> Dataset:
    """Map the shards of datasets/NAME after checking that every file has the size its card names.

    Raises Refused, saying what to do, when the dataset is not there or not whole.
    """
    folder = home.dataset(check_name(name))
    if not (folder / CARD).is_file():
        raise Refused(_missing(name))
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        _check_card(card)
        for file, expected in card["files"].items():
            size = (folder / file).stat().st_size
            if size != expected["bytes"]:
                raise Refused(
                    f"The dataset {name} is damaged: {file} has {size:,} bytes instead of "
                    f"{expected['bytes']:,}; delete datasets/{name} so that it is prepared again."
                )
        counts = [card.get(f"{split}_documents", 0) for split in SPLITS]
        if card["dtype"] != dtype_of(card["vocab_size"]) or not all(isinstance(one, int) for one in counts):
            raise ValueError("no card of ours")
        train, val = (_mapped(folder / shard_file(split), card["dtype"]) for split in SPLITS)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refused(
            f"The dataset {name} is damaged: its card or one of its files cannot be read; "
            f"delete datasets/{name} so that it is prepared again."
        ) from error
    return Dataset(name, folder, card, train, val)


def check_available(home: Home, config: RunConfig) -> None:
    """Raise Refused or ConfigError when a run of `config` cannot have its dataset; quick, prepares nothing."""
    name = check_name(config.data.dataset)
    if (home.dataset(name) / CARD).is_file():
        check_fit(open_dataset(home, name), config)
    elif not is_embedded(name):
        raise Refused(_missing(name))
    else:
        size = known_size(config.data.tokenizer)
        if size is not None and size != config.model.vocab_size:
            raise ConfigError(
                f"model.vocab_size = {config.model.vocab_size} must equal the {size} pieces of "
                f"data.tokenizer = {config.data.tokenizer}."
            )


def check_fit(dataset: Dataset, config: RunConfig) -> None:
    """Raise ConfigError when the model's vocabulary or context does not suit the dataset."""
    pieces, context = dataset.vocab_size, config.model.context
    if config.model.vocab_size != pieces:
        other = f"{STARTER}-{config.model.vocab_size}"
        way_out = (
            f", or make another one with data.dataset={other} data.tokenizer=bpe:{config.model.vocab_size}"
            if is_embedded(dataset.name)
            else ""
        )
        raise ConfigError(
            f"model.vocab_size = {config.model.vocab_size}, but the dataset {dataset.name} has "
            f"{pieces} pieces; set model.vocab_size={pieces}{way_out}."
        )
    if config.train.documents and dataset.card.get("separator_id") is None:
        raise ConfigError(
            f"train.documents = true, but the card of the dataset {dataset.name} names no token that ends documents; "
            "set it to false, or prepare the text again."
        )
    needs = (("training", dataset.train, 2 * context + 1), ("validation", dataset.val, context + 1))
    for (split, tokens, least), part in zip(needs, SPLITS, strict=True):
        if len(tokens) <= dataset.card.get(f"{part}_documents", 0):
            raise ConfigError(
                f"The dataset {dataset.name} has no {split} tokens to learn from: its tokenizer made nothing of the "
                f"text but the ends of documents; prepare it again with another one."
                if len(tokens)
                else f"The dataset {dataset.name} is empty: it has 0 {split} tokens; prepare it again from more text."
            )
        if len(tokens) < least:
            raise ConfigError(
                f"The dataset {dataset.name} has {len(tokens):,} {split} tokens, but model.context = "
                f"{context} needs at least {least:,}; choose a smaller context or more text."
            )


def check_length(tokens: Tokens) -> None:
    """Raise Refused where the file of `tokens` was cut short since it was mapped: reading on would kill the process."""
    mapping: Any = tokens.base
    if isinstance(mapping, mmap.mmap) and mapping.size() < tokens.nbytes:
        raise Refused(
            f"{place_of(tokens)} was cut short while it was read: it has {mapping.size():,} bytes instead of "
            f"{tokens.nbytes:,}; delete the dataset so that it is prepared again."
        )


def place_of(tokens: Tokens) -> str:
    """The file that tokens are mapped from, as it is called in a home."""
    path = Path(getattr(tokens, "filename", None) or "text")
    return f"datasets/{path.parent.name}/{path.name}" if path.parent.name else "The text"


def _check_card(card: dict[str, Any]) -> None:
    """Raise KeyError, TypeError or ValueError where what a run reads of a card is missing or of another kind."""
    counts = [card["vocab_size"], *(card.get(f"{split}_documents", 0) for split in SPLITS)]
    if any(type(count) is not int for count in counts) or card["dtype"] not in ("uint16", "uint32"):
        raise ValueError(card)
    if any(shard_file(split) not in card["files"] for split in SPLITS):
        raise KeyError("files")


def _mapped(path: Path, dtype: str) -> Tokens:
    if path.stat().st_size == 0:  # an empty file cannot be mapped
        return np.zeros(0, np.dtype(dtype))
    return np.memmap(path, np.dtype(dtype), mode="r")


def _missing(name: str) -> str:
    if is_embedded(name):
        return (
            f"The dataset {name} is not prepared yet; the first run that needs it makes it from the novels in "
            "data/starter."
        )
    known = KNOWN.get(name)
    about = f" ({known.tokens:,} tokens)" if known else ""
    source = "" if known else " --source FILE_OR_FOLDER"
    return (
        f"The dataset {name}{about} is not in this home: make it with `python -m engine prepare {name}{source}`, or "
        "choose the preset seedling or sprout, which bring their own text."
    )
