"""The database's shape, as a list of changes. A change is appended and never edited; docs/SCHEMA.md explains it."""

from collections.abc import Callable

from sqlite_utils import Database

ACTIVE = ("preparing", "compiling", "running", "paused", "stopping")
"""Statuses in which a run owns its device. `queued` waits for one and owns none."""


def first_schema(db: Database) -> None:
    """Runs, what they measure, what they say, and what is kept."""
    active = ", ".join(f"'{status}'" for status in ACTIVE)
    for statement in f"""
    CREATE TABLE runs (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        preset TEXT NOT NULL,
        config TEXT NOT NULL,
        kind TEXT NOT NULL DEFAULT 'trained',
        parent_run_id TEXT REFERENCES runs(id),
        parent_step INTEGER,
        parameters INTEGER NOT NULL,
        target_tokens INTEGER NOT NULL,
        total_steps INTEGER NOT NULL,
        dataset TEXT NOT NULL,
        note TEXT NOT NULL DEFAULT '',
        created_at REAL NOT NULL
    ) STRICT;
    CREATE TABLE run_state (
        run_id TEXT PRIMARY KEY REFERENCES runs(id),
        status TEXT NOT NULL,
        phase TEXT NOT NULL DEFAULT '',
        message TEXT NOT NULL DEFAULT '',
        progress REAL,
        attempt INTEGER NOT NULL DEFAULT 0,
        device TEXT NOT NULL,
        environment TEXT NOT NULL DEFAULT '{{}}',
        pid INTEGER,
        process_started_at REAL,
        boot_id TEXT,
        step INTEGER NOT NULL DEFAULT 0,
        tokens INTEGER NOT NULL DEFAULT 0,
        train_loss REAL,
        val_loss REAL,
        tokens_per_second REAL,
        elapsed_seconds REAL NOT NULL DEFAULT 0,
        eta_seconds REAL,
        heartbeat_at REAL,
        started_at REAL,
        ended_at REAL,
        error TEXT
    ) STRICT;
    CREATE UNIQUE INDEX one_active_run_per_device ON run_state(device) WHERE status IN ({active});
    CREATE TABLE metrics (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        run_id TEXT NOT NULL REFERENCES runs(id),
        attempt INTEGER NOT NULL,
        step INTEGER NOT NULL,
        tokens INTEGER NOT NULL,
        train_loss REAL,
        learning_rate REAL,
        grad_norm REAL,
        tokens_per_second REAL,
        mfu REAL,
        elapsed_seconds REAL NOT NULL,
        superseded INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE INDEX metrics_by_run ON metrics(run_id, id);
    CREATE TABLE evals (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        run_id TEXT NOT NULL REFERENCES runs(id),
        attempt INTEGER NOT NULL,
        step INTEGER NOT NULL,
        tokens INTEGER NOT NULL,
        val_loss REAL,
        val_accuracy REAL,
        val_perplexity REAL,
        val_bits_per_byte REAL,
        elapsed_seconds REAL NOT NULL,
        superseded INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE INDEX evals_by_run ON evals(run_id, id);
    CREATE TABLE samples (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        run_id TEXT NOT NULL REFERENCES runs(id),
        attempt INTEGER NOT NULL,
        step INTEGER NOT NULL,
        tokens INTEGER NOT NULL,
        suite TEXT NOT NULL DEFAULT '',
        prompt TEXT NOT NULL,
        text TEXT NOT NULL,
        seed INTEGER,
        temperature REAL,
        top_k INTEGER,
        top_p REAL,
        max_tokens INTEGER,
        new_tokens INTEGER NOT NULL DEFAULT 0,
        finish TEXT NOT NULL DEFAULT '',
        weights_sha256 TEXT,
        dtype TEXT,
        device TEXT,
        source TEXT NOT NULL,
        superseded INTEGER NOT NULL DEFAULT 0,
        created_at REAL NOT NULL
    ) STRICT;
    CREATE INDEX samples_by_run ON samples(run_id, id);
    CREATE TABLE archive (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        sample_id INTEGER NOT NULL UNIQUE REFERENCES samples(id),
        category TEXT NOT NULL,
        title TEXT NOT NULL,
        note TEXT NOT NULL DEFAULT '',
        created_at REAL NOT NULL
    ) STRICT;
    CREATE TABLE events (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        run_id TEXT NOT NULL REFERENCES runs(id),
        step INTEGER,
        kind TEXT NOT NULL,
        message TEXT NOT NULL,
        created_at REAL NOT NULL
    ) STRICT;
    CREATE INDEX events_by_run ON events(run_id, id);
    CREATE TABLE commands (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        run_id TEXT NOT NULL REFERENCES runs(id),
        kind TEXT NOT NULL,
        argument TEXT NOT NULL DEFAULT '',
        created_at REAL NOT NULL,
        taken_at REAL,
        done_at REAL,
        result TEXT
    ) STRICT;
    CREATE INDEX commands_waiting ON commands(run_id, id) WHERE taken_at IS NULL;
    CREATE TABLE checkpoints (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        run_id TEXT NOT NULL REFERENCES runs(id),
        attempt INTEGER NOT NULL,
        step INTEGER NOT NULL,
        tokens INTEGER NOT NULL,
        kind TEXT NOT NULL,
        path TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        sha256 TEXT NOT NULL,
        created_at REAL NOT NULL,
        deleted_at REAL
    ) STRICT;
    CREATE INDEX checkpoints_by_run ON checkpoints(run_id, step);
    CREATE VIEW current_metrics AS SELECT * FROM metrics WHERE superseded = 0;
    CREATE VIEW current_evals AS SELECT * FROM evals WHERE superseded = 0
    """.split(";\n"):
        db.conn.execute(statement)


def full_text_search(db: Database) -> None:
    """The words of the archive, kept in step by triggers. Only the archive has any: samples never change."""
    words = """new.id, new.title, new.note, samples.prompt, samples.text, runs.name
        FROM samples JOIN runs ON runs.id = samples.run_id WHERE samples.id = new.sample_id"""
    for statement in (
        """CREATE VIRTUAL TABLE archive_words USING fts5 (
            title, note, prompt, text, run, tokenize = 'unicode61 remove_diacritics 2', prefix = '1 2 3')""",
        """INSERT INTO archive_words (rowid, title, note, prompt, text, run)
            SELECT archive.id, title, archive.note, prompt, text, runs.name FROM archive
            JOIN samples ON samples.id = archive.sample_id JOIN runs ON runs.id = samples.run_id""",
        f"""CREATE TRIGGER archive_kept AFTER INSERT ON archive BEGIN
            INSERT INTO archive_words (rowid, title, note, prompt, text, run) SELECT {words};
        END""",
        f"""CREATE TRIGGER archive_changed AFTER UPDATE ON archive BEGIN
            DELETE FROM archive_words WHERE rowid = old.id;
            INSERT INTO archive_words (rowid, title, note, prompt, text, run) SELECT {words};
        END""",
        """CREATE TRIGGER archive_removed AFTER DELETE ON archive BEGIN
            DELETE FROM archive_words WHERE rowid = old.id;
        END""",
    ):
        db.conn.execute(statement)


def survival(db: Database) -> None:
    """How long the last save took, for the patience of a stop, and how often a run went on without being asked."""
    db.conn.execute("ALTER TABLE run_state ADD COLUMN save_seconds REAL")
    db.conn.execute("ALTER TABLE run_state ADD COLUMN auto_resumes INTEGER NOT NULL DEFAULT 0")


def mixture_of_experts(db: Database) -> None:
    """How evenly a step spread its tokens over experts, and how much of the validation text each of them got."""
    db.conn.execute("ALTER TABLE metrics ADD COLUMN balance_loss REAL")
    db.conn.execute("ALTER TABLE evals ADD COLUMN expert_load TEXT")


def dataset_jobs(db: Database) -> None:
    """How each dataset is made: what was asked, how far it is, which process makes it. One row a dataset."""
    db.conn.execute("""CREATE TABLE jobs (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        recipe TEXT NOT NULL,
        roots TEXT,
        status TEXT NOT NULL,
        stage TEXT NOT NULL DEFAULT '',
        message TEXT NOT NULL DEFAULT '',
        progress REAL,
        documents INTEGER NOT NULL DEFAULT 0,
        tokens INTEGER NOT NULL DEFAULT 0,
        target_tokens INTEGER,
        bytes INTEGER NOT NULL DEFAULT 0,
        dropped TEXT NOT NULL DEFAULT '{}',
        tokens_per_second REAL,
        elapsed_seconds REAL NOT NULL DEFAULT 0,
        eta_seconds REAL,
        attempt INTEGER NOT NULL DEFAULT 0,
        auto_resumes INTEGER NOT NULL DEFAULT 0,
        reached REAL,
        stop_requested_at REAL,
        pid INTEGER,
        process_started_at REAL,
        boot_id TEXT,
        heartbeat_at REAL,
        created_at REAL NOT NULL,
        started_at REAL,
        ended_at REAL,
        error TEXT
    ) STRICT""")


MIGRATIONS: list[Callable[[Database], None]] = [
    first_schema,
    full_text_search,
    survival,
    mixture_of_experts,
    dataset_jobs,
]
