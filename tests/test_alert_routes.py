"""ui/alert_routes.py: what the page reads and sets about alerts; the webhook's address never comes back."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlite_utils import Database
from ui_helpers import make_run

from engine import alerts, store
from engine.home import Home
from ui import live
from ui.alert_routes import NEWEST, make_alerts
from ui.reading import Reader
from ui.server import add_error_answers

ADDRESS = "https://hooks.example.com/services/T0PSECRET"


@pytest.fixture
def client(home: Home) -> Iterator[TestClient]:
    """The routes of alerts without the page around them."""
    app = FastAPI()
    add_error_answers(app)
    app.include_router(make_alerts(Reader(home, lambda home, db: None)))
    with TestClient(app) as opened:
        yield opened


def listed(client: TestClient, after: int = 0) -> dict[str, Any]:
    answer = client.get("/api/alerts", params={"after": after})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_new_alerts_are_found_by_the_cursor_of_live(client: TestClient, db: Database) -> None:
    before = live.live(db, store.list_runs(db), [], "tokens", "", 0)["alert"]
    assert before == 0 and listed(client) == {"newest": 0, "alerts": []}
    run_id = make_run(db)
    store.end_run(db, run_id, "failed", "<b>No.</b>")
    newest = live.live(db, store.list_runs(db), [], "tokens", "", 0)["alert"]
    found = listed(client, before)
    assert found["newest"] == newest > before
    assert [(one["run_id"], one["name"], one["kind"], one["message"]) for one in found["alerts"]] == [
        (run_id, "one", "failed", "<b>No.</b>")
    ]
    assert listed(client, newest)["alerts"] == []


def test_only_chosen_kinds_are_listed_and_no_more_than_a_page_of_them(client: TestClient, db: Database) -> None:
    run_id = make_run(db)
    for number in range(NEWEST + 5):
        store.add_event(db, run_id, "health", f"Look {number}.")
    found = listed(client)
    assert found["alerts"] == [] and found["newest"] > NEWEST
    assert client.post("/api/alerts/settings", json={"kinds": ["health"]}).json()["kinds"] == ["health"]
    shown = listed(client)["alerts"]
    assert len(shown) == NEWEST and shown[-1]["message"] == f"Look {NEWEST + 4}."


def test_the_webhook_is_set_and_never_told(client: TestClient, db: Database) -> None:
    answers = [
        client.post("/api/alerts/settings", json={"webhook": ADDRESS, "format": "plain", "template": "{run}!"}),
        client.get("/api/alerts/settings"),
        client.post("/api/alerts/settings", json={"kinds": []}),  # the rest stays
        client.post("/api/alerts/settings", json={"webhook": ADDRESS + " "}),
        client.post("/api/alerts/settings", json={"webhook": "x" + ADDRESS}),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 400]
    assert not [answer.text for answer in answers if "T0PSECRET" in answer.text]
    assert answers[1].json() == {
        "kinds": list(alerts.USUAL),
        "webhook": "hooks.example.com",
        "format": "plain",
        "key": "text",
        "template": "{run}!",
        "known": alerts.KINDS,
        "placeholders": list(alerts.PLACEHOLDERS),
    }
    assert alerts.settings(db).webhook == ADDRESS and alerts.settings(db).kinds == ()
    assert client.post("/api/alerts/settings", json={"webhook": ""}).json()["webhook"] == ""


def test_a_test_says_how_it_went(client: TestClient, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    assert client.post("/api/alerts/test").json() == {"error": "There is no webhook to test; give its address first."}
    alerts.change(db, {"webhook": ADDRESS})
    said: list[str] = []

    def post(found: alerts.Settings, message: str) -> str:
        said.append(message)
        return "" if len(said) == 1 else f"{found.host} answered 404 (Not Found)."

    monkeypatch.setattr(alerts, "post", post)
    assert client.post("/api/alerts/test").json() == {"said": "hooks.example.com has taken the test message."}
    refused = client.post("/api/alerts/test")
    assert (refused.status_code, refused.json()) == (400, {"error": "hooks.example.com answered 404 (Not Found)."})


@pytest.mark.parametrize(
    "body",
    [[], 7, None, {"webhook": None}, {"webhook": []}, {"kinds": {}}, {"kinds": ["x"] * 99}, {"key": "\0"}, {"a": 1}],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(client: TestClient, db: Database, body: Any) -> None:
    headers = {"content-type": "application/json"}
    answer = client.post("/api/alerts/settings", content=json.dumps(body), headers=headers)
    assert answer.status_code in (400, 422) and answer.json()["error"].endswith(".")
    assert client.get("/api/alerts", params={"after": -1}).status_code == 422
    assert alerts.settings(db) == alerts.Settings()
