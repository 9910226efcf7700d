"""Asking a run while it trains: all its prompts at once, its words while it learns, and the prompts themselves."""

from typing import Any

from helpers import wait_for
from pages import App, newest_run, visit

from engine import launch, store

LONG = {"train.tokens": 2000 * 4096, "eval.every": 100_000}


def test_a_run_that_trains_is_asked_now(workshop: App, page: Any) -> None:
    run_id = launch.start_run(workshop.home, "seedling", "", LONG)
    wait_for(lambda: newest_run(workshop.home)["step"] > 0)
    visit(page, workshop, f"?run={run_id}")
    page.wait_for_selector("#feed .answer")
    assert page.locator("#feed .answer .ages").first.get_attribute("max") == "0"

    page.click("#ask-now")

    page.wait_for_function("document.querySelector('#feed .answer .ages').max === '1'")
    page.wait_for_function("document.querySelector('#feed .wish').textContent === ''")
    db = store.connect(workshop.home.database)
    assert store.last_command(db, run_id, ("sample",))["result"].startswith("asked at step ")  # type: ignore[index]
    db.close()

    launch.stop_run(workshop.home, run_id)
    page.wait_for_selector("#ask-now", state="hidden")
