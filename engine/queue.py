"""What people ask of the lines of runs that wait for a device: see, order, hold and release them. No torch."""

from contextlib import closing, suppress
from functools import lru_cache
from typing import Any

from sqlite_utils import Database

from engine import launch, store
from engine.config import ConfigError, RunConfig, from_json
from engine.estimate import training_flops
from engine.home import Home

BY_HAND = "It is held by a person."
PLACES = ("first", "last", "up", "down")
SMALLEST_MEASURE = 1_000_000
"""Parameters from which on a run's speed says something about models of another size."""
RUNNING = ("id", "name", "status", "eta_seconds", "progress")


def lines(home: Home) -> dict[str, Any]:
    """Every device with a run or a line: who has it, who waits for how long, and whether the line is held.

    `seconds` is how long a run takes and `starts_in` when it begins, both estimates, None where nothing is known.
    `stops_after_failure` is what `stop_after_failure` sets.
    """
    with closing(store.connect(home.database)) as db:
        launch.reconcile(home, db)
        return lines_of(db)


def lines_of(db: Database) -> dict[str, Any]:
    """The same from an open database whose statuses are true."""
    runs, held = store.list_runs(db), store.held_lines(db)
    owners = {run["device"]: run for run in runs if run["status"] in store.ACTIVE}
    waiting = store.queued_runs(db)
    devices = sorted({*owners, *held, *(run["device"] for run in waiting)})
    return {
        "stops_after_failure": bool(store.get_preference(db, store.STOPS_AFTER_FAILURE, False)),
        "lines": [
            _line(db, device, owners.get(device), [run for run in waiting if run["device"] == device], held, runs)
            for device in devices
        ],
    }


def move(home: Home, run: str, to: str | int) -> int:
    """Give a run in line another place in it, `first`, `last`, `up`, `down` or a number from 1; returns its place."""
    with closing(store.connect(home.database, durable=True)) as db:
        run_id = store.find_run(db, run)["id"]
        with store.writing(db):
            found = store.get_run(db, run_id)
            if found["status"] != "queued":
                raise store.Refused(f"{found['name']} is {found['status']}, not in line, so it has no place to change.")
            order = [one["id"] for one in store.queued_runs(db, found["device"])]
            place = _place(order.index(run_id) + 1, to, len(order))
            order.remove(run_id)
            order.insert(place - 1, run_id)
            store.set_order(db, order)
    return place


def hold(home: Home, device: str = "") -> list[str]:
    """Let no more runs of a line begin until `release`; without a device of every line. Returns the devices.

    The run that has the device goes on.
    """
    with closing(store.connect(home.database, durable=True)) as db, store.writing(db):
        devices = [device] if device else _devices(db) or [launch.default_device()]
        if device and device not in (known := {*_devices(db), launch.default_device()}):
            raise store.Refused(f"There is no line for {device[:40]!r}; there is one for {', '.join(sorted(known))}.")
        for one in devices:
            store.hold_line(db, one, BY_HAND)
    return devices


def release(home: Home, device: str = "") -> list[str]:
    """Let held lines go on, or the one of `device`; returns the devices. Raises Refused where nothing is held.

    Whoever reads the home next starts the supervisor that lets the first run begin, as `launch.reconcile` does.
    """
    with closing(store.connect(home.database, durable=True)) as db, store.writing(db):
        released = [one for one in store.held_lines(db) if one == (device or one) and store.release_line(db, one)]
        if not released:
            raise store.Refused(f"The line{f' for {device[:40]!r}' if device else ''} is not held.")
    return released


def stop_after_failure(home: Home, wanted: bool) -> None:
    """Whether a line is held once a run has failed, crashed or diverged, so that a person can look first."""
    with closing(store.connect(home.database, durable=True)) as db:
        store.set_preference(db, store.STOPS_AFTER_FAILURE, wanted or None)


def seconds_left(db: Database, run: store.Row, runs: list[store.Row]) -> float | None:
    """About how long a run that waits will train, None where its settings are lost; `runs`: all, newest first."""
    try:
        flops = _flops_per_token(store.get_config(db, run["id"]))
    except ConfigError:  # of a newer version, or damaged: its trainer will say so
        return None
    return seconds_for(db, run["device"], run["parameters"], flops, max(0, run["target_tokens"] - run["tokens"]), runs)


def seconds_for(
    db: Database, device: str, parameters: int, flops_per_token: float, tokens: int, runs: list[store.Row]
) -> float:
    """About how long a model trains on so many tokens; `runs` are all runs, newest first.

    At the pace of the newest run of its size on that device, else at the FLOP/s of the newest large enough one, else at
    what such devices reach.
    """
    on_it = [one for one in runs if one["device"] == device and _pace(one)]
    for same in (one for one in on_it if one["parameters"] == parameters):
        return tokens / _pace(same)
    for other in (one for one in on_it if one["parameters"] >= SMALLEST_MEASURE):
        with suppress(ConfigError):
            reached = _pace(other) * _flops_per_token(store.get_config(db, other["id"]))
            return tokens * flops_per_token / reached
    return tokens * flops_per_token / training_flops(device)


def _line(
    db: Database,
    device: str,
    owner: store.Row | None,
    waiting: list[store.Row],
    held: dict[str, str],
    runs: list[store.Row],
) -> dict[str, Any]:
    at = owner["eta_seconds"] if owner else 0.0
    if owner and at is None:
        at = seconds_left(db, owner, runs)
    queued = []
    for place, run in enumerate(waiting, start=1):
        seconds = seconds_left(db, run, runs)
        names = ("id", "name", "preset", "sweep", "attempt", "tokens", "target_tokens", "queued_at")
        queued.append({name: run[name] for name in names} | {"place": place, "seconds": seconds, "starts_in": at})
        at = None if at is None or seconds is None else at + seconds
    return {
        "device": device,
        "held": held.get(device, ""),
        "running": {name: owner[name] for name in RUNNING} if owner else None,
        "queued": queued,
        "free_in": at,
    }


def _devices(db: Database) -> list[str]:
    """The devices that runs have or wait for."""
    return sorted({run["device"] for run in store.open_runs(db)})


def _pace(run: store.Row) -> float:
    """Tokens a second: as measured last while a run is on, over all its time, evaluations and all, once it ended."""
    if run["kind"] != "trained":
        return 0.0
    if run["status"] in store.OPEN or not run["elapsed_seconds"]:
        return float(run["tokens_per_second"] or 0)
    return float(run["tokens"] / run["elapsed_seconds"])


@lru_cache(maxsize=256)
def _config(text: str) -> RunConfig:
    return from_json(text)


def _flops_per_token(config: str) -> float:
    return float(_config(config).model.flops_per_token)


def _place(now: int, to: str | int, last: int) -> int:
    """The place, from 1, that `to` means for the run at place `now` of `last`; raises Refused."""
    named = {"first": 1, "last": last, "up": now - 1, "down": now + 1}
    if isinstance(to, str) and to.isascii() and to.isdecimal() and len(to) < 10:
        to = int(to)
    if isinstance(to, bool) or (isinstance(to, str) and to not in named):
        raise store.Refused(f"{str(to)[:40]!r} is no place; give {', '.join(PLACES)} or a number from 1 to {last}.")
    return min(last, max(1, named[to] if isinstance(to, str) else to))
