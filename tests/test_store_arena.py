"""engine/store/arena.py: pairs of answers to one prompt, and votes about them."""

import random

import pytest
from sqlite_utils import Database
from ui_helpers import add_answer, make_run

from engine import store


def answer(db: Database, run_id: str, text: str, step: int, prompt: str = "A cat", **more: object) -> int:
    return add_answer(db, run_id, text, step, prompt, **{"weights_sha256": f"{run_id}{step}", **more})


def pairs(db: Database, run_id: str = "", count: int = 60) -> set[tuple[int, int]]:
    dice = random.Random(5)
    found = (store.random_pair(db, run_id, dice) for _ in range(count))
    return {(pair[0]["id"], pair[1]["id"]) for pair in found if pair}


def test_pairs_have_one_prompt_and_different_words_weights_and_ages(db: Database) -> None:
    one, other = make_run(db, "one", "cpu"), make_run(db, "other", "cuda:0")
    young, old = answer(db, one, " sat", 1), answer(db, one, " slept", 2)
    stranger = answer(db, other, " sang", 1)
    answer(db, one, " sat", 3)  # the same words as the young one's
    answer(db, one, " sat again", 1)  # of the same age
    answer(db, one, " alone", 1, "A dog")
    answer(db, one, " gone", 9, superseded=1)
    answer(db, one, "", 10)
    add_answer(db, one, " without weights", 11, "A cat")

    found = pairs(db, count=200)

    assert {(young, old), (old, young), (young, stranger), (stranger, old)} <= found
    for left, right in found:
        first, second = store.get_sample(db, left), store.get_sample(db, right)
        assert first["prompt"] == second["prompt"] == "A cat" and first["text"] != second["text"]
        assert first["weights_sha256"] != second["weights_sha256"]
        assert (first["run_id"], first["step"]) != (second["run_id"], second["step"])
        assert not {first["superseded"], second["superseded"]} & {1} and first["text"] and second["text"]


def test_a_run_is_compared_with_itself_where_that_is_asked_for(db: Database) -> None:
    one, other = make_run(db, "one", "cpu"), make_run(db, "other", "cuda:0")
    mine = {answer(db, one, f" {step}", step) for step in (1, 2, 3)}
    answer(db, other, " other", 1)

    assert {sample for pair in pairs(db, one) for sample in pair} == mine
    assert pairs(db, other) == pairs(db, "nobody") == set()


def test_long_prompts_are_compared_whole(db: Database) -> None:
    run_id = make_run(db)
    answer(db, run_id, " a", 1, "x" * 100 + "a")
    answer(db, run_id, " b", 2, "x" * 100 + "b")

    assert pairs(db) == set()


def test_pairs_without_a_vote_come_first(db: Database) -> None:
    run_id = make_run(db)
    ids = [answer(db, run_id, f" {step}", step) for step in (1, 2, 3)]
    store.add_vote(db, ids[0], ids[1], ids[0])
    store.add_vote(db, ids[2], ids[1], None)

    assert pairs(db) == {(ids[0], ids[2]), (ids[2], ids[0])}
    store.add_vote(db, ids[2], ids[0], ids[2])
    assert len(pairs(db)) == 6, "after them the others again"


def test_votes_are_told_in_order_and_go_with_their_samples(db: Database) -> None:
    run_id = make_run(db, "one")
    ids = [answer(db, run_id, f" {step}", step) for step in (1, 2, 3)]
    store.add_vote(db, ids[0], ids[1], ids[1])
    store.add_vote(db, ids[2], ids[1], None)
    store.add_vote(db, ids[2], ids[0], ids[2])

    told = store.voted_ages(db)
    assert [(row["left_step"], row["right_step"], row["score"]) for row in told] == [(1, 2, 0), (3, 2, 0.5), (3, 1, 1)]
    assert {row["left_name"] for row in told} == {"one"} and told[0]["right_tokens"] == 2 * 4096
    db.conn.execute("DELETE FROM samples WHERE id = ?", [ids[0]])
    assert len(store.voted_ages(db)) == 1


def test_votes_that_make_no_sense_are_refused(db: Database) -> None:
    run_id = make_run(db)
    one, other, dog = answer(db, run_id, " a", 1), answer(db, run_id, " b", 2), answer(db, run_id, " c", 3, "A dog")

    for left, right, winner in ((one, dog, one), (one, one, one), (one, other, dog), (one, 99_999, one)):
        with pytest.raises(store.Refused):
            store.add_vote(db, left, right, winner)
    assert store.voted_ages(db) == []
