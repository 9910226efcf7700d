"""From first open to a run that survives reloads and restarts of the page."""

import signal
from typing import Any

from helpers import wait_for
from pages import FORM, App, newest_run, visit

from engine import store
from engine.home import Home

CURVE = """() => {
  const plot = document.querySelector('#loss-chart .plot');
  const steps = (plot.data || []).find((trace) => trace.name?.endsWith('each step'));
  return steps ? [steps.x.length, steps.x.at(-1), steps.y.at(-1)] : [0, null, null];
}"""
RANGE = "document.querySelector('#loss-chart .plot')?.layout?.xaxis?.range"


def points(page: Any) -> int:
    return int(page.evaluate(CURVE)[0])


def history(home: Home, run_id: str) -> list[tuple[float | None, ...]]:
    db = store.connect(home.database)
    rows = store.metrics_after(db, run_id, 0)
    db.close()
    return rows


def start(page: Any, steps: int = 400) -> None:
    page.locator("[data-key='train.tokens']").fill(str(steps * 4096))
    page.wait_for_function("document.querySelector('#plan').textContent.includes(' steps')")
    page.click("#start")


def same_as_database(page: Any, home: Home, run_id: str) -> None:
    """The chart has as many points as the database, and the same last value."""
    rows = history(home, run_id)
    wait_for(lambda: points(page) == len(rows), timeout=10)
    _, x, y = page.evaluate(CURVE)
    columns = dict(zip(store.METRICS, rows[-1], strict=True))
    assert x == columns["step"]
    assert abs(y - columns["train_loss"]) < 1e-5


def test_first_open_is_not_empty(app: App, page: Any) -> None:
    visit(page, app)

    page.wait_for_function("document.querySelector('#loss-chart .plot').data?.[0]?.x.length > 50")
    assert page.locator("#start").is_visible()
    assert "Published, December 2025" in page.inner_text("#status")
    assert "language model" in page.inner_text(".welcome")
    assert "counted tokens (500 M), published as 1 B" in page.inner_text("#loss-chart")
    assert page.locator("#feed .answer").count() == 3
    page.click("#tab-capsule")
    page.wait_for_function("document.querySelectorAll('#gallery .exhibit').length === 3")
    assert "published, December 2025" in page.inner_text("#gallery")


def test_a_run_survives_reload_and_restart_of_the_page(workshop: App, page: Any) -> None:
    visit(page, workshop, f"{FORM}&x=steps")
    start(page)
    wait_for(lambda: points(page) > 20)
    run_id = newest_run(workshop.home)["id"]
    assert f"run={run_id}" in page.url
    page.evaluate("Plotly.relayout(document.querySelector('#loss-chart .plot'), {'xaxis.range': [5, 15]})")
    page.wait_for_function("location.search.includes('zoom=5_15')")

    page.reload()
    page.wait_for_function(f"JSON.stringify({RANGE}) === '[5,15]'")
    page.wait_for_function("document.querySelector('#loss-chart .plot').data[0]?.x.length < 20")

    workshop.stop(signal.SIGKILL)
    page.wait_for_selector("body.away")
    assert "Reconnecting" in page.inner_text("#status")
    before = len(history(workshop.home, run_id))
    workshop.start()
    page.wait_for_selector("body:not(.away)")
    wait_for(lambda: len(history(workshop.home, run_id)) > before)
    assert page.evaluate(RANGE) == [5, 15]

    page.click("#reset-zoom")
    wait_for(lambda: points(page) > 20)
    wait_for(lambda: newest_run(workshop.home)["status"] == "finished", timeout=30)
    page.wait_for_function("document.querySelector('#status').textContent.includes('Finished')")
    same_as_database(page, workshop.home, run_id)
    assert points(page) == 400


def test_stop_and_resume(workshop: App, page: Any) -> None:
    visit(page, workshop, f"{FORM}&x=steps")
    start(page, 200)
    wait_for(lambda: points(page) > 5)
    run_id = newest_run(workshop.home)["id"]

    page.click("#stop")
    page.wait_for_function("document.querySelector('#status').textContent.includes('Stopped')")
    assert not page.locator("#stop").is_visible()

    page.click("#resume")
    page.wait_for_function("document.querySelector('#status').textContent.includes('Finished')", timeout=30_000)
    assert newest_run(workshop.home)["attempt"] == 2
    same_as_database(page, workshop.home, run_id)


def test_a_second_run_on_the_device_is_refused_in_a_sentence(workshop: App, page: Any) -> None:
    visit(page, workshop, FORM)
    start(page, 2000)
    page.wait_for_selector("body[data-side=facts]")
    page.click("text=Start another")
    page.wait_for_selector("#put-in-line:visible")
    assert not page.locator("#start").is_visible()
    # A page that has not heard of the other run yet is refused by the server, and can try again.
    # Pressed within the script: the page, which does know, hides the button again at any time.
    page.evaluate("() => { const button = document.querySelector('#start'); button.hidden = false; button.click(); }")
    page.wait_for_selector(".toast-body")
    assert "stop it first" in page.locator(".toast-body").first.inner_text()
    page.wait_for_selector("body:not(.starting)")


def test_a_name_is_put_right_or_refused_at_its_field(app: App, page: Any) -> None:
    visit(page, app)
    page.locator("#run-name input").press_sequentially("my tiny one")
    assert page.input_value("#run-name input") == "my-tiny-one"
    page.fill("#run-name input", "../x")

    page.wait_for_selector("#run-name [aria-invalid]")
    assert "letters, digits" in page.inner_text("#help-name")


def test_a_preset_without_its_text_cannot_be_started(app: App, page: Any) -> None:
    visit(page, app)
    page.check("#preset input[value=blueberry-nano]", force=True)

    page.wait_for_function("document.querySelector('#start').disabled")
    assert "Its text, smollm-1b, is not here yet" in page.inner_text("#plan")


def test_a_preset_with_experts_says_how_much_of_it_works_on_a_token(app: App, page: Any) -> None:
    visit(page, app)
    page.check("#preset input[value=blueberry-moe]", force=True)

    cards = {card.split()[0]: card for card in page.locator("#preset .card").all_inner_texts()}
    assert "453 M parameters, 151 M active" in cards["blueberry-moe"]
    assert "active" not in cards["blueberry-nano"]
    page.click("summary >> text=More settings")
    page.locator("[data-key='model.experts_per_token']").fill("9")
    page.wait_for_selector("[data-key='model.experts_per_token'][aria-invalid]")
    assert "must be at most model.experts = 8; try 2" in page.inner_text("#help-model-experts_per_token")


def test_wrong_settings_are_shown_at_their_field(app: App, page: Any) -> None:
    visit(page, app)
    page.locator("[data-key='optimizer.muon_lr']").fill("-1")

    page.wait_for_selector("[data-key='optimizer.muon_lr'][aria-invalid]")
    assert "finite number > 0" in page.inner_text("#problem")
    assert "finite number > 0" in page.inner_text("#help-optimizer-muon_lr")


def test_a_large_number_is_told_as_one_reads_it(app: App, page: Any) -> None:
    visit(page, app)
    unit = "document.querySelector('[data-unit=\"train.tokens\"]').textContent"
    assert page.evaluate(unit) == "3 M tokens"
    for typed, told in (("3002368", "3,002,368 tokens"), ("5M", "5 M tokens"), ("nine", "tokens"), ("9000", "tokens")):
        page.locator("[data-key='train.tokens']").fill(typed)
        page.wait_for_function(f"{unit} === '{told}'")
        assert page.input_value("[data-key='train.tokens']") == typed


def test_tabs_have_addresses_and_arrow_keys(app: App, page: Any) -> None:
    visit(page, app)
    page.focus("#tab-train")
    page.keyboard.press("ArrowRight")

    assert "tab=growing" in page.url and page.locator("#panel-growing").is_visible()
    page.go_back()
    page.wait_for_selector("#panel-train:visible")
    visit(page, app, "?tab=capsule")
    assert page.locator("#gallery").is_visible()
