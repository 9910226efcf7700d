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


LOOKS = ("good", "strange", "hallucination", "loop", "memorised")
SIZES = (
    ("repeats", "loop_share >= 1.0 / 3"),
    ("copies", "copied_words >= 6"),
    ("makesup", "unknown_share >= 0.1"),
    ("changed", "change >= 0.8"),
    ("same", "change <= 0.2"),
    ("sure", "self_perplexity <= 5.0"),
    ("doubts", "self_perplexity >= 50.0"),
)


def measure_search(db: Database) -> None:
    """What an answer looks like and measures, as words of the index of everything said (store/measures.py has them).

    A contentless index takes words for a row that it has already, and drops just these again, so that the texts are
    not read once more when an answer is measured.
    """
    words = {row: _kinds(row) for row in ("old", "new", "measures")}
    forget = f"""INSERT INTO sample_words (sample_words, rowid, words)
        SELECT 'delete', old.sample_id, {words["old"]} WHERE {words["old"]} != '';"""
    learn = f"""INSERT INTO sample_words (rowid, words)
        SELECT new.sample_id, {words["new"]} WHERE {words["new"]} != '';"""
    differ = f"WHEN {words['old']} != {words['new']}"
    for statement in (
        f"CREATE TRIGGER measures_made AFTER INSERT ON measures BEGIN {learn} END",
        f"CREATE TRIGGER measures_changed AFTER UPDATE ON measures {differ} BEGIN {forget} {learn} END",
        f"CREATE TRIGGER measures_removed AFTER DELETE ON measures BEGIN {forget} END",
        f"""INSERT INTO sample_words (rowid, words) SELECT sample_id, {words["measures"]} FROM measures
        WHERE {words["measures"]} != '' ORDER BY sample_id""",
    ):
        db.conn.execute(statement)


def _kinds(row: str) -> str:
    """SQL for the words of a row of measures."""
    looks = ", ".join(f"'{name}'" for name in LOOKS)
    parts = [f"CASE WHEN {row}.proposal IN ({looks}) THEN ' \ue000k' || {row}.proposal ELSE '' END"]
    parts += [f"CASE WHEN {row}.{condition} THEN ' \ue000k{name}' ELSE '' END" for name, condition in SIZES]
    return f"({' || '.join(parts)})"
