"""An answer as it grows: its tokens, its text, and what ends it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from tokenizers import Tokenizer

from engine.ask import Ask
from engine.config import ConfigError


@dataclass(frozen=True)
class Piece:
    """An answer so far: the whole continuation, its tokens and their number, why it ended ("" while it goes on).

    finish: "length" (max_tokens reached), "end" (the model ended the document), "stop" (the next words would be one of
    the texts that end it, which is left out), "context" (no room), "cancelled".
    """

    text: str
    new_tokens: int
    finish: str
    ids: tuple[int, ...] = field(default=(), compare=False)
    """A text that ended it is among them."""


@dataclass
class Answer:
    """The growing answer to one prompt."""

    tokenizer: Tokenizer
    separator: str
    ask: Ask
    context: int
    ids: list[int] = field(default_factory=list)
    finish: str = ""

    def __post_init__(self) -> None:
        self.prompt_ids = self.tokenizer.encode(self.ask.prompt).ids
        if len(self.prompt_ids) >= self.context:
            raise ConfigError(
                f"The prompt has {len(self.prompt_ids):,} tokens; this model sees {self.context:,} at "
                "once, so at most one less fits."
            )
        self.end = self.tokenizer.token_to_id(self.separator)
        self.cut: int | None = None

    @property
    def position(self) -> int:
        """Where the newest token stands in the text."""
        return len(self.prompt_ids) + len(self.ids) - 1

    @property
    def seen(self) -> list[int]:
        """What a repetition penalty is for."""
        return self.prompt_ids + self.ids

    def add(self, token: int) -> None:
        """Take the next token in, and see whether the answer ends with it."""
        self.ids.append(token)
        if self.ask.stop:
            self.cut = first_stop(self.text(), self.ask.stop)
        if token == self.end:
            self.finish = "end"
        elif self.cut is not None:
            self.finish = "stop"
        elif len(self.ids) >= self.ask.max_tokens:
            self.finish = "length"
        elif self.position + 1 >= self.context:
            self.finish = "context"

    def cancelled(self) -> "Answer":
        """The same, ended by a person if not by itself."""
        return self if self.finish else replace(self, finish="cancelled")

    def text(self) -> str:
        """All that its tokens say, a stop included."""
        # Half a character is held back until its other bytes have come.
        return self.tokenizer.decode(self.ids).rstrip("\ufffd")

    def piece(self) -> Piece:
        """What is shown of it: nothing of a stop, nor of what may become one."""
        text = self.text()
        if self.cut is not None:
            text = text[: self.cut]
        elif not self.finish:
            text = text[: len(text) - half_a_stop(text, self.ask.stop)]
        return Piece(text, len(self.ids), self.finish, tuple(self.ids))


def first_stop(text: str, stops: Sequence[str]) -> int | None:
    """Where the first of the texts that end an answer begins."""
    return min((at for stop in stops if (at := text.find(stop)) >= 0), default=None)


def half_a_stop(text: str, stops: Sequence[str]) -> int:
    """How many letters at the end of a text may be the beginning of a stop; they are held back."""
    lengths = (length for stop in stops for length in range(1, len(stop)) if text.endswith(stop[:length]))
    return max(lengths, default=0)
