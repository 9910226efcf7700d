"""How the database's shape has changed for the hall of fame, in order; engine/store/migrations.py has the list."""

from sqlite_utils import Database


def hall_of_fame(db: Database) -> None:
    """Exhibits that stand in front, in an order of one's own; their tags; their run and its age then, copied.

    What moves an exhibit does not index its words again.
    """
    words = """new.id, new.title, new.note, samples.prompt, samples.text, runs.name
        FROM samples JOIN runs ON runs.id = samples.run_id WHERE samples.id = new.sample_id"""
    copied = "(of_run, of_age) = (SELECT run_id, tokens FROM samples WHERE samples.id = sample_id)"
    for statement in (
        "ALTER TABLE archive ADD COLUMN place INTEGER",
        "ALTER TABLE archive ADD COLUMN of_run TEXT",
        "ALTER TABLE archive ADD COLUMN of_age INTEGER",
        f"UPDATE archive SET {copied} WHERE true",
        "CREATE INDEX archive_pinned ON archive(place) WHERE place IS NOT NULL",
        "CREATE INDEX archive_by_date ON archive(created_at)",
        "CREATE INDEX archive_by_category ON archive(category)",
        "CREATE INDEX archive_by_run ON archive(of_run)",
        f"""CREATE TRIGGER archive_dated AFTER INSERT ON archive BEGIN
            UPDATE archive SET {copied} WHERE id = new.id;
        END""",
        """CREATE TABLE exhibit_tags (
            folded TEXT NOT NULL,
            exhibit INTEGER NOT NULL REFERENCES archive(id) ON DELETE CASCADE,
            tag TEXT NOT NULL,
            position INTEGER NOT NULL,
            PRIMARY KEY (folded, exhibit)
        ) STRICT""",
        "CREATE INDEX tags_of_exhibit ON exhibit_tags(exhibit)",
        "DROP TRIGGER archive_changed",
        f"""CREATE TRIGGER archive_changed AFTER UPDATE OF title, note ON archive BEGIN
            DELETE FROM archive_words WHERE rowid = old.id;
            INSERT INTO archive_words (rowid, title, note, prompt, text, run) SELECT {words};
        END""",
    ):
        db.conn.execute(statement)


LABELS = """' \ue000r' || hex({row}.run_id)
    || ' \ue000t' || length({row}.tokens) || ' \ue000t' || length({row}.tokens) || 'x' || substr({row}.tokens, 1, 1)
    || ' \ue000t' || length({row}.tokens) || 'x' || substr({row}.tokens, 1, 2)
    || ' \ue000t' || length({row}.tokens) || 'x' || substr({row}.tokens, 1, 3)
    || ifnull(strftime(' \ue000y%Y \ue000m%Y%m \ue000d%Y%m%d \ue000h%Y%m%d%H', {row}.created_at, 'unixepoch'), '')"""
"""Words that nobody says, for the filters: whose it is, its age by its digits, when it was said (store/spans.py)."""
AT_ONCE = 20_000
"""Samples that are read into the search by the change itself, in under a second."""
ENTRY = "{row}.prompt || ' ' || {row}.text || " + LABELS


def sample_search(db: Database) -> None:
    """The words of everything that was said, kept in step by triggers, without a second copy of the texts.

    Many samples that are there already are read into it later, a few at a time from the newest on, so that nobody waits
    for the write lock: those up to the id in `sample_index` are not in it yet.
    """
    entries = {row: ENTRY.format(row=row) for row in ("old", "new")}
    forget = f"""INSERT INTO sample_words (sample_words, rowid, words) SELECT 'delete', old.id, {entries["old"]}
            WHERE old.superseded = 0 AND old.id > (SELECT unread FROM sample_index);"""
    learn = f"""INSERT INTO sample_words (rowid, words) SELECT new.id, {entries["new"]}
            WHERE new.superseded = 0 AND new.id > (SELECT unread FROM sample_index);"""
    for statement in (
        # Without places of words in their text (detail) and lengths of texts: a sixth of the size.
        """CREATE VIRTUAL TABLE sample_words USING fts5 (
            words, content = '', detail = none, columnsize = 0, prefix = '2 3 4',
            tokenize = 'unicode61 remove_diacritics 2')""",
        "CREATE TABLE sample_index (unread INTEGER NOT NULL) STRICT",
        "INSERT INTO sample_index SELECT ifnull(max(id), 0) FROM samples",
        f"CREATE TRIGGER sample_said AFTER INSERT ON samples BEGIN {learn} END",
        f"""CREATE TRIGGER sample_changed
        AFTER UPDATE OF prompt, text, run_id, tokens, created_at, superseded ON samples BEGIN
            {forget}
            {learn}
        END""",
        f"CREATE TRIGGER sample_removed AFTER DELETE ON samples BEGIN {forget} END",
        f"UPDATE sample_index SET unread = 0 WHERE unread <= {AT_ONCE}",
        f"""INSERT INTO sample_words (rowid, words) SELECT id, {ENTRY.format(row="samples")} FROM samples
        WHERE superseded = 0 AND (SELECT unread FROM sample_index) = 0""",
    ):
        db.conn.execute(statement)


def arena(db: Database) -> None:
    """Which of two answers to one prompt people found better, without knowing whose they were."""
    for statement in (
        """CREATE TABLE votes (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            left_sample INTEGER NOT NULL REFERENCES samples(id) ON DELETE CASCADE,
            right_sample INTEGER NOT NULL REFERENCES samples(id) ON DELETE CASCADE,
            winner INTEGER,
            created_at REAL NOT NULL
        ) STRICT""",
        "CREATE INDEX votes_by_left ON votes(left_sample)",
        "CREATE INDEX votes_by_right ON votes(right_sample)",
        # The beginning is enough to find equal prompts, and short where they are long.
        "CREATE INDEX samples_of_prompt ON samples(substr(prompt, 1, 64))",
    ):
        db.conn.execute(statement)
