"""What to type to have such a run again: its text, its forebears, itself, and what was changed while it ran."""

import shlex
from dataclasses import dataclass

from sqlite_utils import Database

from engine import store
from engine.config import from_json
from engine.home import Home
from engine.phrases import exact
from engine.report_paths import STAND_IN, pathless, pathless_word
from engine.snapshot import changes, setting_words, snapshot
from engine.store import Row


@dataclass(frozen=True, kw_only=True)
class Step:
    """One command, what it is for, and what is to be known about it."""

    about: str
    command: str = ""
    remark: str = ""


def steps_of(home: Home, db: Database, run: Row, prepare: str) -> tuple[Step, ...]:
    """The commands in order; `prepare` makes the dataset, "" where that is not known."""
    steps = [_named("The text", prepare, "")] if prepare else []
    line = [run, *(parent for parent, _ in store.ancestors(db, run))][::-1]
    for one in line:
        steps += _of_one(home, db, one)
    return tuple(steps)


def _of_one(home: Home, db: Database, run: Row) -> list[Step]:
    """How one run came to be."""
    first = _fork(db, run) if run["parent_run_id"] else None
    if first is None:
        found = snapshot(db, run)
        lost = run["note"].startswith("Forked from")
        about = f"The settings of {run['name']}, from the beginning" if lost else f"The run {run['name']}"
        remark = f"{pathless(run['note'], home)} So this does not make it again." if lost else found["remark"]
        first = _named(about, found["command"], remark)
    begun = run["parent_step"] or 0
    later = [one for one in store.list_changes(db, run["id"]) if one["step"] is not None and one["step"] > begun]
    return [first, *(_change(run, one) for one in later)]


def _fork(db: Database, run: Row) -> Step:
    parent = store.get_run(db, run["parent_run_id"])
    before, now = (from_json(store.get_config(db, one["id"])) for one in (parent, run))
    words = ["python -m engine fork", shlex.quote(parent["name"]), f"--step {run['parent_step']}"]
    words += ["--name", shlex.quote(run["name"]), *setting_words(changes(now, before))]
    about = f"The run {run['name']}, from {parent['name']} as it was at step {run['parent_step']:,}"
    return _named(about, " ".join(words), "")


def _change(run: Row, change: Row) -> Step:
    command = f"python -m engine set {shlex.quote(run['name'])} {change['key']}={exact(change['value'])}"
    return Step(about=f"While {run['name']} trained, after step {change['step']:,}", command=command)


def _named(about: str, command: str, remark: str) -> Step:
    """A step whose command has no folder of this machine in it."""
    try:
        words = shlex.split(command)
    except ValueError:  # a dataset's card that was edited
        return Step(about=about, remark="The command that was kept is damaged.")
    plain = [pathless_word(word) for word in words]
    if plain != words:
        remark = f"{remark} Put your own folder in place of {STAND_IN.rstrip('/')}.".strip()
    return Step(about=about, command=shlex.join(plain), remark=remark)
