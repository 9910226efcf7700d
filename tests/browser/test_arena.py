"""The blind arena: no ages before the vote, everything after it, by keyboard and by mouse."""

from typing import Any

from pages import App, visit
from rooms import furnished
from test_hostile import HOSTILE

from engine import store


def contest(app: App) -> None:
    """Two runs whose answers have weights, one of them with a hostile text."""
    furnished(app.home, 0)
    db = store.connect(app.home.database)
    db.conn.execute("UPDATE samples SET weights_sha256 = run_id || step WHERE source = 'periodic'")
    db.conn.execute("UPDATE samples SET text = ? || step || run_id WHERE step = 20", [f" {HOSTILE}"])
    db.close()


def test_a_vote_by_key_reveals_whose_they_were(app: App, page: Any) -> None:
    contest(app)
    visit(page, app, "?tab=capsule")
    page.click("#capsule-rooms >> text=Blind arena")
    page.wait_for_selector("#arena .contender")
    assert page.locator("#arena .whose p").count() == 0 and "tokens old" not in page.inner_text("#arena")

    page.keyboard.press("1")
    page.wait_for_selector("#arena .contender.won[data-side=left] .whose >> text=Rated 1,012 (+12)")
    page.wait_for_selector("#arena .contender[data-side=right] .whose >> text=Rated 988 (−12)")
    page.wait_for_selector("#standings tbody tr:nth-child(2)")
    page.keyboard.press("2")  # voted already: nothing happens
    page.wait_for_selector("#arena .votes button:focus >> text=Next pair")
    page.keyboard.press("Enter")
    page.wait_for_selector("#arena .votes button[data-side=tie]")
    page.keyboard.press("0")
    page.wait_for_function("document.querySelector('#capsule-count').textContent === '2 votes'")

    db = store.connect(app.home.database)
    assert len(store.voted_ages(db)) == 2
    db.close()
    page.reload()
    page.wait_for_selector("#standings tbody tr")
    assert page.evaluate("window.hurt") is None


def test_what_somebody_has_kept_already_is_not_written_over(app: App, page: Any) -> None:
    contest(app)
    visit(page, app, "?tab=capsule&room=arena")
    page.wait_for_selector("#arena .contender")
    page.keyboard.press("1")
    left, right = "#arena .contender[data-side=left] .whose", "#arena .contender[data-side=right] .whose"
    page.click(f"{right} >> text=Keep this")
    page.check("#keep input[value=good]", force=True)
    page.click("#keep button.strong")
    page.click("#keep >> text=Go on here")
    page.wait_for_selector(f"{right} >> text=Kept: see it")

    db = store.connect(app.home.database)
    for row in db.query("SELECT left_sample FROM votes"):
        store.keep(db, row["left_sample"], "strange", "Mine", "My note", ["mine"])
    page.click(f"{left} >> text=Keep this")
    page.wait_for_selector("#exhibit[open] >> text=My note")
    assert store.search_exhibits(db, store.Wanted(tag="mine"))[1] == 1
    db.close()


def test_keys_are_letters_again_elsewhere(app: App, page: Any) -> None:
    contest(app)
    visit(page, app, "?tab=capsule&room=arena")
    page.wait_for_selector("#arena .contender")
    page.click("#capsule-rooms >> text=Everything said")
    page.fill("#gallery-search input", "")
    page.locator("#gallery-search input").press_sequentially("120")
    page.wait_for_function("location.search.includes('q=120')")
    page.click("#capsule-rooms >> text=Blind arena")
    page.wait_for_selector("#arena .votes button[data-side=left]:visible")

    db = store.connect(app.home.database)
    assert store.voted_ages(db) == []
    db.close()


def test_an_arena_without_a_pair_says_what_it_needs(app: App, page: Any) -> None:
    furnished(app.home, 0)
    visit(page, app, "?tab=capsule&room=arena")

    page.wait_for_selector("#arena >> text=No two answers can be compared yet.")
