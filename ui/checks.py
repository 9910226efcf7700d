"""What a browser or a script sent, as what it must be, or a refusal in a sentence."""

import math
from typing import Any

from engine.store import Refused


def text(value: Any, what: str, longest: int) -> str:
    """`value` as text of at most `longest` characters, or Refused."""
    if not isinstance(value, str):
        raise Refused(f"{what} must be text.")
    if len(value) > longest:
        raise Refused(f"{what} has {len(value):,} characters; {longest:,} at most.")
    return value.replace("\x00", "")


def real(value: Any, what: str, low: float, high: float) -> float:
    """`value` as a number from `low` to `high`, or Refused."""
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not math.isfinite(value)
        or not low <= value <= high
    ):
        raise Refused(f"{what} must be a number from {low:g} to {high:g}.")
    return float(value)


def whole(value: Any, what: str, low: int, high: int) -> int:
    """`value` as a whole number from `low` to `high`, or Refused."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1 or not low <= value <= high:
        raise Refused(f"{what} must be a whole number from {low:,} to {high:,}.")
    return int(value)
