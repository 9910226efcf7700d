"""Talking to a model through the worker: streamed, in order, cancellable, and refused in a sentence."""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import wait_for
from sqlite_utils import Database

from engine import process, store
from engine.config import load_preset
from engine.home import Home
from engine.store import Refused
from engine.talk import Talker, clean_prompt

FAKE = (sys.executable, str(Path(__file__).with_name("fake_worker.py")))

HASTY = """
import json, sys, threading, time
number, heard = json.loads(input())["id"], threading.Event()
threading.Thread(target=lambda: (input(), heard.set()), daemon=True).start()
for count in range(10_000):
    told = heard.is_set()
    piece = {"id": number, "text": "a" * count, "new_tokens": count, "tokens_per_second": 1.0}
    print(json.dumps(piece | {"finish": "cancelled" if told else ""}), flush=True)
    if told:
        break
    time.sleep(0.001)
"""
"""A worker that says something every millisecond until it is told to stop."""


@pytest.fixture
def run_id(db: Database) -> str:
    made = store.create_run(db, load_preset("seedling"), "seedling", "a", "cpu")
    store.end_run(db, made, "finished")
    return made


@pytest.fixture
def talker(home: Home) -> Iterator[Talker]:
    made = Talker(home, worker=FAKE)
    yield made
    made.close()


def worker_pid(talker: Talker) -> int:
    assert talker._worker
    return talker._worker.process.pid


def test_an_answer_is_streamed_and_kept(talker: Talker, run_id: str, db: Database) -> None:
    messages = list(talker.stream(run_id, None, "once", max_tokens=40, seed=3))
    assert len(messages) > 2
    assert all(later["text"].startswith(earlier["text"]) for earlier, later in itertools.pairwise(messages))
    assert [message["finish"] for message in messages] == [""] * (len(messages) - 1) + ["length"]
    assert (messages[-1]["new_tokens"], messages[-1]["step"], messages[-1]["tokens"]) == (40, 0, 0)
    assert store.get_sample(db, messages[-1]["sample_id"])["seed"] == 3


def test_several_answers_come_together(talker: Talker, run_id: str) -> None:
    last = list(talker.stream(run_id, None, "once", max_tokens=4, count=3, seed=2**63 - 1))[-1]
    assert [answer["seed"] for answer in last["answers"]] == [2**63 - 1, 0, 1]
    assert len({answer["sample_id"] for answer in last["answers"]}) == 3


def test_one_that_waits_hears_how_many_are_before_it(talker: Talker, run_id: str) -> None:
    first = talker.stream(run_id, None, "once", max_tokens=8000)
    next(first)
    second = talker.stream(run_id, None, "twice", max_tokens=2, cancel=threading.Event())
    waiting = next(second)
    assert (waiting["ahead"], waiting["text"], waiting["finish"]) == (1, "", "")
    first.close()  # type: ignore[attr-defined]
    rest = list(second)
    assert rest[-1]["finish"] == "length" and "ahead" not in rest[-1]
    assert [message["ahead"] for message in rest if "ahead" in message] in ([], [0])


def test_one_that_waits_is_cancelled_at_once(talker: Talker, run_id: str) -> None:
    busy = talker.stream(run_id, None, "once", max_tokens=8000)
    next(busy)
    cancel = threading.Event()
    cancel.set()
    began = time.monotonic()
    assert list(talker.stream(run_id, None, "twice", cancel=cancel))[-1]["sample_id"] is None
    assert time.monotonic() - began < 2
    busy.close()  # type: ignore[attr-defined]


def test_one_worker_serves_many_questions_in_order(talker: Talker, run_id: str) -> None:
    list(talker.stream(run_id, None, "first", max_tokens=1))
    pid, ends = worker_pid(talker), []

    def ask() -> None:
        ends.append(list(talker.stream(run_id, None, "once", max_tokens=5))[-1])

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert worker_pid(talker) == pid
    samples = [end["sample_id"] for end in ends]
    assert len(samples) == 6
    assert samples == sorted(samples)


def test_the_hundredth_question_is_refused(talker: Talker, run_id: str) -> None:
    streams = [talker.stream(run_id, None, "once", max_tokens=2000) for _ in range(100)]
    with_answer: list[Any] = []
    refused: list[str] = []

    def begin(stream: Iterator[dict[str, Any]]) -> None:
        try:
            with_answer.append(next(stream))
        except Refused as error:
            refused.append(str(error))

    threads = [threading.Thread(target=begin, args=(stream,), daemon=True) for stream in streams]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(refused) == 79)
    assert set(refused) == {"20 answers are waiting already; ask again in a moment."}
    talker.close()
    for thread in threads:
        thread.join(timeout=10)
    for stream in streams:
        stream.close()  # type: ignore[attr-defined]


def test_closing_the_iterator_cancels_at_once(talker: Talker, run_id: str, db: Database) -> None:
    stream = talker.stream(run_id, None, "once", max_tokens=8000)
    next(stream)
    began = time.monotonic()
    stream.close()  # type: ignore[attr-defined]
    sample = wait_for(lambda: store.list_samples(db, run_id), timeout=2)[0]
    assert time.monotonic() - began < 2
    assert (sample["finish"], sample["source"]) == ("cancelled", "playground")


def test_a_cancel_is_heard_between_pieces_that_leave_no_gap(home: Home) -> None:
    talker = Talker(home, worker=[sys.executable, "-c", HASTY])
    cancel = threading.Event()
    stream = talker.stream("any", None, "once", cancel=cancel)
    next(stream)
    cancel.set()
    began = time.monotonic()
    assert list(stream)[-1]["finish"] == "cancelled"
    assert time.monotonic() - began < 1
    talker.close()


def test_a_cancel_event_brings_the_last_message(talker: Talker, run_id: str, db: Database) -> None:
    cancel = threading.Event()
    stream = talker.stream(run_id, None, "once", max_tokens=8000, cancel=cancel)
    next(stream)
    cancel.set()
    last = list(stream)[-1]
    assert last["finish"] == "cancelled"
    assert store.get_sample(db, last["sample_id"])["text"] == last["text"]


def test_a_dead_worker_is_a_sentence_and_the_next_question_starts_a_new_one(talker: Talker, run_id: str) -> None:
    with pytest.raises(Refused, match=r"was killed \(SIGKILL\), perhaps .* lack of memory; ask again"):
        list(talker.stream(run_id, None, "die"))
    assert list(talker.stream(run_id, None, "once", max_tokens=2))[-1]["finish"] == "length"


def test_a_worker_that_went_to_sleep_is_woken(home: Home, run_id: str) -> None:
    talker = Talker(home, worker=(*FAKE, "--idle", "0.01"))
    try:
        for _ in range(4):
            assert list(talker.stream(run_id, None, "once", max_tokens=1))[-1]["finish"] == "length"
    finally:
        talker.close()


def test_a_worker_that_never_comes_up_is_refused(home: Home, run_id: str) -> None:
    talker = Talker(home, worker=(sys.executable, "-c", "pass"))
    with pytest.raises(Refused, match="ended without saying why"):
        list(talker.stream(run_id, None, "once"))
    talker.close()


def test_a_text_is_looked_at_between_answers(talker: Talker, run_id: str) -> None:
    sample = list(talker.stream(run_id, None, "once", max_tokens=2))[-1]["sample_id"]

    seen = talker.look(run_id, None, "on\0ce", " there\ud800", sample=sample)

    assert (seen["prompt"], seen["text"], seen["finish"]) == ("once", " there\ufffd", "looked")
    assert (seen["ids"], seen["exact"]) == ([1, 2], True)
    assert not talker.look(run_id, 0, "", "a")["exact"]


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ((None, "", ""), "1 to 100,000 characters; this one has 0"),
        ((None, "a", "b" * 100_000), "this one has 100,001"),
        ((-1, "a", ""), "step = -1"),
        ((None, "memory", ""), "not enough memory"),
    ],
)
def test_what_cannot_be_looked_at_is_refused(talker: Talker, run_id: str, asked: Any, why: str) -> None:
    with pytest.raises(Refused, match=why):
        talker.look(run_id, *asked)


def test_a_look_that_waits_can_be_cancelled(talker: Talker, run_id: str) -> None:
    stream, cancel = talker.stream(run_id, None, "once", max_tokens=4000), threading.Event()
    next(stream)
    cancel.set()
    seen: list[Any] = []
    thread = threading.Thread(target=lambda: seen.append(talker.look(run_id, None, "a", "b", cancel=cancel)))
    thread.start()
    stream.close()  # type: ignore[attr-defined]
    thread.join(timeout=10)

    assert [message["finish"] for message in seen] == ["cancelled"]


def test_a_failed_answer_is_refused_in_the_workers_words(talker: Talker, run_id: str) -> None:
    with pytest.raises(Refused, match="not enough memory"):
        list(talker.stream(run_id, None, "memory"))
    with pytest.raises(Refused, match="were not published"):
        list(talker.stream(store.REFERENCE_ID, None, "once"))


def test_the_worker_ends_with_the_talker(talker: Talker, run_id: str) -> None:
    stream = talker.stream(run_id, None, "once", max_tokens=8000)
    next(stream)
    pid = worker_pid(talker)
    talker.close()
    with pytest.raises(ProcessLookupError):
        process.identity(pid)
    assert list(stream)[-1]["finish"] == "cancelled"
    with pytest.raises(Refused, match="is ending"):
        list(talker.stream(run_id, None, "once"))


def test_the_worker_ends_when_its_parent_is_killed(home: Home, run_id: str) -> None:
    script = (
        f"import sys, time; sys.path[:0] = {sys.path!r}\n"
        "from engine.talk import Talker\nfrom engine.home import Home\n"
        f"t = Talker(Home.at({str(home.path)!r}), worker={FAKE!r})\n"
        f"s = t.stream({run_id!r}, None, 'once', max_tokens=8000); next(s)\n"
        "print(t._worker.process.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert parent.stdout
    who = process.identity(int(parent.stdout.readline()))
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    wait_for(lambda: not process.alive(who["pid"], who["process_started_at"], who["boot_id"]), timeout=5)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"prompt": ""}, "1 to 8,192 characters; this one has 0"),
        ({"prompt": "\0"}, "this one has 0"),
        ({"prompt": "x" * 1_000_000}, "this one has 1,000,000"),
        ({"max_tokens": 0}, "max_tokens = 0 must be a whole number"),
        ({"max_tokens": 1.5}, "whole number"),
        ({"temperature": float("nan")}, "temperature = nan"),
        ({"temperature": "hot"}, "temperature = hot must be a number from 0 to 10"),
        ({"top_k": -1}, "top_k = -1"),
        ({"top_p": 2}, "top_p = 2"),
        ({"seed": True}, "seed = True"),
        ({"seed": 10**30}, "seed = 1"),
        ({"seed": float("inf")}, "seed = inf"),
        ({"step": "x"}, "step = x"),
        ({"min_p": 1.5}, "min_p = 1.5"),
        ({"repetition_penalty": 0}, "repetition_penalty = 0"),
        ({"count": 9}, "count = 9"),
        ({"stop": "."}, "stop must be a list"),
        ({"stop": ["x" * 101]}, "at most 100 characters; one has 101"),
    ],
)
def test_what_cannot_be_asked_starts_no_worker(talker: Talker, fields: dict[str, Any], words: str) -> None:
    asked: dict[str, Any] = {"run_id": "abc", "step": None, "prompt": "once"} | fields
    with pytest.raises(Refused, match=words):
        next(talker.stream(**asked))
    assert talker._worker is None


def test_numbers_of_a_form_are_taken(talker: Talker, run_id: str) -> None:
    end = list(talker.stream(run_id, None, "once", max_tokens=2.0, top_k=0.0, seed="7"))[-1]  # type: ignore[arg-type]
    assert end["new_tokens"] == 2


def test_prompts_are_cleaned() -> None:
    assert clean_prompt("a\0b\ud800c\U0001f600") == "ab\ufffdc\U0001f600"
    assert clean_prompt("\ud83d\ude00") == "\U0001f600"
