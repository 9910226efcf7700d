"""Preparing a dataset: split by document, learn the vocabulary on the training part, write shards and a card."""

import hashlib
import json
import shlex
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from engine import tokenizer as pieces
from engine.config import RunConfig
from engine.data.publish import Stopped, alone, published
from engine.data.shards import CARD, SPLITS, TOKENIZER, Dataset, check_available, check_fit, check_name, open_dataset
from engine.data.sources import documents, source_files
from engine.data.split import SHARE, VALIDATION_BYTES, Document, split_documents, without_duplicates
from engine.data.vocabulary import resolve
from engine.home import PROJECT, Home
from engine.store import Refused

Report = Callable[[str, float], None]
Asked = Callable[[], bool]

NOVELS = PROJECT / "data" / "starter"
NOVELS_LICENCE = "public domain; data/starter/SOURCES.md names every source"
BATCH_BYTES = 500_000
"""Text encoded between two reports: about 0.1 s on two cores."""
READ, LEARNED = 0.1, 0.6
"""Shares of the time at which reading and learning end, measured on the starter novels."""
SPLIT_RULE = (
    "by document, before anything else: of each file the documents with the smallest sha256, until "
    f"{SHARE:.0%} of its bytes ({VALIDATION_BYTES:,} bytes of all files at most) are held out; "
    "files with few documents together"
)


def ensure_dataset(home: Home, config: RunConfig, report: Report, stopped: Asked) -> Dataset:
    """The dataset of a run, made first if it is made from the starter novels; two runs never make it twice.

    Raises Refused or ConfigError with what to do, and Stopped.
    """
    check_available(home, config)
    folder = home.dataset(config.data.dataset)
    if not (folder / CARD).is_file():
        with _alone(folder, report, stopped):
            if not (folder / CARD).is_file():
                _make(folder, NOVELS, config.data.tokenizer, NOVELS_LICENCE, report, stopped)
    dataset = open_dataset(home, config.data.dataset)
    check_fit(dataset, config)
    return dataset


def prepare(
    home: Home, name: str, source: Path, tokenizer: str, *, report: Report, stopped: Asked, licence: str = "not stated"
) -> None:
    """Write datasets/NAME from a file or folder, whole or not at all.

    `tokenizer` is bpe:SIZE (learned here, on the training documents) or the path of a tokenizer.json. `report` gets a
    sentence and the share done, `stopped` is asked several times a second. The same source and tokenizer give the same
    shards. Raises Refused or ConfigError, and Stopped.
    """
    folder = home.dataset(check_name(name))
    with _alone(folder, report, stopped):
        if folder.exists():
            raise Refused(f"The dataset {name} exists already; delete datasets/{name} first, or choose another name.")
        _make(folder, source, tokenizer, licence, report, stopped)


def _alone(folder: Path, report: Report, stopped: Asked) -> AbstractContextManager[None]:
    return alone(folder, lambda: report(f"Waiting for another run that prepares {folder.name}", 0.0), stopped)


def _make(folder: Path, source: Path, tokenizer: str, licence: str, report: Report, stopped: Asked) -> None:
    """Read, split, learn, encode; under the lock of `folder`."""
    size = pieces.bpe_size(tokenizer)
    loaded = None if size is not None else _loaded(tokenizer)
    everything = list(_read(source, report, stopped))
    kept = without_duplicates(everything)
    parts = split_documents(kept)
    with published(folder) as making:
        vocabulary = loaded or _learned(parts["train"], size or 0, report, stopped)
        vocabulary.save(str(making / TOKENIZER))
        begin = LEARNED if size is not None else READ
        counts = _encode(making, parts, vocabulary, begin, report, stopped)
        card: dict[str, Any] = {
            "name": folder.name,
            "licence": licence,
            "sources": _described(source, everything),
            "documents": len(kept),
            "duplicates_dropped": len(everything) - len(kept),
            "bytes": sum(document.bytes for document in kept),
        }
        for split in SPLITS:
            card |= {
                f"{split}_documents": len(parts[split]),
                f"{split}_tokens": counts[split],
                f"{split}_bytes": sum(document.bytes for document in parts[split]),
            }
        card |= {
            "bytes_per_token": round(card["train_bytes"] / card["train_tokens"], 4),
            "tokenizer": tokenizer,
            "vocab_size": pieces.vocabulary_size(vocabulary),
            "separator": pieces.END,
            "separator_id": vocabulary.token_to_id(pieces.END),
            "dtype": _dtype(vocabulary),
            "split": SPLIT_RULE,
            "files": {
                path.name: {"bytes": path.stat().st_size, "sha256": _sha256(path)} for path in sorted(making.iterdir())
            },
            "command": _command(folder.name, source, tokenizer),
            "created_at": datetime.now(UTC).isoformat(),
        }
        (making / CARD).write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    report("The dataset is ready", 1.0)


def _loaded(tokenizer: str) -> Tokenizer:
    loaded = resolve(tokenizer)
    pieces.separator_id(loaded, pieces.END)
    return loaded


def _read(source: Path, report: Report, stopped: Asked) -> Iterator[Document]:
    files = source_files(source)
    for number, path in enumerate(files):
        _go_on(stopped)
        report(f"Reading {path.name.split('.')[0].replace('_', ' ')}", READ * number / len(files))
        for text in documents(path):
            yield Document.of(_relative(path, source), text)


def _learned(training: list[Document], size: int, report: Report, stopped: Asked) -> Tokenizer:
    """The vocabulary; the library takes the texts one by one, then merges pairs on its own for about as long."""
    sentence = f"Learning a vocabulary of {size:,} pieces"

    def texts() -> Iterator[str]:
        for number, document in enumerate(training):
            if number % 50 == 0:
                _go_on(stopped)
                report(sentence, READ + (LEARNED - READ) / 2 * number / len(training))
            yield document.text

    return pieces.train_bpe(texts(), size)


def _encode(
    making: Path, parts: dict[str, list[Document]], vocabulary: Tokenizer, begin: float, report: Report, stopped: Asked
) -> dict[str, int]:
    """Write one shard for each part, the separator after every document; returns how many tokens each has."""
    end, dtype = vocabulary.token_to_id(pieces.END), np.dtype(_dtype(vocabulary))
    total = sum(document.bytes for part in parts.values() for document in part)
    done, counts = 0, dict.fromkeys(SPLITS, 0)
    for split in SPLITS:
        with (making / f"{split}.bin").open("wb") as shard:
            for batch in _batches(parts[split]):
                _go_on(stopped)
                report(f"Turning text into tokens, {sum(counts.values()):,} so far", begin + (1 - begin) * done / total)
                texts = [document.text for document in batch]
                for encoding in vocabulary.encode_batch_fast(texts, add_special_tokens=False):
                    tokens = np.array([*encoding.ids, end], dtype)
                    shard.write(tokens.tobytes())
                    counts[split] += len(tokens)
                done += sum(document.bytes for document in batch)
    return counts


def _batches(part: Iterable[Document]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    size = 0
    for document in part:
        batch.append(document)
        size += document.bytes
        if size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _go_on(stopped: Asked) -> None:
    if stopped():
        raise Stopped


def _described(source: Path, everything: list[Document]) -> list[dict[str, Any]]:
    """What the card says of each source file."""
    counts: dict[str, int] = {}
    for document in everything:
        counts[document.file] = counts.get(document.file, 0) + 1
    return [
        {
            "file": _relative(path, source),
            "bytes": path.stat().st_size,
            "sha256": _sha256(path),
            "documents": counts.get(_relative(path, source), 0),
        }
        for path in source_files(source)
    ]


def _relative(path: Path, source: Path) -> str:
    return path.relative_to(source).as_posix() if source.is_dir() else path.name


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _dtype(vocabulary: Tokenizer) -> str:
    return "uint16" if pieces.vocabulary_size(vocabulary) <= 2**16 else "uint32"


def _command(name: str, source: Path, tokenizer: str) -> str:
    shown = source.relative_to(PROJECT) if source.is_relative_to(PROJECT) else source
    return shlex.join(["python", "-m", "engine", "prepare", name, "--source", str(shown), "--tokenizer", tokenizer])
