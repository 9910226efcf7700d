"""A phone: one column, nothing hanging out at the side, everything large enough for a thumb."""

from collections.abc import Iterator
from typing import Any

import pytest
from pages import App, visit

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
  const scrolled = (one) => one.closest('.tabs, pre, table, .table, .plot');
  const over = [...document.querySelectorAll('body *')].filter((one) =>
    one.checkVisibility() && one.getBoundingClientRect().right > most + 1 && !scrolled(one));
  const all = document.documentElement.scrollWidth > most ? ['the page scrolls sideways'] : [];
  return [...all, ...over.slice(0, 8).map((one) => `${one.tagName}#${one.id}.${one.getAttribute('class')}`)];
}"""
STATES = ["finished", "running", "failed", "long-name", "blueberry-nano-2025"]


@pytest.fixture
def phone(browser: Any) -> Iterator[Any]:
    """A page as narrow as the narrowest phones."""
    size = {"width": 360, "height": 780}
    context = browser.new_context(viewport=size, has_touch=True, reduced_motion="reduce")
    yield context.new_page()
    context.close()


def test_every_state_fits(full: tuple[App, dict[str, str]], phone: Any) -> None:
    app, runs = full
    for state in STATES:
        visit(phone, app, f"?run={runs.get(state, state)}")
        phone.wait_for_selector("#feed .answer")

        assert phone.evaluate(WIDE) == [], state
        assert phone.evaluate(SMALL) == [], state


def test_every_tab_fits(full: tuple[App, dict[str, str]], phone: Any) -> None:
    app, runs = full
    for tab in ("play", "capsule", "compare", "data", "report"):
        visit(phone, app, f"?run={runs['finished']}&tab={tab}")
        phone.wait_for_timeout(300)

        assert phone.evaluate(WIDE) == [], tab
        assert phone.evaluate(SMALL) == [], tab


def test_stop_stays_in_sight(full: tuple[App, dict[str, str]], phone: Any) -> None:
    app, runs = full
    visit(phone, app, f"?run={runs['running']}")
    phone.wait_for_selector("#feed .answer")
    phone.evaluate("scrollTo({top: 2000, behavior: 'instant'})")

    assert phone.locator("#stop").evaluate("(one) => one.getBoundingClientRect().top >= 0")
    assert phone.locator("#topbar").evaluate("(one) => one.getBoundingClientRect().bottom") < 120
