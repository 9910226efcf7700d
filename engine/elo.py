"""Ratings from votes between two, as chess has them: Elo, The Rating of Chessplayers, Past and Present (1978).

Before a vote the one rated A is expected to reach 1 / (1 + 10^((B - A) / 400)) points against the one rated B. A win
is 1 point, a tie 1/2. Each side's rating then moves by K times the difference between what it reached and what was
expected. Votes count in the order in which they were given; what wins against a favourite gains more.
"""

from collections.abc import Iterable
from dataclasses import dataclass

START = 1000.0
"""Of whoever has no votes yet; only differences mean anything."""
K = 24.0
"""How far one vote moves a rating. Chess takes 10 for its strongest players; here few votes have to do (assumption)."""
Key = tuple[str, int]
"""A run's id and a step of it."""


@dataclass
class Standing:
    """How one stands after its votes."""

    rating: float = START
    votes: int = 0


def expected(mine: float, theirs: float) -> float:
    """The share of the points that a rating is expected to win against another."""
    return float(1 / (1 + 10 ** ((theirs - mine) / 400)))


def standings(votes: Iterable[tuple[Key, Key, float]]) -> dict[Key, Standing]:
    """Everybody's standing after these votes: one side, the other, and what the first one reached (1, 1/2 or 0)."""
    found: dict[Key, Standing] = {}
    for one, other, score in votes:
        first, second = found.setdefault(one, Standing()), found.setdefault(other, Standing())
        moved = K * (score - expected(first.rating, second.rating))
        first.rating, second.rating = first.rating + moved, second.rating - moved
        first.votes, second.votes = first.votes + 1, second.votes + 1
    return found
