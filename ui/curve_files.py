"""Every measured step of curves as CSV, for the eyes of other programs."""

import csv
import io
import math
from collections.abc import Iterable, Iterator

from sqlite_utils import Database

from engine.store import Refused, Row
from ui.columns import Columns, SeriesCache
from ui.curves import EVAL_COLUMNS, METRIC_COLUMNS, Look, clock, places
from ui.series import window

HEAD = ("run", "run_id", "curve", "step", "tokens", "seconds_worked", "value")
PLACES = ("step", "tokens", "elapsed_seconds")
ROWS = 10_000
"""Rows written at once."""


def lines(
    db: Database, cache: SeriesCache, runs: Iterable[Row], metric: str, evaluation: str, look: Look
) -> Iterator[str]:
    """CSV with all rows of a metric and an evaluation ("" for none) in the part that is looked at; raises Refused.

    What is not a number is an empty cell. Everything is read before the first line is written, so that the database is
    used by the calling thread alone.
    """
    if metric not in ("", *METRIC_COLUMNS) or evaluation not in ("", *EVAL_COLUMNS) or not metric + evaluation:
        raise Refused(f"metric is one of {', '.join(METRIC_COLUMNS)}, evaluation one of {', '.join(EVAL_COLUMNS)}.")
    parts: list[tuple[Row, Columns, str, slice]] = []
    for run in runs:
        metrics = cache.metrics(db, run["id"], run["attempt"])
        evals = cache.evals(db, run["id"], run["attempt"])
        moments = clock(db, run, metrics) if look.axis == "date" else None
        for held, column in ((metrics, METRIC_COLUMNS.get(metric)), (evals, EVAL_COLUMNS.get(evaluation))):
            if column and held.rows:
                parts.append((run, held, column, window(places(held, look.axis, moments), look.low, look.high)))
    return _written(parts)


def _written(parts: list[tuple[Row, Columns, str, slice]]) -> Iterator[str]:
    yield ",".join(HEAD) + "\r\n"
    for run, held, column, part in parts:
        for first in range(part.start, part.stop, ROWS):
            some = slice(first, min(first + ROWS, part.stop))
            text = io.StringIO()
            writer = csv.writer(text)
            step, tokens, seconds = (held[place][some].tolist() for place in PLACES)
            for at, value in enumerate(held[column][some].tolist()):
                shown = f"{value:.9g}" if math.isfinite(value) else ""
                place = (int(step[at]), int(tokens[at]), f"{seconds[at]:.3f}")
                writer.writerow((run["name"], run["id"], column, *place, shown))
            yield text.getvalue()
