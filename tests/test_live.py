"""The door of a run that trains: who may come in, how many, and what becomes of them."""

import errno
import json
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import supervised, wait_for
from sqlite_utils import Database
from ui_helpers import make_run

from engine import launch, live, overheard, store
from engine.__main__ import main
from engine.home import Home
from engine.live import FILE, WAITING, Door, Question, keep_in
from engine.store import Refused, Row


class Keeper:
    """Keeps rows in a list."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def __call__(self, row: Row) -> int:
        self.rows.append(row)
        return len(self.rows)


@pytest.fixture
def keeper() -> Keeper:
    return Keeper()


@pytest.fixture
def run(home: Home) -> Row:
    home.run("abc").mkdir(parents=True)
    return {"id": "abc", "name": "tiny", "status": "running"}


@pytest.fixture
def door(home: Home, run: Row, keeper: Keeper) -> Iterator[Door]:
    opened = Door(home.run("abc"), keeper)
    yield opened
    opened.close("It has ended.")


def piece(text: str, finish: str = "") -> dict[str, Any]:
    row = {"text": text, "new_tokens": len(text), "finish": finish, "step": 3, "tokens": 300}
    return row | {"tokens_per_second": 9.0, "training": None, "row": dict(row)}


def answering(door: Door, *pieces: dict[str, Any]) -> threading.Thread:
    """Say these to whoever comes first."""

    def say() -> None:
        question = wait_for(door.next)
        for one in pieces:
            question.messages.put(one)

    thread = threading.Thread(target=say)
    thread.start()
    return thread


def raw(home: Home, line: bytes) -> str:
    """What comes back for a line as it is."""
    port = json.loads((home.run("abc") / FILE).read_text())["port"]
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(line)
        connection.shutdown(socket.SHUT_WR)
        heard = b""
        while part := connection.recv(4096):
            heard += part
    return heard.decode()


def test_a_question_is_heard_answered_and_kept(home: Home, run: Row, door: Door, keeper: Keeper) -> None:
    speaking = answering(door, piece("a"), piece("ab"), piece("abc", "length"))

    heard = list(overheard.stream(home, run, "Once", max_tokens=3, seed=7))

    speaking.join()
    assert [message["text"] for message in heard] == ["a", "ab", "abc"] and "row" not in heard[0]
    assert (heard[-1]["finish"], heard[-1]["sample_id"], heard[-1]["step"]) == ("length", 1, 3)
    assert keeper.rows[0]["text"] == "abc"


def test_only_the_owner_can_read_where_it_listens(home: Home, door: Door) -> None:
    mode = (home.run("abc") / FILE).stat().st_mode

    assert stat.S_IMODE(mode) == 0o600
    assert json.loads(raw(home, b'{"token": "guessed", "prompt": "Once"}\n')) == {"error": "The token is wrong."}
    assert not door.wanted


@pytest.mark.parametrize(
    "line",
    [b"", b"\n", b"[1]\n", b"{}\n", b"\xff\xfe\n", b"GET / HTTP/1.1\r\n\r\n", b"[" * 50_000 + b"\n", b"x" * 300_000],
)
def test_what_is_no_question_is_a_sentence(home: Home, door: Door, line: bytes) -> None:
    try:
        heard = raw(home, line)
    except OSError as error:  # it stops listening to somebody who does not stop
        assert error.errno in (errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN)
        heard = ""
    assert heard in ("", '{"error": "That is not a question."}\n') and not door.wanted


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"temperature": -1}, "temperature = -1 must be between"),
        ({"max_tokens": "x"}, "That is not a question."),
        ({"colour": "red"}, "That is not a question."),
    ],
)
def test_settings_that_make_no_sense_are_a_sentence(
    home: Home, run: Row, door: Door, settings: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(Refused, match=sentence):
        list(overheard.stream(home, run, "Once", **settings))


def test_a_cancel_is_heard_at_once_and_what_was_said_is_kept(home: Home, run: Row, door: Door, keeper: Keeper) -> None:
    cancel = threading.Event()
    speaking = answering(door, piece("so far"))
    stream = overheard.stream(home, run, "Once", cancel=cancel)
    assert next(stream)["text"] == "so far"
    speaking.join()

    cancel.set()
    (last,) = list(stream)

    assert (last["text"], last["finish"], last["sample_id"]) == ("so far", "cancelled", 1)
    assert keeper.rows[0]["finish"] == "cancelled"


def test_whoever_waits_can_cancel_too(home: Home, run: Row, door: Door, keeper: Keeper) -> None:
    cancel = threading.Event()
    cancel.set()

    (last,) = list(overheard.stream(home, run, "Once", cancel=cancel))

    assert (last["finish"], last["sample_id"]) == ("cancelled", None)
    assert not door.wanted and not keeper.rows


def test_whoever_goes_away_is_not_answered_but_kept(home: Home, run: Row, door: Door, keeper: Keeper) -> None:
    stream = overheard.stream(home, run, "Once")
    speaking = answering(door, piece("unheard"))
    next(stream)
    speaking.join()

    stream.close()  # type: ignore[attr-defined]

    wait_for(lambda: keeper.rows)
    assert keeper.rows[0]["finish"] == "cancelled"


def test_twenty_wait_and_the_next_is_refused(home: Home, run: Row, door: Door) -> None:
    for _ in range(WAITING):
        door._waiting.append(Question(live.Ask(prompt="Once")))

    with pytest.raises(Refused, match="20 questions are waiting already"):
        list(overheard.stream(home, run, "Once"))


def test_a_door_that_is_shut_says_why_to_all(home: Home, run: Row, door: Door) -> None:
    heard: list[str] = []

    def ask() -> None:
        try:
            list(overheard.stream(home, run, "Once"))
        except Refused as refusal:
            heard.append(str(refusal))

    asking = threading.Thread(target=ask)
    asking.start()
    wait_for(lambda: door.wanted)
    door.shut("It holds still.")
    asking.join()
    ask()

    assert heard == ["It holds still."] * 2
    door.open()
    answering(door, piece("a", "length")).join(0)
    assert list(overheard.stream(home, run, "Once"))[-1]["finish"] == "length"


@pytest.mark.parametrize("status", ["queued", "preparing", "paused", "stopping", "finished", "crashed"])
def test_a_run_that_does_not_train_cannot_be_talked_to(home: Home, run: Row, status: str) -> None:
    with pytest.raises(Refused, match=f"tiny is {status}, so there is nobody to talk to"):
        list(overheard.stream(home, run | {"status": status}, "Once"))


@pytest.mark.parametrize("left", ["", "{", "[]", '{"port": 1, "token": "x"}', '{"port": "x"}', '{"port": 99999999}'])
def test_what_a_dead_trainer_left_is_a_sentence(home: Home, run: Row, left: str) -> None:
    (home.run("abc") / FILE).write_text(left)

    with pytest.raises(Refused, match="tiny does not listen yet; ask again in a moment"):
        list(overheard.stream(home, run, "Once"))


def test_a_trainer_that_ends_without_a_word_is_a_sentence(home: Home, run: Row) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        (home.run("abc") / FILE).write_text(json.dumps({"port": listener.getsockname()[1], "token": "x"}))
        threading.Thread(target=lambda: listener.accept()[0].close(), daemon=True).start()
        with pytest.raises(Refused, match="tiny has ended, or its trainer has"):
            list(overheard.stream(home, run, "Once"))


def test_the_command_line_talks_to_it(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    at = ("--home", str(home.path), "--max-tokens", "4", "--prompt", "Once")
    with supervised(home, "--points", "1000000"):
        run_id = launch.start_run(home, "seedling", "mine")
        wait_for(lambda: launch.run_status(home, run_id)["step"] > 4)

        assert main(["generate", "mine@live", *at]) == 0
        said = capsys.readouterr()
        assert main(["generate", "mine@live", "--json", *at]) == 0
        whole = json.loads(capsys.readouterr().out)

    assert said.out.startswith("Once ") and "words only; meanwhile training made " in said.err
    assert (whole["finish"], whole["new_tokens"], whole["run_id"]) == ("length", 4, run_id)
    assert main(["generate", "mine@live", *at]) == 1


def test_a_closed_door_leaves_nothing(home: Home, run: Row) -> None:
    Door(home.run("abc"), lambda row: None).close("It has ended.")

    assert not list(home.run("abc").iterdir())


def test_answers_are_kept_in_the_database_or_not_at_all(home: Home, db: Database, tmp_path: Path) -> None:
    run_id = make_run(db)
    row = {"run_id": run_id, "attempt": 1, "step": 3, "tokens": 300, "prompt": "a", "text": "b", "source": "live"}
    row["created_at"] = 1.0

    kept = keep_in(home.database)(row)

    assert kept and store.get_sample(db, kept)["weights_sha256"] is None
    assert store.newest_samples(db, run_id) == []  # no age of the run was asked
    assert keep_in(tmp_path / "nowhere.db")(row) is None
    assert keep_in(home.database)(row | {"run_id": "nobody"}) is None
