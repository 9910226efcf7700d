"""An answer as coloured tokens: what the model held of each, and going on from one with another instead."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import new_window, no_errors
from pages import App, visit
from test_accessibility import faults
from test_phone import SMALL, WIDE

from engine import store

HOSTILE = "<img src=x onerror='window.hurt = 1'>"
LOOK = "#answers .its-tokens"
TOKEN = "#answers .tokens [data-at]"


def answer(page: Any, app: App, prompt: str = "The captain said", length: int = 12) -> None:
    """Ask, and wait for the whole answer."""
    visit(page, app, "?tab=play")
    page.wait_for_function("document.querySelectorAll('#play-age option').length > 1")
    page.fill("#prompt textarea", prompt)
    page.locator("[data-dial=max_tokens] input").evaluate(f"(dial) => {{ dial.value = {length}; }}")
    page.click("#generate")
    page.wait_for_selector(LOOK)


def looked(page: Any) -> dict[str, Any]:
    """Press the button; what the server told of the tokens."""
    with page.expect_response("**/api/surprise") as told:
        page.click(LOOK)
    page.wait_for_selector(TOKEN)
    return dict(told.value.json())


def text_of(tokens: list[dict[str, Any]]) -> bytes:
    return b"".join(bytes.fromhex(one["hex"]) if one["hex"] else one["text"].encode() for one in tokens)


def test_an_answer_turns_into_the_tokens_it_was_said_in(grown: App, page: Any) -> None:
    answer(page, grown)
    seen = looked(page)

    assert seen["exact"] and seen["counted"] == 12
    assert text_of([one for one in seen["tokens"] if not one["said"]]) == b"The captain said"
    shown = page.locator(TOKEN)
    assert shown.count() == len(seen["tokens"])
    assert shown.first.get_attribute("data-level") == "none"
    assert not page.locator("#answers .words").is_visible()
    assert f"{seen['mean']:.2f} bits of surprise per token" in page.inner_text("#answers .totals")
    assert {str(number) for number in range(6)} <= set(
        page.locator("#answers .scale .token").evaluate_all("(all) => all.map((one) => one.dataset.level)")
    )
    page.click(LOOK)
    assert page.locator("#answers .words").is_visible() and not page.locator(TOKEN).first.is_visible()


def test_going_on_with_another_token_asks_for_the_text_before_it_and_that_one(grown: App, page: Any) -> None:
    answer(page, grown)
    seen = looked(page)
    at = len(seen["tokens"]) - 6
    page.locator(f"{TOKEN.removesuffix(' [data-at]')} [data-at='{at}']").click()
    page.wait_for_selector("#answers .alternatives")
    chosen = page.locator("#answers .alternatives input:checked")
    piece = seen["pieces"][str(seen["tokens"][at]["others"][int(chosen.input_value())][0])]

    with page.expect_request("**/api/ask") as asked:
        page.click("text=Continue from here with this one instead")
    question = json.loads(asked.value.post_data)

    assert question["prompt"].encode() == text_of([*seen["tokens"][:at], piece])
    assert (question["run"], question["step"], question["weights"]) == (seen["run"], seen["step"], seen["weights"])
    assert (question["max_tokens"], question["seed"]) == (12, 7)
    page.wait_for_selector(LOOK)


def test_tokens_and_alternatives_by_keyboard(grown: App, page: Any) -> None:
    answer(page, grown)
    seen = looked(page)
    page.locator(TOKEN).first.focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "End", "Home", "ArrowRight"):
        page.keyboard.press(key)
    focus = "() => document.activeElement.dataset.at ?? document.activeElement.closest('.alternatives') ?.className"
    assert page.evaluate(focus) == "1"
    page.keyboard.press("Enter")
    page.wait_for_selector("#answers .alternatives")
    assert page.evaluate(focus) == "alternatives"
    told = page.inner_text("#answers .alternatives")
    assert f"of {seen['vocabulary']:,}" in told and "Likeliest here" in told
    page.keyboard.press("ArrowDown")
    assert page.evaluate(focus) == "alternatives"
    page.keyboard.press("Escape")
    assert page.locator("#answers .alternatives").count() == 0 and page.evaluate(focus) == "1"
    assert page.locator("#answers .tokens [tabindex='0']").count() == 1


def test_the_same_text_at_two_ages(grown: App, page: Any) -> None:
    answer(page, grown)
    looked(page)
    page.select_option("#answers .other-age select", "0")
    page.wait_for_selector("#answers .token-view >> nth=1")

    views = page.locator("#answers .token-view").evaluate_all(
        "(all) => all.map((one) => [...one.querySelectorAll('[data-at]')].map((token) => token.textContent).join(''))"
    )
    assert views[0] == views[1]
    titles = page.locator("#answers .totals strong").all_inner_texts()
    assert "step 0" in titles[1] and "step 0" not in titles[0]


def test_a_text_of_ones_own(grown: App, page: Any) -> None:
    visit(page, grown, "?tab=play")
    page.click("#own-text summary")
    page.wait_for_function("document.querySelectorAll('#own-text option').length > 2")
    page.fill("#own-text textarea", f"é 🫐 {HOSTILE}")
    page.click("text=Show its surprise")
    page.wait_for_selector("#own-text .tokens [data-at]")

    assert page.locator("#own-text .tokens .part").count() > 2
    page.locator("#own-text .tokens [data-at='1']").click()
    page.wait_for_selector("#own-text .alternatives")
    # What follows the first byte of é can only be what completes it.
    assert "half a character" in page.inner_text("#own-text .alternatives")
    assert page.evaluate("window.hurt") is None and page.locator("img[src=x]").count() == 0


def test_what_cannot_be_looked_at_says_why_and_leaves_the_words(grown: App, page: Any) -> None:
    answer(page, grown)
    db = store.connect(grown.home.database)
    sample = db.execute("SELECT max(id) FROM samples").fetchone()[0]
    db.conn.execute("DELETE FROM samples WHERE id = ?", [sample])
    db.close()
    page.click(LOOK)

    page.wait_for_selector("#answers .problem >> text=There is no sample")
    assert page.locator("#answers .words").is_visible()


@pytest.fixture
def phone(browser: Any) -> Iterator[Any]:
    opened = new_window(browser, viewport={"width": 360, "height": 780}, has_touch=True)
    with no_errors(opened):
        yield opened
    opened.context.close()


def test_on_a_phone_it_fits_and_can_be_touched(grown: App, phone: Any) -> None:
    answer(phone, grown)
    looked(phone)
    phone.locator(TOKEN).nth(5).tap()
    phone.wait_for_selector("#answers .alternatives")

    assert phone.evaluate(WIDE) == []
    assert phone.evaluate(SMALL) == []


def test_everybody_can_use_it(grown: App, page: Any) -> None:
    answer(page, grown)
    looked(page)
    page.click("#own-text summary")
    page.wait_for_function("document.querySelectorAll('#own-text option').length > 2")
    page.locator(TOKEN).nth(5).click()
    page.wait_for_selector("#answers .alternatives")

    assert faults(page) == {}
