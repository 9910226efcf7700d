"""The table of all runs: sorting, finding, labels, differences, the end of a run; by mouse, by keyboard, by thumb."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import WIDE, new_window, no_errors
from pages import App, visit
from rooms import furnished
from test_accessibility import faults
from test_hostile import BREAKERS, HOSTILE
from test_phone import SMALL
from test_phone import WIDE as OVER
from ui_helpers import add_answer, make_run

from engine import store

ROWS = "[...document.querySelectorAll('#runs-table tbody button')].map((one) => one.textContent).join()"
NAMES = {"alpha": 3.1, "beta": 2.9, "gamma": None}


@pytest.fixture
def runs(app: App) -> dict[str, str]:
    """Three runs that ended, made in this order, the last one before its first evaluation; ids by name."""
    db = store.connect(app.home.database)
    made = {}
    for number, (name, loss) in enumerate(NAMES.items()):
        made[name] = make_run(db, name)
        state = {"val_loss": loss, "tokens": 1000 * (3 - number), "started_at": 1.79e9 + number}
        store.update_state(db, made[name], **state)
        store.end_run(db, made[name], "failed" if name == "gamma" else "finished")
    store.change_tags(db, made["beta"], ["wide", "keep"])
    store.set_notes(db, made["alpha"], "the zebra rate")
    db.close()
    return made


def look(app: App, run_id: str) -> store.Row:
    db = store.connect(app.home.database)
    try:
        return store.get_run(db, run_id)
    finally:
        db.close()


def compare(page: Any, app: App, more: str = "") -> None:
    visit(page, app, f"?tab=compare{more}")
    page.wait_for_selector("#runs-table tbody tr")


def listed(page: Any, names: str) -> None:
    """Wait until the table has these rows in this order, the published one left out."""
    page.wait_for_function(f"({ROWS}).split(',').filter((one) => !one.startsWith('Blueberry')).join() === '{names}'")


def test_any_column_sorts_and_the_address_keeps_it(app: App, page: Any, runs: dict[str, str]) -> None:
    compare(page, app)
    listed(page, "gamma,beta,alpha")  # the newest first
    assert page.get_attribute("#runs-table [data-key=started]", "aria-sort") == "descending"

    page.click("#runs-table [data-key=val_loss] button")
    listed(page, "beta,alpha,gamma")  # what is not known is last, whatever the direction
    page.click("#runs-table [data-key=val_loss] button")
    listed(page, "alpha,beta,gamma")
    assert page.get_attribute("#runs-table [data-key=val_loss]", "aria-sort") == "descending"
    assert page.locator("#runs-table [aria-sort]").count() == 1
    page.reload()
    listed(page, "alpha,beta,gamma")

    page.focus("#runs-table [data-key=tokens] button")
    page.keyboard.press("Enter")
    listed(page, "alpha,beta,gamma")
    page.keyboard.press("Space")
    listed(page, "gamma,beta,alpha")
    for key in page.locator("#runs-table thead th").evaluate_all("(heads) => heads.map((one) => one.dataset.key)"):
        page.click(f"#runs-table [data-key={key}] button")
        assert page.get_attribute(f"#runs-table [data-key={key}]", "aria-sort")


def test_runs_are_found_by_what_is_said_about_them(app: App, page: Any, runs: dict[str, str]) -> None:
    compare(page, app)
    listed(page, "gamma,beta,alpha")
    for text, names in (
        ("zebra", "alpha"),
        ("KEEP wi", "beta"),
        ("failed", "gamma"),
        ("seedling a", "gamma,beta,alpha"),
    ):
        page.fill("#runs-find", text)
        listed(page, names)
    page.fill("#runs-find", "nothing is like this")
    page.click("#runs-table >> text=Show all")
    listed(page, "gamma,beta,alpha")

    page.click("#runs-status >> text=finished")
    listed(page, "beta,alpha")
    assert "of 4 runs" in page.inner_text("#runs-count")
    page.click("#runs-tags >> text=wide")
    listed(page, "beta")
    page.reload()
    listed(page, "beta")
    assert page.get_attribute("#runs-tags [data-label=wide]", "aria-pressed") == "true"


def test_a_run_is_labelled_on_its_sheet(app: App, page: Any, runs: dict[str, str]) -> None:
    compare(page, app)
    page.click("#runs-table >> text=alpha")
    page.wait_for_selector("#run-sheet pre")
    page.wait_for_function("document.querySelector('#run-notes').value === 'the zebra rate'")

    page.fill("#run-name", "omega")
    page.keyboard.press("Enter")
    page.wait_for_selector("#run-sheet h2 >> text=omega")
    page.fill("#run-name", "beta")
    page.click("#run-sheet >> text=Rename")
    page.wait_for_selector("#run-sheet .problem >> text=Another run is called beta")
    page.fill("#run-tag", "Größe ☂")
    page.keyboard.press("Enter")
    page.wait_for_selector("#run-sheet .tags >> text=Größe ☂")
    page.fill("#run-notes", "line one\nline two")
    page.keyboard.press("Escape")  # nothing that was typed is thrown away

    page.wait_for_selector("#runs-table .remark >> text=line one line two")
    page.wait_for_selector("#runs-table .tags >> text=Größe ☂")
    found = look(app, runs["alpha"])
    assert (found["name"], found["tags"], found["notes"]) == ("omega", ["Größe ☂"], "line one\nline two")
    assert page.evaluate("document.activeElement.textContent") == "omega"  # back where it was opened

    page.keyboard.press("Enter")
    page.click("#run-sheet [aria-label='Take off the tag Größe ☂']")
    page.wait_for_selector("#run-sheet .tags li", state="detached")
    assert look(app, runs["alpha"])["tags"] == []


def test_a_refresh_disturbs_nobody(app: App, page: Any, runs: dict[str, str]) -> None:
    """Others change names and runs meanwhile: focus, scroll, and what is being typed stay."""
    compare(page, app)
    page.set_viewport_size({"width": 600, "height": 700})
    page.evaluate("document.querySelector('#runs .wide-table').scrollLeft = 120")
    page.focus(f"[data-run='{runs['beta']}'] input")
    db = store.connect(app.home.database)
    store.rename_run(db, runs["alpha"], "renamed")
    page.evaluate("blueberry.refresh()")
    page.wait_for_selector("#runs-table >> text=renamed")
    assert page.evaluate("document.activeElement.dataset.choose") == runs["beta"]
    assert page.evaluate("document.querySelector('#runs .wide-table').scrollLeft") == 120

    page.click("#runs-table >> text=beta")
    page.wait_for_selector("#run-sheet pre")
    page.fill("#run-name", "half a na")
    page.fill("#run-notes", "half a thou")
    store.change_tags(db, runs["beta"], ["from elsewhere"])
    store.rename_run(db, runs["beta"], "moved")
    db.close()
    page.evaluate("blueberry.refresh()")
    page.wait_for_selector("#run-sheet .tags >> text=from elsewhere")
    assert page.input_value("#run-name") == "half a na" and page.input_value("#run-notes") == "half a thou"
    assert page.inner_text("#run-sheet h2") == "moved"
    assert page.evaluate("document.activeElement.id") == "run-notes"
    page.keyboard.press("Escape")
    page.set_viewport_size(WIDE)


def test_a_run_that_is_put_away_is_there_when_it_is_asked_for(app: App, page: Any, runs: dict[str, str]) -> None:
    compare(page, app, f"&run={runs['beta']}")
    page.click("#runs-table >> text=alpha")
    page.click("#run-sheet >> text=Put it away")
    page.wait_for_selector("#run-sheet >> text=Bring it back")
    page.keyboard.press("Escape")
    listed(page, "gamma,beta")
    assert "alpha" not in page.inner_text("#run-select")

    page.click("#runs-status >> text=also put away")
    listed(page, "gamma,beta,alpha")
    assert "put away" in page.inner_text(f"[data-run='{runs['alpha']}']")
    page.click("#runs-table >> text=alpha")
    page.click("#run-sheet >> text=Bring it back")
    page.wait_for_selector("#run-sheet >> text=Put it away")
    assert look(app, runs["alpha"])["put_away_at"] is None


def test_a_run_is_deleted_with_its_exhibits_only_when_that_is_said(app: App, page: Any, runs: dict[str, str]) -> None:
    db = store.connect(app.home.database)
    for number in range(3):
        store.keep(db, add_answer(db, runs["beta"], f" a cat {number}"), "good", f"Cat {number}")
    app.home.run(runs["beta"]).mkdir(parents=True)
    app.home.log(runs["beta"]).write_bytes(bytes(2_500_000))
    compare(page, app, f"&run={runs['beta']}")
    page.click("#runs-table >> text=beta")
    page.click("#run-delete")
    page.wait_for_selector("#run-sheet >> text=2.5 MB of disk are free at once")
    said = page.inner_text("#run-sheet .ask-first")
    assert "3 answers" in said and "“Cat 2”" in said and page.is_disabled("#run-sheet .ask-first >> text=Delete it")
    page.click("#run-sheet >> text=Leave it")
    assert page.evaluate("document.activeElement.textContent") == "Close"

    page.click("#run-delete")
    page.check("#also-exhibits")
    page.click("#run-sheet .ask-first .row >> text=Delete it")
    page.wait_for_selector("#runs-said >> text=beta is deleted; 2.5 MB of disk are free again")
    listed(page, "gamma,alpha")

    assert not app.home.run(runs["beta"]).exists() and store.search_archive(db, "cat")[1] == 0
    assert page.input_value("#run-select select") in (runs["gamma"], runs["alpha"])
    db.close()


def test_a_run_that_trains_is_not_deleted(app: App, page: Any) -> None:
    db = store.connect(app.home.database)
    run_id = make_run(db, "busy")
    compare(page, app)
    page.click("#runs-table >> text=busy")
    page.click("#run-delete")

    page.wait_for_selector("#run-sheet >> text=busy is running; stop it first.")
    assert page.is_disabled("#run-sheet .ask-first >> text=Delete it")
    store.end_run(db, run_id, "stopped")
    db.close()


def test_the_settings_of_a_run_can_be_copied(app: App, page: Any, runs: dict[str, str]) -> None:
    db = store.connect(app.home.database)
    db.conn.execute("UPDATE runs SET config = json_set(config, '$.train.seed', 99) WHERE id = ?", [runs["alpha"]])
    db.close()
    compare(page, app)
    page.evaluate("navigator.clipboard.writeText = (text) => { window.copied = text; return Promise.resolve(); }")
    page.click("#runs-table >> text=alpha")
    page.click("#run-sheet >> text=Copy the command")
    page.wait_for_selector("#run-sheet >> text=Copied")
    assert page.evaluate("copied") == "python -m engine start --preset seedling --name alpha --set train.seed=99"

    page.click("#run-sheet summary")
    page.click("#run-sheet >> text=Copy the JSON")
    assert json.loads(page.evaluate("copied"))["train"]["seed"] == 99


def test_differences_of_many_runs(app: App, page: Any, runs: dict[str, str]) -> None:
    db = store.connect(app.home.database)
    db.conn.execute("UPDATE runs SET config = json_set(config, '$.train.seed', 99) WHERE id = ?", [runs["beta"]])
    db.close()
    compare(page, app, f"&chosen={runs['alpha']}")
    assert page.locator("#differences").is_hidden()
    page.click("#runs-choose")
    page.wait_for_selector("#differences >> text=train.seed")

    assert page.locator("#differences thead th").count() == 4
    assert page.inner_text("#differences td.odd") == "99"
    page.click("#runs-choose-none")
    page.wait_for_selector("#differences", state="hidden")
    assert page.locator("#runs-table input:checked").count() == 0


def test_no_label_is_ever_a_script(app: App, page: Any) -> None:
    run_id = furnished(app.home)[0]
    db = store.connect(app.home.database)
    tags = json.dumps([HOSTILE, BREAKERS, "a,b"])
    db.conn.execute("UPDATE runs SET name = ?, preset = ? WHERE id = ?", [HOSTILE, BREAKERS, run_id])
    db.conn.execute("UPDATE archive SET title = ?", [HOSTILE])
    db.conn.execute("INSERT INTO run_labels (run_id, tags, notes) VALUES (?, ?, ?)", [run_id, tags, HOSTILE + BREAKERS])
    db.close()
    compare(page, app)
    page.wait_for_function("document.querySelector('#runs-tags').textContent.includes('window.hurt')")
    page.locator("#runs-tags button").first.click()
    page.locator("#runs-tags button").first.click()
    page.click(f"[data-run='{run_id}'] button.open")
    page.wait_for_selector("#run-sheet pre")
    page.click("#run-delete")
    page.wait_for_selector("#also-exhibits")

    assert page.evaluate("window.hurt") is None
    assert page.locator("img[src=x], svg[onload]").count() == 0
    assert HOSTILE in page.inner_text("#run-sheet")


@pytest.fixture(scope="module")
def phone(browser: Any) -> Iterator[Any]:
    """A window as wide as a phone."""
    opened = new_window(browser, viewport={"width": 390, "height": 844}, has_touch=True)
    with no_errors(opened):
        yield opened
    opened.context.close()


def test_a_phone_shows_the_table_and_the_sheet(app: App, phone: Any, runs: dict[str, str]) -> None:
    compare(phone, app)
    assert phone.evaluate(OVER) == [] and phone.evaluate(SMALL) == []
    phone.evaluate("document.querySelector('#runs .wide-table').scrollLeft = 400")
    box = phone.locator(f"[data-run='{runs['beta']}'] button.open").bounding_box()
    assert 0 < box["x"] < 120  # the name stays while the figures move

    phone.click("#runs-table >> text=beta")
    phone.wait_for_selector("#run-sheet pre")
    assert phone.evaluate(OVER) == [] and phone.evaluate(SMALL) == []
    phone.click("#run-delete")
    phone.wait_for_selector("#run-sheet .ask-first ul")
    assert phone.evaluate(OVER) == [] and phone.evaluate(SMALL) == []


def test_axe_finds_nothing(app: App, page: Any, runs: dict[str, str]) -> None:
    compare(page, app)
    assert faults(page) == {}
    page.set_viewport_size(WIDE)
    page.click("#runs-table >> text=beta")
    page.wait_for_selector("#run-sheet pre")
    page.click("#run-delete")
    page.wait_for_selector("#run-sheet .ask-first ul")
    assert faults(page) == {}
