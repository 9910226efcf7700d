"""How sure a model was of an answer: by hand, step by step, and for all answers of a run."""

import math
import shutil
from pathlib import Path

import pytest
import torch
from sqlite_utils import Database
from support import give_dataset, new_run, speaker_of, tiny_model
from tokenizers import Tokenizer

from engine import store, tokenizer
from engine.certainty import certainty, weigh
from engine.checkpoint import sampling_weights, save_sampling
from engine.generate import Ask, load_speaker
from engine.home import Home
from engine.judging import judge_all, weigh_at_leisure
from engine.model import Cache

SAID = {
    "attempt": 1,
    "step": 3,
    "tokens": 3,
    "suite": "stories",
    "prompt": "Alice",
    "text": " was",
    "source": "periodic",
    "weights_sha256": "1" * 64,
    "created_at": 5.0,
}


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return tokenizer.load(give_dataset(Home.at(tmp_path_factory.mktemp("words"))) / "tokenizer.json")


def test_a_model_that_expects_everything_alike_wavers_between_all_pieces(words: Tokenizer) -> None:
    model = tiny_model()
    with torch.no_grad():
        model.embed_tokens.weight.zero_()
    found = certainty(speaker_of(model, words), "Alice", " was beginning")
    vocabulary = model.config.vocab_size
    assert found == (pytest.approx(vocabulary, rel=1e-4), pytest.approx(math.log(vocabulary), rel=1e-4))


@pytest.mark.parametrize("prompt", ["Alice was", ""])
def test_one_forward_says_what_step_by_step_says(words: Tokenizer, prompt: str) -> None:
    speaker = speaker_of(tiny_model(), words)
    text = " beginning to get very tired"
    asked, answered = words.encode(prompt).ids, words.encode(text).ids
    ids, surprise, entropy = asked + answered, 0.0, 0.0
    cache = Cache.empty(speaker.model.config, 1, torch.float32, torch.device("cpu"))
    first = max(len(asked), 1)
    for place, token in enumerate(ids[:-1]):
        with torch.inference_mode():
            scores = speaker.model.next_logits(torch.tensor([[token]]), torch.tensor([[place]]), cache)[0]
        logs = torch.log_softmax(scores, dim=-1)
        if place + 1 >= first:
            surprise -= float(logs[ids[place + 1]])
            entropy -= float((logs.exp() * logs).sum())
    count = len(ids) - first
    expected = math.exp(surprise / count), entropy / count
    assert certainty(speaker, prompt, text) == (
        pytest.approx(expected[0], rel=1e-3),
        pytest.approx(expected[1], rel=1e-3),
    )


def test_an_answer_without_a_token_or_without_room_says_nothing(words: Tokenizer) -> None:
    speaker = speaker_of(tiny_model(), words)
    assert certainty(speaker, "Alice", "") is None
    assert certainty(speaker, "a b " * speaker.model.config.context, " c") is None
    assert certainty(speaker, "Alice", " so" * 2 * speaker.model.config.context) is not None


def test_every_answer_of_a_run_is_weighed_by_the_weights_that_said_it(home: Home, db: Database) -> None:
    run_id = new_run(home, db)
    folder: Path = home.run(run_id)
    folder.mkdir(parents=True)
    shutil.copyfile(home.dataset("tiny") / "tokenizer.json", home.tokenizer(run_id))
    samples = []
    for step in (3, 6):
        written = save_sampling(folder, step, sampling_weights(tiny_model(step)))
        row = {"path": f"sampling/{written.path.name}", "bytes": written.bytes, "sha256": written.sha256}
        store.add_checkpoint(db, run_id, attempt=1, step=step, tokens=step, kind="sampling", **row)
        speaker, ask = load_speaker(home, db, run_id, step), Ask(prompt="Alice", max_tokens=9)
        samples.append(store.add_sample(db, speaker.sample_row(ask, speaker.answer([ask])[0], "periodic", "stories")))
    lost = store.add_sample(db, store.get_sample(db, samples[0]) | {"id": None, "weights_sha256": "0" * 64})
    judge_all(home, run_id)

    assert weigh(home, run_id) == (2, 1)
    measured = [store.get_measures(db, sample) for sample in (*samples, lost)]
    perplexities = [row and row["self_perplexity"] for row in measured]
    assert perplexities[0] != perplexities[1] and perplexities[2] is None
    assert all(row and row["mean_entropy"] > 0 for row in measured[:2])
    assert weigh(home) == (0, 1)
    assert judge_all(home, run_id) == 0 and store.get_measures(db, samples[0]) == measured[0]


def test_the_page_has_answers_weighed_while_nothing_trains(
    home: Home, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    monkeypatch.setattr("engine.certainty.weigh", lambda home, stopped: asked.append(stopped()))
    run_id = new_run(home, db)
    sample = store.add_sample(db, SAID | {"run_id": run_id})
    judge_all(home)
    store.end_run(db, run_id, "finished")
    weigh_at_leisure(home, lambda: False)
    assert asked == []  # its weights are not there

    store.add_checkpoint(
        db, run_id, attempt=1, step=3, tokens=3, kind="sampling", path="x", bytes=1, sha256=SAID["weights_sha256"]
    )
    weigh_at_leisure(home, lambda: False)
    assert asked == [False]
    store.put_certainty(db, sample, 5.0, 1.0)
    weigh_at_leisure(home, lambda: False)
    assert len(asked) == 1


def test_a_run_that_trains_is_not_disturbed(home: Home, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.certainty.weigh", lambda home, stopped: pytest.fail("a run trains"))
    run_id = new_run(home, db)
    store.add_sample(db, SAID | {"run_id": run_id})
    store.add_checkpoint(
        db, run_id, attempt=1, step=3, tokens=3, kind="sampling", path="x", bytes=1, sha256=SAID["weights_sha256"]
    )
    judge_all(home)
    weigh_at_leisure(home, lambda: False)
