"""What the command about reports does and prints."""

import argparse
import time
from contextlib import closing
from pathlib import Path

from engine import launch, store
from engine.follow import print_json
from engine.home import Home


def words(make: argparse.ArgumentParser) -> None:
    """The words of `report` after the run."""
    make.add_argument("--out", required=True, metavar="DIR", help="a new folder, or one with an earlier report")
    make.add_argument(
        "--text",
        action="append",
        default=[],
        metavar="BLOCK=TEXT",
        help=f"write a block of it first: {', '.join(store.REPORT_BLOCKS)}",
    )


def report(given: argparse.Namespace) -> int:
    """Write the milestone report of a run, as Markdown, HTML and a model card."""
    from engine.report import write_report  # numpy: only this command pays for it

    home = Home.at(given.home)
    with closing(store.connect(home.database)) as db:
        launch.reconcile(home, db)
        run = store.find_run(db, given.run)
        for text in given.text:
            block, equals, words = text.partition("=")
            if not equals:
                raise store.Refused(f"{text[:40]!r} must be BLOCK=TEXT, for example author=Ada.")
            store.set_report_block(db, run["id"], block, words)
        made, paths = write_report(home, db, run, time.time(), Path(given.out))
    if given.json:
        told = {"id": run["id"], "interim": made.facts.interim, "paths": [str(path) for path in paths]}
        return print_json(told)
    if made.document.interim:
        print(made.document.interim)
    for path in paths:
        print(path)
    return 0
