"""Several values of a setting on the page: how many runs before Start, the runs in line, and their comparison."""

from typing import Any

from helpers import wait_for
from pages import FORM, App, visit
from test_accessibility import faults
from ui_helpers import add_points

from engine import launch, queue, store, sweep
from engine.home import Home

LR = "optimizer.muon_lr"


def fill(page: Any, number: int, key: str, values: str) -> None:
    """One of the two settings with its values."""
    page.select_option(f"#sweep select >> nth={number}", key)
    page.fill(f"#sweep input >> nth={number}", values)


def in_line(home: Home) -> list[str]:
    db = store.connect(home.database)
    found = [run["name"] for run in store.queued_runs(db)]
    db.close()
    return found


def test_a_sweep_is_counted_before_it_is_put_in_line(app: App, page: Any) -> None:
    queue.hold(app.home)
    visit(page, app, FORM)
    page.click("#sweep summary")
    fill(page, 0, LR, "0.01..0.04 x2")
    page.wait_for_function("document.querySelector('#start-sweep').textContent === 'Put 3 runs in line'")
    assert not page.locator("#start").is_visible() and not page.locator("#plan").is_visible()
    fill(page, 1, "model.heads", "4,5")
    page.wait_for_selector("#sweep [aria-invalid]")
    assert "model.heads = 5 must divide model.width" in page.inner_text("#sweep-plan")
    assert page.locator("#start-sweep").is_disabled()
    fill(page, 1, "train.seed", "1..2")
    page.wait_for_function("document.querySelector('#start-sweep').textContent === 'Put 6 runs in line'")
    assert "in all (estimate)" in page.inner_text("#sweep-plan")
    page.fill("#run-name input", "mine")
    page.wait_for_function("document.querySelector('#sweep-plan').textContent.includes('from mine-lr0.01-seed1')")
    page.click("#start-sweep")
    page.wait_for_function("document.querySelectorAll('#line li').length === 6")
    assert in_line(app.home)[0] == "mine-lr0.01-seed1"
    page.click("#sweep .told button")
    page.wait_for_function("document.querySelectorAll('#sweep-result tbody td').length === 6")
    assert page.inner_text("#sweep-title") == "Sweep mine"
    assert "tab=compare" in page.url and page.locator("#runs-table input:checked").count() == 6
    page.click("text=Take the rest out of line")
    wait_for(lambda: in_line(app.home) == [])


def test_the_comparison_marks_the_best(app: App, page: Any) -> None:
    queue.hold(app.home)
    sweep.start(app.home, "seedling", {LR: [0.01, 0.02]}, "rates")
    db = store.connect(app.home.database)
    for run, loss in zip(store.runs_of_sweep(db, "rates"), (5.5, 4.5), strict=True):
        add_points(db, run["id"], 1, 20)
        db.conn.execute("UPDATE evals SET val_loss = ? WHERE run_id = ?", [loss, run["id"]])
        store.update_state(db, run["id"], attempt=1, step=20, tokens=81_920)
        store.end_run(db, run["id"], "finished")
    db.close()
    visit(page, app, "?tab=compare")
    page.wait_for_selector("#sweep-result td.best")
    rows = page.locator("#sweep-result tbody tr").all_inner_texts()
    assert [row.split()[0] for row in rows] == ["0.01", "0.02"]
    assert page.inner_text("#sweep-result td.best") == "4.500 best"
    page.click("text=Show on the chart")
    page.wait_for_function("document.querySelectorAll('#runs-table input:checked').length === 2")
    page.click("#sweep-result td button >> nth=1")
    page.wait_for_function("document.body.dataset.tab === 'train'")
    assert "rates-lr0.02" in page.inner_text("#facts h2")


def test_nothing_serious_for_axe(app: App, page: Any) -> None:
    queue.hold(app.home)
    for name, vary in (("rates", {LR: [0.01, 0.02]}), ("both", {LR: [0.01, 0.02, 0.04], "train.seed": [1, 2]})):
        sweep.start(app.home, "seedling", vary, name)
    db = store.connect(app.home.database)
    first = store.runs_of_sweep(db, "both")[0]
    add_points(db, first["id"], 1, 20)
    store.end_run(db, first["id"], "failed", "It failed.")
    db.close()
    visit(page, app, f"?run={store.REFERENCE_ID}")
    page.wait_for_selector("#line .held")
    page.click("#sweep summary")
    fill(page, 0, LR, "0.01,0.02")
    page.wait_for_function("document.querySelector('#start-sweep').textContent === 'Put 2 runs in line'")
    assert faults(page) == {}
    page.click("#tab-compare")
    page.wait_for_selector("#sweep-result td.best")
    assert faults(page) == {}


def test_no_sweep_no_section(app: App, page: Any) -> None:
    launch.open_home(app.home)
    visit(page, app, "?tab=compare")
    page.wait_for_selector("#runs-table tbody tr")
    assert not page.locator("#sweep-result").is_visible()
