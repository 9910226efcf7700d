"""What people want to hear of a run while it trains: all its prompts, now. The run's trainer asks them."""

from sqlite_utils import Database

from engine import store
from engine.store import Refused, Row

COMMAND = "sample"
"""The kind of the command; it is done when the prompts were asked."""


def sample_now(db: Database, run: str) -> Row:
    """Have a run asked all its prompts after the step it is in; returns its row. Raises Refused where none trains.

    While such a wish waits, another one adds nothing. The run's status must be a true one (launch.reconcile).
    """
    with store.writing(db):
        found = store.find_run(db, run)
        if found["status"] not in store.OPEN:
            raise Refused(f"{found['name']} is {found['status']}; only a run that trains can be asked while it does.")
        if found["status"] != "running":
            raise Refused(f"{found['name']} is {found['status']}; its prompts can be asked once it trains.")
        if not any(waiting["run_id"] == found["id"] for waiting in store.waiting_commands(db, (COMMAND,))):
            store.give_command(db, found["id"], COMMAND)
    return found
