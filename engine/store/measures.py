"""What was measured about answers, and what each of them looks like. Functions take an open database first."""

from collections.abc import Mapping
from typing import Any

from sqlite_utils import Database

from engine.store.connect import Refused, Row, rows

MEASURED = (
    "words",
    "distinct_1",
    "distinct_2",
    "distinct_3",
    "loop_words",
    "loop_share",
    "stuck_share",
    "unknown_share",
    "familiar_share",
    "copied_words",
    "copied_share",
    "change",
    "self_perplexity",
    "mean_entropy",
)
"""What a person is shown."""
Limits = Mapping[str, tuple[float | None, float | None]]
"""For a measure the least and the most it may be; None: any. An answer without that measure is never within."""

KINDS: dict[str, tuple[Limits, str]] = {
    "good": ({}, "good"),
    "strange": ({}, "strange"),
    "hallucination": ({}, "hallucination"),
    "loop": ({}, "loop"),
    "memorised": ({}, "memorised"),
    "repeats": ({"loop_share": (1 / 3, None)}, ""),
    "copies": ({"copied_words": (6, None)}, ""),
    "makes-up": ({"unknown_share": (0.1, None)}, ""),
    "changed": ({"change": (0.8, None)}, ""),
    "same": ({"change": (None, 0.2)}, ""),
    "sure": ({"self_perplexity": (None, 5.0)}, ""),
    "doubts": ({"self_perplexity": (50.0, None)}, ""),
}
"""What a search can be limited to: the category that is proposed, or a measure of some size (docs/JUDGING.md).

The index of everything said has a word for each (store/changes_judging.py): who changes one changes that too.
"""


def put_measures(db: Database, row: Row) -> None:
    """Keep what was measured about an answer, in place of what was there; nothing where the answer is gone."""
    names = ", ".join(row)
    marks = ", ".join("?" for _ in row)
    changes = ", ".join(f"{name} = excluded.{name}" for name in row if name != "sample_id")
    db.conn.execute(
        f"""INSERT INTO measures ({names}) SELECT {marks} FROM samples WHERE samples.id = ?
            ON CONFLICT (sample_id) DO UPDATE SET {changes}""",
        [*row.values(), row["sample_id"]],
    )


def get_measures(db: Database, sample_id: int) -> Row | None:
    """What was measured about an answer; None where that has not been done."""
    found = rows(db, "SELECT * FROM measures WHERE sample_id = ?", [sample_id])
    return found[0] if found else None


def unmeasured(db: Database, version: int, after: int = 0, run_id: str = "", limit: int = 500) -> list[Row]:
    """Answers with an id above `after` that were not measured, or by older rules; oldest first.

    Each with `dataset` and `run_kind`.
    """
    return rows(
        db,
        """SELECT samples.*, runs.dataset, runs.kind AS run_kind FROM samples JOIN runs ON runs.id = samples.run_id
           LEFT JOIN measures ON sample_id = samples.id
           WHERE samples.id > ? AND (? = '' OR run_id = ?) AND (version IS NULL OR version < ?)
           ORDER BY samples.id LIMIT ?""",
        [after, run_id, run_id, version, limit],
    )


def not_looked_up(db: Database, dataset: str, sha256: str, after: int = 0, limit: int = 500) -> list[Row]:
    """Measured answers of runs on a dataset that were not looked up in this very text of it, as above."""
    return rows(
        db,
        """SELECT samples.*, runs.dataset, runs.kind AS run_kind FROM measures JOIN samples ON samples.id = sample_id
           JOIN runs ON runs.id = samples.run_id
           WHERE sample_id > ? AND runs.dataset = ? AND text_sha256 IS NOT ? ORDER BY sample_id LIMIT ?""",
        [after, dataset, sha256, limit],
    )


def unweighed(db: Database, run_id: str = "") -> list[Row]:
    """Measured answers (of a run) whose weights were not asked how sure they were, those of the same weights together.

    Each with `there`: whether these weights are on the disk.
    """
    return rows(
        db,
        """SELECT samples.*, EXISTS (SELECT 1 FROM checkpoints WHERE checkpoints.run_id = samples.run_id
               AND sha256 = weights_sha256 AND deleted_at IS NULL) AS there
           FROM samples JOIN measures ON sample_id = samples.id
           WHERE (? = '' OR run_id = ?) AND self_perplexity IS NULL AND weights_sha256 IS NOT NULL AND text != ''
           ORDER BY run_id, step, weights_sha256, samples.id""",
        [run_id, run_id],
    )


def put_certainty(db: Database, sample_id: int, self_perplexity: float, mean_entropy: float) -> None:
    """Keep how sure the weights were of an answer that is measured."""
    db.conn.execute(
        "UPDATE measures SET self_perplexity = ?, mean_entropy = ? WHERE sample_id = ?",
        [self_perplexity, mean_entropy, sample_id],
    )


def datasets_of_answers(db: Database) -> list[str]:
    """The datasets of runs that have said something."""
    found = rows(
        db,
        """SELECT DISTINCT dataset FROM runs WHERE kind != 'published'
           AND EXISTS (SELECT 1 FROM samples WHERE run_id = runs.id) ORDER BY dataset""",
    )
    return [row["dataset"] for row in found]


def answer_before(db: Database, sample: Row) -> Row | None:
    """Text and finish of the answer to the same prompt at the age before; None for the first, and a person's own."""
    if sample["source"] == "playground":
        return None
    found = rows(
        db,
        """SELECT text, finish FROM samples WHERE run_id = ? AND id < ? AND suite = ? AND prompt = ? AND superseded = 0
           AND source != 'playground' AND step < ? ORDER BY id DESC LIMIT 1""",
        [sample["run_id"], sample["id"], sample["suite"], sample["prompt"], sample["step"]],
    )
    return found[0] if found else None


def measured_as(name: str, sample: str) -> tuple[str, list[Any]]:
    """A condition for one of KINDS on the id of a sample, an SQL expression, with its values. Raises Refused."""
    limits, proposal = KINDS[known(name)]
    conditions, values = ["1 = 1"], list[Any]()
    for measure, (least, most) in limits.items():
        conditions += [f"{measure} >= ?"] * (least is not None) + [f"{measure} <= ?"] * (most is not None)
        values += [value for value in (least, most) if value is not None]
    if proposal:
        conditions.append("proposal = ?")
        values.append(proposal)
    return f"EXISTS (SELECT 1 FROM measures WHERE sample_id = {sample} AND {' AND '.join(conditions)})", values


def known(name: str) -> str:
    """The name of one of KINDS; raises Refused for another."""
    if name not in KINDS:
        raise Refused(f"There is no measure filter {name[:40]!r}; there are {', '.join(KINDS)}.")
    return name
