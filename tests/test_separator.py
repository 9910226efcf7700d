"""A tokenizer that ends its documents in its own way, from the text to the exported model."""

import json
from pathlib import Path

import pytest
from books import never, recipe, silent, write_books
from sqlite_utils import Database
from support import tiny_config
from test_tokenizer import character_tokenizer
from training import attempt

from engine import export, store, tokenizer
from engine.ask import Ask
from engine.data import open_dataset, prepare
from engine.generate import load_speaker
from engine.home import Home


@pytest.mark.usefixtures("alone")
def test_a_run_ends_its_texts_as_its_dataset_does(home: Home, db: Database, tmp_path: Path) -> None:
    """Letters and `</s>`, as Llama's tokenizer has; bits per byte, answers and the export follow."""
    character_tokenizer().save(str(tmp_path / "llama.json"))
    made = recipe(write_books(tmp_path / "books"), str(tmp_path / "llama.json"), separator="</s>")
    prepare(home, "llama", made, report=silent, stopped=never)
    dataset = open_dataset(home, "llama")
    assert dataset.separator == 2
    assert dataset.train[-1] == dataset.val[-1] == 2

    config = tiny_config(
        data__dataset="llama", model__vocab_size=dataset.vocab_size, train__documents=True, sample__every=24
    )
    run_id = store.create_run(db, config, "seedling", "llama", "cpu")
    assert attempt(home, run_id) == 0
    measured = store.last_eval(db, run_id, 24)
    assert measured is not None and 0 < measured["val_bits_per_byte"] < 10

    own = home.tokenizer(run_id)
    assert tokenizer.end_of(own) == "</s>"
    speaker = load_speaker(home, db, run_id, None, "cpu")
    assert speaker.end == "</s>"
    assert speaker.answer([Ask(prompt="the cat", max_tokens=4)])[0].new_tokens > 0

    export.export(home, db, run_id, None, tmp_path / "out", "fp32")
    told = json.loads((tmp_path / "out" / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert told["eos_token"] == "</s>"
    assert json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))["eos_token_id"] == 2
