"""What a run costs and what its machine does, as a person sees and changes it."""

from typing import Any

from helpers import wait_for
from pages import FORM, App, newest_run, visit
from rooms import furnished
from test_accessibility import faults

from engine import money, store
from engine.money import Price

GPU = {
    "index": 0,
    "name": "<b>RTX 4090</b>",
    "use": 0.97,
    "memory": {"used": 11_300_000_000, "total": 25_700_000_000},
    "temperature": 63,
    "holders": [
        {"pid": 7, "name": "python engine.train", "bytes": 9_900_000_000, "run": "elder"},
        {"pid": 8, "name": "<img src=x>", "bytes": 300_000_000},
    ],
}
HERE = {"gpus": [GPU], "cores": 16, "cpu": 0.23, "holders": [{"name": "this page", "bytes": 180_000_000}]}


def says(page: Any, selector: str, text: str) -> None:
    page.wait_for_function(
        "([selector, text]) => document.querySelector(selector)?.textContent.includes(text)", arg=[selector, text]
    )


def test_a_price_and_a_budget_are_given_changed_and_taken_away_in_place(app: App, page: Any) -> None:
    run_id = furnished(app.home, 0)[0]
    db = store.connect(app.home.database)
    store.update_state(db, run_id, process_seconds=9000.0)
    visit(page, app, f"?run={run_id}")
    says(page, "#money", "What this run costs is not known")
    assert not page.locator(".figures [data-figure=cost]").is_visible()

    page.click("#money >> text=Give a price")
    assert page.evaluate("document.activeElement.dataset.key") == "per_hour"
    page.keyboard.type("cheap")
    page.keyboard.press("Enter")
    says(page, "#money .problem", "must be a number")
    page.locator("#money [data-key=per_hour]").fill("0,4")
    page.keyboard.press("Enter")
    says(page, "#money .spent", "$1.00 of the five-dollar goal")
    says(page, "[data-figure=cost] dd", "$1.00")
    says(page, "#money [data-money=price]", "$0.40 an hour")
    assert page.locator("#money .meter").get_attribute("aria-valuenow") == "20"
    assert page.evaluate("document.activeElement.dataset.key") == "price", "the focus is where it was"
    assert money.price_of(store.home_price(db)) == Price(per_hour=0.4), "also for runs to come"

    page.click("#money >> text=Set a budget")
    page.keyboard.type("five")
    page.keyboard.press("Enter")
    says(page, "#money .problem", "as a number")
    assert store.get_run(db, run_id)["budget"] is None
    page.keyboard.press("Escape")
    page.click("#money >> text=Set a budget")
    page.keyboard.type("8")
    page.keyboard.press("Enter")
    says(page, "#money .spent", "of a budget of $8.00")
    wait_for(lambda: store.get_run(db, run_id)["budget"] == 8)
    page.click("#money >> text=Change the price")
    page.click("#money >> text=Forget the price")
    says(page, "#money .problem", "take the budget away first")
    page.keyboard.press("Escape")
    page.click("#money >> text=Change the budget")
    page.click("#money >> text=No budget")
    says(page, "#money .spent", "five-dollar goal")

    page.click("#money >> text=Change the price")
    page.click("#money >> text=My own")
    page.locator("#money [data-key=per_kwh]").fill("0.3")
    page.locator("#money [data-key=currency]").fill("EUR")
    page.locator("#money .also input").uncheck()
    page.keyboard.press("Tab")
    page.click("#money >> text=Save")
    says(page, "#money [data-money=note]", "Nothing here has measured its power")
    assert page.inner_text("#money [data-money=spent]") == "–" == page.inner_text("[data-figure=cost] dd")
    assert money.price_of(store.home_price(db)) == Price(per_hour=0.4)
    db.close()


def test_the_cost_of_a_fork_is_told_as_its_own(app: App, page: Any) -> None:
    elder, younger = furnished(app.home, 0)
    db = store.connect(app.home.database)
    db.conn.execute("UPDATE runs SET parent_run_id = ?, parent_step = 30 WHERE id = ?", [elder, younger])
    store.update_state(db, younger, process_seconds=3600.0, joules=3.6e6)
    visit(page, app, f"?run={younger}")
    says(page, "#money dt", "Energy since the fork")

    money.set_price(db, Price(per_hour=0.4096), younger)
    db.close()
    page.reload()
    says(page, "#money [data-money=note]", "All counted since the fork.")
    says(page, "#money [data-money=million]", "$10.00")


def test_a_run_stops_at_its_budget_and_a_raised_one_lets_it_resume(workshop: App, page: Any) -> None:
    visit(page, workshop, FORM)
    page.click("#home-price summary")
    page.locator("#home-price [data-key=per_hour]").fill("3600")
    page.click("#home-price >> text=Save")
    says(page, "#home-price summary", "This machine costs $3,600 an hour")
    page.locator("[data-key='train.tokens']").fill(str(9000 * 4096))
    page.wait_for_function("document.querySelector('#plan').textContent.includes(' steps')")
    page.click("#start")
    page.wait_for_selector("body[data-status=running]")
    page.click("#money >> text=Set a budget")
    page.keyboard.type("0.01")
    page.keyboard.press("Enter")

    says(page, "#status", "Stopped: the budget of $0.01 is used up")
    says(page, "#banner", "Raise the budget, then Resume goes on")
    says(page, "#events", "The budget of $0.01 is used up")
    page.click("#banner button >> text=Raise the budget")
    assert page.evaluate("document.activeElement.dataset.key") == "budget-amount"
    page.keyboard.press("Control+a")
    page.keyboard.type("100000")
    page.keyboard.press("Enter")
    says(page, "#status", "Stopped")
    page.wait_for_function("!document.querySelector('#status').textContent.includes('budget')")
    page.click("#resume")
    page.wait_for_selector("body[data-status=running]")
    wait_for(lambda: newest_run(workshop.home)["attempt"] == 2)
    db = store.connect(workshop.home.database)
    money.set_price(db, None)
    db.close()


def test_the_machine_shows_what_is_known_and_nothing_else(app: App, page: Any) -> None:
    run_id = furnished(app.home, 0)[0]
    db = store.connect(app.home.database)
    store.update_state(db, run_id, device="cuda:0")
    for second in range(30):
        store.add_machine(db, run_id, 1, second, measured_at=1e9 + second, gpu_use=second / 30, gpu_temperature=50.0)
    db.close()
    visit(page, app, f"?run={run_id}")
    page.locator("#machine").scroll_into_view_if_needed()
    says(page, "#machine .note", "No NVIDIA GPU here")
    says(page, "#machine [data-gauge=host-disk_free]", "free")

    page.route("**/api/machine?", lambda route: route.fulfill(json=HERE))
    page.evaluate("window.dispatchEvent(new Event('x')), document.dispatchEvent(new Event('visibilitychange'))")
    says(page, "#machine h3", "<b>RTX 4090</b>")
    says(page, "[data-gauge='0-gpu_use'] b", "97%")
    says(page, "[data-gauge='0-gpu_use'] small", "this run: 0% to 97%")
    assert page.locator("[data-gauge='0-gpu_use'] path").get_attribute("d").startswith("M0.0 23.0L")
    assert page.locator("[data-gauge='0-gpu_watts']").count() == 0, "what the driver does not tell"
    assert page.locator("[data-gauge=host-memory_used]").count() == 0
    says(page, "#machine .holders", "Holds GPU memory: elder 9.9 GB, <img src=x> 300 MB")
    page.click("#money >> text=Give a price")
    page.click("#money >> text=My own")
    assert faults(page) == {}
