"""Everything by keyboard alone: no test in this file touches a mouse."""

from typing import Any

import pytest
from helpers import wait_for
from pages import FORM, App, newest_run, visit

FOCUS = """() => {
  const at = document.activeElement;
  const style = getComputedStyle(at.matches('.card input') ? at.closest('.card') : at);
  return {what: at.id || at.className, tag: at.tagName, text: (at.textContent || at.value || '').slice(0, 40),
    ring: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2};
}"""


def tab_to(page: Any, selector: str, most: int = 60, key: str = "Tab") -> None:
    """Press Tab until what `selector` names has the focus; every stop on the way shows a ring."""
    for _ in range(most):
        page.keyboard.press(key)
        at = page.evaluate(FOCUS)
        assert at["ring"] or at["tag"] == "BODY", f"no focus ring on {at}"
        if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"{selector} cannot be reached; the last stop was {page.evaluate(FOCUS)}")


def test_start_a_run_and_stop_it(workshop: App, page: Any) -> None:
    visit(page, workshop, FORM)
    page.wait_for_selector("#preset .card")
    tab_to(page, "#preset input")
    tab_to(page, "[data-key='train.tokens']")
    page.keyboard.press("Control+A")
    page.keyboard.type("8192000")
    tab_to(page, "#start")
    page.keyboard.press("Enter")
    page.wait_for_selector("body[data-open=true]")
    tab_to(page, "#stop")
    page.keyboard.press("Enter")

    wait_for(lambda: newest_run(workshop.home)["status"] == "stopped")
    page.wait_for_selector("body[data-status=stopped]")


def test_ask_cancel_keep_and_find(grown: App, page: Any) -> None:
    visit(page, grown)
    tab_to(page, "[role=tab]")
    while page.evaluate("document.activeElement.dataset.tab") != "play":
        page.keyboard.press("ArrowRight")
    page.wait_for_function("document.querySelectorAll('#play-age option').length > 1")
    tab_to(page, "[data-dial=max_tokens] input")
    page.keyboard.press("End")
    assert page.inner_text("[data-dial=max_tokens] output") == "512"
    tab_to(page, "#prompt textarea", key="Shift+Tab")
    page.keyboard.type("The lighthouse keeper")
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('#output .continuation')?.textContent.length > 10", timeout=60_000)
    page.keyboard.press("Escape")
    page.wait_for_selector("body:not(.asking)")  # cancelled, or quicker than a hand

    tab_to(page, "#archive")
    page.keyboard.press("Enter")
    page.wait_for_selector("#keep[open]")
    page.keyboard.press("Space")  # the first category has the focus
    tab_to(page, "#keep-title")
    page.keyboard.press("Control+A")
    page.keyboard.type("A keeper's keyboard")
    page.keyboard.press("Enter")
    page.wait_for_selector("#keep >> text=See it there")
    page.keyboard.press("Enter")
    page.wait_for_selector("#exhibit[open] >> text=A keeper's keyboard")
    page.keyboard.press("Escape")
    tab_to(page, "#gallery-search input")
    page.keyboard.type("keeper's keyboard")
    page.wait_for_function("document.querySelector('#capsule-count').textContent === '1 exhibit'")

    assert "The lighthouse keeper" in page.inner_text("#gallery")


def test_a_dialog_keeps_the_focus_and_gives_it_back(grown: App, page: Any) -> None:
    visit(page, grown, "?tab=capsule")
    page.wait_for_selector("#gallery .exhibit")
    page.evaluate("document.querySelectorAll('.exhibit .read').forEach((button) => { button.hidden = false; })")
    tab_to(page, ".exhibit .read")
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog#exhibit[open]")
    for _ in range(8):
        page.keyboard.press("Tab")
        assert page.evaluate(
            "document.activeElement === document.body || document.activeElement.closest('dialog') !== null"
        )
    page.keyboard.press("Escape")

    page.wait_for_selector("dialog#exhibit[open]", state="detached")
    assert page.evaluate("document.activeElement.matches('.exhibit .read')")


@pytest.mark.parametrize("place", ["#status", "#topbar .message", "#plan", "#capsule-count", "#output"])
def test_news_is_told_politely(grown: App, page: Any, place: str) -> None:
    visit(page, grown)
    spoken = "(one) => one.getAttribute('aria-live') || ({status: 'polite'})[one.getAttribute('role')]"

    assert page.locator(place).evaluate(spoken) == "polite"


def test_less_motion_where_less_is_wanted(grown: App, page: Any) -> None:
    visit(page, grown)
    page.wait_for_selector("#facts dl")
    moving = "document.getAnimations().filter((one) => one.effect.getComputedTiming().duration > 10).length"

    assert page.evaluate(moving) == 0
