"""What the machine did while a run trained, and what a run costs. Functions take an open database first."""

import time
from typing import Any

from sqlite_utils import Database

from engine.store.connect import Row, columns, insert, rows
from engine.store.preferences import get_preference, set_preference

MACHINE = (
    "measured_at",
    "cpu_use",
    "memory_used",
    "memory_total",
    "run_memory",
    "disk_free",
    "gpu_use",
    "gpu_memory_used",
    "gpu_memory_total",
    "gpu_temperature",
    "gpu_watts",
    "gpu_clock",
)
"""What a row of `machine` measures; None where nothing told."""
PRICE = ("price_per_hour", "price_per_kwh", "given_watts", "currency")
"""The columns of a run's state that say what its machine costs."""
HOME_PRICE = "price"
"""What the machine of this home costs, among the preferences."""


def add_machine(db: Database, run_id: str, attempt: int, step: int, **measured: Any) -> None:
    """Keep what the machine did since the row before; see MACHINE."""
    insert(db, "machine", {"run_id": run_id, "attempt": attempt, "step": step, **measured})


def list_machine(db: Database, run_id: str) -> list[tuple[float | None, ...]]:
    """Every row of a run in the order of MACHINE, oldest first; some thousands at most."""
    return columns(db, f"SELECT {', '.join(MACHINE)} FROM machine WHERE run_id = ? ORDER BY id", [run_id])


def begin_meter(db: Database, run_id: str) -> None:
    """Count the time of an attempt from now on; a run's first attempt takes over the price of the home."""
    db.conn.execute("UPDATE run_state SET metered_at = ? WHERE run_id = ?", [time.time(), run_id])
    untouched = f"attempt = 0 AND {' AND '.join(f'{name} IS NULL' for name in PRICE)}"
    if (price := home_price(db)) and rows(db, f"SELECT 1 FROM run_state WHERE run_id = ? AND {untouched}", [run_id]):
        set_price(db, run_id, price)


def settled(run: Row) -> Row:
    """`process_seconds` and `unmeasured_seconds` of a run that has ended: a last piece that nobody watched counts too.

    It reaches from the last look at the run to the last word of its trainer.
    """
    gap = 0.0
    if run["metered_at"] is not None and run["heartbeat_at"] is not None:
        gap = max(0.0, run["heartbeat_at"] - run["metered_at"])
    return {name: run[name] + gap for name in ("process_seconds", "unmeasured_seconds")}


def home_price(db: Database) -> Row | None:
    """What the machine of this home costs, as the columns PRICE; None where nobody said so."""
    found: Row | None = get_preference(db, HOME_PRICE)
    return found


def set_home_price(db: Database, price: Row | None) -> None:
    """Keep what the machine of this home costs, for runs to come; None forgets it."""
    set_preference(db, HOME_PRICE, price)


def set_price(db: Database, run_id: str, price: Row | None) -> None:
    """Keep what the machine of one run costs, as the columns PRICE; None forgets it."""
    names = ", ".join(f"{name} = ?" for name in PRICE)
    values = [(price or {}).get(name) for name in PRICE]
    db.conn.execute(f"UPDATE run_state SET {names} WHERE run_id = ?", [*values, run_id])
