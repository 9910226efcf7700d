"""What was measured about answers: kept with their sample, found by limits, gone with it."""

import pytest
from sqlite_utils import Database
from ui_helpers import add_answer, make_run

from engine import store
from engine.store import Refused, Wanted

PLAIN = {"words": 3, "loop_words": 0, "loop_phrase": 0, "version": 1, "made_at": 5.0}


def test_measures_are_kept_once_and_changed(db: Database) -> None:
    sample = add_answer(db, make_run(db), " a b c")
    assert store.get_measures(db, sample) is None

    store.put_measures(db, {"sample_id": sample, **PLAIN, "distinct_1": 1.0, "proposal": "good"})
    store.put_measures(db, {"sample_id": sample, **PLAIN, "proposal": "strange"})
    found = store.get_measures(db, sample)
    assert found is not None and (found["proposal"], found["distinct_1"]) == ("strange", 1.0)
    assert db["measures"].count == 1


def test_nothing_is_kept_about_an_answer_that_is_gone(db: Database) -> None:
    run_id = make_run(db)
    sample = add_answer(db, run_id, " a b c")
    store.put_measures(db, {"sample_id": 99, **PLAIN})
    store.put_measures(db, {"sample_id": sample, **PLAIN})
    assert db["measures"].count == 1

    store.end_run(db, run_id, "finished")
    with store.writing(db):
        store.hide_run(db, store.get_run(db, run_id))
    while store.remove_some(db, run_id):
        pass
    assert db["measures"].count == 0 and store.remove_run(db, run_id)


def test_what_is_not_measured_or_by_older_rules_is_found_in_order(db: Database) -> None:
    runs = [make_run(db), make_run(db, "two", "cuda:0")]
    samples = [add_answer(db, runs[number % 2], f" {number}") for number in range(6)]
    store.put_measures(db, {"sample_id": samples[1], **PLAIN})
    store.put_measures(db, {"sample_id": samples[2], **PLAIN, "version": 2})

    def found(*given: object) -> list[int]:
        return [row["id"] for row in store.unmeasured(db, *given)]  # type: ignore[arg-type]

    first = samples[0] - 1  # the published answers are older
    assert found(1, first) == [samples[0], *samples[3:]]
    assert found(2, first) == [samples[0], samples[1], *samples[3:]]
    assert found(2, samples[2], runs[0]) == [samples[4]]
    assert store.unmeasured(db, 1, first, limit=1)[0]["dataset"] == "starter"


def test_answers_that_were_not_looked_up_in_a_text(db: Database) -> None:
    run_id = make_run(db)
    one, other = add_answer(db, run_id, " a"), add_answer(db, run_id, " b")
    store.put_measures(db, {"sample_id": one, **PLAIN, "text_sha256": "new"})
    store.put_measures(db, {"sample_id": other, **PLAIN})
    assert [row["id"] for row in store.not_looked_up(db, "starter", "new")] == [other]
    assert [row["id"] for row in store.not_looked_up(db, "starter", "newer")] == [one, other]
    assert store.not_looked_up(db, "else", "new") == []
    assert store.datasets_of_answers(db) == ["starter"]


def test_the_answer_before_is_of_an_earlier_age_and_the_same_prompt(db: Database) -> None:
    run_id = make_run(db)
    add_answer(db, run_id, " young", 10)
    add_answer(db, run_id, " left", 15, superseded=1)
    add_answer(db, run_id, " asked", 20, source="playground", suite="")
    add_answer(db, run_id, " other", 20, "Another prompt")
    now = add_answer(db, run_id, " old", 20)
    again = add_answer(db, run_id, " old again", 20)
    mine = add_answer(db, run_id, " mine", 20, source="playground")

    def before(sample: int) -> str | None:
        found = store.answer_before(db, store.get_sample(db, sample))
        return found and str(found["text"])

    assert [before(sample) for sample in (now, again, mine)] == [" young", " young", None]
    assert before(now - 4) is None


def found(db: Database, kind: str, **more: str) -> list[int]:
    return [row["id"] for row in store.search_samples(db, Wanted(measured=kind, **more)).samples]


def test_answers_are_found_by_what_was_measured(db: Database) -> None:
    run_id = make_run(db)
    samples = [add_answer(db, run_id, f" number {number}") for number in range(5)]
    for number, sample in enumerate(samples[:4]):
        proposal = "loop" if number % 2 else "good"
        store.put_measures(db, {"sample_id": sample, **PLAIN, "loop_share": number / 10, "proposal": proposal})
    assert found(db, "good") == [samples[2], samples[0]] and found(db, "loop", query="number 3") == [samples[3]]
    assert found(db, "repeats") == []

    store.put_measures(db, {"sample_id": samples[0], **PLAIN, "loop_share": 0.5, "proposal": "loop"})
    assert found(db, "repeats", run_id=run_id) == [samples[0]] and found(db, "good") == [samples[2]]
    for sample in samples:
        store.keep(db, sample, "good", "A title")
    stuck = Wanted(run_id=run_id, measured="repeats")
    assert [row["sample_id"] for row in store.search_exhibits(db, stuck)[0]] == [samples[0]]
    assert store.count_exhibits(db, Wanted(measured="loop")) == 3

    for search in (store.count_exhibits, store.search_samples):
        with pytest.raises(Refused, match="no measure filter 'beauty'"):
            search(db, Wanted(measured="beauty"))


def test_what_is_superseded_or_gone_is_not_found_by_its_measures(db: Database) -> None:
    run_id = make_run(db)
    samples = [add_answer(db, run_id, f" number {number}") for number in range(3)]
    for sample in samples:
        store.put_measures(db, {"sample_id": sample, **PLAIN, "proposal": "loop"})
    db.execute("UPDATE samples SET superseded = 1 WHERE id = ?", [samples[0]])
    db.execute("DELETE FROM samples WHERE id = ?", [samples[1]])
    assert found(db, "loop") == [samples[2]]
    db.execute("DELETE FROM measures")
    assert found(db, "loop") == [] and store.complaints(db) == []


@pytest.mark.parametrize("kind", store.KINDS)
def test_the_index_agrees_with_the_definition_of_each_kind(db: Database, kind: str) -> None:
    """At a limit and beside it, so that a limit is not changed without the index that knows it too."""
    run_id, (limits, proposal) = make_run(db), store.KINDS[kind]
    rows = [{}, {"proposal": proposal or "good"}, {"proposal": None}]
    for name, (least, most) in limits.items():
        at = least if least is not None else most
        assert at is not None
        step = 1 if name == "copied_words" else 1e-9
        rows += [{name: None}, {name: at}, {name: at - step}, {name: at + step}]
    for row in rows:
        sample = add_answer(db, run_id, " said")
        store.put_measures(db, {"sample_id": sample, **PLAIN, **row})
        store.keep(db, sample, "good", "A title")
    by_definition = [row["sample_id"] for row in store.search_exhibits(db, Wanted(measured=kind))[0]]
    assert by_definition and found(db, kind) == sorted(by_definition, reverse=True)
