"""The prompts of a run: all that fit are asked, the others are told of."""

from pathlib import Path

import pytest
from sqlite_utils import Database
from support import new_run, tiny_config

from engine import prompts, questions, store
from engine.home import Home
from engine.questions import Questions
from engine.recorder import Recorder


def test_a_prompt_too_long_for_the_model_is_left_out_with_a_word_about_it(
    home: Home, db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.txt").write_text("Alice\n" + "Alice and the Rabbit " * 100 + "\n")
    monkeypatch.setattr(questions, "load_suite", lambda name: prompts.load_suite(name, tmp_path))
    run_id = new_run(home, db)
    recorder = Recorder(home.database, run_id, 1)

    asked = Questions(tiny_config(sample__suites="mine"), home.dataset("tiny") / "tokenizer.json", recorder)
    recorder.close()

    assert [(suite, ask.prompt) for suite, ask in asked.asks] == [("mine", "Alice")]
    assert "prompts/mine.txt" in store.list_events(db, run_id)[-1]["message"]
