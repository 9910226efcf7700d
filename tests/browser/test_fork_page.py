"""Forks on the page: the sheet that starts one, the line in the facts."""

from typing import Any

from helpers import wait_for
from pages import FORM, App, newest_run, visit
from ui_helpers import add_age, add_points, make_run

from engine import store


def with_weights(app: App, name: str, status: str = "stopped") -> str:
    """A run that has ended, with a checkpoint of step 20 and words of step 10."""
    db = store.connect(app.home.database)
    run_id = make_run(db, name)
    add_points(db, run_id, 1, 20)
    add_age(app.home, db, run_id, 10, full=False)
    add_age(app.home, db, run_id, 20)
    store.update_state(db, run_id, step=20, tokens=20 * 4096)
    store.end_run(db, run_id, status)
    db.close()
    return run_id


def test_a_fork_is_started_from_an_age_and_names_its_line(workshop: App, page: Any) -> None:
    parent = with_weights(workshop, "root")
    visit(page, workshop, f"?run={parent}&x=steps")
    page.click("#fork-here")
    page.wait_for_selector("#fork-step option", state="attached")
    assert page.locator("#fork-step option").all_inner_texts() == [
        "step 20, 81.9 k tokens old",
        "step 10, 41 k tokens old, weights only",
    ]
    page.wait_for_selector("#fork .plan-notes >> text=Weights and optimizer go on exactly")
    page.select_option("#fork-step", "10")
    page.wait_for_selector("#fork .plan-notes >> text=the optimizer begins anew")
    page.fill("#fork [data-key='train.tokens']", "4096")
    page.wait_for_selector("#fork [data-key='train.tokens'][aria-invalid]")
    assert "set train.tokens above" in page.inner_text("#fork .problem") and page.locator("#fork-start").is_disabled()

    page.fill("#fork [data-key='train.tokens']", "300k")
    page.fill("#fork [data-key=name]", "<i>branch")
    page.wait_for_selector("#fork [data-key=name][aria-invalid]")
    page.fill("#fork [data-key=name]", "branch")
    page.wait_for_selector("#fork-start:enabled")
    page.press("#fork [data-key=name]", "Enter")

    page.wait_for_selector("#facts .lineage >> text=Forked from root at step 10.")
    made = newest_run(workshop.home)
    assert (made["name"], made["parent_run_id"], made["parent_step"]) == ("branch", parent, 10)
    wait_for(lambda: newest_run(workshop.home)["status"] == "finished", timeout=30)
    db = store.connect(workshop.home.database)
    steps = [row[1] for row in store.metrics_after(db, made["id"], 0)]
    db.close()
    assert steps == list(range(11, made["total_steps"] + 1))

    page.click("#facts .lineage >> text=root")
    page.wait_for_selector("#facts .lineage >> text=Its forks: branch at step 10.")


def test_twice_as_much_is_offered_from_the_last_step(workshop: App, page: Any) -> None:
    parent = with_weights(workshop, "done", "finished")
    db = store.connect(workshop.home.database)
    db.conn.execute("UPDATE runs SET total_steps = 20, target_tokens = 20 * 4096 WHERE id = ?", [parent])
    config = store.get_config(db, parent).replace('"tokens": 3000000', f'"tokens": {20 * 4096}')
    db.conn.execute("UPDATE runs SET config = ? WHERE id = ?", [config, parent])
    db.close()
    visit(page, workshop, f"?run={parent}")
    page.click("#fork-here")

    page.wait_for_selector("#fork .plan-notes >> text=to step 40")
    assert page.input_value("#fork [data-key='train.tokens']") == str(2 * 20 * 4096)
    page.select_option("#fork-step", "10")
    page.wait_for_selector("#fork .plan-notes >> text=to step 20")
    page.keyboard.press("Escape")
    page.wait_for_selector("#fork", state="hidden")


def test_without_weights_there_is_no_fork(workshop: App, page: Any) -> None:
    db = store.connect(workshop.home.database)
    bare = make_run(db, "bare")
    store.end_run(db, bare, "stopped")
    db.close()
    with page.expect_response("**/api/fork?*"):
        visit(page, workshop, f"?run={bare}")
    page.wait_for_selector("#fork-here", state="hidden")


def test_settings_change_while_a_run_trains(workshop: App, page: Any) -> None:
    visit(page, workshop, FORM)
    page.locator("[data-key='train.tokens']").fill(str(6000 * 4096))
    page.wait_for_function("document.querySelector('#plan').textContent.includes(' steps')")
    page.click("#start")
    page.click("text=Change it while it runs")
    page.wait_for_selector("#facts .inflight [data-key='eval.every']")
    assert page.locator("#change-it").is_disabled()

    page.fill("#facts .inflight [data-key=rate_factor]", "500")
    page.wait_for_selector("#facts .inflight [data-key=rate_factor][aria-invalid]")
    page.fill("#facts .inflight [data-key=rate_factor]", "0.5")
    page.fill("#facts .inflight [data-key='train.tokens']", str(2500 * 4096))
    page.wait_for_selector("#facts .plan-notes >> text=It ends at step 2,500")
    page.wait_for_selector("#change-it:enabled")
    page.press("#facts .inflight [data-key=rate_factor]", "Enter")

    page.wait_for_function(
        "/Learning rates times 0.5, from step/.test(document.querySelector('#facts .changed').textContent)"
    )
    page.wait_for_selector("#events >> text=Learning rate halved")
    page.wait_for_function("document.querySelector('#facts [data-fact=step]').textContent.endsWith('of 2,500')")
    wait_for(lambda: newest_run(workshop.home)["status"] == "finished", timeout=120)
    run = newest_run(workshop.home)
    assert (run["step"], run["total_steps"], run["target_tokens"]) == (2500, 2500, 2500 * 4096)
    page.wait_for_selector("#facts .inflight", state="hidden")
