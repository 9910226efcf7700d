"""Ranges of ages and of dates, and measures, as words of the full-text index, which knows no numbers.

Every sample is indexed with the digits that its age begins with and with the year, month, day and hour in which it was
said (engine/store/changes_fame.py). A range is the few words that cover it; at its two ends they may cover a little
more, so that whoever asks looks at the numbers too.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

MARK = "\ue000"
"""Begins each of these words: a sign without a meaning, so that nobody says one of them."""
MOST_DIGITS = 19
LEADING = 3
"""Digits of an age that are indexed: where a range ends within them, one age in a hundred is looked at in vain."""
FIRST_YEAR, LAST_YEAR = 1970, 2199
FORMATS = ("y%Y", "m%Y%m", "d%Y%m%d", "h%Y%m%d%H")


def run_word(run_id: str) -> str:
    """The word of a run."""
    return f"{MARK}r{run_id.encode().hex()}"


def kind_word(kind: str) -> str:
    """The word of a kind of answer, one of measures.KINDS."""
    return f"{MARK}k{kind.replace('-', '')}"


def age_words(youngest: int | None, oldest: int | None) -> list[str]:
    """Words that cover the ages from `youngest` to `oldest` in tokens, both included."""
    low, high = youngest or 0, 10**MOST_DIGITS if oldest is None else oldest
    return [word for digits in range(1, MOST_DIGITS + 1) for word in _ages(digits, "", low, high)]


def _ages(digits: int, leading: str, low: int, high: int) -> Iterator[str]:
    """The words for those ages of so many digits that begin with `leading`."""
    rest = digits - len(leading)
    first, last = int(leading or "1") * 10**rest, (int(leading or "9") + 1) * 10**rest - 1
    if not leading:
        first, last = (0 if digits == 1 else 10 ** (digits - 1)), 10**digits - 1
    if first > high or last < low:
        return
    if (low <= first and last <= high) or not rest or len(leading) == LEADING:
        yield f"{MARK}t{digits}x{leading}" if leading else f"{MARK}t{digits}"
        return
    for digit in range(0 if leading or digits == 1 else 1, 10):
        yield from _ages(digits, f"{leading}{digit}", low, high)


def date_words(since: float | None, until: float | None, now: float) -> list[str]:
    """Words that cover the time from `since` to `until`; without an end up to a year from `now`."""
    low = _date(since if since is not None else 0.0)
    high = _date(until if until is not None else max(now, since or 0.0) + 366 * 86_400)
    years = range(low.year, high.year + 1) if low < high else ()
    return [word for year in years for word in _dates(0, datetime(year, 1, 1, tzinfo=UTC), low, high)]


def _dates(level: int, start: datetime, low: datetime, high: datetime) -> Iterator[str]:
    """The words for that part of a year, month, day or hour from `start` on that is asked for."""
    end = _next(level, start)
    if end <= low or start >= high:
        return
    if (low <= start and end <= high) or level == len(FORMATS) - 1:
        yield MARK + start.strftime(FORMATS[level])
        return
    part = start
    while part < end:
        yield from _dates(level + 1, part, low, high)
        part = _next(level + 1, part)


def _next(level: int, start: datetime) -> datetime:
    if level == 0:
        return start.replace(year=start.year + 1)
    if level == 1:
        return start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
    return start + timedelta(days=1) if level == 2 else start + timedelta(hours=1)


def _date(seconds: float) -> datetime:
    """Within the years that are looked for."""
    first, last = (datetime(year, 1, 1, tzinfo=UTC) for year in (FIRST_YEAR, LAST_YEAR))
    return first + timedelta(seconds=min(max(seconds, 0.0), (last - first).total_seconds()))
