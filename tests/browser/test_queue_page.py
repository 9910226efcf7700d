"""The runs in line on the page: put in, ordered by buttons, by the mouse and by keys, held, taken out."""

from collections.abc import Iterator
from typing import Any

import pytest
from helpers import end_trainers, wait_for
from pages import FORM, App, visit
from rooms import clear_lines, open_runs

from engine import launch, queue, store
from engine.home import Home

LONG = {"train.tokens": 40_000_000}


def names(home: Home) -> list[str]:
    """Who is in line, the next one first."""
    return [run["name"] for line in queue.lines(home)["lines"] for run in line["queued"]]


def shown(page: Any) -> list[str]:
    """Who the page says is in line."""
    found: list[str] = page.evaluate("[...document.querySelectorAll('#line .name')].map((one) => one.firstChild.data)")
    return found


def clear(home: Home) -> None:
    """Nothing trains, nothing waits, nothing is held."""
    clear_lines(home)
    end_trainers(home)
    wait_for(lambda: not open_runs(home))


@pytest.fixture
def line(workshop: App) -> Iterator[App]:
    """A workshop in which alpha trains, and beta, gamma and delta wait for it."""
    clear(workshop.home)
    ids = [
        launch.start_run(workshop.home, "seedling", name, LONG, True) for name in ("alpha", "beta", "gamma", "delta")
    ]
    wait_for(lambda: launch.run_status(workshop.home, ids[0])["status"] == "running")
    yield workshop
    clear(workshop.home)


def test_a_run_is_put_in_line_from_the_form_and_begins_by_itself(workshop: App, page: Any) -> None:
    clear(workshop.home)
    first = launch.start_run(workshop.home, "seedling", "alpha", LONG)
    wait_for(lambda: launch.run_status(workshop.home, first)["status"] == "running")
    visit(page, workshop, FORM)
    page.wait_for_selector("#put-in-line:visible")
    assert page.inner_text("#put-in-line") == "Start next"
    assert not page.locator("#start").is_visible()
    page.wait_for_function("document.querySelector('#plan').textContent.includes('once alpha has ended')")
    page.fill("#run-name input", "beta")
    page.click("#put-in-line")
    page.wait_for_selector("#line li")
    assert shown(page) == names(workshop.home) == ["beta"]
    page.wait_for_function("document.querySelector('#put-in-line').textContent === 'Put in line'")
    assert page.input_value("#run-name input") == ""
    page.fill("#run-name input", "gamma")
    page.press("#run-name input", "Enter")
    page.wait_for_function("document.querySelectorAll('#line li').length === 2")
    page.wait_for_function("document.querySelector('#run-select').textContent.includes('gamma, number 2 in line')")
    launch.stop_run(workshop.home, first)
    page.wait_for_function("document.querySelectorAll('#line li').length === 1")
    assert shown(page) == ["gamma"]


def test_the_order_is_changed_by_keys_and_the_focus_stays(line: App, page: Any) -> None:
    visit(page, line)
    page.focus("[data-do=up][data-run]:not(:disabled) >> nth=1")  # delta's
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('#line li:nth-child(2) .name').firstChild.data === 'delta'")
    assert names(line.home) == ["beta", "delta", "gamma"]
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Move up: delta"
    assert page.inner_text("#line .heard") == "delta is number 2 in line."
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('#line li .name').firstChild.data === 'delta'")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Move down: delta"  # up is at its end


@pytest.mark.parametrize(
    ("who", "onto", "lower", "order"),
    [
        ("delta", "beta", False, ["delta", "beta", "gamma"]),
        ("beta", "delta", True, ["gamma", "delta", "beta"]),
        ("beta", "gamma", False, ["beta", "gamma", "delta"]),
        ("delta", "beta", True, ["beta", "delta", "gamma"]),
    ],
)
def test_the_order_is_changed_with_the_mouse(
    line: App, page: Any, who: str, onto: str, lower: bool, order: list[str]
) -> None:
    visit(page, line)
    page.wait_for_selector("#line li")
    target = page.locator("#line li", has_text=onto)
    y = target.bounding_box()["height"] - 4 if lower else 4
    page.locator("#line li", has_text=who).drag_to(target, target_position={"x": 60, "y": y})
    wait_for(lambda: shown(page) == order)
    assert names(line.home) == order


def test_a_line_is_held_and_goes_on(line: App, page: Any) -> None:
    visit(page, line)
    page.click("text=Hold the line")
    page.wait_for_selector("#line .held")
    page.click("#stop")
    page.wait_for_function("document.querySelector('#status').textContent.includes('Stopped')")
    assert names(line.home) == ["beta", "gamma", "delta"]
    page.check("#line .check input")
    wait_for(lambda: queue.lines(line.home)["stops_after_failure"])
    page.click("text=Let it go on")
    page.wait_for_function("document.querySelectorAll('#line li').length === 2")
    assert not page.locator("#line .held").is_visible()
    # What was stopped can go on, behind the others.
    page.wait_for_selector("#resume-in-line:visible")
    assert not page.locator("#resume").is_visible()
    page.click("#resume-in-line")
    page.wait_for_function("document.querySelectorAll('#line li').length === 3")
    assert names(line.home) == ["gamma", "delta", "alpha"]
    page.wait_for_function("document.querySelector('#status').textContent.includes('Waiting in line, number 3')")


def test_a_run_is_taken_out_from_the_line_and_from_its_own_page(line: App, page: Any) -> None:
    visit(page, line)
    page.click("[aria-label='Take out of the line: gamma']")
    wait_for(lambda: names(line.home) == ["beta", "delta"])
    page.click("#line .name >> nth=1")
    page.wait_for_function("document.querySelector('#banner').textContent.includes('It waits in line, number 2')")
    assert "once the runs before it have ended" in page.inner_text("#banner")
    assert not page.locator("#stop").is_visible()
    page.click("#banner >> text=Take it out")
    page.wait_for_function("document.querySelector('#status').textContent.includes('Stopped')")
    assert names(line.home) == ["beta"]
    page.click("[aria-label='Take out of the line: beta']")
    page.wait_for_selector("#line", state="hidden")
    assert page.evaluate("document.activeElement.id") == "tab-train"


def test_a_name_is_text_in_the_line(line: App, page: Any) -> None:
    db = store.connect(line.home.database)
    db.conn.execute("UPDATE runs SET name = ? WHERE name = 'gamma'", ["<img src=x onerror=document.title='owned'>"])
    db.close()
    visit(page, line)
    page.wait_for_selector("#line li")
    assert "<img src=x" in shown(page)[1]
    assert "owned" not in page.title()
