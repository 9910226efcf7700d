"""What of a text does not get into a dataset, what ends a mixture, and which separators and names are refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from books import never, silent, write_books
from sqlite_utils import Database
from tokenizers import Tokenizer

from engine import launch, preparing, store
from engine.config import load_preset
from engine.data import Progress, Recipe, Source, ensure_dataset, open_dataset, prepare, preview
from engine.home import Home
from engine.store import Refused
from engine.tokenizer import learn_bpe, new_separator, smollm2
from ui import datasets

STARTER = Recipe((Source("starter"),), "bpe:300")


@pytest.fixture(autouse=True)
def wanted(monkeypatch: pytest.MonkeyPatch) -> list[Home]:
    """No supervisor is started."""
    homes: list[Home] = []
    monkeypatch.setattr(launch, "start_supervisor", homes.append)
    return homes


def test_a_mixture_says_which_source_ended_it(home: Home, tmp_path: Path) -> None:
    small, large = write_books(tmp_path / "small", 1), write_books(tmp_path / "large", 6, seed=1)
    said: list[str] = []

    def report(now: Progress) -> None:
        said.append(now.message)

    wanted = Recipe((Source(str(small), weight=0.5), Source(str(large), weight=0.5)), "bpe:300")
    prepare(home, "mix", wanted, report=report, stopped=never)
    ending = open_dataset(home, "mix").card["ending"]
    assert ending.startswith("Ended because “small” was read to its end; of “large” ") and ending.endswith(
        "% was used."
    )
    assert 10 <= int(ending.rpartition(" of “large” ")[2].partition("%")[0]) <= 35
    assert f"The dataset is ready. {ending}" in said and f"Adding up what is there. {ending}" in said
    assert datasets.detail(home, "mix")["ending"] == ending

    prepare(home, "short", replace(wanted, tokens=1000), report=silent, stopped=never)
    short = open_dataset(home, "short").card["ending"]
    assert short.startswith("Ended because the 1,000 tokens are reached; of “small” ") and "and of “large” " in short
    prepare(home, "plain", Recipe((Source(str(small)),), "bpe:300"), report=silent, stopped=never)
    assert open_dataset(home, "plain").card["ending"] == ""


def test_two_parts_of_one_hub_dataset_are_told_apart() -> None:
    mixed = Source("hub:a/b", config="c"), Source("hub:a/b"), Source("/x/texts/"), Source("starter")
    assert [source.title for source in mixed] == ["a/b, c", "a/b", "texts", "starter"]


def test_bytes_without_a_piece_are_counted_in_the_card(home: Home, tmp_path: Path) -> None:
    """SmolLM2's vocabulary has none for eight bytes, U+0004 and U+0006 among them."""
    texts = [f"letter {number}\x04: a boat\x06 waits" for number in range(50)]
    (tmp_path / "odd.txt").write_text("\f".join(texts))
    prepare(home, "odd", Recipe((Source(str(tmp_path / "odd.txt")),)), report=silent, stopped=never)
    card = open_dataset(home, "odd").card
    assert card["lost_bytes"] == 100 and datasets.detail(home, "odd")["lost_bytes"] == 100
    (tmp_path / "even.txt").write_text("\f".join(f"naïve 你好 🫐 {number}" for number in range(50)))
    prepare(home, "even", Recipe((Source(str(tmp_path / "even.txt")),)), report=silent, stopped=never)
    assert open_dataset(home, "even").card["lost_bytes"] == 0


@pytest.mark.parametrize("separator", [".", "a", "Ġthe", "the", "Ċ", "Ã"])
def test_an_ordinary_piece_is_no_separator(separator: str) -> None:
    with pytest.raises(Refused, match=r"is an ordinary piece of this tokenizer.*name a special one: <\|endoftext\|>"):
        new_separator(smollm2(), separator)


def test_special_pieces_are_separators() -> None:
    for piece in ("<|endoftext|>", "<|im_start|>"):
        assert new_separator(smollm2(), piece) == smollm2().token_to_id(piece)


def test_a_piece_that_only_looks_special_is_found_out(tmp_path: Path, home: Home) -> None:
    """An added token that is not marked as special is what a text says too."""
    tokenizer = learn_bpe(["a boat " * 50], 270)
    tokenizer.add_tokens(["<|doc|>"])
    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    (tmp_path / "a.txt").write_text("one\ftwo\fthree")
    recipe = Recipe((Source(str(tmp_path / "a.txt")),), str(path), separator="<|doc|>")
    assert Tokenizer.from_file(str(path)).encode("x<|doc|>y").tokens[1] == "<|doc|>"
    for ask in (
        lambda: preview.preview(recipe),
        lambda: preparing.start(home, "mine", recipe),
        lambda: prepare(home, "mine", recipe, report=silent, stopped=never),
    ):
        with pytest.raises(Refused, match="an ordinary piece of this tokenizer"):
            ask()


# Names, and what was made under them


def begun(home: Home, name: str, recipe: Recipe = STARTER) -> str:
    """A job that was stopped after its first chunk."""
    job = preparing.start(home, name, recipe)
    preparing.stop(home, job)
    home.making(name).mkdir(parents=True)
    home.job_state(name).write_text("{}", encoding="utf-8")
    (home.making(name) / "train.bin").write_bytes(bytes(5000))
    return job


def test_a_name_is_judged_without_starting_anything(home: Home) -> None:
    def kind(name: str, recipe: Recipe | None = STARTER) -> str:
        found = preparing.judge_name(home, name, recipe)
        assert bool(found["sentence"]) == bool(found["kind"])
        return found["kind"]

    (home.dataset("done")).mkdir(parents=True)
    preparing.start(home, "open", STARTER)
    begun(home, "parts")
    assert [kind(name) for name in ("free", "done", "open", "parts", "a b", ".x", "x" * 65, "")] == [
        *("", "dataset", "job", ""),
        *("name", "name", "name", "name"),
    ]
    assert kind("parts", replace(STARTER, tokens=5)) == kind("parts", None) == "parts"
    assert [job["name"] for job in preparing.listed(home)] == ["parts", "open"]


def test_starting_anew_throws_away_what_was_made_only_when_asked(home: Home, db: Database) -> None:
    old, other = begun(home, "mine"), replace(STARTER, tokens=500)
    with pytest.raises(Refused, match="mine is stopped with other settings, and part of it is made"):
        preparing.start(home, "mine", other)
    assert home.job_state("mine").is_file()
    job = preparing.start(home, "mine", other, anew=True)
    assert job != old and not home.making("mine").exists()
    assert store.get_job(db, job)["status"] == "waiting" and not list((home.path / "datasets").glob(".deleted-*"))
    preparing.stop(home, job)
    begun_again = preparing.start(home, "mine", other, anew=True)
    assert begun_again != old


def test_an_equal_job_goes_on_even_if_told_to_start_anew(home: Home) -> None:
    job = begun(home, "mine")
    assert preparing.start(home, "mine", STARTER, anew=True) == job and home.job_state("mine").is_file()


def test_a_run_does_not_wipe_what_a_stopped_job_has_made(home: Home) -> None:
    begun(home, "starter", Recipe((Source("starter"),), "bpe:300"))
    with pytest.raises(Refused, match="has made part of another dataset starter: resume or discard it"):
        ensure_dataset(home, load_preset("seedling"), silent, never)
    assert (home.making("starter") / "train.bin").is_file()


def test_a_job_of_an_earlier_version_goes_on(home: Home, tmp_path: Path) -> None:
    """Its state names fewer settings than there are now."""
    from engine.data.making import State

    def without(text: str) -> str:
        given: dict[str, Any] = json.loads(text)
        del given["skip_unreadable"]
        return json.dumps(given)

    state = State.beginning(STARTER)
    state.recipe = without(state.recipe)
    assert state.is_of(STARTER) and not state.is_of(replace(STARTER, tokens=1))
    state.recipe = "no recipe"
    assert not state.is_of(STARTER)
