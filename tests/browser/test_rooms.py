"""Compare, Data and Report: what they show, and what they say when there is nothing to show."""

import json
from typing import Any

from pages import App, visit
from rooms import furnished

LINES = "document.querySelector('#compare-chart .plot')?.data?.map((line) => line.name).sort().join()"


def test_runs_are_laid_over_each_other(app: App, page: Any) -> None:
    elder, younger = furnished(app.home, 0)
    visit(page, app, "?tab=compare")
    page.wait_for_function(f"{LINES} === 'elder,younger'")
    assert "Blueberry-Nano" in page.inner_text("#runs-table") and "2.500" in page.inner_text("#runs-table")
    assert "same settings" in page.inner_text("#differences")

    page.uncheck(f"[data-choose='{elder}']")
    page.wait_for_function(f"{LINES} === 'younger'")
    page.click("#compare-what >> text=Validation loss")
    assert f"chosen={younger}" in page.url
    page.reload()
    page.wait_for_function(f"{LINES} === 'younger'")


def test_empty_rooms_say_what_will_be_there(app: App, page: Any) -> None:
    visit(page, app, "?tab=compare")
    page.wait_for_selector("#compare-empty >> text=Start one on the Train tab")
    page.click("#tab-data")
    page.wait_for_selector("#datasets >> text=The starter novels")
    page.click("#tab-report")
    page.wait_for_selector("#report >> text=What became of a run of yours")


def test_a_report_and_a_dataset(app: App, page: Any) -> None:
    run_id = furnished(app.home)[0]
    folder = app.home.dataset("books")
    folder.mkdir(parents=True)
    card = {"documents": 1234, "train_tokens": 2_500_000, "bytes_per_token": 3.456, "sources": [{"file": "a.txt"}]}
    (folder / "card.json").write_text(json.dumps(card | {"licence": "<b>public</b>"}))

    visit(page, app, f"?tab=report&run={run_id}")
    page.wait_for_selector("#report >> text=elder: a milestone report")
    assert "not published" in page.inner_text("#report") and "3 exhibits" in page.inner_text("#report")
    page.click("#tab-data")
    page.wait_for_selector("#datasets >> text=1,234")
    assert "3.46" in page.inner_text("#datasets") and "<b>public</b>" in page.inner_text("#datasets")
