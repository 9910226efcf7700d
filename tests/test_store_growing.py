"""engine/store/growing.py: the ages at which a run was asked its prompts, and its prompts."""

from sqlite_utils import Database
from ui_helpers import add_answer, make_run

from engine import store


def grown(db: Database) -> str:
    """A run with three ages and two prompts, one of them asked later; and what a person asked in between."""
    run_id = make_run(db)
    for step in (0, 10, 20):
        add_answer(db, run_id, f" at {step}", step, "Once")
        if step:
            add_answer(db, run_id, f" then {step}", step, "Alice")
    add_answer(db, run_id, " played", 15, "Once", source="playground", suite="")
    add_answer(db, run_id, " lived", 16, "Once", source="live", suite="")
    return run_id


def test_ages_are_the_steps_at_which_prompts_were_asked(db: Database) -> None:
    run_id = grown(db)

    ages = [(age["step"], age["tokens"], age["answers"]) for age in store.ages_of_words(db, run_id)]

    assert ages == [(0, 0, 1), (10, 40_960, 2), (20, 81_920, 2)]
    assert [age["step"] for age in store.ages_of_words(db, run_id, 10)] == [0, 10]


def test_prompts_come_with_their_newest_words_up_to_a_step(db: Database) -> None:
    run_id = grown(db)

    newest = [(one["prompt"], one["text"], one["ages"]) for one in store.prompts_asked(db, run_id)]
    young = [(one["prompt"], one["text"], one["ages"]) for one in store.prompts_asked(db, run_id, 0)]

    assert newest == [("Once", " at 20", 3), ("Alice", " then 20", 2)]
    assert young == [("Once", " at 0", 1)]


def test_what_is_done_again_is_no_age_any_more(db: Database) -> None:
    run_id = grown(db)
    store.supersede_after(db, run_id, 10)
    add_answer(db, run_id, " anew", 18, "Once")

    assert [age["step"] for age in store.ages_of_words(db, run_id)] == [0, 10, 18]
    assert [one["text"] for one in store.prompts_asked(db, run_id)] == [" anew", " then 10"]


def test_answers_of_some_ages_and_of_one(db: Database) -> None:
    run_id = grown(db)
    add_answer(db, run_id, " at 20", 30, "Once")

    some = store.answers(db, run_id, "stories", "Once", 10, 30)
    once = store.answers_at(db, run_id, 10)

    assert [(one["step"], one["text"], one["same_as"]) for one in some] == [
        (10, " at 10", None),
        (20, " at 20", None),
        (30, " at 20", 20),
    ]
    assert [(one["prompt"], one["text"]) for one in once] == [("Once", " at 10"), ("Alice", " then 10")]
    assert store.answers_at(db, run_id, 15) == []


def test_answers_are_found_by_an_index_however_much_was_said(db: Database) -> None:
    run_id, asked = grown(db), []
    db.conn.set_trace_callback(asked.append)
    store.answers(db, run_id, "stories", "Once", 10, 20)
    store.answers_at(db, run_id, 10)
    store.ages_of_words(db, run_id)
    store.prompts_asked(db, run_id)
    db.conn.set_trace_callback(None)

    plans = [str(db.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall()) for sql in asked]

    assert len(plans) == 4
    for plan, index in zip(plans[:3], ("samples_by_prompt", "samples_by_age", "samples_by_age"), strict=True):
        assert index in plan
    assert "SEARCH earlier USING INDEX samples_by_prompt" in plans[0]
    assert "COVERING INDEX samples_by_age" in plans[2]
    assert "COVERING INDEX samples_by_prompt" in plans[3]
