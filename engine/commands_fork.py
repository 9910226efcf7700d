"""What the commands about runs that come from runs do and print."""

import argparse
import sys
from contextlib import closing

from engine import config, fork, launch, store
from engine.follow import begun
from engine.home import Home


def fork_run(given: argparse.Namespace) -> int:
    """Begin a run with the weights of another one and changed settings; with --wait, follow it to its end."""
    home, overrides = Home.at(given.home), config.parse_overrides(given.set)
    launch.open_home(home)
    with closing(store.connect(home.database)) as db:
        plan = fork.plan_fork(home, db, store.find_run(db, given.run), given.step, overrides)
    for note in plan.notes:  # before it begins, and apart from what programs read
        print(note, file=sys.stderr, flush=True)
    run_id = fork.fork_run(home, plan.parent["id"], plan.origin.step, given.name, overrides)
    return begun(home, run_id, given)
