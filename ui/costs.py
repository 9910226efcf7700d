"""What runs cost, in the few numbers that the page shows."""

import time
from typing import Any

from sqlite_utils import Database

from engine import money
from engine.endings import stop_command
from engine.money import Price
from engine.store import Row
from ui.series import number

DIGITS = 4


def costs(db: Database, run: Row) -> dict[str, Any]:
    """For each refresh: what is not known is left out; empty where neither a price nor energy is known."""
    found = money.figures(run, time.time()) or {}
    values = {
        "spent": number(found.get("spent"), DIGITS),
        "finish": number(found.get("to_finish"), DIGITS),
        "million": number(found.get("per_million"), DIGITS),
        "joules": number(found.get("joules"), DIGITS),
        "given": number(found.get("joules_given") or None, DIGITS),
        "currency": found.get("currency"),
        "budget": found.get("budget"),
        "goal": found.get("goal"),
        "used_up": _used_up(db, run) or None,
    }
    return {name: value for name, value in values.items() if value is not None}


def compared(run: Row) -> dict[str, Any]:
    """For the table of all runs: what a run has cost, or None, and in which money."""
    found = money.figures(run, time.time()) or {}
    return {"cost": number(found.get("spent"), DIGITS), "currency": found.get("currency")}


def price(row: Row | None) -> dict[str, Any] | None:
    """A price as the page's form takes and gives it."""
    found = money.price_of(row)
    return {name: getattr(found, name) for name in NAMES} if found else None


NAMES = tuple(Price.__dataclass_fields__)
"""What a price is made of."""


def _used_up(db: Database, run: Row) -> bool:
    ended = run["status"] in ("stopping", "stopped") and run["budget"] is not None
    return ended and money.stopped_for(run, stop_command(db, run["id"]))
