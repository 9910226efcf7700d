"""What people are told about runs: which ends, exactly once, through a webhook that may fail, without its secret."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from helpers import supervised, wait_for
from sqlite_utils import Database
from ui_helpers import make_run

from engine import alerts, launch, store
from engine.__main__ import main
from engine.courier import LEASE, PAUSES, STANDSTILL, Courier, Stalls, patience
from engine.endings import end_dead
from engine.home import Home
from engine.store import Refused
from engine.supervisor import Supervisor

Capture = pytest.CaptureFixture[str]
SECRET = "T0PSECRET"


class Channel:
    """A webhook on this machine: answers with `codes` in turn, then with 200; keeps what it got."""

    def __init__(self) -> None:
        self.codes: list[int] = []
        self.got: list[tuple[str, str, bytes]] = []
        self.gate = threading.Event()
        self.gate.set()
        channel = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                channel.got.append((self.path, self.headers["Content-Type"], content))
                channel.gate.wait(10)
                code = channel.codes.pop(0) if channel.codes else 200
                self.send_response(code)
                if 300 <= code < 400:
                    self.send_header("Location", "file:///etc/passwd")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_port}"
        self.address = f"http://{self.host}/hook/{SECRET}?token={SECRET}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    def texts(self) -> list[str]:
        """The messages that came, as JSON with the usual key."""
        return [json.loads(content)["text"] for _, _, content in self.got]

    def close(self) -> None:
        self.gate.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def channel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Channel]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    opened = Channel()
    yield opened
    opened.close()


@pytest.fixture
def set_up(db: Database, channel: Channel) -> Channel:
    """A home whose alerts go to the channel."""
    alerts.change(db, {"webhook": channel.address})
    return channel


class Clock:
    """Time that passes when it is told to."""

    def __init__(self, now: float | None = None) -> None:
        self.now = time.time() if now is None else now

    def __call__(self) -> float:
        return self.now


def rows(db: Database, *kinds: str) -> list[store.Row]:
    return store.list_alerts(db, kinds or tuple(alerts.KINDS))


def told(db: Database) -> list[tuple[str, str]]:
    return [(alert["name"], alert["kind"]) for alert in rows(db)]


def goes_on(db: Database, times: int) -> None:
    """Let runs go on by themselves after a crash."""
    sql = "UPDATE runs SET config = json_set(config, '$.train.auto_resume', ?) WHERE kind = 'trained'"
    db.conn.execute(sql, [times])


@pytest.mark.parametrize("status", ["finished", "failed", "crashed", "diverged"])
def test_an_end_is_told_once_whoever_ends_the_run(db: Database, status: str) -> None:
    run_id = make_run(db)
    assert store.end_run(db, run_id, status, "Something happened.")
    assert not store.end_run(db, run_id, status, "Something happened.")
    store.update_state(db, run_id, status=status)
    assert told(db) == [("one", status)]
    assert alerts.shown(rows(db)[0])["message"] == (
        "41 k tokens read, loss 7.123." if status == "finished" else "Something happened."
    )


def test_what_a_person_asked_for_is_no_news(db: Database) -> None:
    store.end_run(db, make_run(db), "stopped")
    assert told(db) == []


def test_every_attempt_has_its_own_end(db: Database) -> None:
    run_id = make_run(db)
    for attempt in (1, 2):
        store.update_state(db, run_id, attempt=attempt)
        store.end_run(db, run_id, "failed", "No.")
        store.request_resume(db, run_id, "cpu")
    assert [(alert["attempt"], alert["kind"]) for alert in rows(db)] == [(1, "failed"), (2, "failed")]


@pytest.mark.parametrize(("allowed", "expected"), [(1, []), (0, [("one", "crashed")])])
def test_a_crash_after_which_it_goes_on_by_itself_is_no_news(
    home: Home, db: Database, allowed: int, expected: list[tuple[str, str]]
) -> None:
    run_id = make_run(db)
    goes_on(db, allowed)
    assert end_dead(home, db, store.get_run(db, run_id))
    assert (store.get_run(db, run_id)["status"] == "preparing") == bool(allowed)
    assert told(db) == expected


def test_a_crash_is_told_with_all_of_its_error(home: Home, db: Database) -> None:
    run_id = make_run(db)
    goes_on(db, 1)
    store.update_state(db, run_id, auto_resumes=1000)
    end_dead(home, db, store.get_run(db, run_id))
    assert "It has gone on by itself 1000 times already" in rows(db)[0]["message"]


def test_events_of_budget_and_health_are_told_in_their_words(db: Database) -> None:
    run_id = make_run(db)
    for kind in ("budget", "health", "note", "stopped"):
        store.add_event(db, run_id, kind, f"About {kind}.", 7)
    assert [(alert["kind"], alerts.sentence(alert)) for alert in rows(db)] == [
        ("budget", "About budget."),
        ("health", "About health."),
    ]
    assert [alert["kind"] for alert in rows(db, *alerts.settings(db).kinds)] == ["budget"]


def test_a_run_that_stands_still_is_told_once_an_attempt(db: Database) -> None:
    clock = Clock(0.0)
    run_id, stalls = make_run(db), Stalls(clock)

    def look(after: float, **state: Any) -> list[str]:
        store.update_state(db, run_id, **{"phase": "training"} | state)
        clock.now += after
        stalls.look(db, store.get_run(db, run_id))
        return [alert["message"] for alert in rows(db, "stalled")]

    assert look(0) == [] and look(STANDSTILL - 1) == []
    assert look(STANDSTILL - 1, step=11) == []
    assert look(STANDSTILL - 1) == []
    assert look(2) == ["It has been at step 11 (training) for 5 min; its process lives."]
    assert len(look(STANDSTILL + 1)) == 1
    assert [event["kind"] for event in store.list_events(db, run_id)] == ["stalled"]
    stalls = Stalls(clock)  # another supervisor
    assert len(look(0)) == len(look(STANDSTILL + 1)) == 1
    assert look(0, attempt=2) and len(look(STANDSTILL + 1)) == 2


def test_a_paused_run_does_not_stand_still(db: Database) -> None:
    clock = Clock(0.0)
    run_id, stalls = make_run(db), Stalls(clock)
    for status in ("running", "paused", "running", "running"):
        store.update_state(db, run_id, status=status)
        stalls.look(db, store.get_run(db, run_id))
        clock.now += STANDSTILL - 1
    assert rows(db) == []
    stalls.forget(set())
    assert stalls._seen == {}


def test_a_run_of_long_steps_gets_ten_of_them() -> None:
    run = {"step": 10, "tokens": 10_000, "tokens_per_second": 10.0}
    assert patience(run) == 1_000.0
    assert patience(run | {"tokens_per_second": 1e6}) == patience(run | {"tokens_per_second": None}) == STANDSTILL


def test_a_webhook_that_fails_twice_gets_the_message_at_last(home: Home, db: Database, set_up: Channel) -> None:
    set_up.codes = [500, 404]
    store.end_run(db, make_run(db), "failed", "The disk is full.")
    clock = Clock()
    courier = Courier(home, clock)

    courier.deliver(db)
    alert = rows(db)[0]
    assert (alert["state"], alert["tries"]) == ("waiting", 1)
    assert alert["error"] == f"{set_up.host} answered 500 (Internal Server Error)."
    courier.deliver(db)  # its time has not come
    assert len(set_up.got) == 1
    for pause in PAUSES:
        clock.now += pause
        courier.deliver(db)
    alert = rows(db)[0]
    assert (alert["state"], alert["tries"], alert["error"]) == ("sent", 3, "")
    assert abs(alert["sent_at"] - time.time()) < 60
    assert set_up.texts() == ["one failed: The disk is full."] * 3
    assert not courier.tick(db)


def test_a_dead_webhook_is_given_up(home: Home, db: Database, set_up: Channel) -> None:
    set_up.codes = [503] * 9
    store.end_run(db, make_run(db), "finished")
    clock = Clock()
    courier = Courier(home, clock)
    for pause in (0.0, *PAUSES, 3600.0):
        clock.now += pause
        courier.deliver(db)
    assert len(set_up.got) == alerts.TRIES
    assert rows(db)[0]["state"] == "failed"
    assert not courier.tick(db) and not alerts.anything_waits(db)


def test_two_senders_send_each_alert_once(home: Home, db: Database, set_up: Channel) -> None:
    for name in "abcdefgh":
        store.end_run(db, make_run(db, name), "finished")
    couriers = [Courier(home) for _ in range(2)]
    for courier in couriers:
        assert courier.tick(db)
    wait_for(lambda: not any(courier.tick(db) for courier in couriers))
    assert sorted(text[0] for text in set_up.texts()) == list("abcdefgh")


def test_what_a_killed_sender_left_is_sent_by_the_next_one(home: Home, db: Database, set_up: Channel) -> None:
    store.end_run(db, make_run(db), "finished")
    clock = Clock()
    assert store.claim_alert(db, rows(db)[0], clock.now + LEASE)  # and then it was killed
    courier = Courier(home, clock)
    courier.deliver(db)
    assert set_up.got == []
    clock.now += LEASE
    courier.deliver(db)
    assert len(set_up.got) == 1 and rows(db)[0]["state"] == "sent"


def test_what_nobody_could_send_for_a_day_is_no_news(home: Home, db: Database, set_up: Channel) -> None:
    store.end_run(db, make_run(db), "finished")
    courier = Courier(home, Clock(time.time() + alerts.KEPT + 1))
    assert not courier.tick(db)
    assert (rows(db)[0]["state"], rows(db)[0]["error"]) == ("failed", "It could not be sent in time.")
    assert set_up.got == []


def test_only_chosen_kinds_are_sent_and_nothing_that_was_made_before(
    home: Home, db: Database, channel: Channel
) -> None:
    def end(name: str, status: str) -> None:
        store.end_run(db, make_run(db, name), status)

    end("early", "failed")
    alerts.change(db, {"webhook": channel.address, "kinds": ["failed"]})
    end("unwanted", "finished")
    end("first", "failed")
    alerts.change(db, {"kinds": ["failed", "finished"]})
    end("second", "finished")
    Courier(home).deliver(db)
    assert [text.split()[0] for text in channel.texts()] == ["first", "second"]
    assert {alert["name"]: alert["state"] for alert in rows(db)} == {
        "early": "quiet",
        "unwanted": "quiet",
        "first": "sent",
        "second": "sent",
    }


def test_a_slow_webhook_does_not_hold_up_the_supervisor(home: Home, db: Database, set_up: Channel) -> None:
    set_up.gate.clear()
    run_id = make_run(db)
    store.end_run(db, run_id, "finished")
    supervisor = Supervisor(home)
    began = time.monotonic()
    for _ in range(5):
        assert supervisor.tick(db)  # it stays
    assert time.monotonic() - began < 2
    set_up.gate.set()
    wait_for(lambda: not supervisor.tick(db))
    assert len(set_up.got) == 1


def test_settings_that_cannot_be_read_do_not_end_a_supervisor(home: Home, db: Database) -> None:
    store.set_preference(db, alerts.PREFERENCE, {"kinds": ["a kind of the future"], "webhook": "https://example.com"})
    store.end_run(db, make_run(db), "finished")
    assert alerts.settings(db) == alerts.Settings()
    supervisor = Supervisor(home)
    supervisor.tick(db)  # takes the command that began the run
    assert not supervisor.tick(db)


def test_a_real_supervisor_tells_before_it_ends(home: Home, db: Database, set_up: Channel) -> None:
    set_up.codes = [500]
    with supervised(home, "--points", "5", idle=0.5) as child:
        launch.start_run(home, "seedling", "one", {})
        assert child.wait(timeout=60) == 0
    assert len(set_up.got) == 2
    assert rows(db)[0]["state"] == "sent"
    assert SECRET not in home.supervisor_log.read_text(encoding="utf-8")


def test_a_reader_starts_a_supervisor_for_what_waits(
    home: Home, db: Database, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted: list[Home] = []
    monkeypatch.setattr(launch, "start_supervisor", wanted.append)
    store.end_run(db, make_run(db), "failed", "No.")
    launch.reconcile(home, db)
    assert wanted == []  # there is no webhook
    alerts.change(db, {"webhook": channel.address})
    store.end_run(db, make_run(db, "two"), "failed", "No.")
    launch.reconcile(home, db)
    assert wanted == [home]


@pytest.mark.parametrize(
    ("format", "kind", "read"),
    [
        ("json", "application/json", lambda content: json.loads(content)["content"]),
        ("plain", "text/plain", bytes.decode),
    ],
)
def test_values_stay_values(db: Database, set_up: Channel, format: str, kind: str, read: Any) -> None:
    template = '{run}/{status}/{step}/{device}/{loss}/{tokens}: "{message}" {not one} {} \ud83d'
    found = alerts.change(db, {"format": format, "key": "content", "template": template})
    store.end_run(db, make_run(db), "failed", 'It said "{run}"\n\\ é 漢 !')
    assert alerts.post(found, alerts.text(found.template, rows(db)[0])) == ""
    path, given_kind, content = set_up.got[0]
    assert given_kind.startswith(kind) and SECRET in path
    text = read(content)
    assert text.startswith('one/failed/10/cpu/7.123/41 k: "It said "{run}"\n\\ é 漢 !"')
    assert text[:-1].endswith("{not one} {} ")


def test_a_long_message_is_cut(db: Database) -> None:
    store.end_run(db, make_run(db), "failed", "x" * 9_000)
    assert len(alerts.text("{message}", rows(db)[0])) == alerts.LONGEST_TEXT


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"webhook": f"ftp://example.com/{SECRET}"}, "must be a whole address that begins with https://"),
        ({"webhook": "file:///etc/passwd"}, "must be a whole address"),
        ({"webhook": "https://"}, "must be a whole address"),
        ({"webhook": f"https://exa mple.com/{SECRET}"}, "must be a whole address"),
        ({"webhook": f"https://example.com:99999/{SECRET}"}, "must be a whole address"),
        ({"webhook": f"https://[::1/{SECRET}"}, "must be a whole address"),
        ({"webhook": f"https://example.com/{SECRET}\r\nX: y"}, "must be a whole address"),
        ({"webhook": f"https://me:{SECRET}@example.com/"}, "no name or password"),
        ({"webhook": "https://example.com/" + "x" * 2_000}, "longer than 2,000"),
        ({"format": "xml"}, "must be json or plain"),
        ({"key": ""}, "1 to 64 letters"),
        ({"template": " "}, "1 to 1,000 letters"),
        ({"template": "{url}"}, "has {url}, which means nothing; it may use {run}, {status}"),
        ({"kinds": ["finished", "sad"]}, "'sad' is no kind of alert"),
        ({"kinds": "finished"}, "kinds must be a list of kinds"),
        ({"kinds": [1]}, "kinds must be a list of kinds"),
        ({"webhook": 7}, "webhook must be text"),
        ({"colour": "red"}, "have no setting 'colour'"),
    ],
)
def test_what_makes_no_sense_is_refused_without_the_secret(db: Database, changes: Any, words: str) -> None:
    with pytest.raises(Refused) as refusal:
        alerts.change(db, changes)
    assert words in str(refusal.value)
    assert SECRET not in str(refusal.value)
    assert alerts.settings(db) == alerts.Settings()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (302, "answered 302 (Found): it wants another address, which must be set here."),
        (401, "answered 401 (Unauthorized)."),
        (799, "answered 799."),
    ],
)
def test_a_refusal_is_said_without_the_secret(set_up: Channel, code: int, words: str) -> None:
    set_up.codes = [code]
    found = alerts.Settings(webhook=set_up.address)
    assert alerts.post(found, "hello") == f"{set_up.host} {words}"
    assert len(set_up.got) == 1  # no redirect was followed


def test_a_webhook_that_is_not_there_or_silent_is_said_so(channel: Channel) -> None:
    assert alerts.post(alerts.Settings(webhook="http://127.0.0.1:1/x"), "hello") == (
        "127.0.0.1:1 could not be reached: Connection refused."
    )
    channel.gate.clear()
    slow = alerts.post(alerts.Settings(webhook=channel.address), "hello", timeout=0.1)
    assert slow.startswith(f"{channel.host} ") and "nothing came within" in slow and SECRET not in slow


def test_the_command_line_sets_tests_and_shows(home: Home, db: Database, channel: Channel, capsys: Capture) -> None:
    def say(*options: str) -> str:
        status = main(["alerts", "--home", str(home.path), *options])
        printed = capsys.readouterr()
        assert SECRET not in printed.out + printed.err
        return f"{status} {printed.out}{printed.err}".strip()

    assert say() == (
        "0 Told: finished, failed, crashed, diverged, budget, stalled; on the page only (--webhook sends it elsewhere)."
    )
    assert say("--test") == "1 There is no webhook to test; give its address first."
    assert say("--webhook", channel.address, "--kinds", "finished, failed", "--key", "content") == (
        f"0 Told: finished, failed; sent to {channel.host} as JSON under 'content'."
    )
    assert say("--test") == f"0 {channel.host} has taken the test message."
    assert json.loads(channel.got[0][2]) == {"content": "Blueberry-Studio test: This is a test, nothing has happened."}
    channel.codes = [404]
    assert say("--test") == f"1 {channel.host} answered 404 (Not Found)."
    store.end_run(db, make_run(db), "finished")
    assert "41 k tokens read, loss 7.123." in say()
    shown = json.loads(say("--json").removeprefix("0 "))
    assert shown["webhook"] == channel.host and shown["kinds"] == ["finished", "failed"]
    assert [(one["name"], one["kind"], one["state"]) for one in shown["alerts"]] == [("one", "finished", "waiting")]
    assert "on the page only" in say("--webhook", "none")
