"""What the commands about money do and print: prices, budgets, what a run costs."""

import argparse
import time
from contextlib import closing
from typing import Any

from engine import launch, money, phrases, store
from engine.follow import print_json
from engine.home import Home

Arguments = argparse.Namespace


def price(given: Arguments) -> int:
    """Show or set what this machine costs, for runs to come; with --run for one run."""
    home = Home.at(given.home)
    launch.open_home(home)
    options = {"per_hour": given.per_hour, "per_kwh": given.per_kwh, "watts": given.watts, "currency": given.currency}
    options = {name: value for name, value in options.items() if value is not None}
    if given.none and options:
        raise store.Refused("--none forgets the price; leave the other options out.")
    with closing(store.connect(home.database)) as db:
        run = store.find_run(db, given.run) if given.run else None
        if given.none or options:
            money.set_price(db, money.read_price(**options) if options else None, run["id"] if run else None)
        known = money.price_of(store.get_run(db, run["id"]) if run else store.home_price(db))
    if given.json:
        return print_json(known and known.columns)
    whose = run["name"] if run else "runs to come"
    unknown = "Nobody has said what this machine costs: give --per-hour, or --per-kwh, then runs show what they cost."
    print(f"{known} for {whose}." if known else f"No price for {whose}. {unknown}")
    return 0


def budget(given: Arguments) -> int:
    """Set what a run may cost in all, or none; it saves and stops before it costs more."""
    home = Home.at(given.home)
    with closing(store.connect(home.database)) as db:
        run = store.find_run(db, given.run)
        money.set_budget(db, run["id"], None if given.amount == "none" else _number(given.amount))
        run = store.get_run(db, run["id"])
        costs = money.figures(run, time.time())
    if given.json:
        return print_json({"id": run["id"], "budget": run["budget"], "money": costs})
    if run["budget"] is None:
        print(f"{run['name']} has no budget.")
    else:
        print(
            f"{run['name']} may cost {phrases.money(run['budget'], run['currency'])} in all; it saves and stops then."
        )
    return 0


def costs(found: dict[str, Any] | None, forked: bool) -> str:
    """What a run costs in a line, for a fork since then; empty where no price is known."""
    if not found or "currency" not in found:
        return ""
    currency = found["currency"]
    said = f"{phrases.money(found['spent'], currency)} {'since the fork' if forked else 'so far'}"
    if found["to_finish"] is not None:
        said += f", about {phrases.money(found['to_finish'], currency)} to finish"
    if found["per_million"] is not None:
        said += f", {phrases.money(found['per_million'], currency)} a million tokens"
    if found["budget"] is not None:
        said += f", budget {phrases.money(found['budget'], currency)}"
    return said


def energy_used(found: dict[str, Any] | None, forked: bool) -> str:
    """The energy of a run in a line, for a fork since then; empty where none is known."""
    if not found or found["joules"] is None:
        return ""
    given = f", {phrases.energy(found['joules_given'])} of it given, not measured" if found.get("joules_given") else ""
    return f"{phrases.energy(found['joules'])}{' since the fork' if forked else ''}{given}"


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise store.Refused(f"The budget {text[:40]!r} must be a number or none.") from None
