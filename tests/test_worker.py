"""The worker answers one request at a time, hears a cancel meanwhile, and survives what goes wrong with one answer."""

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_worker import Ask, FakeSpeaker, FakeVoice, Piece
from helpers import wait_for
from sqlite_utils import Database

from engine import process, store
from engine.config import load_preset
from engine.home import PROJECT, Home
from engine.worker import ROOM, Worker

QUESTION: dict[str, Any] = {
    "prompt": "once",
    "max_tokens": 3,
    "temperature": 0.8,
    "top_k": 0,
    "top_p": 0.95,
    "seed": 7,
}


class Line:
    """A worker in a thread, and the two pipes to it."""

    def __init__(self, home: Home, idle: float = 60) -> None:
        self.voice = FakeVoice()
        requests, self.to_worker = (os.fdopen(end, mode) for end, mode in zip(os.pipe(), "rw", strict=True))
        self.from_worker, answers = (os.fdopen(end, mode) for end, mode in zip(os.pipe(), "rw", strict=True))
        self.ends = (requests, self.to_worker, self.from_worker, answers)
        self.heard: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.worker = Worker(home, requests, answers, lambda _: self.voice, idle=idle)
        self.thread = threading.Thread(target=self.worker.serve)
        self.thread.start()

    def send(self, **message: Any) -> None:
        self.to_worker.write(json.dumps(message) + "\n")
        self.to_worker.flush()

    def ask(self, number: int, run_id: str, prompt: str = "once", **fields: Any) -> None:
        self.send(**{"id": number, "run_id": run_id, "step": None} | QUESTION | {"prompt": prompt} | fields)

    def hear(self) -> dict[str, Any]:
        line = self.from_worker.readline()
        assert line, "the worker said no more"
        return dict(json.loads(line))

    def hear_last(self, number: int) -> dict[str, Any]:
        while True:
            message = self.hear()
            assert message["id"] == number
            if message.get("finish", "error"):
                return message

    def close(self) -> None:
        if not self.to_worker.closed:
            self.to_worker.close()
        self.thread.join(timeout=10)
        assert not self.thread.is_alive()
        for end in self.ends:
            end.close()


@pytest.fixture
def run_id(db: Database) -> str:
    made = store.create_run(db, load_preset("seedling"), "seedling", "a", "cpu")
    store.end_run(db, made, "finished")
    return made


@pytest.fixture
def line(home: Home) -> Iterator[Line]:
    made = Line(home)
    assert made.hear() == {"hello": os.getpid()}
    yield made
    made.close()


def test_an_answer_grows_and_is_kept(line: Line, run_id: str, db: Database) -> None:
    line.ask(1, run_id, max_tokens=40)
    first = line.hear()
    assert (first["id"], first["finish"]) == (1, "")
    last = line.hear_last(1)
    assert last["text"].startswith(first["text"])
    assert (last["new_tokens"], last["finish"], last["step"], last["tokens"]) == (40, "length", 0, 0)
    assert last["tokens_per_second"] > 0
    sample = store.get_sample(db, last["sample_id"])
    assert (sample["text"], sample["source"], sample["run_id"]) == (last["text"], "playground", run_id)


def test_several_answers_are_made_at_once_and_each_is_kept(line: Line, run_id: str, db: Database) -> None:
    line.ask(1, run_id, max_tokens=40, count=3, min_p=0.1, repetition_penalty=1.5, stop=["x"])
    first = line.hear()
    assert first["finish"] == "" and [answer["seed"] for answer in first["answers"]] == [7, 8, 9]
    last = line.hear_last(1)
    assert [answer["finish"] for answer in last["answers"]] == ["length"] * 3
    assert last["tokens_per_second"] == pytest.approx(sum(one["tokens_per_second"] for one in last["answers"]))
    samples = [store.get_sample(db, answer["sample_id"]) for answer in last["answers"]]
    assert [sample["seed"] for sample in samples] == [7, 8, 9]
    assert [sample["text"] for sample in samples] == [answer["text"] for answer in last["answers"]]
    assert {(one["min_p"], one["repetition_penalty"], one["stop"]) for one in samples} == {(0.1, 1.5, '["x"]')}
    assert last["weights"] == samples[0]["weights_sha256"] and last["sample_id"] == samples[0]["id"]


def test_a_cancel_ends_all_answers_of_a_question(line: Line, run_id: str) -> None:
    line.ask(1, run_id, max_tokens=8000, count=2)
    line.hear()
    line.send(cancel=1)
    assert [answer["finish"] for answer in line.hear_last(1)["answers"]] == ["cancelled"] * 2


def test_models_asked_in_turn_stay_while_there_is_room(line: Line, run_id: str, db: Database) -> None:
    steps = (10, 20, 30, 40, 50)
    for step in steps:
        store.add_checkpoint(
            db, run_id, attempt=1, step=step, tokens=0, kind="sampling", path="x", bytes=1, sha256=f"{step}"
        )
    for number, step in enumerate((*steps, *steps[1:], steps[0], steps[2]), 1):
        line.ask(number, run_id, step=step, max_tokens=1)
        assert line.hear_last(number)["step"] == step
    # The first one went when the fifth came; the second went when the first came back.
    assert line.voice.loads == [(run_id, step) for step in (*steps, steps[0])]

    line.worker.held[list(line.worker.held)[-1]] = SimpleNamespace(bytes=ROOM)
    line.ask(99, run_id, step=20, max_tokens=1)
    line.hear_last(99)
    assert [speaker.step for speaker in line.worker.held.values()] == [20]  # a large one goes before the next comes


def test_at_most_about_twenty_pieces_a_second(line: Line, run_id: str) -> None:
    line.ask(1, run_id, max_tokens=100)
    began, pieces = time.monotonic(), 1
    while not line.hear()["finish"]:
        pieces += 1
    assert pieces <= (time.monotonic() - began) * 20 + 2


def test_requests_are_answered_in_order_by_one_loaded_model(line: Line, run_id: str) -> None:
    for number in (1, 2, 3):
        line.ask(number, run_id)
    for number in (1, 2, 3):
        line.hear_last(number)
    assert line.voice.loads == [(run_id, None)] * 3  # no weights on disk yet: nothing to compare with


def test_the_model_is_loaded_again_only_when_its_weights_change(line: Line, run_id: str, db: Database) -> None:
    def save(step: int, sha256: str) -> None:
        store.add_checkpoint(
            db, run_id, attempt=1, step=step, tokens=0, kind="sampling", path="x", bytes=1, sha256=sha256
        )

    save(10, "aa")
    for number in (1, 2):
        line.ask(number, run_id)
        assert line.hear_last(number)["step"] == 10
    save(10, "bb")
    line.ask(3, run_id, step=10)
    line.hear_last(3)
    save(20, "cc")
    line.ask(4, run_id)
    assert line.hear_last(4)["step"] == 20
    assert line.voice.loads == [(run_id, 10), (run_id, 10), (run_id, 20)]


def test_weights_that_are_named_are_not_taken_for_others_of_their_step(line: Line, run_id: str, db: Database) -> None:
    for attempt, kind, sha256 in ((1, "kept", "aa"), (2, "sampling", "bb")):
        store.add_checkpoint(
            db, run_id, attempt=attempt, step=10, tokens=0, kind=kind, path="x", bytes=1, sha256=sha256
        )
    for number, named in ((1, {}), (2, {"weights": "aa"}), (3, {"weights": "aa"}), (4, {})):
        line.ask(number, run_id, step=10, **named)
        line.hear_last(number)
    assert line.voice.loads == [(run_id, 10), (run_id, 10)] and line.voice.named == ["", "aa"]


def test_a_cancel_is_heard_during_an_answer_and_keeps_what_was_said(line: Line, run_id: str, db: Database) -> None:
    line.ask(1, run_id, max_tokens=8000)
    line.hear()
    began = time.monotonic()
    line.send(cancel=1)
    last = line.hear_last(1)
    assert time.monotonic() - began < 2
    assert last["finish"] == "cancelled"
    assert store.get_sample(db, last["sample_id"])["text"] == last["text"]


def test_a_cancelled_request_that_waits_is_not_answered(line: Line, run_id: str) -> None:
    line.ask(1, run_id, max_tokens=60)
    line.ask(2, run_id)
    line.send(cancel=2)
    ends: dict[int, dict[str, Any]] = {}
    while len(ends) < 2:
        message = line.hear()
        if message["finish"]:
            ends[message["id"]] = message
    assert list(ends) == [2, 1] and ends[1]["finish"] == "length"
    assert ends[2] == {
        "id": 2,
        "text": "",
        "new_tokens": 0,
        "tokens_per_second": 0.0,
        "finish": "cancelled",
        "step": None,
        "tokens": None,
        "weights": None,
        "sample_id": None,
    }
    line.ask(3, run_id)
    assert line.hear()["id"] == 3


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("memory", "not enough memory"),
        ("bug", "The answer failed (ZeroDivisionError)"),
        ("x" * 5000, "this model sees 256"),
    ],
)
def test_a_failed_answer_is_a_sentence_and_the_next_one_succeeds(
    line: Line, run_id: str, prompt: str, words: str
) -> None:
    line.ask(1, run_id, prompt)
    error = line.hear_last(1)["error"]
    assert words in error
    assert "/path" not in error
    line.ask(2, run_id)
    assert line.hear_last(2)["finish"] == "length"


def test_what_cannot_speak_says_why(line: Line) -> None:
    line.ask(1, store.REFERENCE_ID)
    assert "were not published" in line.hear_last(1)["error"]
    line.ask(2, "nobody")
    assert "There is no run" in line.hear_last(2)["error"]


def look(line: Line, number: int, run_id: str, prompt: str = "once", **fields: Any) -> dict[str, Any]:
    asked = {"kind": "tokens", "run_id": run_id, "step": None, "prompt": prompt, "text": " there", "sample": None}
    line.send(**{"id": number} | asked | fields)
    return line.hear_last(number)


def test_a_text_is_looked_at_in_its_turn(line: Line, run_id: str) -> None:
    line.ask(1, run_id)
    line.hear_last(1)

    seen = look(line, 2, run_id)

    assert (seen["prompt"], seen["text"], seen["ids"], seen["step"]) == ("once", " there", None, 0)
    assert (seen["finish"], seen["exact"]) == ("looked", False)


def test_an_answer_of_a_moment_ago_is_looked_at_in_the_tokens_it_was_said_in(line: Line, run_id: str) -> None:
    line.ask(1, run_id)
    sample = line.hear_last(1)["sample_id"]

    seen = look(line, 2, run_id, sample=sample)

    assert (seen["ids"], seen["exact"]) == ([1, 2, 3], True)
    assert line.voice.again == []


def test_an_older_answer_is_said_again_once(line: Line, run_id: str, db: Database) -> None:
    old = {"run_id": run_id, "attempt": 1, "step": 0, "tokens": 0, "weights_sha256": "", "source": "trainer"}
    said, unlike = (
        store.add_sample(db, FakeSpeaker(run_id, 0, 0).sample_row(Ask(**QUESTION), Piece(text, 2, "length"), "") | old)
        for text in ("again", "otherwise")
    )

    first, second, other = (look(line, number, run_id, sample=one) for number, one in enumerate([said, said, unlike]))

    assert (first["ids"], first["exact"]) == (second["ids"], second["exact"]) == ([2], True)
    assert (other["ids"], other["exact"]) == (None, False)
    assert line.voice.again == [said, unlike]


def test_only_the_newest_answers_are_remembered(line: Line, run_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.worker.REMEMBERED", 2)
    samples = []
    for number in range(3):
        line.ask(number, run_id)
        samples.append(line.hear_last(number)["sample_id"])

    assert list(line.worker.said) == samples[1:]


def test_a_look_that_fails_or_was_cancelled_harms_no_other(line: Line, run_id: str) -> None:
    assert "not enough memory" in look(line, 1, run_id, "memory")["error"]
    assert "There is no sample 99" in look(line, 2, run_id, sample=99)["error"]
    line.send(id=3, kind="tokens", run_id=run_id, step=None, prompt="long", text="b", sample=None)
    line.send(id=4, kind="tokens", run_id=run_id, step=None, prompt="never", text="b", sample=None)
    wait_for(lambda: "long" in line.voice.looked)
    line.send(cancel=4)
    assert line.hear_last(4)["finish"] == "cancelled"
    line.send(cancel=3)
    assert line.hear() == {"id": 3, "finish": "cancelled"}
    assert "never" not in line.voice.looked
    assert look(line, 5, run_id)["finish"] == "looked"


def test_a_line_that_is_no_request_is_passed_over(line: Line, run_id: str, capsys: pytest.CaptureFixture[str]) -> None:
    line.to_worker.write("nonsense\n[1]\n")
    line.ask(1, run_id)
    assert line.hear_last(1)["finish"] == "length"
    assert "not a request: 'nonsense" in capsys.readouterr().err


def test_the_worker_ends_with_stdin_in_the_middle_of_an_answer(home: Home, run_id: str) -> None:
    line = Line(home)
    line.ask(1, run_id, max_tokens=8000)
    assert line.hear()["hello"]
    assert line.hear()["id"] == 1
    line.close()


def test_the_worker_ends_when_nobody_asks(home: Home) -> None:
    line = Line(home, idle=0.05)
    wait_for(lambda: not line.thread.is_alive())
    line.close()


def test_a_process_that_nobody_asks_ends_and_gives_its_memory_back(home: Home) -> None:
    fake = Path(__file__).with_name("fake_worker.py")
    command = [sys.executable, str(fake), "--home", str(home.path), "--idle", "0.05"]
    child = subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert child.stdin
    try:
        assert child.wait(timeout=60) == 0  # while its stdin is still open
    finally:
        child.kill()
        child.stdin.close()


def test_a_real_worker_greets_without_torch_and_keeps_stdout_clean(home: Home, run_id: str, tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        fake = Path(__file__).with_name("fake_worker.py")
        child = subprocess.Popen(
            [sys.executable, str(fake), "--home", str(home.path)],
            cwd=PROJECT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    assert child.stdout and child.stdin
    assert json.loads(child.stdout.readline()) == {"hello": child.pid}
    assert os.getpriority(os.PRIO_PROCESS, child.pid) >= 10
    request = {
        "id": 1,
        "run_id": run_id,
        "step": None,
        "prompt": "print",
        "max_tokens": 1,
        "temperature": 1.0,
        "top_k": 0,
        "top_p": 1.0,
        "seed": 1,
    }
    child.stdin.write(json.dumps(request) + "\n")
    child.stdin.flush()
    assert json.loads(child.stdout.readline())["finish"] == "length"
    child.stdin.close()
    assert child.wait(timeout=10) == 0
    child.stdout.close()
    assert "not for the protocol" in (tmp_path / "log").read_text(encoding="utf-8")
    with pytest.raises(ProcessLookupError):
        process.identity(child.pid)
