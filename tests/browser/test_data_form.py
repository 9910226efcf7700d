"""The form that makes a dataset: names judged while typed, filters and bad files as the preview shows them, offers."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
from pages import App, visit
from shelves import make_dataset
from test_data_tab import JOB, SEEN, Answers

from engine import store
from engine.data import Recipe, Source
from engine.home import Home

BOAT = "the boat waited for rain, and the gulls looked up at the tower"


@pytest.fixture
def answers(page: Any) -> Iterator[Answers]:
    """Answers to the page's questions about jobs and previews."""
    yield Answers(page)
    page.unroute_all()


def stopped_job(home: Home, name: str) -> None:
    """A job of the starter novels that was stopped after 5,000 tokens."""
    db = store.connect(home.database)
    with store.writing(db):
        job = store.create_job(db, name, Recipe((Source("starter"),)).to_json())
        store.update_job(db, job, tokens=5000)
        store.end_job(db, job, "stopped")
    db.close()
    home.making(name).mkdir(parents=True)
    home.job_state(name).write_text("{}")


def open_form(page: Any, app: App) -> None:
    visit(page, app, "?tab=data")
    page.click("#prepare-open")
    page.wait_for_selector("#begin-with button")


def test_a_name_is_judged_while_it_is_typed(app: App, page: Any) -> None:
    make_dataset(app.home, "books")
    stopped_job(app.home, "parts")
    open_form(page, app)
    page.type("#prepare-name", "my texts")
    page.wait_for_selector("#prepare-name[aria-invalid=true]")
    assert "Only 1 to 64 of the letters" in page.inner_text("#help-prepare-name")
    assert page.evaluate("getComputedStyle(document.querySelector('#prepare-name')).boxShadow") != "none"  # its mark
    page.fill("#prepare-name", "books")
    page.wait_for_selector("#help-prepare-name >> text=The dataset books exists already")
    assert page.get_attribute("#prepare-name", "aria-invalid") == "true"
    page.fill("#prepare-name", "parts")
    page.wait_for_selector("#help-prepare-name >> text=parts is stopped with other settings")
    assert page.get_attribute("#prepare-name", "aria-invalid") is None
    page.fill("#prepare-name", "free")
    page.wait_for_selector("#help-prepare-name >> text=What runs call it")

    page.fill("#prepare-name", "parts")
    page.locator("#begin-with button", has_text="The starter novels").click()  # puts an empty name
    page.fill("#prepare-name", "parts")
    page.select_option("#prepare-tokenizer", "smollm2")
    page.wait_for_selector("#help-prepare-name >> text=What runs call it")  # the same recipe: that job goes on
    assert page.locator("#prepare [data-told=parts]").count() == 0


def test_starting_anew_asks_before_it_throws_away(app: App, page: Any, answers: Answers) -> None:
    stopped_job(app.home, "parts")
    answers.give("/api/prepare/preview", SEEN)
    answers.give("/api/prepare", {"job": "j2"})
    open_form(page, app)
    page.wait_for_selector(".job >> text=Resume")
    page.locator("#begin-with button", has_text="The starter novels").click()
    page.fill("#prepare-name", "parts")
    page.click("#prepare >> text=Start preparing")
    page.wait_for_selector("#prepare .ask-first >> text=the 5,000 tokens made so far go")
    assert page.evaluate("document.activeElement.textContent") == "Leave it"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.textContent") == "Start preparing"
    assert not [what for path, what in answers.asked if path == "/api/prepare"]

    page.click("#prepare >> text=Start preparing")
    page.click("#prepare .ask-first >> role=button[name='Start anew']")
    page.wait_for_selector("#data-count >> text=parts is being prepared")
    (asked,) = [what for path, what in answers.asked if path == "/api/prepare"]
    assert asked["name"] == "parts" and asked["anew"] is True


def test_filters_drop_what_the_preview_shows(app: App, page: Any) -> None:
    """By the real filters."""
    dice = random.Random(1)
    words = [" ".join(dice.sample(BOAT.split(), 9)) for _ in range(30)]
    documents = [*words, "Short.", "<>=+~^|$" * 12 + BOAT, f"{BOAT}\n" * 30]
    (app.home.path / "mixed.txt").write_text("\f".join(documents))
    open_form(page, app)
    page.fill("[data-key=path]", "mixed.txt")
    page.press("[data-key=path]", "Enter")
    page.wait_for_selector("#preview >> text=Of the first 33 documents none is left out")
    page.click("#filters summary")
    page.fill("#prepare-min_characters", "20")
    page.fill("#prepare-max_symbol_share", "30%")
    page.fill("#prepare-max_repetition", "50")
    page.press("#prepare-max_repetition", "Enter")
    page.wait_for_selector("#preview >> text=Of the first 33 documents 3 are left out")
    told = page.inner_text("#preview .estimate")
    assert all(reason in told for reason in ("too short: 1", "too many symbols: 1", "repeats itself: 1"))
    (app.home.path / "mixed.txt").write_text("\f".join(documents[-5:]))
    page.click("#look-first")
    page.wait_for_selector("#preview >> text=Of the first 5 documents 3 are left out")
    fates = page.locator("#preview .fate").all_inner_texts()
    assert fates == ["Kept", "Kept", "Left out: too short", "Left out: too many symbols", "Left out: repeats itself"]


def test_bad_files_are_listed_and_left_out_with_one_press(app: App, page: Any) -> None:
    folder = app.home.path / "letters"
    folder.mkdir(exist_ok=True)
    (folder / "good.txt").write_text("\f".join(f"{BOAT} {number}" for number in range(30)))
    for number in range(8):
        (folder / f"bad{number}.txt").write_bytes(b"\xff")
    (folder / "picture.png").write_bytes(b"x")
    open_form(page, app)
    page.fill("[data-key=path]", "letters")
    page.press("[data-key=path]", "Enter")
    page.wait_for_selector("#preview .problem >> text=8 of 9 files of letters cannot be read")
    assert "bad4.txt is not UTF-8" in page.inner_text("#preview") and "and 3 more." in page.inner_text("#preview")
    page.click("#preview >> role=button[name='Leave unreadable files out']")
    page.wait_for_selector("#preview >> text=Of the first 30 documents none is left out")
    assert page.is_checked("#prepare-skip_unreadable")
    assert page.evaluate("document.activeElement.id") == "prepare-skip_unreadable"
    told = page.inner_text("#preview")
    assert "bad0.txt is not UTF-8" in told and "1 file of another kind was not read: .png 1." in told


def test_too_many_pieces_are_mended_with_one_press(app: App, page: Any) -> None:
    dice = random.Random(2)
    known = ["".join(dice.choices("abcdefghijklmnopqrstuvwxyz", k=6)) for _ in range(1500)]
    words = [" ".join(dice.choices(known, k=70)) for _ in range(100)]
    (app.home.path / "small.txt").write_text("\f".join(words))
    open_form(page, app)
    page.fill("[data-key=path]", "small.txt")
    page.select_option("#prepare-tokenizer", "bpe")
    page.wait_for_selector("#preview >> text=400 would suit it")
    page.click("#preview >> role=button[name='Take 400 pieces']")
    page.wait_for_selector("#preview .mend", state="detached")
    assert page.input_value("#prepare-size") == "400"
    assert "Of the first 100 documents none is left out" in page.inner_text("#preview")


def test_an_ended_job_of_a_presets_text_is_told_and_led_to(app: App, page: Any, answers: Answers) -> None:
    for status, words in (("stopped", "was stopped"), ("failed", "failed"), ("crashed", "crashed")):
        answers.jobs(JOB | {"name": "smollm-1b", "status": status, "open": False})
        visit(page, app)
        page.locator("#preset .card", has_text="blueberry-nano").first.click()
        page.wait_for_selector(f"#plan >> text=preparing it {words}. The Data tab has its job")
        page.click("#offer >> text=See its job")
        page.wait_for_selector(".job:visible >> text=Resume")


def test_a_long_text_is_cut_where_it_says_so(app: App, page: Any) -> None:
    visit(page, app, "?tab=data")
    page.wait_for_selector("#tokens [data-side=left] [role=option]")
    page.fill("#tokens-text", "🫐a " * 7000)
    page.wait_for_selector("#tokens-cut >> text=These are the tokens of the first 20,000 of 21,000 characters.")
    assert page.inner_text("#tokens .problem") == ""
    page.fill("#tokens-text", "short")
    page.wait_for_selector("#tokens-cut:has-text('')")
    page.wait_for_function("document.querySelector('#tokens-cut').textContent === ''")


def test_focus_is_on_the_heading_after_a_dataset_is_deleted(app: App, page: Any) -> None:
    for name in ("books", "notes"):
        make_dataset(app.home, name)
    visit(page, app, "?tab=data")
    page.click("#datasets [data-name=books] >> text=Open")
    page.click("#dataset >> text=Delete it")
    page.click("#dataset .ask-first >> text=Delete it")
    page.wait_for_selector("#data-count >> text=books is deleted")
    assert page.evaluate("document.activeElement.textContent") == "Data"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "prepare-open"


def test_a_sheet_tells_of_files_bytes_and_the_end(app: App, page: Any) -> None:
    bad = [{"file": f"b{number}.txt", "unreadable": f"b{number}.txt is not UTF-8."} for number in range(2)]
    ending = "Ended because “a” was read to its end; of “b” 43% was used."
    kinds = {".png": 10, ".pdf": 4}
    make_dataset(app.home, "books", sources=bad, lost_bytes=12, other_kinds=kinds, ending=ending)
    visit(page, app, "?tab=data")
    page.click("#datasets >> text=Open")
    page.wait_for_selector("#dataset .documents article")
    told = page.inner_text("#dataset")
    assert "2 files could not be read, or not to their end:" in told and "b1.txt is not UTF-8." in told
    assert "14 files of other kinds were not read: .png 10, .pdf 4." in told
    assert "12 bytes of the text have no piece in this tokenizer" in told and ending in told


def test_little_that_cannot_be_measured_takes_under_a_second(app: App, page: Any, answers: Answers) -> None:
    answers.give("/api/prepare/preview", {"error": "The hub does not answer."}, 400)
    open_form(page, app)
    page.fill("[data-key=path]", "x")
    page.fill("#prepare-tokens", "100k")
    page.press("#prepare-tokens", "Enter")
    page.wait_for_selector("#preview >> text=as two processor cores reach, under 1 s.")
