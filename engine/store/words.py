"""What models say, and the weights that can say it again. Functions take an open database first."""

import time
from typing import Any

from sqlite_utils import Database

from engine.store.connect import Refused, Row, insert, rows, writing

_EXHIBIT = "(SELECT archive.id FROM archive WHERE archive.sample_id = samples.id) AS exhibit"
_SAME_AS = """(SELECT CASE WHEN earlier.text = samples.text THEN earlier.step END FROM samples AS earlier
    WHERE earlier.run_id = samples.run_id AND earlier.suite = samples.suite AND earlier.prompt = samples.prompt
    AND earlier.superseded = 0 AND earlier.source != 'playground' AND earlier.id < samples.id
    ORDER BY earlier.id DESC LIMIT 1) AS same_as"""
"""The step of the age before, where the same prompt was answered word for word the same."""
LAST_STEP = 2**62
"""Beyond every step."""


def add_sample(db: Database, sample: Row) -> int:
    """Store one answer with everything needed to ask again; returns its id."""
    return insert(db, "samples", sample)


def get_sample(db: Database, sample_id: int) -> Row:
    """One sample by id; raises Refused when there is none."""
    found = rows(db, "SELECT * FROM samples WHERE id = ?", [sample_id])
    if not found:
        raise Refused(f"There is no sample {sample_id}.")
    return found[0]


def said_on(db: Database, run_id: str, weights: str, prompt: str, seed: int) -> str:
    """The kind of device, cpu or cuda, on which these weights first answered a prompt with a seed; "" if never."""
    found = rows(
        db,
        """SELECT device FROM samples WHERE substr(prompt, 1, 64) = substr(:prompt, 1, 64) AND prompt = :prompt
           AND run_id = :run AND weights_sha256 = :weights AND seed = :seed ORDER BY id LIMIT 1""",
        {"run": run_id, "weights": weights, "prompt": prompt, "seed": seed},
    )
    return str(found[0]["device"] or "") if found else ""


def list_samples(db: Database, run_id: str, cursor: int = 0, limit: int = 1000) -> list[Row]:
    """Current samples of a run with an id above `cursor`, oldest first."""
    return rows(
        db,
        "SELECT * FROM samples WHERE run_id = ? AND id > ? AND superseded = 0 ORDER BY id LIMIT ?",
        [run_id, cursor, limit],
    )


def asked_samples(db: Database, before: int = 2**62, limit: int = 30) -> list[Row]:
    """What people asked any run, newest first, from ids below `before` on; with the run's name and its `exhibit`."""
    return rows(
        db,
        f"""SELECT samples.*, runs.name AS run_name, {_EXHIBIT} FROM samples JOIN runs ON runs.id = samples.run_id
            WHERE samples.source IN ('playground', 'live') AND samples.id < ? ORDER BY samples.id DESC LIMIT ?""",
        [before, limit],
    )


def newest_samples(db: Database, run_id: str) -> list[Row]:
    """The newest periodic answer to each prompt of a run, with the number of `ages` at which it was given.

    In the order in which the prompts are asked; `exhibit` is its place in the archive, or None, and `same_as` the step
    of the age before where that said the very same words, or None.
    """
    return rows(
        db,
        f"""SELECT samples.*, ages, {_EXHIBIT}, {_SAME_AS} FROM samples JOIN (
               SELECT max(id) AS newest, count(*) AS ages FROM samples
               WHERE run_id = ? AND superseded = 0 AND source != 'playground' AND source != 'live'
               GROUP BY suite, prompt)
           ON id = newest ORDER BY id""",
        [run_id],
    )


def answers(db: Database, run_id: str, suite: str, prompt: str, first: int = 0, last: int = LAST_STEP) -> list[Row]:
    """Every current periodic answer of a run to one prompt from step `first` to `last`, youngest age first.

    With `exhibit` and `same_as`.
    """
    # The pluses keep SQLite at the index of prompts: with that of steps it would read all prompts of these ages.
    return rows(
        db,
        f"""SELECT samples.*, {_EXHIBIT}, {_SAME_AS} FROM samples
                       WHERE run_id = ? AND suite = ? AND prompt = ? AND superseded = 0 AND source != 'playground'
                       AND +step BETWEEN ? AND ? ORDER BY +step, id""",
        [run_id, suite, prompt, first, last],
    )


def answers_at(db: Database, run_id: str, step: int) -> list[Row]:
    """What a run answered to its prompts at one age, in the order in which they were asked; likewise."""
    # The plus keeps SQLite at the index of steps: to find the rows in order it would read all of the run's.
    return rows(
        db,
        f"""SELECT samples.*, {_EXHIBIT}, {_SAME_AS} FROM samples
                       WHERE run_id = ? AND step = ? AND superseded = 0 AND source != 'playground' AND suite != ''
                       ORDER BY +id""",
        [run_id, step],
    )


def newest_sample_id(db: Database, run_id: str) -> int:
    """The id of what a run said last, 0 before it said anything: tells whether there is more to read."""
    return int(rows(db, "SELECT coalesce(max(id), 0) AS id FROM samples WHERE run_id = ?", [run_id])[0]["id"])


def newest_answer_id(db: Database) -> int:
    """The same of all runs together."""
    return int(rows(db, "SELECT coalesce(max(id), 0) AS id FROM samples")[0]["id"])


def add_checkpoint(db: Database, run_id: str, **values: Any) -> None:
    """Index weights that lie on disk: kind `full` can resume a run, kind `sampling` can only be asked."""
    with writing(db):
        put_checkpoint(db, {"run_id": run_id, "created_at": time.time(), **values})


def put_checkpoint(db: Database, row: Row) -> None:
    """The same for a whole row, within the caller's transaction; weights of that step and kind are replaced by it."""
    forget_checkpoint(db, row["run_id"], row["step"], row["kind"])
    insert(db, "checkpoints", row)


def list_checkpoints(db: Database, run_id: str, kind: str = "") -> list[Row]:
    """Weights of a run that are still on disk, oldest step first.

    Without a `kind`, those of the path that the run is on: what was set aside (kind `kept`) is not among them.
    """
    return rows(
        db,
        """SELECT * FROM checkpoints WHERE run_id = ? AND deleted_at IS NULL
                       AND (kind = ? OR ? = '' AND kind != 'kept') ORDER BY step, id""",
        [run_id, kind, kind],
    )


def weights_with_words(db: Database, run_id: str, exhibits_only: bool = False) -> set[str]:
    """The sha256 of the weights that said what can be asked again: exhibits, and samples that are not superseded."""
    found = rows(
        db,
        """SELECT DISTINCT weights_sha256 FROM samples WHERE run_id = ? AND weights_sha256 IS NOT NULL
                       AND (id IN (SELECT sample_id FROM archive) OR superseded = 0 AND NOT ?)""",
        [run_id, exhibits_only],
    )
    return {row["weights_sha256"] for row in found}


def set_aside(db: Database, checkpoint_id: int, path: str) -> None:
    """Note that sampling weights of a step that is done again stay, at `path`: they are no age of the run any more."""
    db.conn.execute("UPDATE checkpoints SET kind = 'kept', path = ? WHERE id = ?", [path, checkpoint_id])


def saved_steps(db: Database, run_id: str) -> list[int]:
    """The steps at which a run was saved whole, also where the save has been removed since."""
    found = rows(
        db,
        "SELECT DISTINCT step FROM checkpoints WHERE run_id = ? AND kind = 'full' AND step > 0 ORDER BY step",
        [run_id],
    )
    return [row["step"] for row in found]


def forget_checkpoint(db: Database, run_id: str, step: int, kind: str, attempt: int | None = None) -> None:
    """Note that weights are gone from disk; several attempts may have `kept` ones of one step."""
    db.conn.execute(
        """UPDATE checkpoints SET deleted_at = ? WHERE run_id = ? AND step = ? AND kind = ? AND deleted_at IS NULL
                       AND attempt = coalesce(?, attempt)""",
        [time.time(), run_id, step, kind, attempt],
    )


def ages(db: Database, run_id: str) -> list[Row]:
    """The ages at which a run can be talked to, oldest first: step, tokens. Not those of a path that it has left."""
    return rows(
        db,
        """SELECT step, max(tokens) AS tokens FROM checkpoints WHERE run_id = ? AND deleted_at IS NULL
                       AND kind != 'kept' GROUP BY step ORDER BY step""",
        [run_id],
    )
