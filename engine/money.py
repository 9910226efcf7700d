"""What a run costs: from a price that a person gave, the time of its processes and the energy it used.

A rented machine (`per_hour`) costs as long as a process of the run has it, pauses included: wall-clock time from the
start to the end of each attempt. One's own (`per_kwh`) costs the energy used: what the GPU measured, and for time in
which nothing measured, the `watts` that a person gave. Where neither is known the cost is not known either: None.
A price holds for the whole run, also for what was spent before it was given. What a fork costs is counted since the
fork: what came before is in the figures of its parent. All but `set_*` are pure functions.
"""

from dataclasses import dataclass
from typing import Any

from sqlite_utils import Database

from engine import store
from engine.phrases import money
from engine.store import Refused, Row

HOUR, KWH, MILLION = 3600.0, 3.6e6, 1e6
"""Seconds of an hour, joules of a kWh, tokens of a price."""
GOAL, GOAL_CURRENCIES = 5.0, ("$", "US$", "USD")
"""What training a small model may cost: the five dollars of the published project, in no other currency."""
MOST_PRICE, MOST_WATTS, MOST_BUDGET = 1e6, 1e6, 1e9
LONGEST_CURRENCY = 8
BUDGET_STOP = "budget"
"""Begins the argument of a stop command that a budget gave; the amount follows."""


@dataclass(frozen=True, kw_only=True)
class Price:
    """What a machine costs: by the hour, or by the energy it uses."""

    per_hour: float | None = None
    per_kwh: float | None = None
    watts: float | None = None
    """Given by a person, for time in which no power is measured."""
    currency: str = "$"

    @property
    def columns(self) -> Row:
        """As runs.db keeps it (store.PRICE)."""
        return dict(zip(store.PRICE, (self.per_hour, self.per_kwh, self.watts, self.currency), strict=True))

    def __str__(self) -> str:
        """For example "$0.40 an hour"."""
        if self.per_hour is not None:
            return f"{money(self.per_hour, self.currency)} an hour"
        given = f", {self.watts:g} W given where nothing measures" if self.watts else ""
        return f"{money(self.per_kwh, self.currency)} per kWh{given}"


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What a run has taken of its machine."""

    seconds: float
    """Wall-clock time of its processes."""
    joules: float
    """Energy measured."""
    unmeasured_seconds: float
    """Time at work in which no power was measured."""


def read_price(per_hour: Any = None, per_kwh: Any = None, watts: Any = None, currency: Any = "$") -> Price:
    """A price from what a person gave; raises Refused."""
    if (per_hour is None) == (per_kwh is None):
        raise Refused("Give either a price per hour, for a rented machine, or one per kWh, for your own.")
    if watts is not None and per_kwh is None:
        raise Refused("Watts belong to a price per kWh; a rented machine costs by the hour.")
    sign = currency.strip() if isinstance(currency, str) else ""
    if not 1 <= len(sign) <= LONGEST_CURRENCY or not sign.isprintable() or any(letter.isdigit() for letter in sign):
        raise Refused(f"The currency must be 1 to {LONGEST_CURRENCY} characters without digits, for example $ or EUR.")
    return Price(
        per_hour=None if per_hour is None else _positive(per_hour, "The price per hour", MOST_PRICE),
        per_kwh=None if per_kwh is None else _positive(per_kwh, "The price per kWh", MOST_PRICE),
        watts=None if watts is None else _positive(watts, "The power in watts", MOST_WATTS),
        currency=sign,
    )


def set_price(db: Database, price: Price | None, run_id: str | None = None) -> None:
    """Keep a price for runs to come, or for one run, all of which it prices anew; None forgets it. Raises Refused."""
    columns = price.columns if price else None
    if run_id is None:
        store.set_home_price(db, columns)
        return
    with store.writing(db):
        run = store.get_run(db, run_id)
        if run["kind"] != "trained":
            raise Refused(f"{run['name']} was not trained here; it has no price.")
        if price is None and run["budget"] is not None:
            raise Refused(f"{run['name']} has a budget, which needs a price; take the budget away first.")
        store.set_price(db, run_id, columns)


def set_budget(db: Database, run_id: str, amount: Any) -> None:
    """Keep what a run may cost in all; None takes the budget away. Raises Refused."""
    budget = None if amount is None else _positive(amount, "The budget", MOST_BUDGET)
    with store.writing(db):
        run = store.get_run(db, run_id)
        if run["kind"] != "trained":
            raise Refused(f"{run['name']} was not trained here; it has no budget.")
        if budget is not None and price_of(run) is None:
            raise Refused(f"Say first what the machine of {run['name']} costs; without a price nothing can be counted.")
        store.update_state(db, run_id, budget=budget)


def price_of(row: Row | None) -> Price | None:
    """The price in the columns of a run, or of the home; None where nobody gave one."""
    if row is None or (row["price_per_hour"] is None and row["price_per_kwh"] is None):
        return None
    per_hour, per_kwh, watts, currency = (row[name] for name in store.PRICE)
    return Price(per_hour=per_hour, per_kwh=per_kwh, watts=watts, currency=currency)


def usage_of(run: Row, now: float) -> Usage:
    """What a run has taken until `now`, in seconds since 1970: what was counted, and the piece since the last look."""
    if run["status"] not in store.ACTIVE or run["metered_at"] is None:
        return Usage(joules=run["joules"], **_named(store.settled(run)))
    since = max(0.0, now - run["metered_at"])
    silent = 0.0 if run["joules"] or run["status"] == "paused" else since  # a meter that tells will tell of it soon
    return Usage(
        seconds=run["process_seconds"] + since,
        joules=run["joules"],
        unmeasured_seconds=run["unmeasured_seconds"] + silent,
    )


def energy(usage: Usage, watts: float | None) -> float | None:
    """Joules used, with `watts` for the time in which nothing measured; None where neither tells anything."""
    given = watts * usage.unmeasured_seconds if watts else 0.0
    return usage.joules + given if usage.joules or watts else None


def spent(price: Price, usage: Usage) -> float | None:
    """What that costs."""
    if price.per_hour is not None:
        return price.per_hour * usage.seconds / HOUR
    joules = energy(usage, price.watts)
    return None if joules is None or price.per_kwh is None else price.per_kwh * joules / KWH


def per_second(price: Price, usage: Usage) -> float | None:
    """What a second at work costs, for energy at the mean power so far."""
    if price.per_hour is not None:
        return price.per_hour / HOUR
    amount = spent(price, usage)
    return None if amount is None or not usage.seconds else amount / usage.seconds


def to_finish(price: Price, usage: Usage, run: Row) -> float | None:
    """What is still to come: the time left at the price of a second; for a run that ended early, as it went so far."""
    if run["status"] in store.ACTIVE:
        second, left = per_second(price, usage), run["eta_seconds"]
        return None if second is None or left is None else float(second * left)
    million = per_million(spent(price, usage), store.tokens_since_fork(run))
    if run["status"] not in store.RESUMABLE or million is None:
        return None
    return float(million * max(0, run["target_tokens"] - run["tokens"]) / MILLION)


def per_million(amount: float | None, tokens: int) -> float | None:
    """What reading a million tokens has cost."""
    return None if amount is None or not tokens else amount / tokens * MILLION


def used_up(run: Row, usage: Usage) -> bool:
    """Whether what was spent and what a save costs reach the run's budget."""
    price = price_of(run)
    if price is None or run["budget"] is None:
        return False
    amount, second = spent(price, usage), per_second(price, usage)
    save = (second or 0.0) * (run["save_seconds"] or 0.0)
    return amount is not None and bool(amount + save >= run["budget"])


def stopped_for(run: Row, command: Row | None) -> bool:
    """Whether a run's newest stop `command` was given for the budget that it still has."""
    return bool(command and run["budget"] is not None and command["argument"] == stop_argument(run["budget"]))


def stop_argument(budget: float) -> str:
    """The argument of the stop command that a budget gives."""
    return f"{BUDGET_STOP} {budget!r}"


def refuse_if_used_up(run: Row, command: Row | None, now: float) -> None:
    """Raise Refused where a run would stop again as soon as it goes on; `command` is its newest request to stop."""
    if stopped_for(run, command) or used_up(run, usage_of(run, now)):
        raise Refused(
            f"The budget of {run['name']}, {money(run['budget'], run['currency'])}, is used up; raise it or take it "
            "away, then resume."
        )


def figures(run: Row, now: float) -> dict[str, Any] | None:
    """What a run costs, for people and programs; None where neither a price nor energy is known."""
    price, usage = price_of(run), usage_of(run, now)
    joules = energy(usage, price.watts if price else None)
    if price is None:
        return {"joules": joules} if joules else None
    amount = spent(price, usage)
    return {
        "spent": amount,
        "to_finish": to_finish(price, usage, run),
        "per_million": per_million(amount, store.tokens_since_fork(run)),
        "joules": joules,
        "joules_given": joules - usage.joules if joules is not None else None,
        "currency": price.currency,
        "budget": run["budget"],
        "goal": GOAL if price.currency in GOAL_CURRENCIES else None,
    }


def _named(settled: Row) -> dict[str, float]:
    return {"seconds": settled["process_seconds"], "unmeasured_seconds": settled["unmeasured_seconds"]}


def _positive(value: Any, what: str, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= most:
        raise Refused(f"{what} must be a number above 0, at most {most:,.0f}.")
    return float(value)
