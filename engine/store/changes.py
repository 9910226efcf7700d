"""How the database's shape has changed since the first one, in order; engine/store/migrations.py has the list."""

from sqlite_utils import Database


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


def preferences(db: Database) -> None:
    """What a person set for the whole home, as JSON by name: prices, where alerts go."""
    db.conn.execute("CREATE TABLE preferences (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT")


def labels(db: Database) -> None:
    """What people write about a run: tags, a note, whether it is put away. A run's name may change from here on."""
    for statement in (
        """CREATE TABLE run_labels (
            run_id TEXT PRIMARY KEY REFERENCES runs(id),
            tags TEXT NOT NULL DEFAULT '[]',
            notes TEXT NOT NULL DEFAULT '',
            put_away_at REAL
        ) STRICT""",
        """CREATE TRIGGER run_renamed AFTER UPDATE OF name ON runs WHEN new.name != old.name BEGIN
            UPDATE archive_words SET run = new.name WHERE rowid IN (
                SELECT archive.id FROM samples JOIN archive ON archive.sample_id = samples.id
                WHERE samples.run_id = new.id);
        END""",
    ):
        db.conn.execute(statement)


def machine(db: Database) -> None:
    """What the machine did while a run trained, thinly; energy, prices and budgets."""
    db.conn.execute("""CREATE TABLE machine (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        run_id TEXT NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
        attempt INTEGER NOT NULL,
        step INTEGER NOT NULL,
        measured_at REAL NOT NULL,
        cpu_use REAL,
        memory_used INTEGER,
        memory_total INTEGER,
        run_memory INTEGER,
        disk_free INTEGER,
        gpu_use REAL,
        gpu_memory_used INTEGER,
        gpu_memory_total INTEGER,
        gpu_temperature REAL,
        gpu_watts REAL,
        gpu_clock REAL
    ) STRICT""")
    db.conn.execute("CREATE INDEX machine_by_run ON machine(run_id, id)")
    for column in (
        "process_seconds REAL NOT NULL DEFAULT 0",
        "joules REAL NOT NULL DEFAULT 0",
        "unmeasured_seconds REAL NOT NULL DEFAULT 0",
        "metered_at REAL",
        "price_per_hour REAL",
        "price_per_kwh REAL",
        "given_watts REAL",
        "currency TEXT",
        "budget REAL",
    ):
        db.conn.execute(f"ALTER TABLE run_state ADD COLUMN {column}")


def queue(db: Database) -> None:
    """Runs in line for a device, and the sweep that a run belongs to."""
    for statement in (
        "ALTER TABLE run_state ADD COLUMN place INTEGER",
        "ALTER TABLE run_state ADD COLUMN queued_at REAL",
        "CREATE TABLE lines (device TEXT PRIMARY KEY, held TEXT, released_at REAL) STRICT",
        """CREATE TABLE sweeps (
            name TEXT PRIMARY KEY, preset TEXT NOT NULL, settings TEXT NOT NULL, created_at REAL NOT NULL) STRICT""",
        "ALTER TABLE runs ADD COLUMN sweep TEXT REFERENCES sweeps(name)",
    ):
        db.conn.execute(statement)


def changes_in_flight(db: Database) -> None:
    """What was changed about a run while it ran, with the step from which it holds, and where it ends since."""
    for statement in (
        """CREATE TABLE run_changes (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            run_id TEXT NOT NULL REFERENCES runs(id),
            key TEXT NOT NULL,
            value REAL NOT NULL,
            step INTEGER,
            superseded INTEGER NOT NULL DEFAULT 0,
            created_at REAL NOT NULL
        ) STRICT""",
        "CREATE INDEX run_changes_by_run ON run_changes(run_id, id)",
        "ALTER TABLE run_state ADD COLUMN end_step INTEGER",
        "ALTER TABLE run_state ADD COLUMN end_tokens INTEGER",
    ):
        db.conn.execute(statement)


def probes(db: Database) -> None:
    """What a short measurement before a run found."""
    db.conn.execute("""CREATE TABLE probes (
        key TEXT PRIMARY KEY,
        device TEXT NOT NULL,
        settings TEXT NOT NULL,
        result TEXT NOT NULL,
        measured_at REAL NOT NULL
    ) STRICT""")


def diagnostics(db: Database) -> None:
    """How the weights of a run move, at intervals, and what looked wrong."""
    db.conn.execute("""CREATE TABLE diagnostics (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        run_id TEXT NOT NULL REFERENCES runs(id),
        attempt INTEGER NOT NULL,
        step INTEGER NOT NULL,
        tokens INTEGER NOT NULL,
        groups TEXT NOT NULL,
        attention TEXT NOT NULL,
        findings TEXT NOT NULL,
        superseded INTEGER NOT NULL DEFAULT 0
    ) STRICT""")
    db.conn.execute("CREATE INDEX diagnostics_by_run ON diagnostics(run_id, id)")


def alerts(db: Database) -> None:
    """What was told to people, and whether it reached them. Triggers make the rows, so that whoever ends a run, and
    however often a supervisor is restarted, each end is told once; a crash after which a run goes on is taken back in
    the transaction that reopens it.
    """
    ours = "run_id = new.run_id AND attempt = new.attempt AND kind = 'crashed' AND state = 'waiting' AND tries = 0"
    for statement in (
        """CREATE TABLE alerts (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            run_id TEXT NOT NULL REFERENCES runs(id),
            attempt INTEGER NOT NULL,
            kind TEXT NOT NULL,
            message TEXT NOT NULL,
            created_at REAL NOT NULL,
            state TEXT NOT NULL DEFAULT 'waiting',
            tries INTEGER NOT NULL DEFAULT 0,
            due_at REAL NOT NULL DEFAULT 0,
            sent_at REAL,
            error TEXT NOT NULL DEFAULT ''
        ) STRICT""",
        "CREATE INDEX alerts_by_run ON alerts(run_id)",
        "CREATE INDEX alerts_waiting ON alerts(id) WHERE state = 'waiting'",
        "CREATE UNIQUE INDEX one_stall_an_attempt ON alerts(run_id, attempt) WHERE kind = 'stalled'",
        """CREATE TRIGGER alert_of_end AFTER UPDATE OF status ON run_state
        WHEN new.status != old.status AND new.status IN ('finished', 'failed', 'crashed', 'diverged') BEGIN
            INSERT INTO alerts (run_id, attempt, kind, message, created_at) VALUES (new.run_id, new.attempt,
                new.status, coalesce(new.error, ''), (julianday('now') - 2440587.5) * 86400.0);
        END""",
        f"""CREATE TRIGGER alert_reworded AFTER UPDATE OF error ON run_state
        WHEN new.status = 'crashed' AND new.error IS NOT NULL BEGIN
            UPDATE alerts SET message = new.error WHERE {ours};
        END""",
        f"""CREATE TRIGGER alert_taken_back AFTER UPDATE OF auto_resumes ON run_state
        WHEN new.auto_resumes > old.auto_resumes BEGIN
            DELETE FROM alerts WHERE {ours};
        END""",
        """CREATE TRIGGER alert_of_event AFTER INSERT ON events WHEN new.kind IN ('budget', 'health') BEGIN
            INSERT INTO alerts (run_id, attempt, kind, message, created_at)
            SELECT new.run_id, attempt, new.kind, new.message, new.created_at FROM run_state
            WHERE run_id = new.run_id;
        END""",
    ):
        db.conn.execute(statement)


def growing_up(db: Database) -> None:
    """What a run answered to its prompts is found by age and by prompt, however much it has said.

    The last columns are there so that ages and prompts are counted without reading a single text.
    """
    current = "superseded, source) WHERE superseded = 0 AND source != 'playground'"
    db.conn.execute(f"CREATE INDEX samples_by_age ON samples(run_id, step, tokens, suite, {current}")
    db.conn.execute(f"CREATE INDEX samples_by_prompt ON samples(run_id, suite, prompt, id, step, {current}")


def ways_of_asking(db: Database) -> None:
    """More of how a sample was asked, with the values that change nothing; and people's questions, found at once."""
    db.conn.execute("ALTER TABLE samples ADD COLUMN min_p REAL NOT NULL DEFAULT 0")
    db.conn.execute("ALTER TABLE samples ADD COLUMN repetition_penalty REAL NOT NULL DEFAULT 1")
    db.conn.execute("ALTER TABLE samples ADD COLUMN stop TEXT NOT NULL DEFAULT '[]'")
    db.conn.execute("CREATE INDEX samples_asked ON samples(id) WHERE source IN ('playground', 'live')")


def report_blocks(db: Database) -> None:
    """What people write into the report of a run, a text for each of its blocks."""
    db.conn.execute("""CREATE TABLE report_blocks (
        run_id TEXT NOT NULL REFERENCES runs(id),
        block TEXT NOT NULL,
        text TEXT NOT NULL,
        updated_at REAL NOT NULL,
        PRIMARY KEY (run_id, block)
    ) STRICT""")


def capsules(db: Database) -> None:
    """Capsules that came from elsewhere, and which runs came with which."""
    for statement in (
        """CREATE TABLE capsules (
            id TEXT PRIMARY KEY,
            title TEXT NOT NULL,
            sender TEXT NOT NULL DEFAULT '',
            runs TEXT NOT NULL,
            exhibits INTEGER NOT NULL,
            samples INTEGER NOT NULL,
            weights INTEGER NOT NULL,
            bytes INTEGER NOT NULL,
            sealed_until TEXT,
            created_at REAL NOT NULL,
            imported_at REAL NOT NULL,
            opened_at REAL
        ) STRICT""",
        "ALTER TABLE runs ADD COLUMN capsule_id TEXT REFERENCES capsules(id)",
        "CREATE INDEX runs_by_capsule ON runs(capsule_id) WHERE capsule_id IS NOT NULL",
    ):
        db.conn.execute(statement)
