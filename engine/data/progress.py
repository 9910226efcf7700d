"""How far the making of a dataset is."""

from collections.abc import Callable
from dataclasses import dataclass, field


class Stopped(Exception):
    """Whoever asked for a dataset has it stop; what is made so far stays."""


@dataclass(frozen=True)
class Progress:
    """What a dataset job says of itself, several times a second."""

    stage: str
    """waiting, learning, encoding or finishing."""
    message: str
    """The same as a sentence."""
    share: float | None = None
    """Of the whole work, 0 to 1; None where that is not known."""
    documents: int = 0
    """Kept so far, of both parts."""
    tokens: int = 0
    """Written so far, of both parts."""
    bytes: int = 0
    """Of text that became these tokens."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Documents that were left out, by reason."""


Report = Callable[[Progress], None]
Asked = Callable[[], bool]
"""Whether to stop now; asked several times a second."""
