"""Asking a run while it trains: all its prompts at once, its words while it learns, and the prompts themselves."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import wait_for
from pages import FORM, App, newest_run, visit

from engine import launch, store
from engine.home import Home
from engine.prompts import load_suite

WITH_PROMPTS = (
    "import app, pathlib, ui.server; ui.server.create_app.__kwdefaults__['prompts'] = pathlib.Path({!r}); app.main()"
)
LONG = {"train.tokens": 2000 * 4096, "eval.every": 100_000}


def test_a_run_that_trains_is_asked_now(workshop: App, page: Any) -> None:
    run_id = launch.start_run(workshop.home, "seedling", "", LONG)
    wait_for(lambda: newest_run(workshop.home)["step"] > 0)
    visit(page, workshop, f"?run={run_id}")
    page.wait_for_selector("#feed .answer")
    assert page.locator("#feed .answer .ages").first.get_attribute("max") == "0"

    page.click("#ask-now")

    page.wait_for_function("document.querySelector('#feed .answer .ages').max === '1'")
    page.wait_for_function("document.querySelector('#feed .wish').textContent === ''")
    db = store.connect(workshop.home.database)
    assert store.last_command(db, run_id, ("sample",))["result"].startswith("asked at step ")  # type: ignore[index]
    db.close()

    launch.stop_run(workshop.home, run_id)
    page.wait_for_selector("#ask-now", state="hidden")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[tuple[App, Path]]:
    """An app with prompt suites of its own, and their folder."""
    folder, home = tmp_path / "prompts", Home.at(tmp_path / "home")
    folder.mkdir()
    (folder / "stories.txt").write_text("# Beginnings\nOnce upon a time\nThe old house\n", encoding="utf-8")
    (folder / "mine.txt").write_text("<img src=x onerror=alert(1)>\n", encoding="utf-8")
    launch.open_home(home)
    app = App(home)
    app.program = ["-c", WITH_PROMPTS.format(str(folder))]
    app.start()
    yield app, folder
    app.stop()


def said(page: Any, words: str) -> None:
    page.wait_for_function("(words) => document.querySelector('#suites .paper').textContent.includes(words)", arg=words)


def test_prompts_are_edited_made_chosen_and_removed(desk: tuple[App, Path], page: Any) -> None:
    app, folder = desk
    visit(page, app, FORM)
    page.click("#edit-prompts")
    page.wait_for_function("document.querySelector('#suite-text')?.value.startsWith('# Beginnings')")
    said(page, "2 prompts")
    assert page.is_disabled("#suite-save")

    page.fill("#suite-text", "Once upon a time\nThe old house\n\nDeep in the sea —\n")
    said(page, "3 prompts, not saved yet")
    page.click("#suite-save")
    said(page, "Saved as prompts/stories.txt: 3 prompts.")
    assert load_suite("stories", folder) == ["Once upon a time", "The old house", "Deep in the sea —"]

    page.fill("#suite-text", "# nothing\n")
    said(page, "prompts/stories.txt holds no prompt; write one a line.")
    page.click("#suites [data-suite=mine]")
    page.wait_for_function("document.querySelector('#suite-text').value.startsWith('<img')")
    page.wait_for_selector("#suites [data-suite=stories] >> text=not saved")
    page.keyboard.press("Escape")
    page.wait_for_selector("#suites >> text=Not saved yet: stories.")
    page.click("#suites >> text=Close without saving")
    page.wait_for_selector("#suites", state="hidden")

    page.click("#edit-prompts")
    page.click("#suites >> text=New suite")
    page.fill("#suite-name", "../sea")
    page.fill("#suite-text", "The sea\n")
    page.click("#suite-save")
    said(page, "must have 1 to 64 letters")
    page.fill("#suite-name", "sea")
    page.click("#suite-save")
    said(page, "Saved as prompts/sea.txt: 1 prompt.")
    page.check("#suites .next input")
    assert page.input_value("[data-key='sample.suites']") == "published,stories,sea"

    page.click("#suites >> text=Remove")
    page.click("#suites >> text=Remove it")
    page.wait_for_selector("#suites [data-suite=sea]", state="detached")
    assert not (folder / "sea.txt").exists()
    page.click("#suites >> text=Close")
    page.wait_for_selector("#suites", state="hidden")


def test_prompts_that_somebody_else_changed_are_not_written_over(desk: tuple[App, Path], page: Any) -> None:
    app, folder = desk
    visit(page, app, FORM)
    page.click("#edit-prompts")
    page.wait_for_function("document.querySelector('#suite-text')?.value.startsWith('# Beginnings')")
    (folder / "stories.txt").write_text("Theirs\n", encoding="utf-8")

    page.fill("#suite-text", "Mine\n")
    page.click("#suite-save")

    said(page, "has changed since you opened it")
    assert load_suite("stories", folder) == ["Theirs"]
    page.click("#suites >> text=Show what is there now")
    page.wait_for_function("document.querySelector('#suite-text').value === 'Theirs\\n'")
    page.fill("#suite-text", "Ours\n")
    (folder / "stories.txt").write_text("Theirs again\n", encoding="utf-8")
    page.click("#suite-save")
    page.click("#suites >> text=Save mine over it")
    said(page, "Saved as prompts/stories.txt: 1 prompt.")
    assert load_suite("stories", folder) == ["Ours"]


def test_a_run_is_talked_to_while_it_trains(workshop: App, page: Any) -> None:
    run_id = launch.start_run(workshop.home, "seedling", "", LONG)
    wait_for(lambda: newest_run(workshop.home)["step"] > 4)
    visit(page, workshop, f"?run={run_id}&tab=play")
    page.wait_for_selector("#play-age option[value=live]", state="attached")

    page.select_option("#play-age select", "live")
    page.wait_for_function("document.querySelector('#who-note').textContent.includes('nobody can ask them again')")
    page.locator("[data-dial=max_tokens] input").evaluate("(dial) => { dial.value = 5; }")
    page.click("#generate")

    page.wait_for_function("document.querySelector('#answer-facts').textContent.includes('ended at the length')")
    facts = page.inner_text("#answer-facts")
    assert "5 tokens" in facts and "words only, cannot be asked again" in facts
    assert "while it spoke, training made " in facts and " instead of " in facts
    db = store.connect(workshop.home.database)
    (said,) = [row for row in store.list_samples(db, run_id) if row["source"] == "live"]
    db.close()
    assert page.inner_text("#output .continuation").strip() == said["text"].strip() and said["step"] > 4

    page.locator("[data-dial=max_tokens] input").evaluate("(dial) => { dial.max = 4096; dial.value = 4096; }")
    page.click("#generate")
    page.wait_for_function("document.querySelector('#output .continuation').textContent.length > 10")
    launch.stop_run(workshop.home, run_id)
    page.wait_for_function(
        "document.querySelector('#answer-facts').textContent.includes('ask it at an age that was saved')"
    )
    page.wait_for_selector("#play-age option[value=live]", state="detached")
