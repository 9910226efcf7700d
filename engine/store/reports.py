"""What a report needs besides the rest: what people write into it, and figures over a whole run.

Functions take an open database first.
"""

import time

from sqlite_utils import Database

from engine.store.connect import Refused, Row, rows, writing
from engine.store.runs import get_run

REPORT_BLOCKS = {
    "title": 120,
    "author": 200,
    "licence": 80,
    "language": 60,
    "introduction": 8000,
    "learned": 8000,
    "limits": 8000,
}
"""The blocks that a person writes, with the most characters of each."""


def report_blocks(db: Database, run_id: str) -> dict[str, str]:
    """What people have written into the report of a run, by block; those that are empty are left out."""
    found = rows(db, "SELECT block, text FROM report_blocks WHERE run_id = ?", [run_id])
    return {row["block"]: row["text"] for row in found if row["block"] in REPORT_BLOCKS}


def set_report_block(db: Database, run_id: str, block: str, text: str, before: str | None = None) -> None:
    """Keep the text of a block, "" for none; refused where it is no longer what it was `before` it was edited."""
    if block not in REPORT_BLOCKS:
        raise Refused(f"A report has the blocks {', '.join(REPORT_BLOCKS)}; {block[:40]!r} is none of them.")
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "").strip()
    if len(text) > REPORT_BLOCKS[block]:
        raise Refused(f"This block takes {REPORT_BLOCKS[block]:,} characters; these are {len(text):,}.")
    if "\n" in text and REPORT_BLOCKS[block] < 1000:
        raise Refused(f"The {block} of a report is one line.")
    with writing(db):
        run = get_run(db, run_id)
        if run["kind"] == "published":
            raise Refused(f"{run['name']} was published elsewhere; there is no report of it to write here.")
        there = report_blocks(db, run_id).get(block, "")
        if there == text:
            return
        if before is not None and there != before.replace("\r\n", "\n").strip():
            raise Refused("This text was changed in another window meanwhile; copy yours, and open the report anew.")
        if not text:
            db.conn.execute("DELETE FROM report_blocks WHERE run_id = ? AND block = ?", [run_id, block])
            return
        db.conn.execute(
            """INSERT INTO report_blocks (run_id, block, text, updated_at) VALUES (?, ?, ?, ?)
               ON CONFLICT (run_id, block) DO UPDATE SET text = excluded.text, updated_at = excluded.updated_at""",
            [run_id, block, text, time.time()],
        )


def whole_run(db: Database, run_id: str) -> Row:
    """Figures over all of a run, None where nothing measured them: `mfu` is the mean of its steps, `run_memory` and
    `gpu_memory` the most in bytes, `best_loss` the lowest validation loss and `best_step` where that was."""
    found = rows(
        db,
        """SELECT (SELECT avg(mfu) FROM current_metrics WHERE run_id = :run) AS mfu,
               (SELECT max(run_memory) FROM machine WHERE run_id = :run) AS run_memory,
               (SELECT max(gpu_memory_used) FROM machine WHERE run_id = :run) AS gpu_memory""",
        {"run": run_id},
    )[0]
    best = rows(
        db,
        """SELECT step, val_loss FROM current_evals WHERE run_id = ? AND val_loss IS NOT NULL
           ORDER BY val_loss, id LIMIT 1""",
        [run_id],
    )
    return found | {"best_loss": best[0]["val_loss"] if best else None, "best_step": best[0]["step"] if best else None}


def drawable(db: Database, run_id: str) -> tuple[str, ...]:
    """The curves of a run with two numbers at least, by column."""
    found = []
    for table, names in (
        ("metrics", ("train_loss", "learning_rate")),
        ("evals", ("val_loss", "val_accuracy", "val_perplexity")),
    ):
        for name in names:
            two = f"SELECT 1 FROM current_{table} WHERE run_id = ? AND {name} IS NOT NULL LIMIT 2"
            if len(rows(db, two, [run_id])) == 2:
                found.append(name)
    return tuple(found)
