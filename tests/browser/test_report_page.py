"""The Report tab: what it shows, what people write into it, and the files that it gives."""

import zipfile
from pathlib import Path
from typing import Any

from helpers import wait_for
from pages import App, visit
from rooms import furnished
from test_accessibility import faults
from ui_helpers import add_points

from engine import store

HOSTILE = "<img src=x onerror='window.hurt = 1'> **bold** [x](javascript:window.hurt=1) [y](https://example.com/y)"


def opened(app: App, page: Any, run_id: str) -> None:
    visit(page, app, f"?tab=report&run={run_id}")
    page.wait_for_selector("#report [data-section=comparison]")


def blocks(app: App, run_id: str) -> dict[str, str]:
    db = store.connect(app.home.database)
    try:
        return store.report_blocks(db, run_id)
    finally:
        db.close()


def downloaded(page: Any, label: str, folder: Path) -> Path:
    with page.expect_download() as waiting:
        page.click(f"#report .files button >> text={label}")
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    page.wait_for_function("name => document.querySelector('#report-saved').textContent.includes(name)", arg=path.name)
    return path


def test_the_whole_report_with_its_picture(app: App, page: Any) -> None:
    run_id = furnished(app.home)[0]
    opened(app, page, run_id)

    assert page.inner_text("#report h1") == "elder: a milestone report"
    headings = page.locator("#report h2").all_inner_texts()
    assert headings[:3] == ["Introduction", "Identity", "Architecture and recipe"] and "Final metrics" in headings
    assert "2.5000" in page.inner_text("[data-section=metrics]")
    assert "500 M counted" in page.inner_text("[data-section=comparison]")
    assert page.locator("[data-section=fame] .exhibit").count() == 3
    assert page.locator("[data-section=cost]").count() == 0, "nobody gave a price"
    picture = page.locator("#report .when-light")
    picture.scroll_into_view_if_needed()
    page.wait_for_function("document.querySelector('#report .when-light').naturalWidth === 1440")
    assert page.locator("#report .when-dark").is_hidden()
    page.click("[data-section=fame] h4 a >> text=Cat 1")
    page.wait_for_selector("#exhibit[open] >> text=Cat 1")


def test_texts_are_written_in_place_and_never_run(app: App, page: Any) -> None:
    run_id = furnished(app.home, 0)[0]
    opened(app, page, run_id)

    page.click("[data-section=learned] .edit")
    page.fill("[name=learned]", f"It *talks*.\n\n- one\n- {HOSTILE}")
    page.locator("[name=learned]").blur()
    wait_for(lambda: "learned" in blocks(app, run_id))  # left: saved, and still open
    assert page.locator(".report-form").count() == 1
    page.click(".report-form >> text=Save")
    page.wait_for_selector("[data-section=learned] li >> text=onerror")
    assert page.inner_text("[data-section=learned] em") == "talks"
    assert page.locator("[data-section=learned] a").get_attribute("href") == "https://example.com/y"
    assert page.evaluate("window.hurt") is None and page.locator("#report img[src=x]").count() == 0
    page.wait_for_function("document.activeElement.closest('[data-section=learned]') !== null")

    page.click("[data-section=identity] .edit")
    page.fill("[name=title]", "My first model")
    page.fill("[name=licence]", "mit")
    page.press("[name=licence]", "Enter")
    page.wait_for_selector("#report h1 >> text=My first model")
    assert blocks(app, run_id)["licence"] == "mit"

    page.click("[data-section=introduction] .edit")
    page.keyboard.type("Not meant.")
    page.keyboard.press("Escape")
    page.wait_for_selector("[data-section=introduction].unwritten")
    assert "introduction" not in blocks(app, run_id)


def test_escape_keeps_what_is_saved(app: App, page: Any) -> None:
    run_id = furnished(app.home, 0)[0]
    opened(app, page, run_id)
    page.click("[data-section=introduction] .edit")
    page.fill("[name=introduction]", "A long evening's work.")
    page.locator("[name=introduction]").blur()
    wait_for(lambda: "introduction" in blocks(app, run_id))
    page.wait_for_selector(".report-form [role=status] >> text=Saved.")
    page.fill("[name=introduction]", "A slip")
    page.press("[name=introduction]", "Escape")
    page.wait_for_selector("#report .report-form", state="detached")

    assert blocks(app, run_id)["introduction"] == "A long evening's work."


def test_what_somebody_writes_outlives_news_and_a_change_elsewhere_is_told(app: App, page: Any) -> None:
    run_id = furnished(app.home, 0)[0]
    opened(app, page, run_id)
    page.click("[data-section=learned] .edit")
    page.keyboard.type("Mine.")

    db = store.connect(app.home.database)
    store.set_report_block(db, run_id, "learned", "Theirs.")
    add_points(db, run_id, 61, 10)
    store.update_state(db, run_id, val_loss=2.5)
    db.close()
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.wait_for_function("document.querySelector('#topbar').textContent.includes('2.500')")
    assert page.input_value("[name=learned]") == "Mine."

    page.click(".report-form >> text=Save")
    page.wait_for_selector(".report-form .problem >> text=another window")
    assert page.input_value("[name=learned]") == "Mine." and blocks(app, run_id) == {"learned": "Theirs."}
    page.click(".report-form >> text=Leave it as it was")
    page.wait_for_selector("[data-section=learned] p >> text=Theirs.")


def test_files_to_keep(app: App, page: Any, tmp_path: Path) -> None:
    run_id = furnished(app.home)[0]
    opened(app, page, run_id)

    html = downloaded(page, "Save as HTML", tmp_path)
    assert html.name == "elder-report.html"
    archive = downloaded(page, "Markdown and pictures", tmp_path)
    assert zipfile.ZipFile(archive).namelist() == ["report.md", "training.png", "MODEL_CARD.md"]
    card = downloaded(page, "Model card", tmp_path)
    assert card.name == "elder-MODEL_CARD.md" and card.read_text().startswith("---\n")

    page.goto(html.as_uri())
    assert page.inner_text("h1") == "elder: a milestone report"
    assert page.locator("img").evaluate("(one) => one.naturalWidth") == 1440
    assert page.locator("script").count() == 0


def test_an_interim_report_and_its_form_have_no_barrier(app: App, page: Any) -> None:
    run_id = furnished(app.home)[0]
    db = store.connect(app.home.database)
    store.update_state(db, run_id, status="stopped")
    db.close()
    opened(app, page, run_id)

    page.wait_for_selector("#report .interim >> text=Interim report: elder is stopped")
    page.click("[data-section=identity] .edit")
    page.wait_for_selector(".report-form")
    assert faults(page) == {}


def test_the_printed_report_is_the_report_alone(app: App, page: Any) -> None:
    opened(app, page, furnished(app.home)[0])
    page.emulate_media(media="print")

    assert page.locator("#report .summary").is_visible()
    for selector in ("#topbar", "#report .files", "#report .beyond", "[data-section=introduction]"):
        assert not page.locator(selector).first.is_visible(), selector
    page.emulate_media(media="screen")
