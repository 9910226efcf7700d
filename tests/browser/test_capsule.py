"""The time capsule as a museum: found while typing, one address an exhibit, changed and taken out calmly."""

import struct
from pathlib import Path
from typing import Any

from pages import App, visit
from rooms import furnished
from test_hostile import HOSTILE
from ui_helpers import add_answer

from engine import store


def count(page: Any, text: str) -> None:
    page.wait_for_function(f"document.querySelector('#capsule-count').textContent === '{text}'")


def test_exhibits_are_found_while_typing_and_turned_by_pages(app: App, page: Any) -> None:
    run_id = furnished(app.home, 55)[0]
    visit(page, app, "?tab=capsule")
    page.select_option("#gallery-run select", run_id)
    count(page, "55 exhibits")
    assert page.locator("#gallery .exhibit").count() == 50
    page.click(".pages >> text=Older")
    page.wait_for_function("document.querySelectorAll('#gallery .exhibit').length === 5")
    page.reload()
    page.wait_for_function("document.querySelectorAll('#gallery .exhibit').length === 5")
    page.click(".pages >> text=Newer")

    page.locator("#gallery-search input").press_sequentially('marma" cat 54')
    count(page, "0 exhibits")
    page.fill("#gallery-search input", "marmalade 5")
    count(page, "6 exhibits")
    marked = "[...document.querySelectorAll('#gallery mark')].map((one) => one.textContent)"
    assert set(page.evaluate(marked)) == {"marmalade", "5", "50", "51", "52", "53", "54"}
    page.select_option("#gallery-young select", "300000")
    count(page, "0 exhibits")


def test_an_exhibit_has_an_address_and_the_back_button_closes_it(app: App, page: Any) -> None:
    furnished(app.home)
    visit(page, app, "?tab=capsule")
    page.click("#gallery >> text=Cat 1")
    page.wait_for_selector("#exhibit[open] >> text=marmalade cat 1")
    address = page.url
    assert "exhibit=" in address

    page.go_back()
    page.wait_for_selector("#exhibit", state="hidden")
    page.go_forward()
    page.wait_for_selector("#exhibit[open] >> text=marmalade cat 1")
    page.keyboard.press("Escape")
    page.wait_for_function("!location.search.includes('exhibit')")

    page.goto(address)
    page.wait_for_selector("#exhibit[open] >> text=marmalade cat 1")


def test_an_answer_that_says_its_prompt_again_keeps_every_word(app: App, page: Any) -> None:
    run_id = furnished(app.home, 0)[0]
    db = store.connect(app.home.database)
    exhibit = store.keep(db, add_answer(db, run_id, "hahaha", prompt="ha"), "loop", "Laughter")
    db.close()
    visit(page, app, f"?tab=capsule&exhibit={exhibit}")
    page.wait_for_selector("#exhibit[open] .words")
    assert page.text_content("#exhibit .words") == page.text_content("#gallery .exhibit .words") == "hahahaha"


def test_an_exhibit_is_changed_and_taken_out_after_a_question(app: App, page: Any) -> None:
    furnished(app.home)
    visit(page, app, "?tab=capsule")
    page.click("#gallery >> text=Cat 2")
    page.click("#exhibit >> text=Edit")
    page.fill("#exhibit #keep-title", "The Cheshire cat")
    page.fill("#exhibit #own-category", "Cats & Co.")
    page.click("#exhibit >> text=Save")
    page.wait_for_selector("#exhibit h2 >> text=The Cheshire cat")
    assert "Cats & Co." in page.inner_text("#exhibit .mark")

    page.click("#exhibit >> text=Remove")
    page.click("text=Leave it")
    page.click("#exhibit >> text=Remove")
    page.click("text=Remove it")
    page.wait_for_selector("#exhibit", state="hidden")
    page.wait_for_function("!document.querySelector('#gallery').textContent.includes('Cheshire')")

    db = store.connect(app.home.database)
    assert {row["title"] for row in store.search_archive(db, "cat")[0]} >= {"Cat 0", "Cat 1"}
    assert db["samples"].count_where("prompt = 'A cat'") == 3
    db.close()


def test_every_age_of_an_answer_is_reached_by_keyboard_and_can_be_kept(app: App, page: Any) -> None:
    furnished(app.home, 0)
    visit(page, app)
    card = page.locator("#feed .answer").first
    slider = card.locator("input[type=range]")
    slider.focus()
    page.keyboard.press("Home")
    page.wait_for_function("document.querySelector('#feed .answer').textContent.includes('at step 10.')")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.querySelector('#feed .answer').textContent.includes('at step 20.')")
    assert "step 20" in str(slider.get_attribute("aria-valuetext"))

    card.locator("text=Keep this").click()
    page.wait_for_selector("#keep[open] >> text=at step 20.")
    page.fill("#keep-title", "At twenty")
    page.click("#keep button.strong")
    page.wait_for_selector('#keep .problem:has-text("Choose what it is first")')
    page.keyboard.press("Space")
    page.keyboard.press("ArrowRight")
    page.click("#keep button.strong")
    page.click("#keep >> text=Go on here")
    page.wait_for_function("document.querySelector('#feed .answer footer').textContent.includes('Kept')")

    card.locator("text=Kept").click()
    page.wait_for_selector("#exhibit[open] >> text=At twenty")
    assert "The Strange" in page.inner_text("#exhibit")


def test_what_was_searched_for_is_in_the_address(app: App, page: Any) -> None:
    furnished(app.home, 55)
    visit(page, app, "?tab=capsule")
    page.fill("#gallery-search input", "marmalade")
    page.select_option("#gallery-category select", "strange")
    count(page, "18 exhibits")
    assert "q=marmalade" in page.url and "category=strange" in page.url

    page.reload()
    page.wait_for_selector("body.ready")
    count(page, "18 exhibits")
    assert page.input_value("#gallery-search input") == "marmalade"
    page.click("#tab-train")
    page.wait_for_function("!location.search.includes('marmalade')")
    page.go_back()
    count(page, "18 exhibits")
    page.select_option("#gallery-category select", "")
    page.fill("#gallery-search input", "")
    count(page, "58 exhibits: 55 of yours, 3 published")


def titles(page: Any) -> list[str]:
    found: list[str] = page.evaluate(
        "[...document.querySelectorAll('#gallery .exhibit h2')].map((one) => one.textContent)"
    )
    return found


def test_exhibits_are_pinned_and_moved_by_keyboard(app: App, page: Any) -> None:
    furnished(app.home)
    visit(page, app, "?tab=capsule")
    for title in ("Cat 0", "Cat 1"):
        page.focus(f'#gallery [aria-label="Pin, to stand in front: {title}"]')
        page.keyboard.press("Enter")
        page.wait_for_selector(f'#gallery .pinned [aria-label="Take the pin off: {title}"]:focus')
    assert titles(page)[:2] == ["Cat 0", "Cat 1"]

    page.focus('#gallery [aria-label="Move earlier: Cat 1"]')
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('#gallery .exhibit h2').textContent === 'Cat 1'")
    assert page.evaluate("document.activeElement.ariaLabel") == "Move earlier: Cat 1"
    page.keyboard.press("Enter")
    count(page, "It is the first of the pinned exhibits.")

    page.click("#gallery-tags >> text=Pinned")
    count(page, "2 exhibits")
    page.reload()
    page.wait_for_selector("body.ready")
    count(page, "2 exhibits")
    assert titles(page) == ["Cat 1", "Cat 0"]


def test_tags_are_given_in_the_dialog_and_filter_as_chips(app: App, page: Any) -> None:
    furnished(app.home)
    visit(page, app, "?tab=capsule")
    page.click("#gallery >> text=Cat 2")
    page.click("#exhibit >> text=Edit")
    page.fill("#exhibit #keep-tags", " Sea , <b>bold</b>, sea")
    page.click("#exhibit >> text=Save")
    page.wait_for_selector('#exhibit [aria-label="Show all tagged Sea"]')
    assert page.locator("#exhibit .tag").all_inner_texts() == ["Sea", "<b>bold</b>"]

    page.click('#exhibit [aria-label="Show all tagged Sea"]')
    count(page, "1 exhibit")
    assert "tagged=Sea" in page.url and titles(page) == ["Cat 2"]
    page.click("#gallery-tags >> text=Sea")
    count(page, "6 exhibits: 3 of yours, 3 published")


def test_a_random_exhibit_follows_the_filters_and_another_one_is_a_press_away(app: App, page: Any) -> None:
    furnished(app.home, 2)
    visit(page, app, "?tab=capsule&q=marmalade")
    count(page, "2 exhibits")
    page.click("#random-exhibit")
    first = page.inner_text("#exhibit[open] h2")
    page.click("#exhibit >> text=Another")
    page.wait_for_function("(first) => document.querySelector('#exhibit h2').textContent !== first", arg=first)
    assert {first, page.inner_text("#exhibit h2")} == {"Cat 0", "Cat 1"}


def test_exhibits_are_sorted_and_limited_by_date(app: App, page: Any) -> None:
    run_id = furnished(app.home)[0]
    visit(page, app, f"?tab=capsule&of={run_id}")
    count(page, "3 exhibits")
    page.select_option("#gallery-sort select", "title")
    page.wait_for_function("document.querySelector('#gallery .exhibit h2').textContent === 'Cat 0'")
    page.fill("#gallery-until input", "2020-01-01")
    count(page, "0 exhibits")
    page.fill("#gallery-until input", "")
    page.fill("#gallery-since input", "2020-01-01")
    count(page, "3 exhibits")


def test_everything_that_was_said_is_found_and_kept(app: App, page: Any) -> None:
    run_id = furnished(app.home, 1)[0]
    visit(page, app, "?tab=capsule")
    page.click("#capsule-rooms >> text=Everything said")
    page.fill("#gallery-search input", "answer step 2")
    count(page, "4 answers")
    page.select_option("#gallery-run select", run_id)
    count(page, "2 answers")
    assert set(page.locator("#everything mark").all_inner_texts()) == {"answer", "step", "20"}
    assert page.locator("#gallery").is_hidden() and page.locator("#gallery-category").is_hidden()

    page.locator("#everything .hit >> text=Keep this").first.click()
    page.wait_for_selector("#keep[open] >> text=at step 20.")
    page.check("#keep input[value=good]", force=True)
    page.fill("#keep-title", "At twenty")
    page.click("#keep button.strong")
    page.click("#keep >> text=Go on here")
    page.locator("#everything >> text=Kept: see it").first.click()
    page.wait_for_selector("#exhibit[open] >> text=At twenty")
    page.keyboard.press("Escape")
    page.wait_for_function("!location.search.includes('exhibit=')")

    page.reload()
    page.wait_for_selector("body.ready")
    count(page, "2 answers")
    page.fill("#gallery-search input", ":-)")
    count(page, "In everything that was said, words can be found; signs alone cannot.")


def test_answers_are_turned_by_pages_both_ways(app: App, page: Any) -> None:
    furnished(app.home, 60)
    visit(page, app, "?tab=capsule&room=said&q=marmalade")
    count(page, "60 answers")
    page.click(".pages >> text=Older")
    page.wait_for_function("document.querySelectorAll('#everything .hit').length === 10")
    page.reload()
    page.wait_for_selector("body.ready")
    page.wait_for_function("document.querySelectorAll('#everything .hit').length === 10")
    page.click(".pages >> text=Newer")
    page.wait_for_function("document.querySelectorAll('#everything .hit').length === 50")
    assert "marmalade cat 59" in page.locator("#everything .hit").first.inner_text()


def test_an_exhibit_is_saved_as_a_picture(app: App, page: Any) -> None:
    furnished(app.home)
    visit(page, app, "?tab=capsule")
    page.click("#gallery >> text=Cat 1")
    with page.expect_download() as kept:
        page.click("#exhibit >> text=Save as picture")
    data = Path(kept.value.path()).read_bytes()

    assert data[:8] == b"\x89PNG\r\n\x1a\n" and struct.unpack(">II", data[16:24]) == (1200, 630)
    assert kept.value.suggested_filename.startswith("exhibit-") and len(data) > 20_000
    page.wait_for_selector("#exhibit >> text=Saved")


def test_what_the_filters_leave_is_saved_as_a_page_that_runs_nothing(app: App, page: Any, tmp_path: Path) -> None:
    furnished(app.home)
    db = store.connect(app.home.database)
    db.conn.execute("UPDATE archive SET note = ? WHERE title = 'Cat 1'", [HOSTILE * 100])
    db.conn.execute("UPDATE samples SET text = ? WHERE text LIKE '%cat 1%'", ["\u202e" + HOSTILE * 200])
    db.close()
    visit(page, app, "?tab=capsule&q=cat&category=strange")
    count(page, "1 exhibit")
    with page.expect_download() as kept:
        page.click("#save-gallery")
    kept.value.save_as(tmp_path / "hall.html")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"file://{tmp_path}/hall.html")

    assert page.locator("article").count() == 1 and "Cat 1" in page.inner_text("h2")
    assert HOSTILE in page.inner_text(".words") and page.evaluate("window.hurt") is None
    assert page.locator("script, img, a, iframe").count() == 0
    assert [url for url in asked if not url.startswith("file:")] == []


def test_pictures_of_hostile_and_foreign_texts_are_drawn(app: App, page: Any) -> None:
    run_id = furnished(app.home, 0)[0]
    db = store.connect(app.home.database)
    said = {
        "Hostile": HOSTILE + "\u202e",
        "Long": "x" * 10_000,
        "Hebrew": "שלום עולם " * 20,
        "Signs": "👩‍👩‍👧 🏴 e\u0301 \ufffd" * 30,
        "": " ",
    }
    for title, text in said.items():
        store.keep(db, add_answer(db, run_id, text, 20, HOSTILE), "<b>", title or "-", HOSTILE)
    db.close()
    visit(page, app, "?tab=capsule&category=<b>")
    count(page, "5 exhibits")

    drawn = page.evaluate(
        """async () => {
            const { src } = [...document.scripts].find((one) => one.src.endsWith("/app.js"));
            const { picture } = await import(src.replace("app.js", "picture.js"));
            const { exhibits, curves } = await (await fetch("/api/exhibits?category=<b>")).json();
            const sizes = [];
            for (const one of exhibits) sizes.push((await picture(one, curves[one.run_id])).size);
            return sizes;
        }"""
    )
    assert len(drawn) == 5 and min(drawn) > 10_000
    assert page.evaluate("window.hurt") is None
