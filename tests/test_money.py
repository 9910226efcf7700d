"""engine/money.py: what a run costs, from prices that people give; what nobody gave or measured stays unknown."""

import time
from typing import Any

import pytest
from sqlite_utils import Database
from ui_helpers import make_run

from engine import launch, money, phrases, store
from engine.__main__ import main
from engine.home import Home
from engine.money import Price, Usage

RENTED = Price(per_hour=0.36)
OWN = Price(per_kwh=0.30, currency="€")
NOW = 1_000_000.0


def usage(seconds: float = 0.0, joules: float = 0.0, unmeasured: float = 0.0) -> Usage:
    return Usage(seconds=seconds, joules=joules, unmeasured_seconds=unmeasured)


def row(price: Price | None = None, **changes: Any) -> store.Row:
    """A run that has trained for an hour, half way."""
    return {
        "name": "first",
        "status": "running",
        "tokens": 500_000,
        "target_tokens": 1_000_000,
        "total_steps": 100,
        "parent_step": None,
        "eta_seconds": 3600.0,
        "process_seconds": 3600.0,
        "joules": 0.0,
        "unmeasured_seconds": 0.0,
        "metered_at": NOW,
        "heartbeat_at": NOW,
        "save_seconds": None,
        "budget": None,
        **dict.fromkeys(store.PRICE),
        **(price.columns if price else {}),
        **changes,
    }


def test_a_rented_machine_costs_the_time_of_its_processes_pauses_included() -> None:
    assert money.spent(RENTED, usage(seconds=1800)) == pytest.approx(0.18)
    assert money.figures(row(RENTED, status="paused"), NOW + 3600)["spent"] == pytest.approx(0.72)  # type: ignore[index]


def test_ones_own_machine_costs_the_energy_that_was_measured() -> None:
    assert money.spent(OWN, usage(seconds=9, joules=3.6e6)) == pytest.approx(0.30)


def test_watts_count_only_where_nothing_was_measured() -> None:
    given = Price(per_kwh=0.30, watts=100)
    assert money.energy(usage(3600, joules=1000.0, unmeasured=10), 100) == pytest.approx(2000)
    assert money.spent(given, usage(36_000, unmeasured=36_000)) == pytest.approx(0.30)


def test_energy_that_nothing_tells_is_not_known_and_neither_is_its_cost() -> None:
    assert money.energy(usage(3600, unmeasured=3600), None) is None
    assert money.spent(OWN, usage(3600, unmeasured=3600)) is None
    assert money.figures(row(OWN), NOW)["spent"] is None  # type: ignore[index]


def test_without_a_price_nothing_is_invented() -> None:
    assert money.figures(row(), NOW) is None
    assert money.figures(row(joules=7.2e6), NOW) == {"joules": 7.2e6}


def test_what_is_left_and_a_million_tokens() -> None:
    found = money.figures(row(RENTED), NOW)
    assert found is not None
    assert (found["to_finish"], found["per_million"]) == (pytest.approx(0.36), pytest.approx(0.72))
    assert money.figures(row(RENTED, eta_seconds=None), NOW)["to_finish"] is None  # type: ignore[index]


def test_a_run_that_was_stopped_would_go_on_as_it_did() -> None:
    stopped = row(RENTED, status="stopped", eta_seconds=None, tokens=250_000, metered_at=None)
    assert money.figures(stopped, NOW)["to_finish"] == pytest.approx(3 * 0.36)  # type: ignore[index]
    assert money.figures(row(RENTED, status="finished"), NOW)["to_finish"] is None  # type: ignore[index]


def test_a_fork_costs_by_the_tokens_that_it_has_read_itself() -> None:
    fork = row(RENTED, status="stopped", metered_at=None, parent_step=40)  # 400,000 of its tokens were its parent's
    found = money.figures(fork, NOW)
    assert found is not None and found["spent"] == pytest.approx(0.36)
    assert (found["per_million"], found["to_finish"]) == (pytest.approx(3.6), pytest.approx(1.8))
    assert money.figures(fork | {"tokens": 400_000}, NOW)["per_million"] is None  # type: ignore[index]


def test_own_energy_goes_on_at_its_mean_power() -> None:
    found = money.figures(row(OWN, joules=100 * 3600), NOW)  # 100 W for an hour, and one more to come
    assert found is not None and found["to_finish"] == pytest.approx(found["spent"])


def test_the_time_since_the_last_look_counts_while_it_runs_and_until_its_last_word_when_it_ended() -> None:
    assert money.usage_of(row(), NOW + 7).seconds == 3607
    ended = row(status="crashed", heartbeat_at=NOW + 60)
    assert money.usage_of(ended, NOW + 9e9) == usage(3660, unmeasured=60)
    assert money.usage_of(row(status="crashed", heartbeat_at=NOW - 5), NOW + 9e9).seconds == 3600


def test_a_clock_that_was_set_back_takes_nothing_away() -> None:
    assert money.usage_of(row(), NOW - 3600).seconds == 3600


def test_a_budget_keeps_enough_for_a_save() -> None:
    rate = 0.36 / 3600
    run = row(RENTED, budget=0.36 + 30 * rate, save_seconds=20.0)
    assert not money.used_up(run, usage(3609))
    assert money.used_up(run, usage(3610.1))
    assert not money.used_up(row(RENTED), usage(1e9)), "no budget"
    assert not money.used_up(row(budget=1.0), usage(1e9)), "no price"


def test_the_goal_is_five_dollars_and_no_other_money() -> None:
    assert money.figures(row(RENTED), NOW)["goal"] == 5  # type: ignore[index]
    assert money.figures(row(OWN), NOW)["goal"] is None  # type: ignore[index]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "either a price per hour"),
        ({"per_hour": 1, "per_kwh": 1}, "either a price per hour"),
        ({"per_hour": 1, "watts": 60}, "Watts belong to"),
        ({"per_hour": 0}, "above 0"),
        ({"per_hour": float("nan")}, "above 0"),
        ({"per_hour": float("inf")}, "above 0"),
        ({"per_hour": 10**400}, "above 0"),
        ({"per_hour": True}, "above 0"),
        ({"per_hour": "1"}, "above 0"),
        ({"per_kwh": 0.3, "watts": -5}, "The power in watts"),
        ({"per_hour": 1, "currency": ""}, "currency"),
        ({"per_hour": 1, "currency": "nine chars"}, "currency"),
        ({"per_hour": 1, "currency": "5$"}, "currency"),
        ({"per_hour": 1, "currency": "\u202e$"}, "currency"),
        ({"per_hour": 1, "currency": None}, "currency"),
    ],
)
def test_a_price_that_makes_no_sense_is_refused_in_a_sentence(given: dict[str, Any], words: str) -> None:
    with pytest.raises(store.Refused, match=words):
        money.read_price(**given)


def test_amounts_have_sensible_digits() -> None:
    said = [phrases.money(value, "$") for value in (None, 0, 0.00001, 0.0042, 0.056, 0.94, 5, 1234.5)]
    assert said == ["–", "$0.00", "under $0.0001", "$0.0042", "$0.056", "$0.94", "$5.00", "$1,234"]
    assert phrases.money(0.94, "EUR") == "0.94 EUR" and phrases.money(0.94, "US$") == "US$0.94"
    assert [phrases.energy(value) for value in (None, 1, 3600, 36_000, 3.6e6)] == [
        "–",
        "under 0.01 Wh",
        "1 Wh",
        "10 Wh",
        "1.00 kWh",
    ]


def test_a_run_takes_over_the_price_of_the_home_once_and_keeps_it(db: Database) -> None:
    money.set_price(db, RENTED)
    old = make_run(db, "old", "cuda:0")
    store.begin_meter(db, old)  # an attempt that is not its first
    run_id = make_run(db)
    store.update_state(db, run_id, attempt=0)

    store.begin_meter(db, run_id)
    money.set_price(db, OWN)
    store.update_state(db, run_id, attempt=0)
    store.begin_meter(db, run_id)

    assert money.price_of(store.get_run(db, run_id)) == RENTED
    assert money.price_of(store.get_run(db, old)) is None
    assert money.price_of(store.home_price(db)) == OWN


def test_a_budget_needs_a_price_and_holds_it(db: Database) -> None:
    run_id = make_run(db)
    with pytest.raises(store.Refused, match="what the machine of one costs"):
        money.set_budget(db, run_id, 5)
    money.set_price(db, RENTED, run_id)
    money.set_budget(db, run_id, 5)
    with pytest.raises(store.Refused, match="take the budget away first"):
        money.set_price(db, None, run_id)
    for amount in (0, -1, float("nan"), "5", True, 1e10):
        with pytest.raises(store.Refused, match="above 0"):
            money.set_budget(db, run_id, amount)
    money.set_budget(db, run_id, None)
    money.set_price(db, None, run_id)
    assert money.price_of(store.get_run(db, run_id)) is None


def test_the_published_run_has_neither(db: Database) -> None:
    for refused in (money.set_price, money.set_budget):
        with pytest.raises(store.Refused, match="not trained here"):
            arguments = (db, RENTED, store.REFERENCE_ID) if refused is money.set_price else (db, store.REFERENCE_ID, 5)
            refused(*arguments)  # type: ignore[operator]


def test_resuming_counts_what_nobody_watched_at_the_end(db: Database) -> None:
    run_id = make_run(db)
    now = time.time()
    store.update_state(db, run_id, process_seconds=100.0, metered_at=now - 60, heartbeat_at=now)
    store.end_run(db, run_id, "crashed", "The machine was switched off.")

    store.request_resume(db, run_id, "cpu")

    run = store.get_run(db, run_id)
    assert run["process_seconds"] == pytest.approx(160) and run["metered_at"] is None


def test_a_run_whose_budget_is_used_up_does_not_resume_until_it_is_raised(home: Home, db: Database) -> None:
    run_id = make_run(db)
    money.set_price(db, RENTED, run_id)
    money.set_budget(db, run_id, 1)
    store.give_command(db, run_id, "stop", money.stop_argument(1.0))
    store.end_run(db, run_id, "stopped")

    with pytest.raises(store.Refused, match=r"budget of one, \$1.00, is used up; raise it"):
        launch.resume_run(home, run_id)

    money.set_budget(db, run_id, 2)
    money.refuse_if_used_up(
        store.get_run(db, run_id), store.last_command(db, run_id, ("start", "resume", "stop")), time.time()
    )


def test_the_command_line_sets_prices_and_budgets(home: Home, db: Database, capsys: pytest.CaptureFixture[str]) -> None:
    at = ("--home", str(home.path))

    def says(*words: str, code: int = 0) -> str:
        assert main([*words, *at]) == code
        caught = capsys.readouterr()
        return (caught.err if code else caught.out).strip()

    run_id = make_run(db)
    store.update_state(db, run_id, process_seconds=3600.0)
    assert says("price").startswith("No price for runs to come.")
    assert says("price", "--per-hour", "0.4") == "$0.40 an hour for runs to come."
    assert "Say first what the machine" in says("budget", "one", "5", code=1)
    assert says("price", "--per-kwh", "0.3", "--watts", "60", "--currency", "EUR", "--run", "one") == (
        "0.30 EUR per kWh, 60 W given where nothing measures for one."
    )
    assert says("budget", "one", "5").startswith("one may cost 5.00 EUR in all")
    assert "must be a number or none" in says("budget", "one", "five", code=1)
    assert says("budget", "one", "none") == "one has no budget."
    store.update_state(db, run_id, unmeasured_seconds=36_000.0)
    told = says("status", "one")
    assert "cost    0.18 EUR so far" in told and "energy  0.60 kWh, 0.60 kWh of it given, not measured" in told
    db.conn.execute("UPDATE runs SET parent_step = 10 WHERE id = ?", [run_id])
    store.update_state(db, run_id, step=20, tokens=20 * 4096)
    told = says("status", "one")
    assert "cost    0.18 EUR since the fork" in told and "4.39 EUR a million tokens" in told
    assert "energy  0.60 kWh since the fork, 0.60 kWh of it given" in told
    assert says("price", "--none") != "" and store.home_price(db) is None
    assert says("price", "--none", "--per-hour", "1", code=1).startswith("--none forgets")
