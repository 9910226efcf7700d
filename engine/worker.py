"""The generation worker: one model in memory, one answer at a time. `python -m engine.worker --home DIR`.

Requests come as JSON lines on stdin, answers go as JSON lines to stdout (engine/talk.py is the other end):

    {"id": 1, "run_id": "...", "step": null, "weights": "", "prompt": "...", "count": 1, ...}    {"cancel": 1}
    {"hello": 4711}    {"id": 1, "text": "...", "new_tokens": 3, "tokens_per_second": 41.0, "finish": ""}
    ... "finish": "length", "step": 400, "tokens": 1638400, "sample_id": 7}    {"id": 1, "error": "a sentence"}
    {"id": 2, "kind": "tokens", "run_id": "...", "step": 400, "weights": "", "prompt": "...", "text": "...",
    "sample": 7}    {"id": 2, "finish": "looked", "tokens": [...], "mean": 4.1, ...: see engine/surprise.py}

Several answers to one question (`count`) are made at once; their messages have all of them in "answers" as well. It
can run out of memory alone, and gives everything back when it ends: with stdin, or after some idle minutes.
"""

import argparse
import contextlib
import gc
import json
import os
import queue
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol, TextIO

from sqlite_utils import Database

from engine import store
from engine.config import ConfigError
from engine.home import Home
from engine.reply import UNASKED, Reply

IDLE = 300.0
"""Seconds without a request after which the worker ends."""
REMEMBERED = 500
"""Answers whose tokens are kept in memory, so that they need not be said once more to be looked at."""
ASK = ("prompt", "max_tokens", "temperature", "top_k", "top_p", "seed", "min_p", "repetition_penalty", "stop")
MOST_HELD = 4
"""Models that stay in memory: those of one question asked side by side."""
ROOM = 512 * 2**20
"""Bytes of weights that they may have together; a larger model is alone."""


class Voice(Protocol):
    """What the worker needs of a model."""

    def ask(self, **fields: Any) -> Any:
        """A checked question (engine.generate.Ask)."""

    def load(self, db: Database, run_id: str, step: int | None, weights: str, said_on: str) -> Any:
        """A model at one age (engine.generate.Speaker), with the `weights` of that sha256 alone where it is not "".

        `said_on`: the kind of device that is to answer, or "".
        """

    def look(
        self, speaker: Any, prompt: str, text: str, ids: Sequence[int] | None, cancelled: Callable[[], bool]
    ) -> dict[str, Any]:
        """The tokens of a text with the probabilities that a model gives them, or {} (engine.surprise.look)."""

    def said_again(self, speaker: Any, sample: store.Row, cancelled: Callable[[], bool]) -> tuple[int, ...] | None:
        """The tokens of a stored sample (engine.surprise.said_again)."""


class TorchVoice:
    """The real models; making one imports torch. Those that were trained on a GPU answer there (engine/seat.py)."""

    def __init__(self, home: Home) -> None:
        import torch

        from engine import generate, seat, surprise

        torch.set_num_threads(1)  # answers take one core anyway, and loading must not take training's
        self._home, self._generate, self._surprise, self._seat = home, generate, surprise, seat

    def ask(self, **fields: Any) -> Any:
        """A checked question."""
        return self._generate.Ask(**fields | {"stop": tuple(fields.get("stop", ()))})

    def load(self, db: Database, run_id: str, step: int | None, weights: str, said_on: str) -> Any:
        """A model at one age; raises Refused."""
        device = self._seat.seat(store.get_run(db, run_id), said_on)
        return self._generate.load_speaker(self._home, db, run_id, step, device=device, sha256=weights)

    def look(
        self, speaker: Any, prompt: str, text: str, ids: Sequence[int] | None, cancelled: Callable[[], bool]
    ) -> dict[str, Any]:
        """The tokens of a text with their probabilities."""
        return self._surprise.look(speaker, prompt, text, ids, cancelled)

    def said_again(self, speaker: Any, sample: store.Row, cancelled: Callable[[], bool]) -> tuple[int, ...] | None:
        """The tokens of a stored sample."""
        return self._surprise.said_again(speaker, sample, cancelled)


class Worker:
    """Serves one stream of requests. A thread reads them, so that a cancel is heard while an answer is made."""

    def __init__(
        self, home: Home, requests: TextIO, answers: TextIO, make_voice: Callable[[Home], Voice], *, idle: float = IDLE
    ) -> None:
        self.home, self.requests, self.answers, self.idle = home, requests, answers, idle
        self.make_voice = make_voice
        self.voice: Voice | None = None
        self.waiting: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self.cancelled: set[int] = set()
        self.expected: set[int] = set()
        self.lock, self.voicing = threading.Lock(), threading.Lock()
        self.closed = threading.Event()
        self.held: dict[object, Any] = {}
        self.said: dict[int, tuple[int, ...]] = {}

    def serve(self) -> None:
        """Answer requests in order until stdin ends or nobody asks any more."""
        self._say(hello=os.getpid())
        threading.Thread(target=self._listen, name="listener", daemon=True).start()
        try:
            while (request := self.waiting.get(timeout=self.idle)) is not None:
                self._answer(request)
        except (queue.Empty, BrokenPipeError):
            pass

    def _listen(self) -> None:
        """Sort what comes in; at the end of stdin nobody is there to hear the answer."""
        for line in self.requests:
            try:
                message = json.loads(line)
                if "cancel" in message:
                    self._cancel(message["cancel"])
                else:
                    self.expected.add(int(message["id"]))
                    self.waiting.put(message | {"id": int(message["id"])})
            except (ValueError, TypeError, LookupError):
                print(f"not a request: {line[:200]!r}", file=sys.stderr)
        self.closed.set()
        self.waiting.put(None)

    def _cancel(self, number: int) -> None:
        """End the answer that is made; one that waits is told at once that it will not be."""
        with self.lock:
            waited = number in self.expected
            self.expected.discard(number)
        if not waited:
            self.cancelled.add(number)
            return
        with contextlib.suppress(BrokenPipeError):  # the one who answers notices it too
            self._say(id=number, **UNASKED)

    def _answer(self, request: dict[str, Any]) -> None:
        """One answer, or one sentence on why there is none."""
        number = request["id"]
        with self.lock:
            if number not in self.expected:
                return  # cancelled while it waited, and told so
            self.expected.discard(number)
        try:
            for message in (self._looked if request.get("kind") == "tokens" else self._pieces)(request):
                self._say(id=number, **message)
        except (ConfigError, store.Refused, store.StoreError) as error:
            self._say(id=number, error=str(error))
        except BrokenPipeError:
            raise
        except Exception as error:  # noqa: BLE001 - the boundary of the process: the next answer may succeed
            traceback.print_exc()
            self.held.clear()
            _give_back()
            self._say(id=number, error=_sentence(error))
        finally:
            self.cancelled.discard(number)

    def _pieces(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The answer as it grows, at most 20 times a second; the last message says where it is kept."""
        self.voice = voice = self.voice or self.make_voice(self.home)
        db = store.connect(self.home.database)
        try:
            asked = {key: request[key] for key in ASK if key in request}
            seeds = [(request["seed"] + number) % 2**63 for number in range(request.get("count", 1))]
            asks = [voice.ask(**asked | {"seed": seed}) for seed in seeds]
            run_id, weights = request["run_id"], request.get("weights", "")
            said_on = store.said_on(db, run_id, weights, request["prompt"], request["seed"]) if weights else ""
            speaker = self._speaker(voice, db, run_id, request["step"], weights, said_on)
            reply = Reply(db, speaker, asks, remember=self._remember)
            for pieces in speaker.stream_all(asks, lambda: self._is_cancelled(request["id"])):
                if message := reply.hear(pieces):
                    yield message
        finally:
            db.close()

    def _looked(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The tokens of a text, or of a stored sample, with the probabilities that a model of some age gives them."""
        cancelled = partial(self._is_cancelled, request["id"])
        self.voice = voice = self.voice or self.make_voice(self.home)
        db = store.connect(self.home.database)
        try:
            sample = request.get("sample")
            ids = None if sample is None else self._said(voice, db, sample, cancelled)
            speaker = self._speaker(voice, db, request["run_id"], request["step"], request.get("weights", ""))
            looked = voice.look(speaker, request["prompt"], request["text"], ids, cancelled)
            yield looked | {"exact": ids is not None, "finish": "looked"} if looked else {"finish": "cancelled"}
        finally:
            db.close()

    def _said(self, voice: Voice, db: Database, sample: int, cancelled: Callable[[], bool]) -> tuple[int, ...] | None:
        """The tokens in which a sample was said: remembered, or by saying it again; None where neither can be."""
        if sample not in self.said:
            row = store.get_sample(db, sample)
            speaker = self._speaker(
                voice, db, row["run_id"], row["step"], row["weights_sha256"] or "", row["device"] or ""
            )
            if ids := voice.said_again(speaker, row, cancelled):
                self._remember(sample, ids)
        return self.said.get(sample)

    def _remember(self, sample: int, ids: tuple[int, ...]) -> None:
        self.said[sample] = ids
        if len(self.said) > REMEMBERED:
            del self.said[next(iter(self.said))]

    def _speaker(
        self, voice: Voice, db: Database, run_id: str, step: int | None, weights: str, said_on: str = ""
    ) -> Any:
        """The model that is asked, kept from an earlier answer if its weights are still the same."""
        on_disk = store.list_checkpoints(db, run_id)
        wanted = on_disk[-1]["step"] if step is None and on_disk else step
        on_disk += store.list_checkpoints(db, run_id, "kept")
        hashes = tuple((row["kind"], row["sha256"]) for row in on_disk if row["step"] == wanted)
        key = (run_id, wanted, weights, hashes, said_on)
        speaker = self.held.pop(key, None) if hashes else None
        if speaker is None:
            self._make_room()
            speaker = voice.load(db, run_id, wanted, weights, said_on)
        self.held[key] = speaker  # the last place is that of the one asked last
        return speaker

    def _make_room(self) -> None:
        """Let those go that were asked longest ago, until one more as large as the largest fits; before it is read."""
        while self.held:
            sizes = [speaker.bytes for speaker in self.held.values()]
            if len(sizes) < MOST_HELD and sum(sizes) + max(sizes) <= ROOM:
                return
            del self.held[next(iter(self.held))]

    def _is_cancelled(self, number: int) -> bool:
        return number in self.cancelled or self.closed.is_set()

    def _say(self, **message: Any) -> None:
        with self.voicing:
            self.answers.write(json.dumps(message) + "\n")
            self.answers.flush()


def _give_back() -> None:
    """Let others have what torch holds of a GPU for later use; a run that trains beside needs it more."""
    torch = sys.modules.get("torch")  # not imported for this
    if torch is not None and torch.cuda.is_initialized():
        gc.collect()
        torch.cuda.empty_cache()


def _sentence(error: Exception) -> str:
    """What a person needs to know of an unforeseen failure; the trace is in the log."""
    name = type(error).__name__
    # torch is not imported here for its name's sake; its CPU allocator raises a plain RuntimeError.
    if isinstance(error, MemoryError) or name == "OutOfMemoryError" or "can't allocate memory" in str(error):
        return "There was not enough memory for this answer; ask for fewer tokens, or when nothing trains."
    if isinstance(error, store.DatabaseError):
        return "The answer could not be kept: runs.db is locked, damaged, or the disk is full."
    return f"The answer failed ({name}); .worker.log in the home folder has the details."


def main(argv: Sequence[str] | None = None, make_voice: Callable[[Home], Voice] = TorchVoice) -> int:
    """Serve stdin and stdout; whatever prints goes to stderr, because stdout is the protocol's alone."""
    parser = argparse.ArgumentParser(prog="python -m engine.worker")
    parser.add_argument("--home", required=True)
    parser.add_argument("--idle", type=float, default=IDLE)
    given = parser.parse_args(argv)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    os.nice(10)  # training and the page come first
    # Never closed: that would wait for the listener, which waits for a line, and an idle worker would not end.
    requests = open(0, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
    Worker(Home.at(given.home), requests, answers, make_voice, idle=given.idle).serve()
    return 0


def run(make_voice: Callable[[Home], Voice] = TorchVoice) -> None:
    """Serve as a process. Not the interpreter's ordinary end: it would wait for the listener as well."""
    code = main(make_voice=make_voice)
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    run()
