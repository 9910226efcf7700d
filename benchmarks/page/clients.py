"""Many clients that ask for news once a second, as open pages do."""

import http.client
import json
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

EVERY = 1.0
"""Seconds between two questions of a client."""
Cursors = dict[str, tuple[int, ...]]
"""For each run its attempt and the ids of the last metrics and evaluations that a client has."""


@dataclass
class Answers:
    """What the clients have seen."""

    milliseconds: list[float] = field(default_factory=list)
    bytes: list[int] = field(default_factory=list)
    failures: int = 0


class Client(threading.Thread):
    """One page without a browser: a kept connection, and cursors that move on."""

    def __init__(self, address: str, cursors: Cursors, phase: float, seconds: float, answers: Answers) -> None:
        super().__init__(daemon=True)
        self._connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
        self._cursors, self._phase, self._seconds, self._answers = dict(cursors), phase, seconds, answers

    def run(self) -> None:
        """Ask until the time is over."""
        begin = time.monotonic() + self._phase * EVERY
        for number in range(round(self._seconds / EVERY)):
            time.sleep(max(0.0, begin + number * EVERY - time.monotonic()))
            started = time.perf_counter()
            try:
                body = asked(self._connection, live_path(self._cursors))
            except (OSError, http.client.HTTPException):
                self._answers.failures += 1
                self._connection.close()
                continue
            self._answers.milliseconds.append((time.perf_counter() - started) * 1000)
            self._answers.bytes.append(len(body))
            self._cursors = moved(self._cursors, json.loads(body))
        self._connection.close()


def asked(connection: http.client.HTTPConnection, path: str) -> bytes:
    """The body of one answer; raises HTTPException where it is not a good one."""
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise http.client.HTTPException(f"status {answer.status}")
    return body


def live_path(cursors: Cursors) -> str:
    """The question of a page that shows these runs, the first of them selected."""
    shown = ",".join(f"{run_id}:{':'.join(map(str, cursor))}" for run_id, cursor in cursors.items())
    return f"/api/live?runs={shown}&x=tokens&selected={next(iter(cursors))}&events=0"


def moved(cursors: Cursors, news: dict[str, Any]) -> Cursors:
    """The cursors after an answer."""
    at = {run_id: tuple(new["at"]) for run_id, new in news.get("runs", {}).items() if "at" in new}
    return {run_id: (cursor[0], *at.get(run_id, cursor[1:])) for run_id, cursor in cursors.items()}


def cursors_now(address: str, ids: Iterable[str]) -> Cursors:
    """The cursors of a page that has just read these runs' curves."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    found: Cursors = {}
    for run_id in ids:
        curves = json.loads(asked(connection, f"/api/series?run={run_id}&x=tokens&points=100"))
        found[run_id] = (curves["attempt"], *curves["at"])
    connection.close()
    return found


def poll(address: str, cursors: Cursors, clients: int, seconds: float) -> Answers:
    """Let so many clients ask for so long, evenly spread over each second."""
    answers = Answers()
    crowd = [Client(address, cursors, number / clients, seconds, answers) for number in range(clients)]
    for one in crowd:
        one.start()
    for one in crowd:
        one.join()
    return answers
