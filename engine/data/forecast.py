"""What a whole dataset comes to, reckoned from the beginning of each of its sources."""

import math
from dataclasses import dataclass, field
from typing import Any

from engine.data.chunks import CHUNK_BYTES
from engine.data.prepare import LEARN_CHUNKS, TOKEN_BYTES
from engine.data.recipe import Recipe
from engine.data.split import share_for


@dataclass
class Sample:
    """The beginning of one source. Kept is what filters and the search for equal documents leave."""

    kept: list[str] = field(default_factory=list)
    read: int = 0
    """Documents."""
    bytes: int = 0
    """Of the text of all of them."""
    kept_bytes: int = 0
    seconds: float = 0.0
    """Of reading, from the first text on."""
    whole: bool = False
    """Whether this is all of the source."""
    total: int | None = None
    """Bytes of text in the whole source; None where nobody knows."""
    tokens: int = 0
    """Of the kept texts, or as many of them as there was time for."""
    encoded: int = 0
    """Bytes that became these tokens."""
    spelled: int = 0
    """Bytes that these tokens stand for: fewer where the tokenizer lacks some."""

    @property
    def kept_total(self) -> float:
        """Bytes of text that the whole source leaves; infinite where nobody knows."""
        if self.total is None:
            return math.inf
        return self.total * self.kept_bytes / self.bytes if self.bytes else 0.0

    @property
    def density(self) -> float:
        """Tokens in a byte of kept text."""
        return self.tokens / self.encoded if self.encoded else 0.0


def amounts(recipe: Recipe, samples: list[Sample]) -> list[float]:
    """Bytes of kept text of each source in the finished dataset; infinite where nobody knows.

    As engine/data/chunks.py takes them: one source after the other, or by their weights until one has no more.
    """
    limits = [sample.kept_total for sample in samples]
    wanted = _wanted_tokens(recipe, sum(limits))
    if recipe.mixed:
        weights = [source.weight for source in recipe.sources]
        density = sum(weight * sample.density for weight, sample in zip(weights, samples, strict=True))
        unit = min(limit / weight for limit, weight in zip(limits, weights, strict=True))
        unit = min(unit, wanted / density if density else math.inf)
        return [unit * weight for weight in weights]
    taken = []
    for limit, sample in zip(limits, samples, strict=True):
        taken.append(min(limit, wanted / sample.density if sample.density else math.inf))
        wanted = max(0.0, wanted - taken[-1] * sample.density)
    return taken


def bytes_per_token(recipe: Recipe, samples: list[Sample]) -> float:
    """Of the whole dataset, in which each source has its part; 0 where nothing is kept."""
    parts = amounts(recipe, samples)
    if not all(map(math.isfinite, parts)):
        parts = [source.weight or sample.kept_bytes for source, sample in zip(recipe.sources, samples, strict=True)]
    tokens = sum(part * sample.density for part, sample in zip(parts, samples, strict=True))
    return round(sum(parts) / tokens, 4) if tokens else 0.0


def forecast(
    recipe: Recipe, samples: list[Sample], *, width: int, tokenizer_bytes: int, speed: float, learning: float
) -> dict[str, Any]:
    """Tokens and documents of both splits, bytes on the disk and seconds; None for what nobody knows.

    `width`: bytes of a token on the disk. `speed`: tokens encoded in a second. `learning`: seconds it took to learn a
    vocabulary of the samples, 0 where none is learned. `exact`: whether tokens and documents are counted, not reckoned.
    """
    parts = amounts(recipe, samples)
    if not all(map(math.isfinite, parts)):
        return {"tokens": None, "documents": None, "bytes_on_disk": None, "seconds": None, "exact": False}
    used = [(part, sample) for part, sample in zip(parts, samples, strict=True) if sample.kept_bytes]
    tokens = sum(part * sample.density for part, sample in used)
    documents = sum(part * len(sample.kept) / sample.kept_bytes for part, sample in used)
    reading = sum(part * sample.seconds / sample.kept_bytes for part, sample in used)
    read = sum(sample.kept_bytes for sample in samples)
    learning *= min(sum(parts), LEARN_CHUNKS * CHUNK_BYTES) / read if read else 0.0
    counted = all(sample.whole and sample.encoded == sample.kept_bytes == part for part, sample in used)
    return {
        "tokens": round(tokens),
        "documents": round(documents),
        "bytes_on_disk": round(tokens) * width + 8 * round(documents) + tokenizer_bytes,
        "seconds": round(reading + learning + (tokens / speed if speed else 0.0), 1),
        "exact": counted and not learning,
    }


def _wanted_tokens(recipe: Recipe, text: float) -> float:
    """Tokens of both splits until the budget of training tokens is reached; infinite without one."""
    if not recipe.tokens:
        return math.inf
    known = min(text, TOKEN_BYTES * recipe.tokens)
    return recipe.tokens / (1 - share_for(round(known) if math.isfinite(text) else None))
