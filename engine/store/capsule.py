"""The time capsule: samples that people keep as exhibits, and their search. Functions take an open database first."""

import time
from typing import Any

from sqlite_utils import Database

from engine.store.connect import Refused, Row, rows, writing
from engine.store.words import get_sample

CATEGORIES = {
    "good": "The Good",
    "strange": "The Strange",
    "hallucination": "The Hallucination",
    "loop": "Loop",
    "memorised": "Memorised",
}
PAGE = 50
MOST_WORDS = 32
"""Words of a search that count; SQLite refuses expressions that are much deeper."""

_EXHIBIT = """
    SELECT archive.id, sample_id, category, title, archive.note, archive.created_at, samples.run_id, samples.step,
           samples.tokens, prompt, text, seed, temperature, top_k, top_p, min_p,
           repetition_penalty, stop, max_tokens, weights_sha256, dtype,
           samples.device, source, runs.name AS run_name, runs.kind AS run_kind, runs.preset,
           (SELECT val_loss FROM current_evals WHERE current_evals.run_id = samples.run_id
            AND current_evals.step <= samples.step ORDER BY current_evals.step DESC LIMIT 1) AS val_loss
    FROM archive JOIN samples ON samples.id = archive.sample_id JOIN runs ON runs.id = samples.run_id
"""


def keep(db: Database, sample_id: int, category: str, title: str, note: str = "") -> int:
    """Put a sample into the archive, or change how it is kept; returns the archive entry's id."""
    category, title = category.strip(), title.strip()
    if category.casefold() in CATEGORIES:
        category = category.casefold()
    if not 1 <= len(category) <= 40:
        raise Refused("A category needs 1 to 40 characters, for example good, strange or hallucination.")
    if not 1 <= len(title) <= 200:
        raise Refused("A title needs 1 to 200 characters.")
    if len(note) > 4000:
        raise Refused(f"A note has at most 4,000 characters; this one has {len(note):,}.")
    with writing(db):
        get_sample(db, sample_id)
        db.conn.execute(
            """INSERT INTO archive (sample_id, category, title, note, created_at) VALUES (?, ?, ?, ?, ?)
                           ON CONFLICT (sample_id) DO UPDATE SET category = excluded.category, title = excluded.title,
                           note = excluded.note""",
            [sample_id, category, title, note, time.time()],
        )
        return int(rows(db, "SELECT id FROM archive WHERE sample_id = ?", [sample_id])[0]["id"])


def get_exhibit(db: Database, exhibit: int) -> Row:
    """One exhibit by its archive id; raises Refused when there is none."""
    found = rows(db, f"{_EXHIBIT} WHERE archive.id = ?", [exhibit])
    if not found:
        raise Refused(f"There is no exhibit {exhibit}; it may have been removed.")
    return found[0]


def remove_exhibit(db: Database, exhibit: int) -> None:
    """Take an exhibit out of the archive; its sample stays. Raises Refused, also for what was published."""
    with writing(db):
        found = get_exhibit(db, exhibit)
        if found["source"] == "published":
            raise Refused("The published exhibits stay: this home has no other copy of them.")
        db.conn.execute("DELETE FROM archive WHERE id = ?", [exhibit])


def categories(db: Database) -> list[str]:
    """The categories in use, in alphabetical order; of several spellings, Haiku and haiku, the one kept last."""
    spellings = {name.casefold(): name for name in _spellings(db)}
    return [spellings[name] for name in sorted(spellings)]


def _spellings(db: Database) -> list[str]:
    """Every category as it is written, the one kept last at the end."""
    return [row["category"] for row in rows(db, "SELECT category FROM archive GROUP BY category ORDER BY max(id)")]


def search_archive(
    db: Database,
    query: str = "",
    category: str = "",
    run_id: str = "",
    page: int = 0,
    youngest: int | None = None,
    oldest: int | None = None,
) -> tuple[list[Row], int]:
    """One page of exhibits, newest first, and how many match in all.

    Every word of `query` must occur in title, note, prompt, text or the run's name; the last one may be the beginning
    of a word. Capital letters make no difference, in `category` neither. `youngest` and `oldest` limit the age in
    tokens and are included.
    """
    where, values = _conditions(query, run_id, youngest, oldest)
    if category:
        spellings = [name for name in _spellings(db) if name.casefold() == category.strip().casefold()]
        where.append(f"category IN ({', '.join('?' * len(spellings))})")
        values += spellings
    matching = f"WHERE {' AND '.join(where)}"
    total = rows(
        db,
        "SELECT count(*) AS n FROM archive JOIN samples ON samples.id = archive.sample_id "
        f"JOIN runs ON runs.id = samples.run_id {matching}",
        values,
    )[0]["n"]
    found = rows(
        db,
        f"{_EXHIBIT} {matching} ORDER BY archive.created_at DESC, archive.id DESC LIMIT ? OFFSET ?",
        [*values, PAGE, max(page, 0) * PAGE],
    )
    return found, total


def _conditions(query: str, run_id: str, youngest: int | None, oldest: int | None) -> tuple[list[str], list[Any]]:
    where, values = ["1 = 1"], list[Any]()
    query = query.encode("utf-8", "replace").decode("utf-8").replace("\x00", " ").strip()
    if words := match_of(query):
        where.append("archive.id IN (SELECT rowid FROM archive_words WHERE archive_words MATCH ?)")
        values.append(words)
    elif query:  # signs only, which a full-text index does not hold
        where.append("instr(prompt || ' ' || text || ' ' || title || ' ' || archive.note, ?) > 0")
        values.append(query)
    for condition, value in (
        ("samples.run_id = ?", run_id or None),
        ("samples.tokens >= ?", youngest),
        ("samples.tokens <= ?", oldest),
    ):
        if value is not None:
            where.append(condition)
            values.append(value)
    return where, values


def match_of(query: str) -> str:
    """The FTS5 expression for what a person typed: quoted words, so that nothing in them is an operator; "" for none.

    The words `mad OR hat` become `"mad" "OR" "hat"*`.
    """
    words = [word for word in query.split() if any(letter.isalnum() for letter in word)][:MOST_WORDS]
    quoted = ['"' + word.replace('"', '""') + '"' for word in words]
    return " ".join(quoted) + "*" if quoted else ""
