"""A dataset that is not finished: shards that grow chunk by chunk, and a state that says how much of them counts."""

import json
import shutil
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from engine.config import ConfigError
from engine.data.chunks import Place
from engine.data.recipe import Recipe
from engine.data.shards import CARD, SPLITS, TOKENIZER, documents_file, shard_file
from engine.data.split import Document
from engine.store import Refused
from engine.sync import sync

STATE, SEEN = "state.json", "seen"
KEPT = {TOKENIZER, CARD, *map(shard_file, SPLITS), *map(documents_file, SPLITS)}
"""What is published; anything else in the folder is for the making alone."""


@dataclass
class Counts:
    """What a split holds."""

    tokens: int = 0
    documents: int = 0
    bytes: int = 0
    """Of text."""


@dataclass
class State:
    """How much counts of the files beside it, and where reading goes on."""

    recipe: str
    place: Place
    taken: list[int]
    """Of each source, bytes of the text in the shards."""
    share: float = 0.0
    """Part of the text that is held out; decided with the first chunk."""
    finished: bool = False
    """Whether all text is in the shards."""
    counts: dict[str, Counts] = field(default_factory=lambda: {split: Counts() for split in SPLITS})
    files: list[dict[str, int]] = field(default_factory=list)
    """Of each source, documents by file."""
    lengths: dict[str, int] = field(default_factory=dict)
    """Documents by their length in tokens, rounded up to a power of two."""
    lost: int = 0
    """Bytes of the text for which the tokenizer has no piece."""
    ending: str = ""
    """Of a mixture, what ended it."""

    @classmethod
    def beginning(cls, recipe: Recipe) -> "State":
        """Before the first document."""
        sources = len(recipe.sources)
        return cls(recipe.to_json(), Place.beginning(sources), [0] * sources, files=[{} for _ in range(sources)])

    @classmethod
    def read(cls, path: Path) -> "State | None":
        """The state in a file; None where there is none, or none that this version understands. Raises OSError."""
        try:
            given = json.loads(path.read_text(encoding="utf-8"))
            counts = {split: Counts(**given["counts"][split]) for split in SPLITS}
            return cls(**given | {"place": Place(**given["place"]), "counts": counts})
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return None

    def is_of(self, recipe: Recipe) -> bool:
        """Whether it goes on with this recipe; an earlier version did not write down every setting."""
        try:
            return Recipe.from_json(self.recipe) == recipe
        except ConfigError:
            return False

    @property
    def tokens(self) -> int:
        """Of both splits."""
        return sum(counts.tokens for counts in self.counts.values())

    @property
    def documents(self) -> int:
        """Of both splits."""
        return sum(counts.documents for counts in self.counts.values())

    @property
    def bytes(self) -> int:
        """Of the text of both splits."""
        return sum(counts.bytes for counts in self.counts.values())


class Making:
    """The folder in which a dataset is made. What an earlier attempt at the same recipe left is gone on with."""

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        self.folder = folder
        state = State.read(folder / STATE)
        if state is None or not state.is_of(recipe):
            shutil.rmtree(folder, ignore_errors=True)
            state = State.beginning(recipe)
        folder.mkdir(parents=True, exist_ok=True)
        self.state = state
        self._shards: dict[str, tuple[BinaryIO, BinaryIO]] = {}
        self._files = ExitStack()
        self.dtype = np.dtype(np.uint16)
        """Of the tokens in the shards, once they are open."""

    def __enter__(self) -> "Making":
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def open_shards(self, dtype: str) -> None:
        """Begin to append after what counts; what a killed attempt wrote behind it is cut off.

        Raises Refused where a part of what counts is gone.
        """
        self.dtype = np.dtype(dtype)
        for split, counts in self.state.counts.items():
            lengths = counts.tokens * self.dtype.itemsize, counts.documents * 8
            paths = self.folder / shard_file(split), self.folder / documents_file(split)
            opened = []
            for path, length in zip(paths, lengths, strict=True):
                file = self._files.enter_context(path.open("ab"))
                if file.tell() < length:
                    raise Refused(
                        f"{self.folder.name}/{path.name} is shorter than it was when it was written; discard what is "
                        "there and prepare the dataset again."
                    )
                file.truncate(length)
                opened.append(file)
            self._shards[split] = opened[0], opened[1]

    def append(self, split: str, document: Document, tokens: list[int]) -> None:
        """Add one document to a split; `tokens` with the separator at their end."""
        counts, (shard, ends) = self.state.counts[split], self._shards[split]
        shard.write(np.array(tokens, self.dtype).tobytes())
        counts.tokens += len(tokens)
        counts.documents += 1
        counts.bytes += document.bytes
        self.state.taken[document.source] += document.bytes
        ends.write(np.uint64(counts.tokens).tobytes())
        files, length = self.state.files[document.source], str(1 << (len(tokens) - 1).bit_length())
        files[document.file] = files.get(document.file, 0) + 1
        self.state.lengths[length] = self.state.lengths.get(length, 0) + 1

    def commit(self) -> None:
        """From here on everything appended so far counts, whatever happens."""
        for files in self._shards.values():
            for file in files:
                file.flush()
                sync(Path(file.name))
        write_whole(self.folder / STATE, json.dumps(asdict(self.state)))

    def discard(self) -> None:
        """Leave nothing behind."""
        self._files.close()
        shutil.rmtree(self.folder)

    def publish(self, target: Path) -> None:
        """Become `target`: from one moment to the next it is there, and whole. May be repeated after a kill."""
        self._files.close()
        for path in self.folder.iterdir():
            if path.name not in KEPT | {STATE}:
                path.unlink()
        for path in [*self.folder.iterdir(), self.folder]:
            sync(path)
        self.folder.rename(target)
        (target / STATE).unlink(missing_ok=True)
        sync(target.parent)


def write_whole(path: Path, text: str) -> None:
    """Write a file that is there whole or as it was before."""
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(text, encoding="utf-8")
    sync(temporary)
    temporary.replace(path)
    sync(path.parent)
