"""Whether a dataset fits onto the disk."""

import math
from collections.abc import Sequence

from engine.data.recipe import Recipe
from engine.data.shards import SPLITS, shard_file
from engine.data.sources import Reader
from engine.home import Home
from engine.space import RESERVE, free_disk
from engine.store import Refused

SMALL_TOKEN_BYTES = 3
"""Bytes of text in a token where pieces are short (assumption; bpe:257 has one)."""


def check_space(home: Home, name: str, recipe: Recipe, readers: Sequence[Reader], wide: bool = False) -> None:
    """Raise Refused where the shards cannot fit onto the disk. Where nobody knows how much text there is, they may.

    `readers`: of the sources that can be opened at once. `wide`: tokens take four bytes in place of two. What an
    earlier attempt has written needs no more room.
    """
    unknown = len(readers) < len(recipe.sources) or any(reader.bytes is None for reader in readers)
    known = math.inf if unknown else sum(reader.bytes or 0 for reader in readers) / SMALL_TOKEN_BYTES
    tokens = min(recipe.tokens or math.inf, known)
    shards = [home.making(name) / shard_file(split) for split in SPLITS]
    written = sum(path.stat().st_size for path in shards if path.is_file())
    needed = (4 if wide else 2) * tokens - written + RESERVE if tokens < math.inf else 0
    free = free_disk(home.dataset(name).parent)
    if needed > free:
        raise Refused(
            f"datasets/{name} needs about {needed / 1e9:,.1f} GB of disk and {free / 1e9:,.1f} GB are free; "
            "free some space, or ask for fewer tokens."
        )
