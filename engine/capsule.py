"""What is in a .capsule file and how large it may be; docs/CAPSULE.md explains it. Nothing here reads or writes one."""

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from engine.store import Refused

FORMAT, VERSION = "blueberry-capsule", 1
SUFFIX = ".capsule"
MANIFEST, RUNS, EXHIBITS, SAMPLES, CURVES, CARDS = (
    "manifest.json",
    "runs.json",
    "exhibits.jsonl",
    "samples.jsonl",
    "curves.jsonl",
    "cards.json",
)
TOKENIZER = re.compile(r"tokenizers/([0-9a-f]{64})\.json")
WEIGHTS = re.compile(r"weights/([0-9a-f]{64})\.safetensors")
HASH = re.compile(r"[0-9a-f]{64}")
ID = re.compile(r"[0-9a-z][0-9a-z-]{0,63}")

MB = 2**20
LARGEST = {MANIFEST: 4 * MB, RUNS: 16 * MB, EXHIBITS: 128 * MB, SAMPLES: 128 * MB, CURVES: 128 * MB, CARDS: 16 * MB}
"""Bytes that a member of this name may have, unpacked."""
LARGEST_TOKENIZER = 64 * MB
LARGEST_WEIGHTS = 64 * 1024 * MB
MOST_MEMBERS = 4096
MOST_RUNS = 500
MOST_ROWS = 200_000
"""Lines of exhibits.jsonl, of samples.jsonl, of curves.jsonl."""
LONGEST_LINE = 2 * MB
LONGEST_TEXT = 200_000
"""Characters of an answer; one of 8,192 tokens has some 40,000."""
LONGEST_TITLE, LONGEST_SENDER = 200, 100
MOST_RATIO = 200
"""How many bytes may come out of one; text gives 3 to 10, and a bomb a thousand."""


@dataclass(frozen=True)
class Cover:
    """What may be read of a capsule before it is opened."""

    id: str
    title: str
    sender: str
    """Whom it is from, as they call themselves; may be empty."""
    created_at: float
    sealed_until: str | None
    """A date, as 2027-11-30, before which only the cover is shown."""
    exhibits: int
    samples: int
    runs: tuple[str, ...]
    """Their names."""
    weights: int
    """Bytes of weights in it."""
    bytes: int
    """Of the file."""

    @property
    def opens_at(self) -> float | None:
        """The first moment, in UTC, of the date until which it is sealed."""
        return None if self.sealed_until is None else moment(self.sealed_until)

    def is_sealed(self, now: float) -> bool:
        """Whether its date is still to come."""
        return self.opens_at is not None and now < self.opens_at


def cover_of(manifest: dict[str, Any], size: int) -> Cover:
    """The cover of a capsule with this manifest, whose file has `size` bytes."""
    return Cover(
        id=manifest["id"],
        title=manifest["title"],
        sender=manifest["from"],
        created_at=float(manifest["created_at"]),
        sealed_until=manifest["sealed_until"],
        exhibits=manifest["exhibits"],
        samples=manifest["samples"],
        runs=tuple(manifest["runs"]),
        weights=sum(one["bytes"] for name, one in manifest["members"].items() if WEIGHTS.fullmatch(name)),
        bytes=size,
    )


def read_date(text: str) -> str:
    """A date as it stands in a capsule; raises Refused for what is none."""
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise Refused(f"The date {text[:40]!r} must be a day as 2027-11-30.") from error


def moment(day: str) -> float:
    """When a day begins, in seconds since 1970."""
    return datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()


def dumped(value: Any) -> bytes:
    """A value as JSON, always the same bytes for the same value."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def identity(manifest: dict[str, Any]) -> str:
    """The capsule's id: a hash of what is in it, which does not depend on when it was packed."""
    content = {key: value for key, value in manifest.items() if key not in ("id", "created_at")}
    return hashlib.sha256(dumped(content)).hexdigest()


def largest(name: str) -> int:
    """Bytes that a member may have; 0 for a name that a capsule does not know."""
    if TOKENIZER.fullmatch(name):
        return LARGEST_TOKENIZER
    return LARGEST_WEIGHTS if WEIGHTS.fullmatch(name) else LARGEST.get(name, 0)


def parsed(text: bytes, name: str) -> Any:
    """JSON without surprises: no numbers that are none, nothing nested too deep, no halves of characters."""
    try:
        value = json.loads(text.decode("utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise Refused(f"The capsule cannot be taken: {name} is not valid JSON.") from error
    return value


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number")
