"""Talking to a run that trains: a door of the trainer's own, by which questions come in and answers go out.

A question is one line of JSON on a loopback connection, with the token that `live.json` in the run's folder tells its
owner; answers are lines of JSON too. A thread has each connection; the training loop never waits for one of them.
engine/overheard.py is the other end, engine/speaking.py what happens between two steps.
"""

import contextlib
import hmac
import json
import os
import queue
import secrets
import select
import socket
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine import store
from engine.ask import Ask
from engine.config import ConfigError
from engine.store import Row

FILE = "live.json"
"""In the folder of a run that listens: port and token. Only its owner can read it."""
WAITING = 20
"""Questions that may wait while one is answered."""
CONNECTIONS = 2 * WAITING
LONGEST_LINE = 200_000
"""Bytes of a question: 8,192 characters, each at most twelve bytes as JSON, and its settings."""
PATIENCE = 5.0
"""Seconds for a question to come in once somebody has knocked, and for a line of its answer to be taken."""
LOOK = 0.05
"""Seconds between two looks whether whoever asked has cancelled or gone."""
Message = dict[str, Any]


class Question:
    """One question, and what the training loop says to it."""

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.cancelled = threading.Event()
        self.messages: queue.SimpleQueue[Message] = queue.SimpleQueue()


class Door:
    """Listens for questions from its first moment until it is closed; `shut` refuses them for a while."""

    def __init__(self, folder: Path, keep: Callable[[Row], int | None]) -> None:
        """`keep` stores an answer, as a row of `samples`, and gives its id, or None where that cannot be."""
        self._keep, self._file = keep, folder / FILE
        self._lock, self._waiting, self._reason = threading.Lock(), deque[Question](), ""
        self._slots = threading.BoundedSemaphore(CONNECTIONS)
        self._token = secrets.token_hex(32)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=CONNECTIONS)
        self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a word does not wait for the one before
        try:
            _tell_owner(self._file, {"port": self._listener.getsockname()[1], "token": self._token})
        except OSError:
            self._listener.close()
            raise
        threading.Thread(target=self._listen, name="live-door", daemon=True).start()

    @property
    def wanted(self) -> bool:
        """Whether somebody waits."""
        return bool(self._waiting)

    def next(self) -> Question | None:
        """Whoever has waited longest and still wants to hear it."""
        with self._lock:
            while self._waiting:
                question = self._waiting.popleft()
                if not question.cancelled.is_set():
                    return question
        return None

    def shut(self, reason: str) -> None:
        """Refuse questions with a sentence, those that wait too, until it is opened again."""
        with self._lock:
            self._reason = reason
            left, self._waiting = list(self._waiting), deque()
        for question in left:
            question.messages.put({"error": reason})

    def open(self) -> None:
        """Take questions again."""
        self._reason = ""

    def close(self, reason: str) -> None:
        """The same for good."""
        self.shut(reason)
        self._file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # wakes the thread that listens, where closing alone would not
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # closed
            if not self._slots.acquire(blocking=False):
                connection.close()
                continue
            threading.Thread(target=self._serve, args=(connection,), name="live-talk", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        """One question from its first byte to the last line of its answer."""
        try:
            with connection:
                connection.settimeout(PATIENCE)
                question = self._read(connection)
                if isinstance(question, str):
                    _say(connection, {"error": question})
                else:
                    self._answer(connection, question)
        except OSError:
            pass  # whoever asked has gone; the loop sees that its question is cancelled
        finally:
            self._slots.release()

    def _read(self, connection: socket.socket) -> Question | str:
        """The question that was sent, in line now, or a sentence on why there is none."""
        come = b""
        while b"\n" not in come:
            part = connection.recv(65_536)
            come += part
            if not part or len(come) > LONGEST_LINE:
                return "That is not a question."
        line, _, more = come.partition(b"\n")
        try:
            sent = json.loads(line)
            if not hmac.compare_digest(str(sent.pop("token")).encode(), self._token.encode()):
                return "The token is wrong."
            question = Question(Ask(**sent))
        except ConfigError as error:
            return str(error)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            return "That is not a question."
        with self._lock:
            if self._reason:
                return self._reason
            if len(self._waiting) >= WAITING:
                return f"{WAITING} questions are waiting already; ask again in a moment."
            self._waiting.append(question)
        if more:
            question.cancelled.set()  # right behind it
        return question

    def _answer(self, connection: socket.socket, question: Question) -> None:
        """Pass on what the loop says, and keep the answer at its end; a cancel is heard whatever the loop does."""
        last: Message = {"text": "", "new_tokens": 0, "row": None}
        try:
            while True:
                if question.cancelled.is_set() or _cancelled(connection):
                    self._forget(question)
                    self._say_kept(connection, last | {"finish": "cancelled"})
                    return
                try:
                    message = question.messages.get(timeout=LOOK)
                except queue.Empty:
                    continue
                if message.get("error") or message["finish"]:
                    self._say_kept(connection, message)
                    return
                last = message
                _say(connection, {name: value for name, value in message.items() if name != "row"})
        except OSError:
            self._forget(question)
            if last["row"]:  # unheard, but kept
                self._keep(last["row"] | {"finish": "cancelled"})
            raise

    def _forget(self, question: Question) -> None:
        """Nobody wants to hear this any more."""
        question.cancelled.set()
        with self._lock, contextlib.suppress(ValueError):  # its turn has come
            self._waiting.remove(question)

    def _say_kept(self, connection: socket.socket, message: Message) -> None:
        """The last message of an answer, with the id under which it is kept."""
        row = message.pop("row", None)
        if row and (message["finish"] != "cancelled" or message["text"]):
            message["sample_id"] = self._keep(row | {"finish": message["finish"]})
        _say(connection, message)


def keep_in(database: Path) -> Callable[[Row], int | None]:
    """What stores answers in runs.db, on a connection of its own each time; None for an answer it does not take."""

    def keep(row: Row) -> int | None:
        try:
            db = store.connect(database)
            try:
                return store.add_sample(db, row)
            finally:
                db.close()
        except store.UNUSABLE:
            return None

    return keep


def _tell_owner(path: Path, what: Message) -> None:
    """A file that nobody else can read, whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(what, file)
    part.replace(path)


def _cancelled(connection: socket.socket) -> bool:
    """Whether anything has come since the question: a cancel, or the end of the connection."""
    return bool(select.select([connection], [], [], 0)[0])


def _say(connection: socket.socket, message: Message) -> None:
    connection.sendall(json.dumps(message).encode() + b"\n")
