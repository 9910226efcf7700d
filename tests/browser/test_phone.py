"""A phone: one column, nothing hanging out at the side, everything large enough for a thumb."""

from collections.abc import Iterator
from typing import Any

import pytest
from conftest import new_window, no_errors
from pages import SEEN, App, switch, visit

SMALL = """() => {
  const targets = 'button, select, summary, a, textarea, input';
  return [...document.querySelectorAll(targets)].filter((one) => one.checkVisibility({visibilityProperty: true}))
    .map((one) => [one, (one.closest('label') || one).getBoundingClientRect()])
    .filter(([, box]) => box.width > 1 && (box.height < 43.5 || box.width < 43.5))
    .map(([one, box]) => `${one.tagName}#${one.id}.${one.className} ${one.textContent.slice(0, 20)} ` +
      `${Math.round(box.width)}x${Math.round(box.height)}`);
}"""
WIDE = """() => {
  const most = document.documentElement.clientWidth;
  const scrolled = (one) => one.closest('.tabs, .chips, pre, table, .table, .plot');
  const over = [...document.querySelectorAll('body *')].filter((one) =>
    one.checkVisibility() && one.getBoundingClientRect().right > most + 1 && !scrolled(one));
  const all = document.documentElement.scrollWidth > most ? ['the page scrolls sideways'] : [];
  return [...all, ...over.slice(0, 8).map((one) => `${one.tagName}#${one.id}.${one.getAttribute('class')}`)];
}"""
STATES = {
    "finished": "finished",
    "running": "running",
    "failed": "failed",
    "long-name": "finished",
    "blueberry-nano-2025": "published",
}
"""Runs, and the status that each has."""


@pytest.fixture(scope="module")
def phone(browser: Any) -> Iterator[Any]:
    """A page as narrow as the narrowest phones."""
    opened = new_window(browser, viewport={"width": 360, "height": 780}, has_touch=True)
    with no_errors(opened):
        yield opened
    opened.context.close()


def test_every_state_fits(full: tuple[App, dict[str, str]], phone: Any) -> None:
    app, runs = full
    visit(phone, app)
    for state in STATES:
        switch(phone, runs.get(state, state))
        phone.wait_for_function(f"document.body.dataset.status === '{STATES[state]}'")

        assert phone.evaluate(WIDE) == [], state
        assert phone.evaluate(SMALL) == [], state


def test_every_tab_fits(full: tuple[App, dict[str, str]], phone: Any) -> None:
    app, runs = full
    visit(phone, app, f"?run={runs['finished']}")
    for tab in ("growing", "play", "capsule", "compare", "data", "report"):
        phone.click(f"#tab-{tab}")
        phone.wait_for_selector(SEEN[tab], state="attached")

        assert phone.evaluate(WIDE) == [], tab
        assert phone.evaluate(SMALL) == [], tab


def test_stop_stays_in_sight(full: tuple[App, dict[str, str]], phone: Any) -> None:
    app, runs = full
    visit(phone, app, f"?run={runs['running']}")
    phone.wait_for_selector("#feed .answer")
    phone.evaluate("scrollTo({top: 2000, behavior: 'instant'})")

    assert phone.locator("#stop").evaluate("(one) => one.getBoundingClientRect().top >= 0")
    assert phone.locator("#topbar").evaluate("(one) => one.getBoundingClientRect().bottom") < 120


def test_the_first_exhibit_is_not_pushed_away_by_filters(full: tuple[App, dict[str, str]], phone: Any) -> None:
    app, runs = full
    visit(phone, app, f"?tab=capsule&of={runs['finished']}")
    phone.wait_for_selector("#gallery .exhibit")
    assert phone.locator("#gallery .exhibit").first.evaluate("(one) => one.getBoundingClientRect().top") < 640
    assert phone.locator("#gallery-more").text_content() == "Filters: 1 set"

    phone.click("#gallery-more")
    phone.select_option("#gallery-young select", "100000")
    phone.wait_for_selector("#gallery-more >> text=Filters: 2 set")
    phone.click("#gallery-more")
    phone.wait_for_selector("#gallery-run select", state="hidden")
