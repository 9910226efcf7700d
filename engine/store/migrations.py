"""The database's shape, as a list of changes. A change is appended and never edited; docs/SCHEMA.md explains it."""

from collections.abc import Callable

from sqlite_utils import Database

from engine.store import changes, changes_fame, changes_judging

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


MIGRATIONS: list[Callable[[Database], None]] = [
    first_schema,
    changes.full_text_search,
    changes.survival,
    changes.mixture_of_experts,
    changes.dataset_jobs,
    changes.preferences,
    changes.labels,
    changes.machine,
    changes.queue,
    changes.changes_in_flight,
    changes.probes,
    changes.diagnostics,
    changes.alerts,
    changes.growing_up,
    changes.ways_of_asking,
    changes.report_blocks,
    changes_judging.measures,
    changes_fame.hall_of_fame,
    changes_fame.sample_search,
    changes_fame.arena,
    changes.capsules,
    changes_judging.measure_search,
]
