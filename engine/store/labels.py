"""What people write about a run: its name, tags, a note, and that it is put away. Functions take an open database."""

import json
import time
import unicodedata
from collections.abc import Sequence
from typing import Any

from sqlite_utils import Database

from engine.store.connect import Refused, rows, writing
from engine.store.migrations import ACTIVE
from engine.store.reference import REFERENCE_ID
from engine.store.runs import OPEN, check_run_name, get_run

LONGEST_TAG, MOST_TAGS = 40, 20
LONGEST_NOTE = 4000
_JOINER = "\u200d"
"""Holds the parts of an emoji together, and is invisible like a control character."""


def rename_run(db: Database, run_id: str, name: str) -> None:
    """Give a run another name; refused where another run has it, so that a name on the command line means one run."""
    check_run_name(name)
    with writing(db):
        run = get_run(db, run_id)
        if run["kind"] == "published":
            raise Refused("The published run keeps its name.")
        if rows(db, "SELECT 1 FROM runs JOIN run_state ON run_id = id WHERE name = ? AND id != ?", [name, run_id]):
            raise Refused(f"Another run is called {name} already; choose another name.")
        db.conn.execute("UPDATE runs SET name = ? WHERE id = ?", [name, run_id])


def change_tags(db: Database, run_id: str, add: Sequence[str] = (), remove: Sequence[str] = ()) -> list[str]:
    """Add tags to a run and take others off it; returns what it has then, in the order in which they were given.

    Capital letters make no difference: a tag that is there stays as it is written. Taking off what is not there is no
    error.
    """
    wanted, unwanted = [check_tag(tag) for tag in add], {tag.strip().casefold() for tag in remove}
    with writing(db):
        tags = [tag for tag in get_run(db, run_id)["tags"] if tag.casefold() not in unwanted]
        for tag in wanted:
            if tag.casefold() not in {known.casefold() for known in tags}:
                tags.append(tag)
        if len(tags) > MOST_TAGS:
            raise Refused(f"A run has at most {MOST_TAGS} tags; these are {len(tags)}.")
        _write(db, run_id, "tags", json.dumps(tags, ensure_ascii=False))
    return tags


def set_notes(db: Database, run_id: str, text: str) -> None:
    """Write what a person notes about a run, in place of what was there; "" for nothing."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").strip()
    if len(text) > LONGEST_NOTE:
        raise Refused(f"A note has at most {LONGEST_NOTE:,} characters; this one has {len(text):,}.")
    if any(unicodedata.category(sign) in ("Cc", "Cs") and sign not in "\n\t" for sign in text):
        raise Refused("A note is plain text; this one has control characters in it.")
    with writing(db):
        get_run(db, run_id)
        _write(db, run_id, "notes", text)


def put_away(db: Database, run_id: str, away: bool = True) -> None:
    """Keep a run out of lists until somebody asks for it, or bring it back; nothing of it is lost."""
    with writing(db):
        run = get_run(db, run_id)
        if away and run_id == REFERENCE_ID:
            raise Refused("The published run stays in sight: your own are measured by it.")
        if away and run["status"] in OPEN:
            doing = "waits in line" if run["status"] not in ACTIVE else f"is {run['status']}"
            raise Refused(f"{run['name']} {doing}; put it away when it has ended.")
        _write(db, run_id, "put_away_at", (run["put_away_at"] or time.time()) if away else None)


def check_tag(text: str) -> str:
    """A tag as it is kept; raises Refused for what cannot be one."""
    tag = unicodedata.normalize("NFC", " ".join(text.split()))
    if not 1 <= len(tag) <= LONGEST_TAG:
        raise Refused(f"A tag has 1 to {LONGEST_TAG} characters; {tag[:50]!r} has {len(tag):,}.")
    if "," in tag or not tag.replace(_JOINER, "").isprintable():
        raise Refused(f"The tag {tag!r} must be plain text without commas.")
    return tag


def _write(db: Database, run_id: str, column: str, value: Any) -> None:
    """Set one column of a run's labels, within the caller's transaction."""
    db.conn.execute(
        f"INSERT INTO run_labels (run_id, {column}) VALUES (:run, :value) "
        f"ON CONFLICT (run_id) DO UPDATE SET {column} = excluded.{column}",
        {"run": run_id, "value": value},
    )
