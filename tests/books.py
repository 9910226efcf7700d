"""Small books for tests of datasets, and what is asked of them."""

import lzma
from pathlib import Path
from typing import Any

import numpy as np

from engine.data import Dataset, Progress, Recipe, Source, open_dataset, prepare
from engine.home import Home

TEXT = "the a cat dog sat ran on under mat tree and but she he said saw old red house door"


def never() -> bool:
    return False


def silent(progress: Progress) -> None:
    assert progress.message
    assert progress.share is None or 0 <= progress.share <= 1


def write_books(folder: Path, books: int = 3, chapters: int = 30, seed: int = 0) -> Path:
    """Small books whose every chapter is unlike any other; returns their folder."""
    folder.mkdir()
    for book in range(books):
        dice = np.random.default_rng(book + 100 * seed)
        drawn = [" ".join(dice.choice(TEXT.split(), 60)) for _ in range(chapters)]
        texts = [f"Chapter {chapter} of {book}.\n\n{words}." for chapter, words in enumerate(drawn)]
        (folder / f"book_{book}.txt.xz").write_bytes(lzma.compress("\n\n\f".join(texts).encode()))
    return folder


def recipe(source: Path, tokenizer: str = "bpe:300", **rest: Any) -> Recipe:
    return Recipe((Source(str(source)),), tokenizer, **rest)


def make(home: Home, source: Path, name: str = "books", size: int = 300) -> Dataset:
    prepare(home, name, recipe(source, f"bpe:{size}"), report=silent, stopped=never)
    return open_dataset(home, name)
