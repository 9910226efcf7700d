"""What the command lines of several benchmarks share."""

import sys

from engine.settings import parse_value


def tell(line: str) -> None:
    """Say where the work stands, beside the report."""
    print(line, file=sys.stderr, flush=True)


def whole(words: str) -> int:
    """A whole number above zero, like 200 or 1M; argparse turns the ValueError into its refusal."""
    value = parse_value(words)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(words)
    return value
