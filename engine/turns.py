"""Whose turn it is: the supervisor's part of the line of runs that wait for a device. No torch.

A device whose run has ended goes to the next in line, however that one ended, unless people asked to be waited for. A
run that goes on by itself after a crash keeps its device: it is reopened in the transaction that ended it.
"""

from sqlite_utils import Database

from engine import store
from engine.config import ConfigError, from_json
from engine.gpu import choose_device
from engine.home import Home
from engine.space import check_disk


def give_turns(home: Home, db: Database) -> bool:
    """Let the first in line of every free device begin; whether runs wait that will begin without a person."""
    lines = store.lines_that_move(db)
    for device in lines:
        if store.owner_of(db, device) is None:
            _next(home, db, device)
    return bool(lines)


def _next(home: Home, db: Database, device: str) -> None:
    """Begin the first run in line for a free device, or say why it cannot: then the next look finds the next one."""
    first = store.queued_runs(db, device)[:1]
    if not first or _waits_for_people(db, device):
        return
    run = first[0]
    obstacle = _obstacle(home, db, run)
    with store.writing(db):
        if not obstacle:
            store.begin_run(db, run["id"])
        elif store.end_run(db, run["id"], "failed", obstacle, only_from=("queued",)):
            store.add_event(db, run["id"], "failed", obstacle, run["step"])


def _waits_for_people(db: Database, device: str) -> bool:
    """Hold the line after a failure where that is wished; whether it was done."""
    if not store.get_preference(db, store.STOPS_AFTER_FAILURE, False):
        return False
    with store.writing(db):
        failed = store.unanswered_failure(db, device)
        if failed:
            store.hold_line(db, device, f"{failed['name']} {failed['status']}, and the line stops after a failure.")
    return failed is not None


def _obstacle(home: Home, db: Database, run: store.Row) -> str:
    """Why a run whose turn it is cannot begin, in a sentence, or ""; what its trainer would tell is left to that."""
    try:
        choose_device(run["device"])
        check_disk(home, from_json(store.get_config(db, run["id"])))
    except (ConfigError, store.Refused) as reason:
        return str(reason)
    return ""
