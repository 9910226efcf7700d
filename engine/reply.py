"""The answers to one question on their way to whoever asked: how far they are, how fast, and where each is kept."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from sqlite_utils import Database

from engine import store

BETWEEN = 0.05
"""Seconds between two pieces of an answer: more than 20 a second nobody can read."""
UNASKED = {
    "text": "",
    "new_tokens": 0,
    "tokens_per_second": 0.0,
    "finish": "cancelled",
    "step": None,
    "tokens": None,
    "weights": None,
    "sample_id": None,
}
"""What becomes of a question that was cancelled before anybody heard it."""
Message = dict[str, Any]


class Reply:
    """What one model answers to the same question asked with several seeds, or with one.

    `remember` is told the tokens of every answer that is kept.
    """

    def __init__(
        self,
        db: Database,
        speaker: Any,
        asks: Sequence[Any],
        source: str = "playground",
        remember: Callable[[int, tuple[int, ...]], None] = lambda sample, ids: None,
    ) -> None:
        self.db, self.speaker, self.asks, self.source, self.remember = db, speaker, asks, source, remember
        self.ended: dict[int, Message] = {}
        self.began = time.monotonic()
        self.said = -BETWEEN

    def hear(self, pieces: Sequence[Any]) -> Message | None:
        """The message for these pieces, one an answer; None where it is too early for another."""
        seconds = max(time.monotonic() - self.began, 1e-6)
        before = len(self.ended)
        answers = [self._one(row, piece, seconds) for row, piece in enumerate(pieces)]
        if seconds - self.said < BETWEEN and len(self.ended) == before:
            return None
        self.said = seconds
        return answers[0] if len(answers) == 1 else self._all(answers, seconds)

    def _one(self, row: int, piece: Any, seconds: float) -> Message:
        """One answer; as soon as it has ended it is kept."""
        if row in self.ended:
            return self.ended[row]
        message = {
            "text": piece.text,
            "new_tokens": piece.new_tokens,
            "finish": piece.finish,
            "tokens_per_second": piece.new_tokens / seconds,
            "seed": self.asks[row].seed,
        }
        if piece.finish:
            sample = self.speaker.sample_row(self.asks[row], piece, self.source)
            empty = piece.finish == "cancelled" and not piece.text
            kept = None if empty else store.add_sample(self.db, sample)
            if kept is not None:
                self.remember(kept, piece.ids)
            message |= {
                "step": self.speaker.step,
                "tokens": self.speaker.tokens,
                "weights": sample["weights_sha256"],
                "device": sample["device"],
                "sample_id": kept,
            }
            self.ended[row] = message
        return message

    def _all(self, answers: list[Message], seconds: float) -> Message:
        """Several answers as one message, which has ended when all of them have."""
        first, done = answers[0], len(self.ended) == len(answers)
        said = sum(answer["new_tokens"] for answer in answers)
        whole = first if done else {"text": first["text"], "new_tokens": first["new_tokens"], "finish": ""}
        return whole | {"tokens_per_second": said / seconds, "answers": answers}
