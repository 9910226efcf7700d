"""The page's end of the generation worker: ask a model, hear the answer grow, stop it. No torch in this process."""

import contextlib
import itertools
import json
import math
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from engine.ask import PENALTIES, check_stops
from engine.config import ConfigError
from engine.home import PROJECT, Home
from engine.process import describe_exit, torch_environment
from engine.prompts import LONGEST
from engine.store import Refused

WORKER = (sys.executable, "-m", "engine.worker")
LONGEST_TEXT = 100_000
"""Characters of a prompt and its continuation that can be looked at."""
MOST_AT_ONCE = 8
"""Answers to one question: as many rows are made at once anyway (engine/generate.py)."""
WAITING = 20
"""Requests that may wait while one is answered."""
LIMITS = {
    "max_tokens": (1, 8192),
    "temperature": (0, 10),
    "top_k": (0, 1_000_000),
    "top_p": (0, 1),
    "seed": (0, 2**63 - 1),
    "min_p": (0, 1),
    "repetition_penalty": PENALTIES,
    "count": (1, MOST_AT_ONCE),
}
WHOLE = ("step", "max_tokens", "top_k", "seed", "count")
Message = dict[str, Any]
NOTHING_YET: Message = {"text": "", "new_tokens": 0, "tokens_per_second": 0.0, "finish": ""}


class Talker:
    """Answers from models, one at a time and in order, for any number of threads. The worker starts when needed."""

    def __init__(self, home: Home, *, worker: Sequence[str] = WORKER, waiting: int = WAITING) -> None:
        self._home, self._command, self._waiting = home, worker, waiting
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._worker: _Worker | None = None
        self._closed = False

    def stream(
        self,
        run_id: str,
        step: int | None,
        prompt: str,
        *,
        max_tokens: int = 80,
        temperature: float = 0.8,
        top_k: int = 0,
        top_p: float = 0.95,
        seed: int = 7,
        min_p: float = 0.0,
        repetition_penalty: float = 1.0,
        stop: Sequence[str] = (),
        count: int = 1,
        weights: str = "",
        cancel: threading.Event | None = None,
    ) -> Iterator[Message]:
        """Ask a run at `step` (None: its newest weights) and hear the whole continuation so far, again and again.

        `weights`: a sample's `weights_sha256`, to ask the very weights that said it and no others of that step.

        `count` answers, with `seed` and those after it, are made at once; each message then has them in `answers` too,
        each with a seed, new_tokens, tokens_per_second, finish and, once it has ended, sample_id of its own.

        While others are answered first, a message says how many in `ahead`; where there is a `cancel`, which is asked
        about meanwhile.

        Every message has text, new_tokens, tokens_per_second and finish ("" while it goes on); the last one also step,
        tokens, weights, device (cpu or cuda) and sample_id (None when it was cancelled before the first word). Setting
        `cancel` ends the answer with such a last message; closing the iterator ends it too, unheard but kept. Raises
        Refused at the first message for what cannot be asked, later when the worker dies.
        """
        asked = {"max_tokens": max_tokens, "temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed}
        asked |= {"min_p": min_p, "repetition_penalty": repetition_penalty, "count": count}
        request: Message = {
            "id": next(self._numbers),
            "run_id": str(run_id),
            "prompt": clean_prompt(prompt),
            "step": None if step is None else _number("step", step),
            "weights": str(weights)[:64],
            "stop": _stops(stop),
        }
        request |= {name: _number(name, value) for name, value in asked.items()}
        yield from self._heard(request, cancel)

    def look(
        self,
        run_id: str,
        step: int | None,
        prompt: str,
        text: str,
        *,
        weights: str = "",
        sample: int | None = None,
        cancel: threading.Event | None = None,
    ) -> Message:
        """How surprised a run at `step` is by `text` after `prompt`, token by token, as engine/surprise.py tells it.

        `sample`: the stored answer that they are; it is looked at in the tokens in which it was said. Waits in line
        with the answers. Besides, the message has `exact`, whether these are the tokens that were said, and `finish`:
        "looked", or "cancelled" once `cancel` is set. Raises Refused.
        """
        whole = _clean(prompt) + _clean(text)
        if not 1 <= len(whole) <= LONGEST_TEXT:
            raise Refused(f"A text to look at has 1 to {LONGEST_TEXT:,} characters; this one has {len(whole):,}.")
        request: Message = {
            "id": next(self._numbers),
            "kind": "tokens",
            "run_id": str(run_id),
            "prompt": _clean(prompt),
            "text": _clean(text),
            "step": None if step is None else _number("step", step),
            "weights": str(weights)[:64],
            "sample": sample,
        }
        return deque(self._heard(request, cancel), maxlen=1).pop()

    def _heard(self, request: Message, cancel: threading.Event | None) -> Iterator[Message]:
        """Every message of one answer; the last one has a `finish`."""
        worker, answer = self._send(request)
        fresh, done, told, ahead = True, False, False, 0
        try:
            while not done:
                # Before each message and not only between two: a fast model's pieces leave no gap to ask in.
                if cancel is not None and cancel.is_set() and not told:
                    worker.tell({"cancel": request["id"]})
                    told = True
                try:
                    message = answer.get(timeout=None if told or cancel is None else 0.05)
                except queue.Empty:
                    if fresh and ahead != (now := worker.ahead(request["id"])):
                        ahead = now
                        yield NOTHING_YET | {"ahead": ahead}
                    continue
                if message.get("ended") == 0 and fresh:
                    fresh = False
                    worker, answer = self._send(request)  # it had gone to sleep just as the request came
                    continue
                done = bool(message.get("finish", "ended"))
                if "error" in message:
                    raise Refused(message["error"])
                if "ended" in message:
                    how = describe_exit(message["ended"])
                    raise Refused(f"The process that speaks for the model {how}; ask again to start a new one.")
                fresh = False
                yield message
        finally:
            worker.forget(request["id"], cancel=not done and not told)

    def close(self) -> None:
        """End the worker: the answer being made is cancelled, those that wait and later ones are refused."""
        with self._lock:
            self._closed = True
            worker, self._worker = self._worker, None
        if worker:
            worker.end()

    def _send(self, request: Message) -> tuple["_Worker", "queue.SimpleQueue[Message]"]:
        """Hand a request to a living worker."""
        with self._lock:
            while True:
                if self._closed:
                    raise Refused("The program is ending; ask again when it is back.")
                if self._worker is None:
                    self._worker = _Worker([*self._command, "--home", str(self._home.path)], self._home)
                if len(self._worker.answers) > self._waiting:
                    raise Refused(f"{self._waiting} answers are waiting already; ask again in a moment.")
                if answer := self._worker.ask(request):
                    return self._worker, answer
                self._worker = None  # it has ended


class _Worker:
    """One worker process and the answers that it owes."""

    def __init__(self, command: Sequence[str], home: Home) -> None:
        with home.worker_log.open("ab") as log:
            # A session of its own: Ctrl-C in the page's terminal is not meant for it. It ends with our end of stdin.
            self.process = subprocess.Popen(
                command,
                cwd=PROJECT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=torch_environment(),
                start_new_session=True,
            )
        self.answers: dict[int, queue.SimpleQueue[Message]] = {}
        self.lock, self.ended = threading.Lock(), False
        threading.Thread(target=self._listen, name="worker-listener", daemon=True).start()

    def ask(self, request: Message) -> "queue.SimpleQueue[Message] | None":
        """Where the answer will arrive; None when the worker has ended."""
        with self.lock:
            if self.ended:
                return None
            answer = self.answers[request["id"]] = queue.SimpleQueue()
        self.tell(request)
        return answer

    def ahead(self, number: int) -> int:
        """How many answers are owed that were asked for earlier."""
        with self.lock:
            return sum(other < number for other in self.answers)

    def tell(self, message: Message) -> None:
        """Write one line; where the worker has just died, its listener says so."""
        assert self.process.stdin is not None
        with contextlib.suppress(OSError, ValueError), self.lock:
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.flush()

    def forget(self, number: int, cancel: bool) -> None:
        """Nobody listens to this answer any more."""
        with self.lock:
            self.answers.pop(number, None)
        if cancel:
            self.tell({"cancel": number})

    def end(self) -> None:
        """Close its stdin, and kill it if it does not end by that."""
        assert self.process.stdin is not None
        with contextlib.suppress(OSError), self.lock:
            self.process.stdin.close()
        try:
            self.process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _listen(self) -> None:
        """Bring each line to the one who waits for it; at the end, tell all how the worker ended."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            message = json.loads(line)
            with self.lock:
                answer = self.answers.get(message.pop("id", 0))
            if answer:
                answer.put(message)
        self.process.stdout.close()
        returncode = self.process.wait()
        with self.lock:
            self.ended = True
            for answer in self.answers.values():
                answer.put({"ended": returncode})
            with contextlib.suppress(OSError):
                self.process.stdin and self.process.stdin.close()


def clean_prompt(prompt: str) -> str:
    """The prompt as it can be encoded: no NUL, no lone surrogates, 1 to 8192 characters; raises Refused."""
    clean = _clean(prompt)
    if not 1 <= len(clean) <= LONGEST:
        raise Refused(f"A prompt has 1 to {LONGEST:,} characters; this one has {len(clean):,}.")
    return clean


def _clean(text: str) -> str:
    """A text as it can be encoded."""
    return str(text).replace("\0", "").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _stops(stop: Any) -> list[str]:
    """The texts that end an answer; raises Refused."""
    try:
        return list(check_stops(stop))
    except ConfigError as error:
        raise Refused(str(error)) from None


def _number(name: str, value: Any) -> int | float:
    """A setting within its limits, from whatever a form or a script sent; raises Refused."""
    low, high = LIMITS.get(name, (0, 10**12))
    whole = name in WHOLE
    try:
        number = int(value) if whole and not isinstance(value, float) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if isinstance(value, bool) or not low <= number <= high or (whole and number != int(number)):
        kind = "a whole number" if whole else "a number"
        raise Refused(f"{name} = {str(value)[:40]} must be {kind} from {low:,} to {high:,}.")
    return int(number) if whole else number
