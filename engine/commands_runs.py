"""What the commands do that name, label, put away and delete runs. engine/__main__.py has the words."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict

from sqlite_utils import Database

from engine import deleting, launch, store
from engine.follow import print_json
from engine.home import Home
from engine.phrases import age, count, loss, plain, size, table
from engine.snapshot import snapshot

Arguments = argparse.Namespace
ROWS = {
    "metrics": "steps",
    "evals": "evaluations",
    "samples": "answers",
    "events": "events",
}
"""What people call the rows of a table; those of others are `other rows`."""


def signed(words: Sequence[str]) -> list[str]:
    """The words of `tag` with `+new` as `--add=new` and `-old` as `--remove=old`, which argparse understands."""
    options = {"+": "--add=", "-": "--remove="}
    return [
        options[word[0]] + word[1:] if word[:1] in options and word[1:2] not in ("", "-") and word != "-h" else word
        for word in words
    ]


def runs(given: Arguments) -> int:
    """List the runs, newest first; those put away with --all."""
    home = Home.at(given.home)
    launch.open_home(home)
    with closing(store.connect(home.database)) as db:
        launch.reconcile(home, db)
        every = [launch.status_of(run) for run in store.list_runs(db)]
    found = [run for run in every if given.all or run["put_away_at"] is None]
    if given.json:
        return print_json(found)
    print(
        table(
            ("ID", "NAME", "PRESET", "STATUS", "AGE", "LOSS", "VAL LOSS", "TOK/S", "TAGS"),
            [
                (
                    run["id"],
                    plain(run["name"]),
                    run["preset"],
                    run["status"] + (", put away" if run["put_away_at"] else ""),
                    count(run["tokens"]),
                    loss(run["train_loss"]),
                    loss(run["val_loss"]),
                    count(run["tokens_per_second"]),
                    plain(", ".join(run["tags"])),
                )
                for run in found
            ],
            right=("AGE", "LOSS", "VAL LOSS", "TOK/S"),
        )
    )
    if away := len(every) - len(found):
        print(f"{away} more {'is' if away == 1 else 'are'} put away; --all shows them.", file=sys.stderr)
    return 0


def rename(given: Arguments) -> int:
    """Give a run another name."""
    return _labelled(given, lambda db, run: store.rename_run(db, run, given.name), "is called that now")


def tag(given: Arguments) -> int:
    """Add tags to a run (+good) and take others off it (-bad)."""
    return _labelled(given, lambda db, run: store.change_tags(db, run, given.add, given.remove), "")


def note(given: Arguments) -> int:
    """Write a note about a run, in place of the one before; an empty TEXT removes it."""
    return _labelled(given, lambda db, run: store.set_notes(db, run, given.text), "has a new note")


def put_away(given: Arguments) -> int:
    """Leave a run out of the lists until they are asked for all; --back brings it back."""
    done = "is back in the lists" if given.back else "is put away; nothing of it is lost"
    return _labelled(given, lambda db, run: store.put_away(db, run, not given.back), done)


def settings(given: Arguments) -> int:
    """Print the command that starts a run again with the same settings, or with --json all of them."""
    home = Home.at(given.home)
    with closing(store.connect(home.database)) as db:
        found = snapshot(db, store.find_run(db, given.run))
    if given.json:
        return print_json(found)
    if found["remark"]:
        print(found["remark"], file=sys.stderr)
    print(found["command"] or json.dumps(found["config"], indent=2))
    return 0


def delete(given: Arguments) -> int:
    """Delete a run for good: says what that frees, and does it with --yes."""
    home = Home.at(given.home)
    launch.open_home(home)
    frees = deleting.delete_run(home, given.run, given.exhibits) if given.yes else None
    shown = frees or deleting.what_it_frees(home, given.run)
    if given.json:
        print_json(asdict(shown) | {"deleted": frees is not None})
    else:
        print(_told(shown, given.exhibits))
    if frees:
        return 0
    also = "" if given.exhibits or not shown.exhibits else " --exhibits"
    print(shown.refusal or f"Nothing is deleted yet; {shown.name} goes with --yes{also}.", file=sys.stderr)
    return 1


def _told(frees: deleting.Frees, exhibits: bool) -> str:
    """What goes with a run, for people."""
    rows = [f"{number:,} {ROWS[table]}" for table, number in frees.rows.items() if table in ROWS]
    lines = {
        "run": f"{plain(frees.name)} ({frees.run_id})",
        "frees": f"{size(frees.bytes)} of disk, {frees.checkpoints:,} saved weights among it",
        "removes": f"{', '.join(rows)}; runs.db uses their room again" if rows else "",
        "exhibits": (f"{len(frees.exhibits):,} in the time capsule " + ("go too" if exhibits else "keep it from going"))
        if frees.exhibits
        else "",
        "forked": f"{', '.join(map(plain, frees.children))} came from it and stay whole" if frees.children else "",
    }
    return "\n".join(f"{name:8} {value}" for name, value in lines.items() if value)


def _labelled(given: Arguments, change: Callable[[Database, str], object], done: str) -> int:
    """Change a label of a run and tell how it is labelled then."""
    home = Home.at(given.home)
    with closing(store.connect(home.database)) as db:
        run_id = store.find_run(db, given.run)["id"]
        change(db, run_id)
        found = launch.status_of(store.get_run(db, run_id))
    if given.json:
        return print_json(found)
    tags = f"has the tags {plain(', '.join(found['tags']))}" if found["tags"] else "has no tags"
    print(f"{plain(found['name'])} ({found['id']}, {age(found['tokens'])}) {done or tags}.")
    return 0
