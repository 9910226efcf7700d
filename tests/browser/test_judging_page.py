"""What an answer looks like where it is kept, and where its words stand in the training text."""

from typing import Any

from pages import App, visit
from shelves import make_dataset
from ui_helpers import add_answer, add_points, make_run

from engine import store

STORY = "Alice was beginning to get very tired of sitting by her sister on the bank, and of having nothing to do"
COPY = " get very tired of sitting by her sister on the bank, and of <b>nothing</b> more."


def furnish(app: App) -> str:
    """A finished run on a small text that said some of it word for word, and was stuck at another prompt."""
    make_dataset(app.home, "starter", (STORY, "once upon a time"), separator_id=0)
    db = store.connect(app.home.database)
    run_id = make_run(db, "reader")
    add_points(db, run_id, 1, 20)
    add_answer(db, run_id, COPY, 10, "Alice was beginning to", finish="end")
    store.end_run(db, run_id, "finished")
    db.close()
    return run_id


def test_a_proposal_is_chosen_with_one_click_and_the_passage_is_shown(app: App, page: Any) -> None:
    run_id = furnish(app)
    visit(page, app, f"?run={run_id}")
    page.locator("#feed .answer >> text=Keep this").first.click()
    page.wait_for_selector("#keep[open] .looks >> text=Memorised")
    assert "13 of 17 words stand in a row in the training text" in page.inner_text("#keep .looks")
    assert page.locator("#keep input[name=category]:checked").count() == 0
    page.click("#keep .looks >> text=Choose Memorised")
    assert page.input_value("#keep input[name=category]:checked") == "memorised"
    page.click("#keep button[type=submit]")
    page.click("#keep >> text=See it there")

    page.wait_for_selector("#exhibit[open] .copied .headline >> text=13 of 17 words in a row")
    assert page.inner_text("#exhibit .mark") == "Memorised"
    page.click("#exhibit .copied > summary")
    page.wait_for_selector("#exhibit .passage mark >> text=get very tired of sitting by her sister on the bank, and of")
    quote = page.inner_text("#exhibit .passage blockquote")
    assert quote.startswith("Alice was beginning to get") and quote.endswith("having nothing to do")
    assert page.locator("#exhibit b >> text=nothing").count() == 0  # what it said is text, never HTML
    assert "document 1 of 2" in page.inner_text("#exhibit .passage figcaption")
    page.click("#exhibit .copied details summary")
    page.wait_for_selector("#exhibit .measures >> text=Longest copied run")


def test_an_answer_without_its_text_says_so(app: App, page: Any) -> None:
    db = store.connect(app.home.database)
    run_id = make_run(db, "mute")
    add_answer(db, run_id, " no, no, no, no, no, no, no, no, no.", 10, finish="end")
    store.end_run(db, run_id, "finished")
    db.close()
    visit(page, app, f"?run={run_id}")
    page.locator("#feed .answer >> text=Keep this").first.click()
    page.wait_for_selector("#keep[open] .looks >> text=Choose Loop")
    page.wait_for_selector("#keep .headline >> text=Its training text is not here")
