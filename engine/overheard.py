"""Whoever talks to a run that trains: knock at its trainer's door, hear the answer grow, cancel it. No torch."""

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

from engine.home import Home
from engine.live import FILE, Message
from engine.store import Refused, Row
from engine.talk import clean_prompt

KNOCK = 2.0
"""Seconds for a trainer's door to take a connection."""
LOOK = 0.05
"""Seconds between two looks whether to cancel."""


def stream(
    home: Home, run: Row, prompt: str, *, cancel: threading.Event | None = None, **settings: Any
) -> Iterator[Message]:
    """Ask the run that trains now, and hear the whole continuation so far, again and again.

    Messages as engine.talk has them, and `training`: its tokens a second `while` it spoke and `alone`, or None. Setting
    `cancel` ends the answer with a last message; closing the iterator ends it unheard. Raises Refused.
    """
    if run["status"] != "running":
        raise Refused(
            f"{run['name']} is {run['status']}, so there is nobody to talk to while it trains; choose an age that was "
            "saved."
        )
    name, told, ended = run["name"], False, False
    with _knock(home, run, {"prompt": clean_prompt(prompt), **settings}) as connection:
        connection.settimeout(LOOK)
        rest = b""
        while not ended:
            if cancel is not None and cancel.is_set() and not told:
                _send(connection, name, {"cancel": True})
                told = True
            try:
                part = connection.recv(65_536)
            except TimeoutError:
                continue
            except OSError:
                part = b""
            if not part:
                raise Refused(f"{name} has ended, or its trainer has; ask it at an age that was saved.")
            *lines, rest = (rest + part).split(b"\n")
            for line in lines:
                message: Message = json.loads(line)
                if "error" in message:
                    raise Refused(message["error"])
                ended = bool(message["finish"])
                yield ({"step": None, "tokens": None, "sample_id": None} | message) if ended else message


def _knock(home: Home, run: Row, question: Message) -> socket.socket:
    """A connection to the run's trainer by which a question was sent."""
    try:
        door = json.loads((home.run(run["id"]) / FILE).read_text())
        connection = socket.create_connection(("127.0.0.1", door["port"]), KNOCK)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise Refused(f"{run['name']} does not listen yet; ask again in a moment.") from error
    try:
        _send(connection, run["name"], question | {"token": door["token"]})
    except Refused:
        connection.close()
        raise
    return connection


def _send(connection: socket.socket, name: str, what: Message) -> None:
    try:
        connection.sendall(json.dumps(what).encode() + b"\n")
    except OSError as error:
        raise Refused(f"{name} has ended, or its trainer has; ask it at an age that was saved.") from error
