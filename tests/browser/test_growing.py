"""Growing up: a life moved through with the keyboard, played, compared, seen whole, sent as an address."""

from collections.abc import Iterator
from typing import Any

import pytest
from conftest import new_window, no_errors
from pages import App, visit
from rooms import finished_run
from test_accessibility import faults
from ui_helpers import add_answer, add_points, make_run

from engine import store

FIRST = "Once upon a time"
SECOND = "The captain of the ship"
CURSOR = """() => [document.querySelector('.growing-curve .cursor:not(.beside)').getBoundingClientRect().x,
  document.querySelector('#growing-slider')].reduce((x, slider) => {
    const box = slider.getBoundingClientRect();
    return Math.abs(x - (box.x + 10 + (box.width - 20) * slider.value / slider.max));
  })"""
"""How many pixels the cursor on the curve is beside the slider's thumb."""


@pytest.fixture
def elder(app: App) -> str:
    """A run that has ended, with six ages."""
    db = store.connect(app.home.database)
    run_id = finished_run(db, "elder")
    db.close()
    return run_id


def says(page: Any, words: str, step: int | None = None) -> None:
    """Wait until the stage shows these words, and the age is that of this step."""
    page.wait_for_function(
        "(words) => document.querySelector('#growing-stage .words')?.textContent.includes(words)", arg=words
    )
    if step is not None:
        page.wait_for_function(f"document.querySelector('#growing-age .then').textContent.startsWith('step {step},')")


def address(page: Any, part: str) -> None:
    """Wait until the address has this part."""
    page.wait_for_function("(part) => (location.search + '&').includes(part + '&')", arg=part)


def test_the_slider_moves_words_cursor_and_address(app: App, page: Any, elder: str) -> None:
    visit(page, app, f"?tab=growing&run={elder}")
    says(page, "answer at step 60.", 60)

    page.focus("#growing-slider")
    page.keyboard.press("ArrowLeft")
    says(page, "answer at step 50.", 50)
    address(page, "age=50")
    page.keyboard.press("Home")
    says(page, "answer at step 10.", 10)
    address(page, "age=10")
    assert page.evaluate(CURSOR) < 2
    assert page.get_attribute("#growing-slider", "aria-valuetext").startswith("41 k tokens old, step 10, validation")
    page.keyboard.press("ArrowRight")
    says(page, "answer at step 20.", 20)
    assert page.evaluate(CURSOR) < 2
    page.keyboard.press("End")
    says(page, "answer at step 60.", 60)
    page.wait_for_function("!location.search.includes('age=')")


def test_an_address_brings_back_prompt_age_and_comparison(app: App, page: Any, elder: str) -> None:
    visit(page, app, f"?tab=growing&run={elder}")
    says(page, FIRST)
    page.click(f"#growing-prompts button >> text={SECOND}")
    says(page, SECOND)
    page.focus("#growing-slider")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.click("#growing-compare")
    page.wait_for_selector("#growing-stage.two")
    address(page, "beside=10")

    page.reload()
    page.wait_for_selector("body.ready")

    page.wait_for_selector("#growing-stage.two ins")
    says(page, SECOND, 20)
    assert page.locator("#growing-stage h2").all_inner_texts() == [
        "41 k tokens old, step 10",
        "81.9 k tokens old, step 20",
    ]


def test_what_changed_is_marked_and_told(app: App, page: Any, elder: str) -> None:
    visit(page, app, f"?tab=growing&run={elder}&beside=10")
    page.wait_for_selector("#growing-stage.two ins")

    assert page.locator("#growing-stage del").all_inner_texts() == [" 10."]
    assert page.locator("#growing-stage ins").all_inner_texts() == [" 60."]
    told = "6 words stayed, 1 word went (struck through), 1 word came (underlined)."
    assert page.inner_text("#growing-stage .changed") == told
    style = "(one) => getComputedStyle(one).textDecorationLine"
    assert page.locator("#growing-stage del").evaluate(style) == "line-through"
    assert page.locator("#growing-stage ins").evaluate(style) == "underline"

    page.focus("#growing-other")
    page.keyboard.press("End")
    page.wait_for_function("document.querySelector('#growing-stage .changed').textContent.includes('one age twice')")
    page.click("#growing-compare")
    page.wait_for_selector("#growing-stage:not(.two)")


def test_play_goes_from_birth_to_the_end_and_stops(app: App, page: Any, elder: str) -> None:
    visit(page, app, f"?tab=growing&run={elder}")
    says(page, "answer at step 60.", 60)
    page.evaluate("""() => {
      window.seen = [];
      new MutationObserver(() => window.seen.push(document.querySelector('#growing-stage .words')?.textContent))
        .observe(document.querySelector('#growing-stage'), {childList: true});
    }""")
    page.select_option("#growing-speed select", "10")
    page.focus("#growing-slider")
    page.keyboard.press("Space")
    page.wait_for_function("document.querySelector('#growing-play').textContent === 'Pause'")
    page.wait_for_function("document.querySelector('#growing-play').textContent === 'Play'")

    says(page, "answer at step 60.", 60)
    seen = list(dict.fromkeys(page.evaluate("window.seen")))
    address(page, "suite=stories")
    assert seen == [f"{FIRST} there was an answer at step {step}." for step in range(10, 61, 10)]


def test_all_prompts_of_one_age(app: App, page: Any, elder: str) -> None:
    visit(page, app, f"?tab=growing&run={elder}&age=30")
    says(page, "answer at step 30.", 30)
    page.click("#growing-view [data-view=all]")
    page.wait_for_selector("#growing-cards .grown >> nth=1")
    address(page, "each=1")
    assert page.locator("#growing-cards .words").all_inner_texts() == [
        f"{prompt} there was an answer at step 30." for prompt in (FIRST, SECOND)
    ]

    page.focus("#growing-slider")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.querySelector('#growing-cards').textContent.includes('step 40.')")
    page.locator("#growing-cards .grown >> nth=1").get_by_text("Keep this").click()
    page.wait_for_selector("#keep[open]")
    assert SECOND in page.inner_text("#keep")
    page.check("#keep input[value=strange]", force=True)
    page.click("#keep button.strong")
    page.click("#keep >> text=Go on here")
    page.wait_for_selector("#growing-cards .grown >> nth=1 >> text=Kept")
    assert page.locator("#growing-cards .grown").count() == 2
    page.locator("#growing-cards .grown >> nth=1").get_by_text("Open alone").click()
    says(page, SECOND, 40)
    address(page, "asked=The+captain+of+the+ship")
    assert page.locator("#growing-cards").is_hidden()


def test_moving_to_a_neighbour_asks_the_server_nothing_and_moves_nothing(app: App, page: Any, elder: str) -> None:
    db = store.connect(app.home.database)
    add_answer(db, elder, " and" * 400, 25, FIRST)
    db.close()
    visit(page, app, f"?tab=growing&run={elder}&age=20&asked={FIRST}")
    says(page, "answer at step 20.", 20)
    place = page.locator("#growing-slider").bounding_box()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    page.focus("#growing-slider")
    page.keyboard.press("ArrowRight")
    says(page, "and and and and", 25)
    page.keyboard.press("ArrowRight")
    says(page, "answer at step 30.", 30)

    assert not [one for one in asked if "/api/growing" in one]
    assert page.locator("#growing-slider").bounding_box() == place


def test_what_is_kept_is_marked_as_kept(app: App, page: Any, elder: str) -> None:
    visit(page, app, f"?tab=growing&run={elder}&age=20")
    says(page, "answer at step 20.", 20)
    page.click("#growing-stage >> text=Keep this")
    page.check("#keep [value=strange]", force=True)
    page.click("#keep button.strong")
    page.wait_for_selector("#keep >> text=Kept in the time capsule")
    page.keyboard.press("Escape")

    page.wait_for_selector("#growing-stage button >> text=Kept")
    page.focus("#growing-slider")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#growing-stage button >> text=Keep this")


@pytest.mark.parametrize("look", ["beside=10", "each=1"])
def test_two_ages_and_all_prompts_are_for_everybody(app: App, page: Any, elder: str, look: str) -> None:
    visit(page, app, f"?tab=growing&run={elder}&age=30&{look}")
    page.wait_for_selector("#growing-stage.two ins, #growing-cards .grown")

    assert faults(page) == {}


def test_the_curve_chooses_an_age(app: App, page: Any, elder: str) -> None:
    visit(page, app, f"?tab=growing&run={elder}")
    says(page, "answer at step 60.", 60)
    box = page.locator(".growing-curve .plot").bounding_box()

    page.mouse.click(box["x"] + box["width"] * 0.34, box["y"] + 20)
    says(page, "answer at step 20.", 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.51, box["y"] + 20)
    page.mouse.up()
    says(page, "answer at step 30.", 30)
    assert page.evaluate(CURSOR) < 2


@pytest.fixture
def young(app: App) -> Iterator[str]:
    """A run that trains, with two ages."""
    db = store.connect(app.home.database)
    run_id = make_run(db)
    store.update_state(db, run_id, heartbeat_at=4e9)
    add_points(db, run_id, 1, 30)
    for step in (10, 20):
        add_answer(db, run_id, f" so young at {step}", step)
    yield run_id
    store.end_run(db, run_id, "stopped")
    db.close()


def test_new_ages_come_without_moving_who_looks_at_an_older_one(app: App, page: Any, young: str) -> None:
    db = store.connect(app.home.database)
    visit(page, app, f"?tab=growing&run={young}&age=10")
    says(page, "so young at 10", 10)
    end = page.get_attribute("#growing-slider", "max")
    add_answer(db, young, " older at 30", 30)
    page.evaluate("window.blueberry.refresh()")
    page.wait_for_function("document.querySelector('#growing-age .place').textContent === '1 of 3 ages'")
    says(page, "so young at 10", 10)

    page.focus("#growing-slider")
    page.keyboard.press("End")
    says(page, "older at 30", 30)
    add_answer(db, young, " and older at 40", 40)
    page.evaluate("window.blueberry.refresh()")
    says(page, "and older at 40", 40)
    db.close()
    assert page.get_attribute("#growing-slider", "max") == end  # as far as it is to go: no thumb moved


def test_what_is_missing_is_said(app: App, page: Any) -> None:
    visit(page, app, "?tab=growing")
    page.wait_for_selector("#growing-stage .words")
    assert "only what it said at the end" in page.inner_text("#growing-note")
    assert page.locator("#growing-slider").is_hidden() and page.locator("#growing-play").is_hidden()

    db = store.connect(app.home.database)
    silent = make_run(db)
    store.end_run(db, silent, "stopped")
    db.close()
    visit(page, app, f"?tab=growing&run={silent}")
    page.wait_for_selector("#growing-empty >> text=never asked anything")


def test_from_the_feed_to_the_whole_life(app: App, page: Any, elder: str) -> None:
    visit(page, app, f"?run={elder}")
    page.click("#see-grow")

    says(page, "answer at step 60.", 60)
    address(page, "tab=growing")


def test_on_a_phone_two_ages_are_stacked(app: App, browser: Any, elder: str) -> None:
    phone = new_window(browser, viewport={"width": 360, "height": 780}, has_touch=True)
    with no_errors(phone):
        visit(phone, app, f"?tab=growing&run={elder}&beside=10")
        phone.wait_for_selector("#growing-stage.two ins")
        tops = phone.locator("#growing-stage .then").evaluate_all(
            "(all) => all.map((one) => one.getBoundingClientRect())"
        )
        assert tops[1]["top"] >= tops[0]["bottom"] and tops[0]["left"] == tops[1]["left"]
        phone.select_option("#growing-prompt select", label=SECOND)
        says(phone, SECOND)
    phone.context.close()
