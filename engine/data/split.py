"""Which documents are held out for validation: decided by their content alone, before anything else looks at them."""

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

SHARE, LEAST, UNKNOWN = 0.03, 0.002, 0.01
"""Of each file's bytes: the most, the least, and where nobody knows how much text there is. On the novels 1% would be
some 20,000 tokens, too few for a steady figure."""
VALIDATION_BYTES = 6_000_000
"""Enough for 500,000 tokens of any usual text, also when filters drop a third of it."""
FEW, MANY = 8, 32
"""Files with fewer documents than FEW are taken together, and so are all when there are more than MANY: one document
of each would be too much."""


@dataclass(frozen=True, slots=True)
class Document:
    """One text, where it came from, and the sha256 of its bytes."""

    file: str
    text: str
    digest: bytes
    bytes: int
    source: int = 0
    """Which of the recipe's sources."""

    @classmethod
    def of(cls, file: str, text: str, source: int = 0) -> "Document":
        """A document with its digest and length filled in."""
        raw = text.encode()
        return cls(file, text, hashlib.sha256(raw).digest(), len(raw), source)


def share_for(total: int | None) -> float:
    """What part of `total` bytes of text to hold out; None where nobody knows how many there are.

    At least 1% of a small source, at least half a million tokens of a large one.
    """
    return UNKNOWN if total is None else min(SHARE, max(LEAST, VALIDATION_BYTES / max(1, total)))


def least_share(documents: Sequence[Document]) -> float:
    """The share from which on one of them at least is held out by its digest alone."""
    return min((_fraction(document.digest) for document in documents), default=0.0) + 2**-48


def split_documents(documents: Sequence[Document], share: float, unique: bool = True) -> dict[str, list[Document]]:
    """Documents as `train` and `val`, each in the given order; the same documents give the same split.

    Every file with enough documents gives at least `share` of its bytes to validation: those with the smallest digests.
    Of two documents and more one is held out; one alone is for training. Where documents are not `unique`, equal ones
    may come in another part of the text too: then each goes where its digest alone says.
    """
    if not unique:
        held = [_fraction(document.digest) < share for document in documents]
        return {
            "train": [document for document, out in zip(documents, held, strict=True) if not out],
            "val": list(itertools.compress(documents, held)),
        }
    files: dict[tuple[int, str], list[Document]] = {}
    for document in documents:
        files.setdefault((document.source, document.file), []).append(document)
    least = FEW if len(files) <= MANY else len(documents) + 1
    groups = [group for group in files.values() if len(group) >= least]
    rest = [document for group in files.values() if len(group) < least for document in group]
    held_out = {digest for group in [*groups, rest] for digest in _held_out(group, share)}
    if not held_out and len(documents) > 1:
        held_out = {min(document.digest for document in documents)}
    return {
        "train": [document for document in documents if document.digest not in held_out],
        "val": [document for document in documents if document.digest in held_out],
    }


def _fraction(digest: bytes) -> float:
    """A digest as a number from 0 to 1, exact in a float."""
    return int.from_bytes(digest[:6], "big") / 2**48


def _held_out(group: list[Document], share: float) -> list[bytes]:
    """Digests of the documents to hold out of one group until the share is reached; one always stays for training."""
    wanted, taken, chosen = share * sum(document.bytes for document in group), 0, []
    for document in sorted(group, key=lambda document: document.digest)[:-1]:
        if taken >= wanted:
            break
        chosen.append(document.digest)
        taken += document.bytes
    return chosen
