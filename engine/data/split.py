"""Which documents are held out for validation: decided by their content alone, before anything else looks at them."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from engine.store import Refused

SHARE = 0.03
"""Of each file's bytes. On the novels 1% would be some 20,000 tokens, too few for a steady figure."""
VALIDATION_BYTES = 4_000_000
"""Enough for 500,000 tokens of any usual text; beyond it nothing more is held out."""
FEW = 8
"""Files with fewer documents than this are taken together."""


@dataclass(frozen=True)
class Document:
    """One text, where it came from, and the sha256 of its bytes."""

    file: str
    text: str
    digest: str
    bytes: int

    @classmethod
    def of(cls, file: str, text: str) -> "Document":
        """A document with its digest and length filled in."""
        raw = text.encode()
        return cls(file, text, hashlib.sha256(raw).hexdigest(), len(raw))


def without_duplicates(documents: Iterable[Document]) -> list[Document]:
    """The first of each set of equal texts: an equal text in both parts would be validated on what was learned."""
    first: dict[str, Document] = {}
    for document in documents:
        first.setdefault(document.digest, document)
    return list(first.values())


def split_documents(documents: list[Document]) -> dict[str, list[Document]]:
    """Documents (no two equal) as `train` and `val`, each in the given order; the same documents give the same split.

    Every file with enough documents gives about its share to validation: those with the smallest digests.
    Raises Refused when there are fewer than two documents.
    """
    if len(documents) < 2:
        raise Refused(
            f"The source has {len(documents)} document{'s' * (len(documents) != 1)}, but training and "
            "validation need one each: give several files, or part a text file with form feeds."
        )
    files: dict[str, list[Document]] = {}
    for document in documents:
        files.setdefault(document.file, []).append(document)
    groups = [group for group in files.values() if len(group) >= FEW]
    rest = [document for group in files.values() if len(group) < FEW for document in group]
    share = min(SHARE, VALIDATION_BYTES / max(1, sum(document.bytes for document in documents)))
    held_out = {digest for group in [*groups, rest] for digest in _held_out(group, share)}
    if not held_out:
        held_out = {min(document.digest for document in documents)}
    return {
        "train": [document for document in documents if document.digest not in held_out],
        "val": [document for document in documents if document.digest in held_out],
    }


def _held_out(group: list[Document], share: float) -> list[str]:
    """Digests of the documents to hold out of one group until the share is reached; one always stays for training."""
    wanted, taken, chosen = share * sum(document.bytes for document in group), 0, []
    for document in sorted(group, key=lambda document: document.digest)[:-1]:
        if taken >= wanted:
            break
        chosen.append(document.digest)
        taken += document.bytes
    return chosen
