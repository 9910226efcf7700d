"""The blind arena: pairs of answers to one prompt, and votes about them. Functions take an open database first."""

import random
import time
from typing import Any

from sqlite_utils import Database

from engine.store.connect import Refused, Row, insert, rows, writing
from engine.store.words import get_sample

TRIES = 24
"""Answers that are drawn before it is said that there is no pair."""
NEIGHBOURS = 12
"""Answers to the same prompt among which the other side is drawn."""
_FAIR = "superseded = 0 AND weights_sha256 IS NOT NULL AND text != ''"


def random_pair(db: Database, run_id: str = "", dice: random.Random | None = None) -> tuple[Row, Row] | None:
    """Two current answers to one prompt by different weights, in any order, or None where none is found.

    Their texts and their ages differ; pairs that nobody has voted on come first. With a `run_id` both are of that run.
    """
    dice = dice or random.Random()
    used = None
    for _ in range(TRIES):
        one = _drawn(db, run_id, dice)
        if one is None:
            return None
        others = _rivals(db, one, run_id, dice)
        dice.shuffle(others)
        for other in others:
            pair = (one, other) if dice.random() < 0.5 else (other, one)
            if not _voted(db, one["id"], other["id"]):
                return pair
            used = pair
    return used


def _drawn(db: Database, run_id: str, dice: random.Random) -> Row | None:
    """Any answer that can be in a pair."""
    where, values = ("run_id = ? AND ", [run_id]) if run_id else ("", [])
    last = int(rows(db, "SELECT ifnull(max(id), 0) AS id FROM samples")[0]["id"])
    for start in (dice.randint(1, max(last, 1)), 1):
        sql = f"SELECT * FROM samples WHERE {where}{_FAIR} AND id >= ? ORDER BY id LIMIT 1"
        if found := rows(db, sql, [*values, start]):
            return found[0]
    return None


def _rivals(db: Database, one: Row, run_id: str, dice: random.Random) -> list[Row]:
    """Some answers to the same prompt that another age or run gave in other words, from any place on."""
    # The plus keeps SQLite from the other index: of one run few answers are asked about, of one prompt perhaps many.
    same = "run_id = :run AND +substr(prompt, 1, 64)" if run_id else "substr(prompt, 1, 64)"
    sql = f"""SELECT * FROM samples WHERE {same} = substr(:prompt, 1, 64) AND prompt = :prompt AND {_FAIR}
              AND weights_sha256 != :weights AND text != :text AND NOT (+run_id = :run AND step = :step)
              AND id >= :low AND id < :high ORDER BY id LIMIT :limit"""
    values: dict[str, Any] = {
        "prompt": one["prompt"],
        "run": one["run_id"],
        "weights": one["weights_sha256"],
        "text": one["text"],
        "step": one["step"],
        "limit": NEIGHBOURS,
    }
    last = int(rows(db, "SELECT ifnull(max(id), 0) AS id FROM samples")[0]["id"])
    start = dice.randint(1, max(last, 1))
    found = rows(db, sql, values | {"low": start, "high": last + 1})
    return found or rows(db, sql, values | {"low": 0, "high": start})


def _voted(db: Database, one: int, other: int) -> bool:
    return bool(
        rows(
            db,
            "SELECT 1 FROM votes WHERE left_sample = :one AND right_sample = :other "
            "OR left_sample = :other AND right_sample = :one LIMIT 1",
            {"one": one, "other": other},
        )
    )


def add_vote(db: Database, left: int, right: int, winner: int | None) -> int:
    """Store which of two samples is better, None for a tie; returns the vote's id."""
    with writing(db):
        if get_sample(db, left)["prompt"] != get_sample(db, right)["prompt"] or left == right:
            raise Refused("Only two answers to one prompt can be compared.")
        if winner not in (left, right, None):
            raise Refused("The better one must be one of the two.")
        row = {"left_sample": left, "right_sample": right, "winner": winner, "created_at": time.time()}
        return insert(db, "votes", row)


def voted_ages(db: Database) -> list[Row]:
    """Every vote in order: run, name, step and tokens of both sides (`left_run`, ...) and the left one's `score`."""
    return rows(
        db,
        """SELECT one.run_id AS left_run, first.name AS left_name, one.step AS left_step, one.tokens AS left_tokens,
                  two.run_id AS right_run, second.name AS right_name, two.step AS right_step,
                  two.tokens AS right_tokens,
                  CASE winner WHEN left_sample THEN 1.0 WHEN right_sample THEN 0.0 ELSE 0.5 END AS score
           FROM votes JOIN samples AS one ON one.id = left_sample JOIN samples AS two ON two.id = right_sample
           JOIN runs AS first ON first.id = one.run_id JOIN runs AS second ON second.id = two.run_id
           ORDER BY votes.id""",
    )
