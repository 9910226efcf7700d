"""How a run grew up: its ages and its prompts. Functions take an open database first.

An age is a step at which it was asked its prompts. What a person asked in between belongs to no suite: it is left out.
"""

from sqlite_utils import Database

from engine.store.connect import Row, rows
from engine.store.words import LAST_STEP

_ASKED = "run_id = ? AND step <= ? AND superseded = 0 AND source != 'playground' AND suite != ''"


def ages_of_words(db: Database, run_id: str, last: int = LAST_STEP) -> list[Row]:
    """Every age up to step `last` at which a run was asked its prompts, youngest first: step, tokens, answers."""
    return rows(
        db,
        f"""SELECT step, max(tokens) AS tokens, count(*) AS answers FROM samples
                       WHERE {_ASKED} GROUP BY step ORDER BY step""",
        [run_id, last],
    )


def prompts_asked(db: Database, run_id: str, last: int = LAST_STEP) -> list[Row]:
    """Each prompt with its newest answer up to step `last`, in the order in which they were first asked.

    suite, prompt, text, step, tokens, source, and the number of `ages` at which it was answered.
    """
    return rows(
        db,
        f"""SELECT suite, prompt, text, step, tokens, source, ages FROM samples JOIN (
               SELECT min(id) AS oldest, max(id) AS newest, count(*) AS ages FROM samples
               WHERE {_ASKED} GROUP BY suite, prompt)
           ON id = newest ORDER BY oldest""",
        [run_id, last],
    )
