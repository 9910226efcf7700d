"""Alerts on the page: cards about any run, the sheet that chooses what is told and where, notifications."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from conftest import WIDE
from pages import App, visit
from sqlite_utils import Database
from test_accessibility import faults
from test_keyboard import tab_to
from ui_helpers import make_run

from engine import alerts, store

STUB = """
  window.told = [];
  window.Notification = class {
    constructor(title, options) { window.told.push([title, options.body]); window.last = this; }
    close() {}
    static permission = 'default';
    static asked = 0;
    static async requestPermission() { this.asked += 1; return (this.permission = window.answer || 'granted'); }
  };
"""
HIDDEN = "Object.defineProperty(document, 'hidden', {get: () => true, configurable: true})"


@pytest.fixture
def two(app: App) -> Iterator[tuple[App, Any, dict[str, str]]]:
    """An app with two runs that have no process, by name; and an open database."""
    db = store.connect(app.home.database)
    store.set_preference(db, alerts.PREFERENCE, None)
    made = {}
    for name in ("alpha", "beta"):
        made[name] = make_run(db, name)
        store.end_run(db, made[name], "stopped")
        store.add_event(db, made[name], "stopped", "It has ended.", 1)
    yield app, db, made
    store.set_preference(db, alerts.PREFERENCE, None)
    db.close()


def end(db: Database, run_id: str, status: str, error: str | None = None) -> None:
    """Let a run come to another end, which is told."""
    assert store.end_run(db, run_id, status, error, only_from=("stopped", "failed"))


def cards(page: Any) -> list[str]:
    found: list[str] = page.locator("#alerts article:visible b").all_inner_texts()
    return found


def opened(page: Any, app: App, run_id: str) -> None:
    """The page of a run, which has heard which alerts are old."""
    visit(page, app, f"?run={run_id}")
    page.wait_for_function("localStorage.getItem('blueberry-alerts-seen') !== null")


def test_a_card_tells_of_another_run_and_leads_to_it(two: Any, page: Any) -> None:
    app, db, runs = two
    opened(page, app, runs["alpha"])
    end(db, runs["beta"], "failed", "<img src=x onerror=document.title='owned'> The disk is full.")
    page.evaluate("window.blueberry.refresh()")
    page.wait_for_selector("#alerts article")
    assert cards(page) == ["beta failed"]
    assert "<img src=x" in page.inner_text("#alerts .said") and "owned" not in page.title()
    page.click("#alerts >> text=See the run")
    page.wait_for_function(f"location.search.includes('run={runs['beta']}')")
    assert cards(page) == []
    page.reload()  # what was seen is not told again
    page.wait_for_selector("body.ready")
    page.evaluate("window.blueberry.refresh()")
    assert cards(page) == []


def test_many_cards_do_not_cover_the_page(two: Any, page: Any) -> None:
    app, db, runs = two
    opened(page, app, runs["alpha"])
    for number in range(5):
        store.add_event(db, runs["beta"], "budget", f"Sum {number}.")
    page.evaluate("window.blueberry.refresh()")
    page.wait_for_selector("#alerts .more:visible")
    assert len(cards(page)) == 3 and page.inner_text("#alerts .more") == "See all (2 more)"
    page.focus("#alerts .close >> nth=0")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.className") == "close"
    page.click("#alerts .more")
    page.wait_for_selector("#tell-sheet .told li")
    assert page.locator("#tell-sheet .told li .said").all_inner_texts() == [f"Sum {n}." for n in (4, 3, 2, 1, 0)]
    assert cards(page) == []


def test_what_is_told_is_chosen_by_keyboard(two: Any, page: Any) -> None:
    app, db, runs = two
    opened(page, app, runs["alpha"])
    tab_to(page, "#tell-me", most=200)
    page.keyboard.press("Enter")
    page.wait_for_selector("#tell-sheet .kinds input")
    tab_to(page, "#tell-sheet input[value=finished]")
    page.keyboard.press("Space")
    tab_to(page, "#tell-webhook")
    page.keyboard.type("https://hooks.example.com/T0PSECRET")
    tab_to(page, "#tell-key")
    page.keyboard.press("Control+A")
    page.keyboard.type("content")
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('#tell-sheet form > [role=status]').textContent === 'Saved.'")
    found = alerts.settings(db)
    assert found.webhook == "https://hooks.example.com/T0PSECRET" and found.key == "content"
    assert "finished" not in found.kinds and "failed" in found.kinds
    assert "hooks.example.com" in page.inner_text("#tell-webhook-help")
    assert "T0PSECRET" not in page.content() and page.input_value("#tell-webhook") == ""
    page.fill("#tell-template", "{nonsense}")
    page.keyboard.press("Enter")
    page.wait_for_selector("#tell-sheet .problem:not(:empty)")
    assert "{nonsense}, which means nothing" in page.inner_text("#tell-sheet .problem")
    page.keyboard.press("Escape")
    page.wait_for_selector("#tell-sheet", state="hidden")
    assert page.evaluate("document.activeElement.id") == "tell-me"


def test_a_test_message_says_how_it_went(two: Any, page: Any) -> None:
    app, db, runs = two
    got: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200 if len(got) == 1 else 403)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        opened(page, app, runs["alpha"])
        page.click("#tell-me")
        page.fill("#tell-webhook", f"http://127.0.0.1:{server.server_port}/secret")
        page.select_option("#tell-format", "plain")
        assert not page.locator("#tell-key").is_visible()
        page.click("text=Save and send a test")
        page.wait_for_function(
            "document.querySelector('#tell-sheet form > [role=status]').textContent.includes('taken')"
        )
        assert got == [b"Blueberry-Studio test: This is a test, nothing has happened."]
        page.click("text=Save and send a test")
        page.wait_for_selector("#tell-sheet .problem:not(:empty)")
        assert "answered 403 (Forbidden)." in page.inner_text("#tell-sheet .problem")
        page.click("text=Remove the webhook")
        page.wait_for_selector("text=Nothing is sent any more.")
        assert alerts.settings(db).webhook == ""
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_the_browser_tells_while_the_page_is_hidden(two: Any, browser: Any) -> None:
    app, db, runs = two
    context = browser.new_context(viewport=WIDE, reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(20_000)
    page.add_init_script(STUB)
    page.clock.install()
    try:
        page.goto(f"{app.address}/?run={runs['alpha']}")
        for _ in range(1000):  # its clock stands still, the server's does not
            page.clock.run_for(200)
            if page.locator("body.ready").count():
                break
        assert page.evaluate("Notification.asked") == 0
        page.evaluate("document.querySelector('#tell-me').click()")
        page.wait_for_selector("text=Tell me in this browser")
        page.click("text=Tell me in this browser")
        page.wait_for_selector("text=Stop telling here")
        assert page.evaluate("Notification.asked") == 1
        page.keyboard.press("Escape")
        page.evaluate(HIDDEN)
        page.clock.run_for(11_000)  # the polling of what is seen ends
        end(db, runs["beta"], "diverged", "The loss is not a number.")
        page.clock.run_for(31_000)
        page.wait_for_function("window.told.length === 1")
        assert page.evaluate("window.told") == [["beta diverged", "The loss is not a number."]]
        page.evaluate("window.last.onclick()")
        page.wait_for_function(f"location.search.includes('run={runs['beta']}')")
    finally:
        context.close()


def test_a_browser_that_refuses_is_said_so(two: Any, page: Any) -> None:
    app, _, runs = two
    opened(page, app, runs["alpha"])
    page.evaluate("() => {" + STUB + "window.answer = 'denied'; }")
    page.click("#tell-me")
    page.click("text=Tell me in this browser")
    page.wait_for_selector("text=The browser does not allow it")
    assert page.is_visible("text=Tell me in this browser")


def test_cards_and_sheet_have_no_faults(two: Any, page: Any) -> None:
    app, db, runs = two
    opened(page, app, runs["alpha"])
    for kind, message in (("failed", "The disk is full."), ("finished", "")):
        end(db, runs["beta"], kind, message or None)
    page.evaluate("window.blueberry.refresh()")
    page.wait_for_selector("#alerts article")
    assert faults(page) == {}
    page.set_viewport_size(WIDE)
    page.click("#tell-me")
    page.wait_for_selector("#tell-sheet .told li")
    assert faults(page) == {}
