"""What `python -m engine queue` does and prints: the runs in line for each device, their order, holding a line."""

import argparse
from collections.abc import Callable
from typing import Any

from engine import launch, queue
from engine.follow import print_json
from engine.home import Home
from engine.phrases import count, duration, table

Arguments = argparse.Namespace


def words(command: argparse.ArgumentParser) -> None:
    """What may follow `queue` on the command line."""
    # Suppressed defaults: what was given before the action is not forgotten after it.
    every = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    every.add_argument("--home", help=argparse.SUPPRESS)
    every.add_argument("--json", action="store_true", help=argparse.SUPPRESS)
    actions = command.add_subparsers(dest="action", metavar="ACTION")

    def add(action: Callable[[Home, Arguments], str]) -> argparse.ArgumentParser:
        about = (action.__doc__ or "").partition("\n")[0]
        made = actions.add_parser(action.__name__.strip("_").replace("_", "-"), parents=[every], help=about)
        made.set_defaults(do=action)
        return made

    moved = add(_move)
    moved.add_argument("run", metavar="RUN", help="an id, the start of one, or a name")
    moved.add_argument("to", metavar="PLACE", help="first, last, up, down, or a number")
    for action in (_hold, _release):
        add(action).add_argument("device", nargs="?", default="", metavar="DEVICE", help="default: every line")
    add(_after_failure).add_argument("then", choices=["go-on", "hold"], help="default: go-on")


def show(given: Arguments) -> int:
    """Show the runs in line; move one, hold and release a line."""
    home = Home.at(given.home)
    launch.open_home(home)
    done = given.do(home, given) if given.action else ""
    found = queue.lines(home)
    if given.json:
        return print_json(found)
    print(done or "\n\n".join(map(_described, found["lines"])) or "Nothing runs and nothing is in line.")
    return 0


def _move(home: Home, given: Arguments) -> str:
    """Give a run another place in its line."""
    return f"{given.run} is number {queue.move(home, given.run, given.to)} in line."


def _hold(home: Home, given: Arguments) -> str:
    """Let no more runs of a line begin; the one that runs goes on."""
    return f"The line for {', '.join(queue.hold(home, given.device))} is held; `queue release` lets it go on."


def _release(home: Home, given: Arguments) -> str:
    """Let a held line go on."""
    released = queue.release(home, given.device)
    launch.ensure_supervisor(home)
    return f"The line for {', '.join(released)} goes on."


def _after_failure(home: Home, given: Arguments) -> str:
    """What a line does when a run has failed, crashed or diverged: go on, or hold."""
    queue.stop_after_failure(home, given.then == "hold")
    return "A failure holds the line." if given.then == "hold" else "The line goes on after a failure."


def _described(line: dict[str, Any]) -> str:
    """One line of runs in words."""
    owner = line["running"]
    doing = f"{owner['name']} is {owner['status']}" if owner else "nothing runs"
    if owner and owner["eta_seconds"] is not None:
        doing += f", {duration(owner['eta_seconds'])} to go"
    said = [f"{line['device']}: {doing}."]
    if line["held"]:
        said.append(f"The line is held: {line['held']} `python -m engine queue release` lets it go on.")
    if line["queued"]:
        head = ("PLACE", "NAME", "ID", "TO READ", "TAKES ABOUT", "BEGINS IN ABOUT")
        said.append(table(head, [_row(run, bool(line["held"])) for run in line["queued"]], right=(head[0], *head[3:])))
    else:
        said.append("Nothing is in line.")
    return "\n".join(said)


def _row(run: dict[str, Any], held: bool) -> tuple[str, ...]:
    begins = "held" if held else duration(run["starts_in"])
    left = run["target_tokens"] - run["tokens"]
    return str(run["place"]), run["name"], run["id"], count(left), duration(run["seconds"]), begins
