"""What the commands that give a run other settings do and print: in a fork of it, or while it runs."""

import argparse
import sys
from contextlib import closing

from engine import changing, config, fork, launch, store
from engine.follow import begun, print_json
from engine.home import Home


def fork_run(given: argparse.Namespace) -> int:
    """Begin a run with the weights of another one and changed settings; with --wait, follow it to its end."""
    home, overrides = Home.at(given.home), config.parse_overrides(given.set)
    launch.open_home(home)
    with closing(store.connect(home.database)) as db:
        plan = fork.plan_fork(home, db, store.find_run(db, given.run), given.step, overrides)
    for note in plan.notes:  # before it begins, and apart from what programs read
        print(note, file=sys.stderr, flush=True)
    run_id = fork.fork_run(home, plan.parent["id"], plan.origin.step, given.name, overrides, given.queue)
    return begun(home, run_id, given)


def words(change: argparse.ArgumentParser) -> None:
    """The words of `set` after the run."""
    change.add_argument(
        "changes",
        nargs="+",
        metavar="KEY=VALUE",
        help="rate_factor, eval.every, sample.every, checkpoint.every, train.tokens (where it ends), schedule.tokens",
    )


def change_run(given: argparse.Namespace) -> int:
    """Change settings of a run while it trains, or before it goes on."""
    change = changing.change_run(Home.at(given.home), given.run, config.parse_overrides(given.changes))
    if given.json:
        return print_json({"id": change.run["id"], "changes": change.values, "notes": change.notes})
    for note in change.notes:
        print(note)
    if change.run["status"] not in store.ACTIVE:
        print(f"{change.run['name']} is {change.run['status']}; this holds once it goes on.")
    return 0
