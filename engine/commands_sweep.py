"""What `python -m engine sweep` does and prints: runs for every value of one or two settings, and what came of them."""

import argparse
from contextlib import closing
from typing import Any

from engine import launch, store, sweep
from engine.config import DEFAULT_PRESET, parse_overrides
from engine.follow import print_json
from engine.home import Home
from engine.phrases import duration, loss, table

Arguments = argparse.Namespace


def words(command: argparse.ArgumentParser) -> None:
    """What may follow `sweep` on the command line."""
    command.description = f"{run.__doc__} Values: {sweep.GRAMMAR}."
    command.add_argument("--preset", default=DEFAULT_PRESET)
    command.add_argument("--name", default="", help="of the sweep, and how its runs' names begin")
    for option, what, about in (
        ("--vary", "KEY=VALUES", f"one or two settings; {sweep.GRAMMAR}"),
        ("--set", "KEY=VALUE", "change a setting of all runs"),
    ):
        command.add_argument(option, nargs="+", action="extend", default=[], metavar=what, help=about)
    does = command.add_mutually_exclusive_group()
    does.add_argument("--preview", action="store_true", help="show the runs and how long they take, begin none")
    does.add_argument("--show", metavar="NAME", default="", help="what came of a sweep")
    does.add_argument("--take-out", metavar="NAME", default="", help="take its runs that have not begun out of line")


def run(given: Arguments) -> int:
    """Put a run for each value of one or two settings in line; --show compares them; without options: list."""
    home = Home.at(given.home)
    launch.open_home(home)
    if given.show:
        found = sweep.result(home, given.show)
        return print_json(found) if given.json else _say(described(found))
    if given.take_out:
        taken = sweep.take_out(home, given.take_out)
        told = f"{taken} {'run is' if taken == 1 else 'runs are'} out of the line."
        return print_json({"taken_out": taken}) if given.json else _say(told)
    vary, overrides = sweep.parse_vary(given.vary), parse_overrides(given.set)
    if not vary and not overrides and not given.preview:
        return _list(home, given.json)
    if given.preview:
        with closing(store.connect(home.database)) as db:
            plan = sweep.preview(db, given.preset, vary, given.name, overrides)
        names = "\n".join(one["name"] for one in plan["runs"])
        told = f"{names}\n{len(plan['runs'])} runs, about {duration(plan['seconds'])} in all."
        return print_json(plan) if given.json else _say(told)
    name = sweep.start(home, given.preset, vary, given.name, overrides)
    launch.ensure_supervisor(home)
    if given.json:
        return print_json(sweep.result(home, name))
    print(name)
    return 0


def described(found: dict[str, Any]) -> str:
    """A sweep as a table: a row a run, or for two settings a grid of the best figures; the best of all has a star."""
    keys = list(found["settings"])
    unit = "bits per byte of" if found["measure"] == "val_bits_per_byte" else "loss on"
    ended = f"{found['ended']} of {len(found['runs'])} runs have ended; best {unit} unseen text, * the best of all."
    if len(keys) == 1:
        names = (keys[0], "RUN", "STATUS", "BEST", "AT STEP", "FINAL", "TIME")
        rows = [_row(one, found["best"]) for one in found["runs"]]
        return f"{table(names, rows, right=(keys[0], *names[3:]))}\n{ended}"
    down, across = (found["settings"][key] for key in keys)
    cells = {tuple(one["values"]): one for one in found["runs"]}
    grid = [(_value(one), *(_cell(cells.get((one, other)), found["best"]) for other in across)) for one in down]
    head = (f"{keys[0]} \\ {keys[1]}", *(_value(one) for one in across))
    return f"{table(head, grid, right=head)}\n{ended}"


def _list(home: Home, as_json: bool) -> int:
    with closing(store.connect(home.database)) as db:
        found = store.list_sweeps(db)
    if as_json:
        return print_json(found)
    rows = [
        (one["name"], one["preset"], "; ".join(f"{key}={_values(of)}" for key, of in one["settings"].items()))
        for one in found
    ]
    return _say(table(("NAME", "PRESET", "VARIES"), rows) if rows else "There are no sweeps yet; --vary makes one.")


def _row(one: dict[str, Any], best: str | None) -> tuple[str, ...]:
    step = "–" if one["best_step"] is None else f"{one['best_step']:,}"
    values = (_value(one["values"][0]), one["name"], one["status"], _cell(one, best), step)
    return (*values, loss(one["final"]), duration(one["seconds"] or None))


def _cell(one: dict[str, Any] | None, best: str | None) -> str:
    """The best figure of a run, or how it is while it has none."""
    if one is None:
        return "gone"
    if one["best"] is None:
        return str(one["status"])
    return loss(one["best"]) + ("*" if one["id"] == best else "")


def _values(values: list[Any]) -> str:
    return ",".join(_value(one) for one in values)


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


def _say(text: str) -> int:
    print(text)
    return 0
