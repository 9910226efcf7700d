"""The time capsule as a museum: found while typing, one address an exhibit, changed and taken out calmly."""

from typing import Any

from pages import App, visit
from rooms import furnished

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
