"""The blind arena's part of /api: two answers without names, a vote, whose they were, and what all votes come to."""

import secrets
import threading
from collections import OrderedDict
from typing import Any

from fastapi import APIRouter, Request, Response

from engine import elo, store
from engine.store import Refused, Row
from ui.answers import reply
from ui.checks import text
from ui.exhibits import clean
from ui.reading import Reader

MOST_OPEN = 500
"""Pairs that wait for their vote; the oldest is forgotten first."""
ANSWERS = ("left", "right", "tie")
REVEALED = (
    "id", "run_id", "step", "tokens", "prompt", "text", "seed", "temperature", "top_k", "top_p", "min_p",
    "repetition_penalty", "stop", "max_tokens", "suite", "source", "weights_sha256",
)  # fmt: skip


class Pairs:
    """The pairs that were shown and not voted on yet: a vote is about one of these and counts once."""

    def __init__(self, most: int = MOST_OPEN) -> None:
        self._open: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self._most, self._lock = most, threading.Lock()

    def show(self, left: int, right: int) -> str:
        """Remember a pair; returns the name under which it can be voted on, which tells nothing about it."""
        name = secrets.token_urlsafe(16)
        with self._lock:
            self._open[name] = (left, right)
            while len(self._open) > self._most:
                self._open.popitem(last=False)
        return name

    def take(self, name: str) -> tuple[int, int]:
        """The two samples of a pair that was shown, once; raises Refused."""
        with self._lock:
            found = self._open.pop(name, None)
        if found is None:
            raise Refused("This pair has been voted on already, or was shown too long ago; take the next one.")
        return found


def make_arena(reader: Reader) -> APIRouter:
    """The routes for one home."""
    router, pairs = APIRouter(prefix="/api/arena"), Pairs()

    @router.get("")
    def table(request: Request) -> Response:
        return reply(request, standings(store.voted_ages(reader.db())))

    @router.get("/pair")
    def pair(request: Request, run: str = "") -> Response:
        found = store.random_pair(reader.db(), clean(run[:200]))
        shown: dict[str, Any] = {"pair": None}
        if found:
            left, right = found
            shown = {
                "pair": pairs.show(left["id"], right["id"]),
                "prompt": left["prompt"],
                "left": left["text"],
                "right": right["text"],
            }
        answer = reply(request, shown)
        answer.headers["cache-control"] = "no-store"
        return answer

    @router.post("/vote")
    def vote(request: Request, what: dict[str, Any]) -> Response:
        name, winner = text(what.get("pair"), "The pair", 100), what.get("winner")
        if winner not in ANSWERS:
            raise Refused(f"The winner must be one of {', '.join(ANSWERS)}.")
        db = reader.db()
        before = _ratings(store.voted_ages(db))
        ids = dict(zip(("left", "right"), pairs.take(name), strict=True))
        store.add_vote(db, ids["left"], ids["right"], ids.get(winner))
        votes = store.voted_ages(db)
        after = _ratings(votes)
        sides = {side: _revealed(store.get_sample(db, sample), before, after) for side, sample in ids.items()}
        for one in sides.values():
            one["run_name"] = store.get_run(db, one["run_id"])["name"]
            one["exhibit"] = store.exhibit_of(db, one["id"]) or None
        return reply(request, sides | standings(votes))

    return router


def standings(votes: list[Row]) -> dict[str, Any]:
    """How every age of every run stands after these votes, the best first."""
    ages = {
        (row[f"{side}_run"], row[f"{side}_step"]): {
            "run_id": row[f"{side}_run"],
            "run_name": row[f"{side}_name"],
            "step": row[f"{side}_step"],
            "tokens": row[f"{side}_tokens"],
        }
        for row in votes
        for side in ("left", "right")
    }
    table = [ages[key] | {"rating": round(one.rating), "votes": one.votes} for key, one in _ratings(votes).items()]
    return {
        "votes": len(votes),
        "table": sorted(table, key=lambda row: (-row["rating"], -row["votes"], row["run_name"])),
    }


def _ratings(votes: list[Row]) -> dict[elo.Key, elo.Standing]:
    return elo.standings(
        ((row["left_run"], row["left_step"]), (row["right_run"], row["right_step"]), row["score"]) for row in votes
    )


def _revealed(sample: Row, before: dict[elo.Key, elo.Standing], after: dict[elo.Key, elo.Standing]) -> dict[str, Any]:
    """Whose answer it was, and how its age's rating has moved."""
    key = (sample["run_id"], sample["step"])
    rating = after[key].rating
    moved = rating - before.get(key, elo.Standing()).rating
    return {name: sample[name] for name in REVEALED} | {"rating": round(rating), "moved": round(moved)}
