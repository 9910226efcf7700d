"""Measuring before Start: an estimate, a measurement of a real tiny model, and what turns it back."""

import json
import time
from typing import Any

from helpers import wait_for
from pages import FORM, App, visit
from rooms import open_runs
from ui_helpers import MEASURED

from docs import scenes
from engine import config, probing, process, store
from engine.home import Home

ODD = {"memory": 900 * 10**9, "scaled": "4 of 8 rows of a pass", "notes": ["<b>Not</b> recorded."], "cores_taken": 1.5}
RESULT = {name: value for name, value in (MEASURED | ODD).items() if name != "measured_at"}
SMALL = {"model.layers": "1", "model.width": "64", "model.heads": "2", "model.kv_heads": "1", "model.mlp_width": "128"}
BUTTON, DOING, PLAN = "#preflight button", "#preflight .doing", "document.querySelector('#plan').textContent"


def keep(home: Home, **overrides: Any) -> None:
    """A measurement is stored."""
    chosen = config.load_preset("seedling", overrides)
    db, settings = store.connect(home.database), probing.decisive(chosen, "cpu")
    store.put_probe(db, probing.key_of(settings), "cpu", settings, RESULT)
    db.close()


def fill(page: Any, values: dict[str, str]) -> None:
    """Settings under More settings."""
    page.evaluate("document.querySelector('#setup details:has(.folded)').open = true")
    for key, value in values.items():
        page.locator(f"[data-key='{key}']").fill(value)


def plan_says(page: Any, words: str) -> None:
    page.wait_for_function(f"{PLAN}.includes({json.dumps(words)})")


def test_a_real_measurement_takes_the_estimates_place(app: App, page: Any) -> None:
    visit(page, app, FORM)
    fill(page, SMALL)
    plan_says(page, "(estimate)")
    page.wait_for_function(f"{PLAN}.startsWith('299 k')")  # the small model's

    page.click(BUTTON)
    page.wait_for_function("document.querySelector('#preflight .pace').textContent.includes('tok/s')", timeout=90_000)
    assert page.inner_text(BUTTON) == "Cancel"
    page.wait_for_selector("#preflight:not([aria-busy])", timeout=60_000)

    plan_says(page, "measured at")
    assert page.locator("#preflight details").get_attribute("open") is not None
    assert {"In one pass", "Peak memory", "Speed", "Takes", "Disk"} <= set(
        page.inner_text("#preflight dl").splitlines()
    )
    fill(page, {"model.layers": "2"})
    plan_says(page, "(estimate)")
    assert page.locator("#preflight details").is_hidden()
    fill(page, {"model.layers": "1"})
    plan_says(page, "measured at")


def test_a_stored_measurement_is_shown_with_what_is_odd_about_it(app: App, page: Any) -> None:
    keep(app.home)

    visit(page, app, FORM)

    plan_says(page, "measured at")
    assert "measured" in page.inner_text("#preset .card:has(:checked) .cost")
    page.click("#preflight summary")
    shown = page.inner_text("#preflight details")
    assert "900 GB of 8 GB More than there is" in shown
    assert "Measured with 4 of 8 rows of a pass; the rest is worked out." in shown
    assert "Other programs kept 1.5 of 2 cores busy meanwhile" in shown
    assert "<b>Not</b> recorded." in shown
    assert page.inner_text(BUTTON) == "Measure again" and page.locator("#start").is_enabled()


def test_escape_cancels_and_so_does_the_button(app: App, page: Any) -> None:
    visit(page, app, FORM)
    for cancel in (lambda: page.keyboard.press("Escape"), lambda: page.click(BUTTON)):
        page.click(BUTTON)
        wait_for(lambda: process.is_held(app.home.probe("cpu") / "lock"), timeout=60)
        cancel()
        page.wait_for_function(f"document.querySelector('{DOING}').textContent === 'Cancelled.'")
        wait_for(lambda: not process.is_held(app.home.probe("cpu") / "lock"))
        assert page.inner_text(BUTTON) == "Measure here"


def test_why_nothing_was_measured_is_told_and_forgotten_with_other_settings(app: App, page: Any) -> None:
    sentence = "The GPU ran out of memory with 32 rows in one forward pass; set train.micro_batch to 16 or less."
    page.route("**/api/preflight", lambda route: route.fulfill(status=200, body=json.dumps({"error": sentence}) + "\n"))
    visit(page, app, FORM)

    page.click(BUTTON)
    page.wait_for_function(f"document.querySelector('{DOING}').textContent === {json.dumps(sentence)}")
    assert page.inner_text(BUTTON) == "Measure here" and page.locator("#start").is_enabled()

    fill(page, {"train.micro_batch": "8"})
    page.wait_for_function(f"document.querySelector('{DOING}').textContent === ''")
    page.unroute("**/api/preflight")


def test_beside_a_run_nothing_is_offered(app: App, page: Any) -> None:
    db = store.connect(app.home.database)
    run_id = store.create_run(db, config.load_preset("seedling"), "seedling", "busy", "cpu")
    store.drop_commands(db, run_id, ("start",), "a stand-in trains it")
    trainer = scenes.stand_in()
    store.update_state(db, run_id, status="running", heartbeat_at=time.time() + 86_400, **process.identity(trainer.pid))
    db.close()

    visit(page, app, FORM)
    plan_says(page, "It begins by itself once busy has ended")
    assert page.locator("#preflight").is_hidden()
    trainer.kill()
    wait_for(lambda: not open_runs(app.home))


def test_start_ends_the_measurement(app: App, page: Any) -> None:
    page.route("**/gradio_api/**/start_run*", lambda route: route.abort())
    visit(page, app, FORM)
    page.click(BUTTON)
    wait_for(lambda: process.is_held(app.home.probe("cpu") / "lock"), timeout=60)

    page.evaluate("window.blueberry.startArguments()")

    wait_for(lambda: not process.is_held(app.home.probe("cpu") / "lock"))
    page.evaluate("window.blueberry.notStarted()")
