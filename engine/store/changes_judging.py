"""Changes of the database's shape that judging brought; engine/store/migrations.py has the list."""

from sqlite_utils import Database


def measures(db: Database) -> None:
    """What can be measured about each answer, and what it looks like: The Good, a loop, memorised.

    Loop and Memorised were categories of people's own before; now they are written like the other known ones.
    """
    db.conn.execute("UPDATE archive SET category = lower(category) WHERE lower(category) IN ('loop', 'memorised')")
    db.conn.execute("""CREATE TABLE measures (
        sample_id INTEGER PRIMARY KEY REFERENCES samples(id) ON DELETE CASCADE,
        words INTEGER NOT NULL,
        distinct_1 REAL,
        distinct_2 REAL,
        distinct_3 REAL,
        loop_words INTEGER NOT NULL,
        loop_phrase INTEGER NOT NULL,
        loop_share REAL,
        stuck_share REAL,
        unknown_share REAL,
        familiar_share REAL,
        copied_words INTEGER,
        copied_share REAL,
        copied_first INTEGER,
        copied_start INTEGER,
        copied_end INTEGER,
        text_sha256 TEXT,
        change REAL,
        self_perplexity REAL,
        mean_entropy REAL,
        proposal TEXT,
        version INTEGER NOT NULL,
        made_at REAL NOT NULL
    ) STRICT""")
