"""Making a dataset: read, filter, split by document, learn a vocabulary on the training part, encode, describe.

Read `prepare` from top to bottom. What is finished is kept chunk by chunk: stopped or killed, it goes on there.
"""

import contextlib
import itertools
import operator
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from engine import store
from engine import tokenizer as pieces
from engine.config import RunConfig
from engine.data.alone import alone
from engine.data.card import describe
from engine.data.chunks import Chunk, Chunks, read_ahead, what_ended
from engine.data.making import SEEN, Making, write_whole
from engine.data.progress import Asked, Progress, Report, Stopped
from engine.data.recipe import STARTER, Recipe, Source
from engine.data.room import check_space
from engine.data.seen import Seen
from engine.data.shards import CARD, TOKENIZER, Dataset, check_available, check_fit, check_name, dtype_of, open_dataset
from engine.data.sources import Reader, open_source
from engine.data.split import Document, least_share, share_for, split_documents
from engine.data.vocabulary import resolve
from engine.home import Home
from engine.store import Refused

BATCH_BYTES = 500_000
"""Text encoded between two reports: about 0.2 s on two cores."""
LEARN_CHUNKS = 5
"""Chunks whose training documents a vocabulary is learned on; more text hardly changes it."""
TOKEN_BYTES = 5
"""Bytes of text in a token of prose (assumption)."""
LEARNING = 1.5
"""Time to read and learn from a byte of text, in relation to encoding it (measured on the starter novels)."""


def ensure_dataset(home: Home, config: RunConfig, report: Report, stopped: Asked) -> Dataset:
    """The dataset of a run, made first if it is made from the starter novels; two runs never make it twice.

    Raises Refused or ConfigError with what to do, and Stopped.
    """
    check_available(home, config)
    folder = home.dataset(config.data.dataset)
    if not (folder / CARD).is_file():
        with _alone(folder, report, stopped):
            if not (folder / CARD).is_file():
                recipe = Recipe((Source(STARTER),), config.data.tokenizer)
                _refuse_to_wipe(home, folder.name, recipe)
                _make(home, folder.name, recipe, None, report, stopped)
    dataset = open_dataset(home, config.data.dataset)
    check_fit(dataset, config)
    return dataset


def _refuse_to_wipe(home: Home, name: str, recipe: Recipe) -> None:
    """Raise Refused where a job that ended early has made part of another dataset of that name."""
    if not home.job_state(name).is_file():
        return
    with contextlib.closing(store.connect(home.database)) as db:
        job = store.job_of(db, name)
    if job and Recipe.from_json(job["recipe"]) != recipe:
        raise Refused(
            f"A job of yours that is {job['status']} has made part of another dataset {name}: resume or discard it in "
            f"the Data tab (or python -m engine prepare {name} --discard), then start again."
        )


def prepare(
    home: Home, name: str, recipe: Recipe, *, report: Report, stopped: Asked, roots: Sequence[Path] | None = None
) -> None:
    """Write datasets/NAME, or go on with what an earlier attempt at the same recipe left of it.

    The same recipe and sources give the same shards, however often it was stopped. `roots`: the folders below which
    files may be read, None for all. Raises Refused or ConfigError, and Stopped.
    """
    folder = home.dataset(check_name(name))
    with _alone(folder, report, stopped):
        if folder.exists():
            raise Refused(f"The dataset {name} exists already; delete datasets/{name} first, or choose another name.")
        _make(home, name, recipe, roots, report, stopped)


def _alone(folder: Path, report: Report, stopped: Asked) -> AbstractContextManager[None]:
    waiting = Progress("waiting", f"Waiting for another process that prepares {folder.name}")
    return alone(folder, lambda: report(waiting), stopped)


def _make(home: Home, name: str, recipe: Recipe, roots: Sequence[Path] | None, report: Report, stopped: Asked) -> None:
    """Everything, under the lock of the dataset's folder."""
    try:
        readers = [open_source(source, roots, recipe.skip_unreadable) for source in recipe.sources]
        with Making(home.making(name), recipe) as making:
            if not making.state.finished:
                named = _named(making, recipe, roots)
                check_space(home, name, recipe, readers, named is not None and pieces.vocabulary_size(named) > 2**16)
                Work(recipe, readers, making, report, stopped).write(named)
            if not all(counts.documents for counts in making.state.counts.values()):
                making.discard()
                raise Refused(_too_few(making.state.documents, making.state.place.number))
            state = making.state
            made = state.documents, state.tokens, state.bytes, state.place.dropped
            ending = f". {state.ending}" if state.ending else ""
            report(Progress("finishing", f"Adding up what is there{ending}", 1.0, *made))
            write_whole(making.folder / CARD, describe(making, name, recipe, readers))
            making.publish(home.dataset(name))
    except OSError as error:
        if error.errno is None:
            raise
        raise Refused(f"datasets/{name} cannot be written: {error.strerror}.") from error
    report(Progress("finished", f"The dataset is ready{ending}", 1.0, *made))


class Work:
    """One attempt at a recipe: turns all text into shards."""

    def __init__(self, recipe: Recipe, readers: list[Reader], making: Making, report: Report, stopped: Asked) -> None:
        self.recipe, self.readers, self.making, self.report, self.stopped = recipe, readers, making, report, stopped
        self.seen = Seen(making.folder / SEEN) if recipe.deduplicate else None
        self.chunks = Chunks(recipe, readers, self.seen, making.state.place)
        self.lengths = np.zeros(0, np.int64)
        """Bytes that each piece spells, once there is a vocabulary."""
        self.begun = 0.0
        """Share of the work before the first token is written."""
        self.shown = 0.0

    def write(self, named: Tokenizer | None) -> None:
        """Chunk by chunk; a vocabulary is learned where no tokenizer is `named`."""
        state, chunks = self.making.state, read_ahead(self.chunks, self._reading)
        with contextlib.closing(chunks):
            vocabulary, held = self._vocabulary(named, chunks)
            self.making.open_shards(dtype_of(pieces.vocabulary_size(vocabulary)))
            self.lengths = pieces.byte_lengths(vocabulary)
            for chunk in itertools.chain(held, chunks):
                self._encode(chunk, vocabulary)
                state.place, state.finished = chunk.after, chunk.last or self._enough()
                state.ending = what_ended(self.recipe, chunk, self._enough()) if state.finished else ""
                if self.seen is not None:
                    self.seen.flush()
                self.making.commit()
                if state.finished:
                    break
        if self.seen is not None:
            self.seen.close()

    def _reading(self) -> None:
        """While a chunk is waited for."""
        read = max(0, sum(self.chunks.taken) - self.making.state.bytes)
        message = self.chunks.trouble or (f"Reading, {read / 1e6:,.1f} MB ahead" if read else "Reading")
        self._say("reading", message, self._share())

    def _vocabulary(self, named: Tokenizer | None, chunks: Iterator[Chunk]) -> tuple[Tokenizer, list[Chunk]]:
        """The tokenizer as it lies in the folder from here on, and the chunks that were read to learn it."""
        path, held, found = self.making.folder / TOKENIZER, list[Chunk](), named
        if found is None:
            held = list(itertools.islice(chunks, LEARN_CHUNKS))
            if held[-1].last and sum(len(chunk.documents) for chunk in held) < 2:
                raise Refused(_too_few(len(held[0].documents), held[-1].after.number))
            training = [document for chunk in held for document in self._split(chunk)["train"]]
            cost = LEARNING * sum(document.bytes for document in training)
            self.begun = cost / (cost + (self._all_bytes() or 10 * cost) + 1)
            size = pieces.bpe_size(self.recipe.tokenizer) or 0
            found = pieces.train_bpe(self._told(training, size), size)
        if not path.is_file():
            write_whole(path, found.to_str(pretty=True))
        return pieces.load(path, self.recipe.separator), held  # the same as after a stop, to the last digit

    def _told(self, training: list[Document], size: int) -> Iterator[str]:
        """Texts for the library, which takes them one by one, then merges pairs on its own for about as long."""
        for number, document in enumerate(training):
            if number % 50 == 0:
                share = self.begun / 2 * number / len(training)
                self._say("learning", f"Learning a vocabulary of {size:,} pieces", share)
            yield document.text

    def _split(self, chunk: Chunk) -> dict[str, list[Document]]:
        state = self.making.state
        if not state.share:
            known = sum(chunk.after.taken) if chunk.last else self._known(chunk)
            if known and self.recipe.tokens and not chunk.last:
                known = min(known, TOKEN_BYTES * self.recipe.tokens)
            state.share = share_for(known)
            if not self.recipe.deduplicate:
                state.share = max(state.share, least_share(chunk.documents))
        return split_documents(chunk.documents, state.share, unique=self.recipe.deduplicate)

    def _known(self, chunk: Chunk) -> int | None:
        """Bytes of text that all sources will leave, from what the first chunk left of them; None: nobody knows.

        Files of jsonl and csv hold more than their texts, and filters drop some.
        """
        total = 0
        for reader, taken, read in zip(self.readers, chunk.after.taken, chunk.read, strict=True):
            if reader.bytes is None:
                return None
            total += min(reader.bytes, round(taken / read)) if read else reader.bytes
        return total

    def _encode(self, chunk: Chunk, vocabulary: Tokenizer) -> None:
        """Append a chunk to the shards, the separator after every document, as far as tokens are wanted."""
        end, parts = pieces.separator_id(vocabulary, self.recipe.separator), self._split(chunk)
        for split in ("val", "train"):
            for batch in _batches(parts[split]):
                self._say("encoding", f"Turning text into tokens, {self.making.state.tokens:,} so far", self._share())
                encodings = vocabulary.encode_batch_fast([one.text for one in batch], add_special_tokens=False)
                for document, encoding in zip(batch, encodings, strict=True):
                    if split == "train" and self._enough():
                        return
                    self.making.append(split, document, [*encoding.ids, end])
                    # A tokenizer that puts a blank in front spells more than there was.
                    self.making.state.lost += max(0, document.bytes - int(self.lengths[encoding.ids].sum()))

    def _enough(self) -> bool:
        return 0 < self.recipe.tokens <= self.making.state.counts["train"].tokens

    def _share(self) -> float | None:
        """Of the whole work; None where nobody knows how much text there is."""
        state, everything = self.making.state, self._all_bytes()
        if not self.recipe.tokens and everything is None:
            return None
        # A text may end before the tokens that were asked for.
        wanted = state.counts["train"].tokens / self.recipe.tokens if self.recipe.tokens else 0.0
        done = max(wanted, state.bytes / max(1, everything) if everything is not None else 0.0)
        return self.begun + (1 - self.begun) * min(1.0, done)

    def _all_bytes(self) -> int | None:
        """How much text will be kept of all sources, from what was kept of the part that was read."""
        taken, done = sum(self.chunks.taken), [reader.done() for reader in self.readers]
        if all(self.chunks.ended):
            return taken
        known = [share for share in done if share is not None]
        if len(known) < len(done):
            return None
        # A mixture ends with the first of its sources; others follow each other, the large ones for longer.
        sizes = [reader.bytes or 0 for reader in self.readers]
        weights = sizes if all(sizes) else [1] * len(sizes)
        parts = sum(map(operator.mul, known, weights)) / sum(weights)
        share = max(known) if self.recipe.mixed else parts
        return int(taken / share) if share else None

    def _say(self, stage: str, message: str, share: float | None) -> None:
        """Report, and raise Stopped where somebody waits for that."""
        if self.stopped():
            raise Stopped
        if share is not None:
            self.shown = share = max(self.shown, share)
        state = self.making.state
        self.report(
            Progress(stage, message, share, state.documents, state.tokens, state.bytes, dict(self.chunks.dropped))
        )


def _named(making: Making, recipe: Recipe, roots: Sequence[Path] | None) -> Tokenizer | None:
    """The tokenizer of a recipe, as the attempt before has kept it where there was one; None where it is learned."""
    if (kept := making.folder / TOKENIZER).is_file():
        return pieces.load(kept, recipe.separator)
    if pieces.bpe_size(recipe.tokenizer) is not None:
        return None
    found = resolve(recipe.tokenizer, roots)
    pieces.new_separator(found, recipe.separator, recipe.tokenizer)
    return found


def _batches(part: list[Document]) -> Iterator[list[Document]]:
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


def _too_few(kept: int, read: int) -> str:
    if read > kept:
        return (
            f"Filters and the search for equal documents leave {kept} of {read:,} documents, but training and "
            "validation need one each: choose milder filters, or more text."
        )
    return (
        f"The source has {kept} document{'s' * (kept != 1)}, but training and validation need one each: give several "
        "files, or part a text file with form feeds."
    )
