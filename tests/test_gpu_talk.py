"""A run that was trained on a GPU answers there, and says there what it said. `pytest -m gpu`."""

import pytest
import torch
from sqlite_utils import Database
from support import give_dataset, tiny_config
from training import attempt

from engine import store
from engine.home import Home
from engine.replay import SAME, exhibits_of, replay
from engine.worker import TorchVoice

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.usefixtures("alone"),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.fixture
def run_id(home: Home, db: Database) -> str:
    """A finished run of the tiny model on a GPU."""
    give_dataset(home)
    run_id = store.create_run(db, tiny_config(train__device="cuda", train__compile=False), "seedling", "tiny", "cuda:0")
    assert attempt(home, run_id) == 0
    return run_id


def test_the_worker_says_what_the_trainer_said(home: Home, db: Database, run_id: str) -> None:
    sample = store.list_samples(db, run_id)[-1]
    voice = TorchVoice(home)

    speaker = voice.load(db, run_id, sample["step"], sample["weights_sha256"], sample["device"])

    assert sample["device"] == speaker.device.type == "cuda"
    ask = voice.ask(prompt=sample["prompt"], max_tokens=sample["max_tokens"], seed=sample["seed"])
    assert [*speaker.stream(ask)][-1].text == sample["text"]
    assert voice.said_again(speaker, sample, lambda: False) is not None
    assert voice.look(speaker, sample["prompt"], sample["text"], None, lambda: False)["counted"] > 0


def test_every_exhibit_is_said_again_word_for_word(home: Home, db: Database, run_id: str) -> None:
    for sample in store.list_samples(db, run_id):
        store.keep(db, sample["id"], "good", "A title")

    verdicts = [*replay(home, db, exhibits_of(db, run_id))]

    assert verdicts and {one.state for one in verdicts} == {SAME}
