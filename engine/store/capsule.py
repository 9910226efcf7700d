"""The time capsule: samples that people keep as exhibits. Functions take an open database first.

engine/store/search.py finds them, engine/store/front.py pins them and gives them tags.
"""

import time
from collections.abc import Sequence

from sqlite_utils import Database

from engine.store.connect import Refused, Row, rows, writing
from engine.store.front import put_tags, with_tags
from engine.store.words import get_sample

CATEGORIES = {
    "good": "The Good",
    "strange": "The Strange",
    "hallucination": "The Hallucination",
    "loop": "Loop",
    "memorised": "Memorised",
}

EXHIBIT = """
    SELECT archive.id, sample_id, category, title, archive.note, archive.created_at, place, samples.run_id,
           samples.step, samples.tokens, prompt, text, seed, temperature, top_k, top_p, min_p,
           repetition_penalty, stop, max_tokens, weights_sha256, dtype,
           samples.device, source, runs.name AS run_name, runs.kind AS run_kind, runs.preset,
           (SELECT val_loss FROM current_evals WHERE current_evals.run_id = samples.run_id
            AND current_evals.step <= samples.step ORDER BY current_evals.step DESC LIMIT 1) AS val_loss
    FROM archive JOIN samples ON samples.id = archive.sample_id JOIN runs ON runs.id = samples.run_id
"""
"""Everything about exhibits, but their tags."""


def keep(
    db: Database, sample_id: int, category: str, title: str, note: str = "", tags: Sequence[str] | None = None
) -> int:
    """Put a sample into the archive, or change how it is kept; returns the archive entry's id.

    Without `tags` those that it has stay.
    """
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
        exhibit = int(rows(db, "SELECT id FROM archive WHERE sample_id = ?", [sample_id])[0]["id"])
        if tags is not None:
            put_tags(db, exhibit, tags)
    return exhibit


def exhibit_of(db: Database, sample_id: int) -> int:
    """The archive id of a sample that is kept; 0 for one that is not."""
    found = rows(db, "SELECT id FROM archive WHERE sample_id = ?", [sample_id])
    return int(found[0]["id"]) if found else 0


def get_exhibit(db: Database, exhibit: int) -> Row:
    """One exhibit by its archive id; raises Refused when there is none."""
    found = with_tags(db, rows(db, f"{EXHIBIT} WHERE archive.id = ?", [exhibit]))
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
    spellings = {name.casefold(): name for name in category_spellings(db)}
    return [spellings[name] for name in sorted(spellings)]


def category_spellings(db: Database) -> list[str]:
    """Every category as it is written, the one kept last at the end."""
    return [row["category"] for row in rows(db, "SELECT category FROM archive GROUP BY category ORDER BY max(id)")]
