"""The search of exhibits: by words, run, age, category, tag and date. Functions take an open database first."""

from dataclasses import dataclass
from typing import Any

from sqlite_utils import Database

from engine.store.capsule import EXHIBIT, category_spellings
from engine.store.connect import Row, rows
from engine.store.front import with_tags
from engine.store.measures import measured_as

PAGE = 50
MOST_WORDS = 32
"""Words of a search that count; SQLite refuses expressions that are much deeper."""
SORTS = {
    "newest": "archive.created_at DESC, archive.id DESC",
    "oldest": "archive.created_at, archive.id",
    "youngest": "of_age, archive.id DESC",
    "eldest": "of_age DESC, archive.id DESC",
    "title": "title COLLATE NOCASE, archive.id",
}
"""Orders of exhibits: by when they were kept, by the model's age, by their title. The pinned stand before them all."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is looked for. Whatever is empty or None limits nothing."""

    query: str = ""
    """Words that must all occur; the last one may be the beginning of a word."""
    category: str = ""
    run_id: str = ""
    tag: str = ""
    youngest: int | None = None
    """The least age in tokens, included."""
    oldest: int | None = None
    """The greatest age in tokens, included."""
    since: float | None = None
    """Seconds since 1970, included: exhibits that were kept, samples that were said from then on."""
    until: float | None = None
    """The same until then, not included."""
    pinned: bool = False
    """Only what stands in front."""
    measured: str = ""
    """One of measures.KINDS: what it looks like, or one of its measures."""


def search_archive(
    db: Database,
    query: str = "",
    category: str = "",
    run_id: str = "",
    page: int = 0,
    youngest: int | None = None,
    oldest: int | None = None,
) -> tuple[list[Row], int]:
    """One page of exhibits, the pinned first, then the newest, and how many match in all."""
    wanted = Wanted(query=query, category=category, run_id=run_id, youngest=youngest, oldest=oldest)
    return search_exhibits(db, wanted, page)


def search_exhibits(
    db: Database, wanted: Wanted, page: int = 0, sort: str = "newest", size: int = PAGE
) -> tuple[list[Row], int]:
    """One page of exhibits with their `tags`, the pinned first, and how many match in all.

    Every word of the query must occur in title, note, prompt, text or the run's name. Capital letters make no
    difference, in category and tag neither.
    """
    where, values = conditions(db, wanted)
    order = f"archive.place IS NULL, archive.place, {SORTS.get(sort, SORTS['newest'])}"
    # The page is chosen before anything else is read of it, so that no loss is looked up for what is not shown.
    # Counting beside it costs more than counting alone, but less than looking up each measure twice.
    total = "count(*) OVER ()" if wanted.measured else "NULL"
    chosen = rows(
        db,
        f"SELECT archive.id, {total} AS total FROM {_source(wanted)} WHERE {where} ORDER BY {order} LIMIT ? OFFSET ?",
        [*values, size, max(page, 0) * size],
    )
    marks = ", ".join("?" * len(chosen))
    found = rows(db, f"{EXHIBIT} WHERE archive.id IN ({marks}) ORDER BY {order}", [row["id"] for row in chosen])
    counted = chosen[0]["total"] if chosen else None
    return with_tags(db, found), count_exhibits(db, wanted) if counted is None else int(counted)


def count_exhibits(db: Database, wanted: Wanted) -> int:
    """How many exhibits match."""
    where, values = conditions(db, wanted)
    return int(rows(db, f"SELECT count(*) AS n FROM {_source(wanted)} WHERE {where}", values)[0]["n"])


def random_exhibit(db: Database, wanted: Wanted, other_than: int = 0) -> int:
    """The id of any exhibit that matches, another one than `other_than` where there is one; 0 where none matches."""
    where, values = conditions(db, wanted)
    found = rows(
        db,
        f"SELECT archive.id FROM {_source(wanted)} WHERE {where} ORDER BY archive.id = ?, random() LIMIT 1",
        [*values, other_than],
    )
    return int(found[0]["id"]) if found else 0


def _source(wanted: Wanted) -> str:
    """The tables that the conditions ask: the archive knows everything but the signs of a text."""
    query = cleaned(wanted.query)
    if not query or match_of(query):
        return "archive"
    return "archive JOIN samples ON samples.id = archive.sample_id"


def conditions(db: Database, wanted: Wanted) -> tuple[str, list[Any]]:
    """What limits a search of exhibits, as SQL and its values."""
    where, values = ["1 = 1"], list[Any]()
    query = cleaned(wanted.query)
    if words := match_of(query):
        where.append("archive.id IN (SELECT rowid FROM archive_words WHERE archive_words MATCH ?)")
        values.append(words)
    elif query:  # signs only, which a full-text index does not hold
        where.append("instr(prompt || ' ' || text || ' ' || title || ' ' || archive.note, ?) > 0")
        values.append(query)
    if wanted.category:
        name = wanted.category.strip().casefold()
        spellings = [one for one in category_spellings(db) if one.casefold() == name]
        where.append(f"category IN ({', '.join('?' * len(spellings))})")
        values += spellings
    if wanted.pinned:
        where.append("archive.place IS NOT NULL")
    if wanted.measured:
        condition, limits = measured_as(wanted.measured, "archive.sample_id")
        where.append(condition)
        values += limits
    for condition, value in (
        ("archive.id IN (SELECT exhibit FROM exhibit_tags WHERE folded = ?)", wanted.tag.strip().casefold() or None),
        ("of_run = ?", wanted.run_id or None),
        ("of_age >= ?", wanted.youngest),
        ("of_age <= ?", wanted.oldest),
        ("archive.created_at >= ?", wanted.since),
        ("archive.created_at < ?", wanted.until),
    ):
        if value is not None:
            where.append(condition)
            values.append(value)
    return " AND ".join(where), values


def cleaned(query: str) -> str:
    """What a person typed, as SQLite can take it."""
    return query.encode("utf-8", "replace").decode("utf-8").replace("\x00", " ").strip()


def match_of(query: str) -> str:
    """The FTS5 expression for what a person typed: quoted words, so that nothing in them is an operator; "" for none.

    The words `mad OR hat` become `"mad" "OR" "hat"*`.
    """
    words = [word for word in query.split() if any(letter.isalnum() for letter in word)][:MOST_WORDS]
    quoted = ['"' + word.replace('"', '""') + '"' for word in words]
    return " ".join(quoted) + "*" if quoted else ""
