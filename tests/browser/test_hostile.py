"""Texts that want to be scripts, wherever a text can come from: they are shown as texts and never run."""

import json
from typing import Any

from pages import App, visit
from rooms import furnished

from engine import store

HOSTILE = "<script>window.hurt = 1</script><img src=x onerror='window.hurt = 1'>"
BREAKERS = "'\"></textarea></title></style><svg onload='window.hurt = 1'>{{7*7}}${window.hurt=1}"


def poison(app: App, run_id: str) -> None:
    """Put hostile texts into every column and file that the page shows."""
    db = store.connect(app.home.database)
    for column in ("name", "preset", "dataset", "note"):
        db.conn.execute(f"UPDATE runs SET {column} = ? WHERE id = ?", [f"{column} {HOSTILE}{BREAKERS}", run_id])
    db.conn.execute("UPDATE samples SET prompt = ?, text = ? WHERE run_id = ?", [HOSTILE, HOSTILE + BREAKERS, run_id])
    db.conn.execute("UPDATE archive SET title = ?, note = ?, category = ?", [HOSTILE, HOSTILE + BREAKERS, HOSTILE])
    environment = {"device_name": HOSTILE, "precision": HOSTILE}
    store.update_state(db, run_id, status="failed", error=HOSTILE, message=HOSTILE, environment=environment)
    store.add_event(db, run_id, HOSTILE, HOSTILE + BREAKERS, 1)
    db.close()
    app.home.run(run_id).mkdir(parents=True, exist_ok=True)
    app.home.log(run_id).write_text(f"one line\n{HOSTILE}{BREAKERS}\n")
    folder = app.home.dataset(HOSTILE.replace("/", ""))
    folder.mkdir(parents=True)
    (folder / "card.json").write_text(json.dumps({"name": HOSTILE, "licence": HOSTILE, "tokenizer": HOSTILE}))


def test_no_text_of_a_run_is_ever_a_script(app: App, page: Any) -> None:
    run_id = furnished(app.home)[0]
    poison(app, run_id)

    visit(page, app, f"?run={run_id}")
    page.wait_for_selector("#events li")
    assert HOSTILE in page.inner_text("#events") and HOSTILE in page.inner_text("body")
    page.evaluate("for (const fold of document.querySelectorAll('details')) fold.open = true")
    page.wait_for_function("document.body.textContent.includes('one line')")
    for tab, there in (
        ("growing", "#growing-stage .words"),
        ("compare", "#runs-table"),
        ("play", "#play-run"),
        ("capsule", "#gallery .exhibit"),
        ("data", "#datasets"),
        ("report", "#report"),
    ):
        page.click(f"#tab-{tab}")
        page.wait_for_selector(f"{there}:visible")
        page.wait_for_function(f"document.querySelector('#panel-{tab}').textContent.includes('window.hurt')")
    page.click("#tab-capsule")
    page.locator("#gallery .exhibit").first.click()
    page.wait_for_timeout(200)

    assert page.evaluate("window.hurt") is None
    assert page.locator("img[src=x], svg[onload]").count() == 0


def test_no_address_of_the_page_is_ever_a_script(app: App, page: Any) -> None:
    furnished(app.home)
    names = (
        "run",
        "exhibit",
        "q",
        "category",
        "of",
        "young",
        "leaf",
        "x",
        "sort",
        "find",
        "is",
        "tag",
        "away",
        "zoom",
        "chosen",
        "with",
        "suite",
        "asked",
        "age",
        "beside",
        "each",
    )
    everywhere = "&".join(f"{name}={HOSTILE}" for name in names)
    for tab in (HOSTILE, "capsule", "compare", "growing"):
        visit(page, app, f"?{everywhere}&tab={tab}#{HOSTILE}")
        page.wait_for_selector(
            "#panel-train:visible, #gallery > *:visible, #runs-table tr:visible, #growing-stage:visible"
        )

        assert page.evaluate("window.hurt") is None
