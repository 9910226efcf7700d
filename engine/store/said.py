"""The search of everything that was ever said, also of what nobody kept. Functions take an open database first."""

import time
from dataclasses import dataclass
from typing import Any

from sqlite_utils import Database

from engine.store import spans
from engine.store.changes_fame import ENTRY
from engine.store.connect import Refused, Row, columns, rows, writing
from engine.store.measures import known
from engine.store.search import MOST_WORDS, PAGE, Wanted, cleaned

COUNTED = 10_000
"""Hits are counted up to here; more are told as more."""
READ_AT_ONCE = 500
"""Older samples that are read into the index in one transaction: some 40 ms of the write lock (docs/LOG.md)."""
_SHOWN = """
    SELECT samples.*, runs.name AS run_name, runs.kind AS run_kind,
           (SELECT archive.id FROM archive WHERE archive.sample_id = samples.id) AS exhibit
    FROM samples JOIN runs ON runs.id = samples.run_id
"""


@dataclass(frozen=True, kw_only=True)
class Said:
    """One page of what was said, newest first."""

    samples: list[Row]
    """With `run_name`, `run_kind` and `exhibit`, its place in the archive or None."""
    total: int
    """How many match, counted up to COUNTED + 1."""
    newer: bool
    """Whether there are hits before this page."""
    older: bool
    """Whether there are hits after it."""
    unread: bool
    """Whether older samples are still being read into the index, so that they are not found yet."""


def search_samples(db: Database, wanted: Wanted, before: int = 0, after: int = 0) -> Said:
    """One page of current samples: the newest, or those right before or after the sample with that id.

    Every word of the query must occur in prompt or text; the last one may be the beginning of a word, from two letters
    on. Capital letters and accents make no difference. Of `wanted` query, run, ages, dates and measures count.
    """
    known = _ids(db, wanted, "DESC", COUNTED + 1)
    place = sum(one >= before for one in known) if before else 0
    if after:
        place = max(sum(one > after for one in known) - PAGE, 0)
    chosen, newer = known[place : place + PAGE + 1], place > 0
    older = len(chosen) > PAGE
    if len(known) > COUNTED and place + PAGE >= len(known):  # beyond what was counted: asked for on its own
        chosen = _ids(db, wanted, "ASC" if after else "DESC", PAGE + 1, after or before)
        newer, older = (len(chosen) > PAGE, True) if after else (True, len(chosen) > PAGE)
    found = rows(
        db,
        f"{_SHOWN} WHERE samples.id IN ({', '.join('?' * len(chosen[:PAGE]))}) ORDER BY samples.id DESC",
        chosen[:PAGE],
    )
    return Said(samples=found, total=len(known), newer=newer, older=older, unread=_unread(db) > 0)


def _ids(db: Database, wanted: Wanted, order: str, limit: int, cursor: int = 0) -> list[int]:
    """Ids of current samples that match, in that order, beyond the cursor where there is one."""
    match = _expression(db, wanted)
    where, values = ["sample_words MATCH ?"] if match else ["superseded = 0"], [match] if match else list[Any]()
    # The index has no numbers, so these are looked up.
    for condition, value in (
        ("samples.tokens >= ?", wanted.youngest),
        ("samples.tokens <= ?", wanted.oldest),
        ("samples.created_at >= ?", wanted.since),
        ("samples.created_at < ?", wanted.until),
    ):
        if value is not None:
            where.append(condition)
            values.append(value)
    if wanted.measured:  # the words of a measure stay when an answer is superseded
        where.append("superseded = 0")
    source, name = "samples", "samples.id"
    if match:
        source, name = "sample_words", "sample_words.rowid"
        if len(where) > 1:
            source += " CROSS JOIN samples ON samples.id = sample_words.rowid"
    if cursor:
        where.append(f"{name} {'<' if order == 'DESC' else '>'} ?")
        values.append(cursor)
    sql = f"SELECT {name} FROM {source} WHERE {' AND '.join(where)} ORDER BY {name} {order} LIMIT ?"
    return [one for (one,) in columns(db, sql, [*values, limit])]


def _expression(db: Database, wanted: Wanted) -> str:
    """The FTS5 expression for words and filters; "" where nothing is asked."""
    terms = _terms(db, cleaned(wanted.query))
    parts = [f'"{term}"' for term in terms]
    if terms and not (len(terms[-1]) == 1 and terms[-1].isascii() and terms[-1].isalpha()):
        parts[-1] += "*"  # not of one letter: half of all texts have such a word, which takes a third of a second
    if wanted.run_id:
        parts.append(f'"{spans.run_word(wanted.run_id)}"')
    if wanted.youngest is not None or wanted.oldest is not None:
        parts.append(_any(spans.age_words(wanted.youngest, wanted.oldest)))
    if wanted.since is not None or wanted.until is not None:
        parts.append(_any(spans.date_words(wanted.since, wanted.until, time.time())))
    if wanted.measured:
        parts.append(f'"{spans.kind_word(known(wanted.measured))}"')
    return " AND ".join(parts)


def _any(words: list[str]) -> str:
    """Any of these words; of none of them one that no sample has."""
    return "(" + " OR ".join(f'"{word}"' for word in words or [spans.MARK]) + ")"


def _terms(db: Database, query: str) -> list[str]:
    """The words of a query as the index has them: cut by its own tokenizer, small letters, no accents."""
    if not query:
        return []
    db.conn.execute(
        "CREATE VIRTUAL TABLE IF NOT EXISTS temp.asked USING fts5 (words, tokenize = 'unicode61 remove_diacritics 2')"
    )
    db.conn.execute("CREATE VIRTUAL TABLE IF NOT EXISTS temp.asked_terms USING fts5vocab('temp', 'asked', 'instance')")
    db.conn.execute("DELETE FROM temp.asked")
    db.conn.execute("INSERT INTO temp.asked (words) VALUES (?)", [query])
    terms = [term for (term,) in columns(db, 'SELECT term FROM temp.asked_terms ORDER BY "offset"')]
    if not terms:
        raise Refused("In everything that was said, words can be found; signs alone cannot.")
    return terms[:MOST_WORDS]


def _unread(db: Database) -> int:
    return int(rows(db, "SELECT unread FROM sample_index")[0]["unread"])


def read_older(db: Database, limit: int = READ_AT_ONCE) -> bool:
    """Read up to `limit` older samples into the index, the newest of them first; False when all are in it."""
    if not _unread(db):
        return False
    with writing(db):
        unread = _unread(db)
        found = columns(db, "SELECT id FROM samples WHERE id <= ? ORDER BY id DESC LIMIT ?", [unread, limit])
        left = found[-1][0] - 1 if len(found) == limit else 0
        db.conn.execute(
            f"INSERT INTO sample_words (rowid, words) SELECT id, {ENTRY.format(row='samples')} FROM samples "
            "WHERE id > ? AND id <= ? AND superseded = 0 ORDER BY id",
            [left, unread],
        )
        db.conn.execute("UPDATE sample_index SET unread = ?", [left])
    return left > 0
