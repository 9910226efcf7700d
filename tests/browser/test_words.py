"""Talking to a model, keeping what it says, finding it again; and texts that want to be scripts."""

import time
from typing import Any

from helpers import wait_for
from pages import App, newest_run, visit
from ui_helpers import add_answer, make_run

from engine import store

PROMPTS = ("The captain", "The Prince", "My dear", "Alice", "The whale")
"""A young model may end an answer by itself before anybody else can; not all of these."""
HOSTILE = "<script>window.hurt = 1</script><img src=x onerror='window.hurt = 1'>"


def ask(page: Any, prompt: str, length: int = 40) -> None:
    page.fill("#prompt textarea", prompt)
    page.locator("[data-dial=max_tokens] input").evaluate(f"(dial) => {{ dial.max = 4096; dial.value = {length}; }}")
    page.click("#generate")


def answered(page: Any) -> str:
    page.wait_for_selector("body:not(.asking) #output .continuation", timeout=60_000)
    page.wait_for_function("document.querySelector('#answer-facts').textContent.includes('ended')")
    return str(page.inner_text("#output"))


def test_the_same_seed_gives_the_same_text(grown: App, page: Any) -> None:
    visit(page, grown, "?tab=play")
    page.wait_for_function("document.querySelectorAll('#play-age option').length > 1")

    ask(page, "Once upon a time")
    first = answered(page)
    ask(page, "Once upon a time")

    assert first.startswith("Once upon a time") and len(first) > 30
    assert answered(page) == first


def begin_a_long_answer(page: Any, prompt: str) -> None:
    ask(page, prompt, 4096)
    page.wait_for_function("document.querySelector('#output .continuation').textContent.length > 10", timeout=60_000)


def test_escape_cancels_and_what_was_said_can_be_kept(grown: App, page: Any) -> None:
    visit(page, grown, "?tab=play")
    page.wait_for_function("document.querySelectorAll('#play-age option').length > 1")

    for prompt in PROMPTS:
        begin_a_long_answer(page, prompt)
        pressed = time.monotonic()
        page.keyboard.press("Escape")
        page.wait_for_selector("body:not(.asking)")
        assert time.monotonic() - pressed < 2
        if "cancelled" in page.inner_text("#answer-facts"):
            break

    assert "cancelled" in page.inner_text("#answer-facts")
    assert page.locator("#archive").is_visible()


def test_a_closed_tab_ends_its_answer(grown: App, page: Any) -> None:
    def how_it_ended() -> str:
        db = store.connect(grown.home.database)
        found = [row for row in store.list_samples(db, newest_run(grown.home)["id"]) if row["prompt"] == prompt]
        db.close()
        return str(found[-1]["finish"]) if found else ""

    for prompt in (f"{prompt} said" for prompt in PROMPTS):
        visit(page, grown, "?tab=play")
        page.wait_for_function("document.querySelectorAll('#play-age option').length > 1")
        begin_a_long_answer(page, prompt)
        page.goto("about:blank")
        if wait_for(how_it_ended, timeout=2) == "cancelled":
            break

    assert how_it_ended() == "cancelled"


def test_keep_and_find_again(grown: App, page: Any) -> None:
    visit(page, grown, "?tab=play")
    page.wait_for_function("document.querySelectorAll('#play-age option').length > 1")
    ask(page, "The Prince looked at", 12)
    said = answered(page)
    page.click("#archive")
    page.check("#keep [value=strange]", force=True)
    page.fill("#keep-title", "A princely silence")
    page.click("#keep button.strong")
    page.wait_for_selector("#keep >> text=Kept in the time capsule")

    page.reload()
    page.wait_for_selector("body.ready")
    page.click("#tab-capsule")
    page.fill("#gallery-search input", "princely")
    page.wait_for_function("document.querySelector('#capsule-count').textContent === '1 exhibit'")

    card = page.locator("#gallery .exhibit")
    assert "The Strange" in card.inner_text() and "A princely silence" in card.inner_text()
    card.locator("text=Ask again").click()
    page.wait_for_selector("#prompt:visible")
    page.wait_for_function("document.querySelector('#play-age select').value !== '-1'")
    assert answered(page) == said


def test_a_selection_that_ends_outside_a_sheet_does_not_shut_it(grown: App, page: Any) -> None:
    visit(page, grown)
    page.locator("#feed .answer").get_by_text("Keep this").first.click()
    page.fill("#keep-note", "Typed with care")
    box = page.locator("#keep-note").bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 12)
    page.mouse.down()
    page.mouse.move(5, box["y"] + 12)
    page.mouse.up()
    assert page.input_value("#keep-note") == "Typed with care"

    page.mouse.click(5, 300)
    page.wait_for_selector("#keep", state="hidden")


def test_another_answer_is_another_one_and_the_newest_is_asked_again(grown: App, page: Any) -> None:
    visit(page, grown, "?tab=play")
    page.wait_for_function("document.querySelectorAll('#play-age option').length > 1")
    ask(page, "The Prince looked at")
    first = answered(page)
    page.click("#another")
    page.wait_for_selector("body.asking", state="attached")
    assert answered(page) != first and page.input_value("#seed input") == "8"

    page.select_option("#play-age select", index=2)
    page.click("#tab-train")
    page.click("#banner button:has-text('Talk to it')")
    assert page.input_value("#play-age select") == "-1"
    page.wait_for_selector("#output .empty")


def test_the_feed_steps_back_through_the_ages(grown: App, page: Any) -> None:
    visit(page, grown)
    card = page.locator("#feed .answer").first
    newest = card.inner_text()

    ages = int(card.locator(".age").inner_text().rpartition(" of ")[2])
    card.locator("[aria-label=Younger]").click()
    page.wait_for_function(f"document.querySelector('#feed .age').textContent.endsWith('{ages - 1} of {ages}')")

    assert card.inner_text() != newest


def test_the_same_words_and_signs_that_are_no_letters_are_explained(app: App, page: Any) -> None:
    db = store.connect(app.home.database)
    run_id = make_run(db)
    for step, said in ((0, " \ufffd of the"), (10, " \ufffd of the"), (20, " a word")):
        for prompt in ("Once", "Alice"):
            add_answer(db, run_id, said if prompt == "Once" or step < 10 else f" {prompt}", step, prompt)
    store.end_run(db, run_id, "finished")
    db.close()

    visit(page, app, f"?run={run_id}")
    cards, signs = page.locator("#feed .answer"), page.locator("#feed .signs")

    def notes(age: int) -> list[str | None]:
        told = f"'{age} of 3'"
        page.wait_for_function(
            f"[...document.querySelectorAll('.age')].every((one) => one.textContent.endsWith({told}))"
        )
        return [cards.nth(at).locator(".note").text_content() for at in (0, 1)]

    def back() -> None:
        for at in (0, 1):
            cards.nth(at).locator("[aria-label=Younger]").click()

    assert notes(3) == ["", "Word for word what it said at step 10."] and not signs.is_visible()
    back()
    assert notes(2) == ["Word for word what it said before its first step.", ""] and signs.is_visible()
    back()
    same = "The same words as for “Once”: all are drawn with seed 7, and so young it does not heed the prompt."
    assert notes(1) == ["", same]
    cards.nth(0).locator("text=Keep this").click()
    page.wait_for_selector("#keep[open] >> text=stands for bytes that are no letter")


def test_texts_that_want_to_be_scripts_stay_texts(grown: App, page: Any) -> None:
    db = store.connect(grown.home.database)
    run = store.list_runs(db)[0]
    sample = store.add_sample(
        db,
        {
            "run_id": run["id"],
            "attempt": 1,
            "step": run["step"],
            "tokens": run["tokens"],
            "suite": "stories",
            "prompt": HOSTILE,
            "text": HOSTILE,
            "seed": 7,
            "temperature": 0.8,
            "top_k": 0,
            "top_p": 0.95,
            "max_tokens": 80,
            "source": "periodic",
            "created_at": time.time(),
        },
    )
    store.keep(db, sample, HOSTILE[:39], HOSTILE, HOSTILE)
    store.add_event(db, run["id"], "note", HOSTILE, 1)
    db.close()

    visit(page, grown)
    page.wait_for_selector("#events li")
    page.evaluate("document.querySelector('#all-answers').click()")
    assert HOSTILE in page.inner_text("#feed") and HOSTILE in page.inner_text("#events")
    page.click("#tab-capsule")
    page.wait_for_function("document.querySelector('#gallery').textContent.includes('onerror')")
    page.click("#tab-play")
    ask(page, HOSTILE, 3)
    assert HOSTILE in answered(page)
    assert page.evaluate("window.hurt") is None
    assert page.locator("#panel-capsule script, #gallery img, #output img").count() == 0
