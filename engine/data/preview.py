"""The first documents of a recipe and what filters drop of them, before anything is made; size and time of the whole.

`python -m engine.data.preview` reads JSON from stdin and writes JSON to stdout. A process of its own: a source may keep
whoever asks waiting, and can be given up then.
"""

import contextlib
import hashlib
import json
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from engine import tokenizer as words
from engine.config import ConfigError
from engine.data.chunks import DUPLICATE
from engine.data.files import Files
from engine.data.filters import dropped
from engine.data.forecast import Sample, bytes_per_token, forecast
from engine.data.prepare import TOKEN_BYTES
from engine.data.recipe import STARTER, Recipe
from engine.data.shards import dtype_of
from engine.data.sources import Reader, Text, open_source
from engine.data.unread import Bad, Unreadable, listed, other_kinds
from engine.data.vocabulary import resolve
from engine.store import Refused

BYTES, SECONDS = 2_000_000, 3.0
"""Of text, and of time from the first text on, that are read of each source."""
SECONDS_IN_ALL = 12.0
"""Of reading where there are many sources; encoding gets half of it."""
LOOKING = 3.0
"""Seconds in which files are looked through for what cannot be read."""
PIECE_BYTES, FEW_PIECES = 100, 300
"""Of text for each piece of a vocabulary, so that it is met some ten times at least (assumption); half of it is told.
So few pieces are hardly more than the bytes."""
SHOWN = 2_000
"""Characters of a document that are shown."""
MOST = 200
"""Documents that can be asked for."""
_BATCH = 64
"""Texts that are encoded at once."""


def preview(recipe: Recipe, roots: Sequence[Path] | None = None, documents: int = 20) -> dict[str, Any]:
    """The first documents of a recipe, and what the whole would come to: JSON, as its keys say.

    `roots`: the folders below which files may be read, None for all. Raises Refused or ConfigError for what would keep
    the dataset from being made.
    """
    size = words.bpe_size(recipe.tokenizer)
    vocabulary = None if size is not None else resolve(recipe.tokenizer, roots)
    if vocabulary:
        words.new_separator(vocabulary, recipe.separator)
    readers = [open_source(source, roots, recipe.skip_unreadable) for source in recipe.sources]
    unread, notes = _looked_through(recipe, readers), [_other_kinds(readers)]
    reading = Reading(recipe, each=-(-documents // len(recipe.sources)))
    samples = [reading.sample(reader, number) for number, reader in enumerate(readers)]
    suits = _suiting(recipe, samples, size or 0)
    learning = 0.0
    if vocabulary is None:
        begun = time.perf_counter()
        vocabulary = _learned(samples, size or 0, suits, notes)
        learning = time.perf_counter() - begun
    speed = _encode(samples, vocabulary)
    estimate = forecast(
        recipe,
        samples,
        width=2 if dtype_of(words.vocabulary_size(vocabulary)) == "uint16" else 4,
        tokenizer_bytes=len(vocabulary.to_str(pretty=True).encode()),
        speed=speed,
        learning=learning,
    )
    return {
        "documents": reading.shown[:documents],
        "read": sum(sample.read for sample in samples),
        "dropped": dict(reading.dropped),
        "bytes_per_token": bytes_per_token(recipe, samples),
        "tokens_per_second": round(speed),
        "estimate": estimate,
        "unreadable": unread,
        "offer": {"tokenizer": f"bpe:{suits}"} if suits else {},
        "note": " ".join(filter(None, [*notes, *_remarks(recipe, samples, estimate)])),
    }


class Offered(ConfigError):
    """An error that one change of the recipe mends."""

    def __init__(self, sentence: str, offer: dict[str, Any]) -> None:
        super().__init__(sentence)
        self.offer = offer


def _looked_through(recipe: Recipe, readers: Sequence[Reader]) -> list[str]:
    """A sentence each of the files that will be left out, as far as time allows; raises Refused where none may be."""
    left_out = list[Bad]()
    for source, reader in zip(recipe.sources, readers, strict=True):
        if isinstance(reader, Files) and reader.looks and source.where != STARTER:
            bad, whole = reader.bad_files(LOOKING / len(readers))
            if bad and not recipe.skip_unreadable:
                raise reader.refusal(bad, whole)
            left_out += [*reader.near.unlisted, *bad]
    return listed(left_out)


def _other_kinds(readers: Sequence[Reader]) -> str:
    counts = Counter[str]()
    for reader in readers:
        counts.update(reader.near.others if isinstance(reader, Files) else {})
    return other_kinds(counts)


def _suiting(recipe: Recipe, samples: list[Sample], size: int) -> int:
    """The pieces that suit a text for which `size` is far too many; 0 where it is not."""
    kept = sum(sample.kept_total for sample in samples)
    kept = min(kept, TOKEN_BYTES * recipe.tokens) if recipe.tokens else kept
    if size <= FEW_PIECES or not kept or kept >= PIECE_BYTES / 2 * size:
        return 0
    return max(FEW_PIECES, int(kept / PIECE_BYTES) // 100 * 100)


@dataclass
class Reading:
    """Reads the beginning of each source as making the dataset would: filters first, then equal documents."""

    recipe: Recipe
    each: int
    """Documents of each source that are shown."""
    shown: list[dict[str, Any]] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    seen: set[bytes] = field(default_factory=set)

    def sample(self, reader: Reader, number: int) -> Sample:
        """Of source `number` of the recipe; stops after some text and time."""
        sample, texts = Sample(), reader.texts()
        most = min(SECONDS, SECONDS_IN_ALL / len(self.recipe.sources))
        text = next(texts, None)
        begun = time.perf_counter()  # to open what is far away takes its time once, however much is read of it
        share, total = reader.done(), None
        while text is not None and sample.bytes < BYTES and sample.seconds < most:
            if share and reader.done() != share:  # a reader is ahead of its texts; just now they have caught up
                total = sample.bytes / share
            share = reader.done()
            self._add(sample, text, number)
            text = next(texts, None)
            sample.seconds = time.perf_counter() - begun
        sample.whole = text is None
        if sample.whole:
            sample.total = sample.bytes
        elif total or share:
            sample.total = max(sample.bytes, round(total or sample.bytes / (share or 1.0)))
        else:
            sample.total = reader.bytes
        return sample

    def _add(self, sample: Sample, text: Text, number: int) -> None:
        raw = text.text.encode()
        digest = hashlib.sha256(raw).digest()
        why = dropped(text.text, self.recipe.filters)
        duplicate = not why and self.recipe.deduplicate and digest in self.seen
        if why or duplicate:
            self.dropped[why or DUPLICATE] += 1
        else:
            self.seen.add(digest)
            sample.kept.append(text.text)
            sample.kept_bytes += len(raw)
        if sample.read < self.each:
            shown = {"source": number, "file": text.file, "text": text.text[:SHOWN], "bytes": len(raw)}
            self.shown.append(shown | {"dropped": why, "duplicate": duplicate})
        sample.read += 1
        sample.bytes += len(raw)


def _learned(samples: list[Sample], size: int, suits: int, notes: list[str]) -> Tokenizer:
    """A vocabulary of the texts that were read. Raises Offered where these are all and too short for it."""
    texts = [text for sample in samples for text in sample.kept]
    vocabulary = words.learn_bpe(texts, size)
    learned = vocabulary.get_vocab_size()
    if not all(sample.whole for sample in samples):
        notes.append("Tokens are reckoned with a vocabulary learned on these first texts alone.")
    elif learned != size:
        fits = min(learned, suits or learned)
        raise Offered(f"{words.too_short(size, learned)} {fits:,} would suit it.", {"tokenizer": f"bpe:{fits}"})
    if suits:
        notes.append(
            f"{size:,} pieces are many for so little text: most come too seldom to be learned; {suits:,} would suit it."
        )
    return vocabulary


def _encode(samples: list[Sample], vocabulary: Tokenizer) -> float:
    """Fill in the tokens of each sample; returns tokens a second."""
    seconds, lengths = 0.0, words.byte_lengths(vocabulary)
    for sample in samples:
        begun = time.perf_counter()
        for start in range(0, len(sample.kept), _BATCH):
            # One text may be far longer than all that was to be read.
            texts = [text[:BYTES] for text in sample.kept[start : start + _BATCH]]
            for encoding in vocabulary.encode_batch_fast(texts, add_special_tokens=False):
                sample.tokens += len(encoding.ids) + 1  # and the separator
                sample.spelled += int(lengths[encoding.ids].sum())
            sample.encoded += sum(len(text.encode()) for text in texts)
            if time.perf_counter() - begun > SECONDS_IN_ALL / 2 / len(samples):
                break
        seconds += time.perf_counter() - begun
    return sum(sample.tokens for sample in samples) / seconds if seconds else 0.0


def _remarks(recipe: Recipe, samples: list[Sample], estimate: dict[str, Any]) -> Iterator[str]:
    """What a person should know before Start."""
    encoded = sum(sample.encoded for sample in samples)
    if (lost := encoded - sum(sample.spelled for sample in samples)) > 0:
        yield f"{lost:,} of {encoded:,} bytes have no piece in this tokenizer: they are lost or changed."
    if not any(sample.kept for sample in samples):
        yield "Nothing is left of the texts that were read: choose milder filters, or another source."
    elif estimate["tokens"] is None:
        yield "Nobody knows how much text there is before it is read; a budget of tokens says where to end."
    elif estimate["tokens"] < recipe.tokens:
        yield f"The text gives about {estimate['tokens']:,} tokens, less than the {recipe.tokens:,} asked for."


def asked(question: str) -> tuple[Recipe, list[Path] | None, int]:
    """Recipe, roots and number of documents of a question in JSON; raises ConfigError."""
    try:
        given = json.loads(question)
    except (ValueError, RecursionError) as error:
        raise ConfigError("The preview was asked for with something that is no JSON.") from error
    if not isinstance(given, dict) or not {"recipe"} <= given.keys() <= {"recipe", "roots", "documents"}:
        raise ConfigError('A preview is asked for with {"recipe": {...}, "roots": [...] or null, "documents": 20}.')
    roots, documents = given.get("roots"), given.get("documents", 20)
    if type(documents) is not int or not 1 <= documents <= MOST:
        raise ConfigError(f"documents = {documents!r:.40} must be a whole number from 1 to {MOST}.")
    if roots is not None and not (isinstance(roots, list) and all(isinstance(root, str) for root in roots)):
        raise ConfigError("roots must be a list of folders, or null for all.")
    recipe = Recipe.from_json(json.dumps(given["recipe"]))
    return recipe, None if roots is None else [Path(root) for root in roots], documents


def answer(question: str) -> dict[str, Any]:
    """The preview that is asked for in JSON, or {"error": sentence}."""
    try:
        return preview(*asked(question))
    except Offered as error:
        return {"error": str(error), "offer": error.offer}
    except Unreadable as error:
        return {"error": str(error), "offer": {"skip_unreadable": True}}
    except (Refused, ConfigError) as error:
        return {"error": str(error)}
    except MemoryError:
        return {"error": "The first documents do not fit into memory; give files with shorter ones."}
    except Exception as error:  # noqa: BLE001 - the boundary of the process: whoever asked reads an answer
        traceback.print_exc()
        return {"error": f"The preview failed ({type(error).__name__})."}


def main() -> int:
    """One question on stdin, one answer on stdout; whatever libraries print goes to stderr."""
    with contextlib.redirect_stdout(sys.stderr):
        found = answer(sys.stdin.read())
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
