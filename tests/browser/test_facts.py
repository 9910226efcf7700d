"""The facts of a run: hold it still and let it go on, read its log, see its saves on the chart."""

from typing import Any

from helpers import wait_for
from pages import FORM, App, newest_run, visit
from rooms import furnished

from engine import store


def test_a_run_is_paused_and_goes_on(workshop: App, page: Any) -> None:
    visit(page, workshop, FORM)
    page.locator("[data-key='train.tokens']").fill(str(2000 * 4096))
    page.wait_for_function("document.querySelector('#plan').textContent.includes(' steps')")
    page.click("#start")
    page.click("#pause")
    page.wait_for_function("document.querySelector('#status').textContent.includes('Paused')")
    page.wait_for_selector("#facts >> text=device stays taken")
    step = newest_run(workshop.home)["step"]

    page.click("#unpause")
    wait_for(lambda: newest_run(workshop.home)["step"] > step)
    page.wait_for_selector("#pause")


def test_saves_are_on_the_chart_and_the_log_is_read_without_paths(app: App, page: Any) -> None:
    run_id = furnished(app.home, 0)[1]  # the second run: its colour is not the page's accent
    db = store.connect(app.home.database)
    values = {"step": 30, "tokens": 30 * 4096, "kind": "full", "path": "x", "bytes": 1, "sha256": ""}
    store.add_checkpoint(db, run_id, attempt=1, **values)
    store.add_event(db, run_id, "resumed", "Attempt 2 goes on from step 30", 30)
    ran_on = {"device_name": "Tesla T4", "precision": "fp16", "attention": "torch SDPA"}
    store.update_state(
        db, run_id, environment=ran_on | {"fused": True, "recorded": True, "micro_batch": 4, "epoch_tokens": 40_000}
    )
    db.close()
    app.home.log(run_id).parent.mkdir(parents=True)
    app.home.log(run_id).write_text(f"saved {app.home.path}/checkpoints/x\n<b>done</b>\n")

    visit(page, app, f"?run={run_id}&x=steps")
    chart = "document.querySelector('#loss-chart .plot')"
    page.wait_for_function(f"{chart}.layout?.shapes?.map((one) => one.x0 + ' ' + one.y1).join() === '30 1'")
    events = f"{chart}.data.find((trace) => trace.name === 'events')"
    assert page.evaluate(f"{events}.x") == [30, 30]
    page.focus("#loss-chart .plot")
    page.keyboard.press("ArrowUp")
    page.wait_for_function(
        "/saved at step 30.*resumed at step 30/s.test(document.querySelector('#watch .readout').textContent)"
    )
    facts = page.locator("#facts dl").first.inner_text()
    assert all(fact in facts for fact in (*ran_on.values(), "own, fused, one launch a pass", "4 rows", "4.10 of "))
    ticks = page.evaluate(f"{events}.marker.line.color")
    curve = page.evaluate(f"{chart}.data.find((trace) => trace.line?.width >= 2).line.color")
    assert ticks == curve and curve != page.evaluate("getComputedStyle(document.body).getPropertyValue('--accent')")
    page.click("#facts >> text=Log")
    page.wait_for_function("document.querySelector('#facts pre').textContent === 'saved checkpoints/x\\n<b>done</b>'")


def test_a_run_that_compiles_says_for_how_long(app: App, page: Any) -> None:
    run_id = furnished(app.home, 0)[0]
    db = store.connect(app.home.database)
    store.update_state(db, run_id, status="compiling", phase="starting", message="Getting the kernels ready")
    db.close()

    visit(page, app, f"?run={run_id}")
    page.wait_for_function(r"/Compiling, [1-9]\d* s/.test(document.querySelector('#status').textContent)")
