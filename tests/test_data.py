"""From text to token shards: split, preparation, opening."""

import json
import lzma
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import tokenizer
from engine.config import ConfigError, RunConfig, load_preset
from engine.data import (
    Dataset,
    Stopped,
    check_available,
    documents,
    ensure_dataset,
    open_dataset,
    prepare,
)
from engine.home import Home
from engine.store import Refused

WORDS = [
    "the",
    "a",
    "cat",
    "dog",
    "sat",
    "ran",
    "on",
    "under",
    "mat",
    "tree",
    "and",
    "but",
    "she",
    "he",
    "said",
    "saw",
    "old",
    "red",
    "house",
    "door",
]


def never() -> bool:
    return False


def silent(sentence: str, done: float) -> None:
    assert sentence
    assert 0 <= done <= 1


def write_books(folder: Path, books: int = 3, chapters: int = 30) -> Path:
    """Small books whose every chapter is unlike any other; returns their folder."""
    folder.mkdir()
    for book in range(books):
        dice = np.random.default_rng(book)
        texts = [f"Chapter {chapter} of {book}.\n\n{' '.join(dice.choice(WORDS, 60))}." for chapter in range(chapters)]
        (folder / f"book_{book}.txt.xz").write_bytes(lzma.compress("\n\n\f".join(texts).encode()))
    return folder


def make(home: Home, source: Path, name: str = "books", size: int = 300) -> Dataset:
    prepare(home, name, source, f"bpe:{size}", report=silent, stopped=never)
    return open_dataset(home, name)


def config_of(dataset: str, **overrides: Any) -> RunConfig:
    return load_preset(
        "seedling",
        {"data.dataset": dataset, "model.context": 16, "train.batch_tokens": 64, "model.vocab_size": 300, **overrides},
    )


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.at(tmp_path / "home")


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("books")
    return make(Home.at(folder), write_books(folder / "source"))


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return ensure_dataset(Home.at(tmp_path_factory.mktemp("starter")), load_preset("seedling"), silent, never)


# Split


def test_no_validation_document_is_in_the_training_tokens(books: Dataset) -> None:
    vocabulary = tokenizer.load(books.tokenizer_path)
    train, val = (
        vocabulary.decode(part.tolist(), skip_special_tokens=False).split(tokenizer.END)
        for part in (books.train, books.val)
    )
    assert train.pop() == val.pop() == ""  # a separator ends every document
    assert len(train) == books.card["train_documents"]
    assert len(val) == books.card["val_documents"] > 0
    assert not set(train) & set(val)
    assert Counter(train + val) == Counter(documents(books.folder.parents[1] / "source"))


def test_every_file_gives_its_share_to_validation(books: Dataset) -> None:
    text = tokenizer.load(books.tokenizer_path).decode(books.val.tolist())
    assert all(f" of {book}." in text for book in range(3))
    assert 0.03 <= books.card["val_bytes"] / books.card["bytes"] < 0.1


def test_the_vocabulary_is_learned_on_the_training_documents_only(home: Home, tmp_path: Path) -> None:
    source = write_books(tmp_path / "source")
    dataset = make(home, source)
    held_out = tokenizer.load(dataset.tokenizer_path).decode(dataset.val.tolist())
    for path in source.iterdir():
        kept = [text for text in documents(path) if text not in held_out]
        path.write_bytes(lzma.compress("\f".join(kept).encode()))
    texts = [text for path in sorted(source.iterdir()) for text in documents(path)]
    tokenizer.train_bpe(texts, 300).save(str(tmp_path / "again.json"))
    assert (tmp_path / "again.json").read_bytes() == dataset.tokenizer_path.read_bytes()


def test_equal_documents_are_kept_once(home: Home, tmp_path: Path) -> None:
    source = write_books(tmp_path / "source", books=1)
    (source / "copy.txt.xz").write_bytes((source / "book_0.txt.xz").read_bytes())
    card = make(home, source).card
    assert (card["documents"], card["duplicates_dropped"]) == (30, 30)


def test_a_source_of_small_files_is_split_too(home: Home, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for number in range(3):
        (source / f"{number}.txt").write_text(f"The old red house number {number} and the tree. " * 9)
    card = make(home, source, size=270).card
    assert (card["train_documents"], card["val_documents"]) == (2, 1)


def test_one_document_cannot_be_split(home: Home, tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("Only this.")
    with pytest.raises(Refused, match="The source has 1 document, but training and validation need one each"):
        make(home, tmp_path / "one.txt")


# Preparation


def test_the_card_says_what_is_there(books: Dataset) -> None:
    card = books.card
    assert (card["train_tokens"], card["val_tokens"]) == (len(books.train), len(books.val))
    assert card["train_bytes"] + card["val_bytes"] == card["bytes"]
    lengths = tokenizer.byte_lengths(tokenizer.load(books.tokenizer_path))
    assert lengths[books.train].sum() == card["train_bytes"]
    assert lengths[books.val].sum() == card["val_bytes"]
    assert [source["file"] for source in card["sources"]] == [f"book_{book}.txt.xz" for book in range(3)]
    assert sum(source["documents"] for source in card["sources"]) == card["documents"] == 90
    assert (card["vocab_size"], card["dtype"], card["separator_id"]) == (300, "uint16", 0)
    assert card["command"].startswith("python -m engine prepare books --source ")


def test_the_same_text_gives_the_same_shards(books: Dataset, home: Home, tmp_path: Path) -> None:
    again = make(home, write_books(tmp_path / "source"))
    for part in ("train.bin", "val.bin", "tokenizer.json"):
        assert (again.folder / part).read_bytes() == (books.folder / part).read_bytes()
    differing = {key for key in again.card if again.card[key] != books.card[key]}
    assert differing <= {"created_at", "command"}


def test_progress_is_reported_and_never_goes_back(home: Home, tmp_path: Path) -> None:
    reports: list[tuple[str, float]] = []
    prepare(
        home,
        "books",
        write_books(tmp_path / "source"),
        "bpe:300",
        report=lambda *report: reports.append(report),
        stopped=never,
    )
    shares = [share for _, share in reports]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    for beginning in ("Reading book 0", "Learning a vocabulary of 300 pieces", "Turning text into tokens"):
        assert any(sentence.startswith(beginning) for sentence, _ in reports)


def test_stopped_at_any_moment_nothing_is_left(home: Home, tmp_path: Path) -> None:
    source, patience = write_books(tmp_path / "source", books=1), 0
    while not home.dataset("books").exists():
        asked = iter(range(patience))
        try:
            prepare(
                home, "books", source, "bpe:300", report=silent, stopped=lambda asked=asked: next(asked, None) is None
            )
        except Stopped:
            assert {path.name for path in home.dataset("books").parent.iterdir()} <= {".lock-books"}
        patience += 1
    assert patience >= 5
    assert len(open_dataset(home, "books").train) > 0


def test_what_a_killed_preparation_left_is_swept(home: Home, tmp_path: Path) -> None:
    left = home.dataset("books").parent / ".making-books"
    left.mkdir(parents=True)
    (left / "train.bin").write_bytes(b"half")
    with pytest.raises(Refused):
        open_dataset(home, "books")
    make(home, write_books(tmp_path / "source"))
    assert not left.exists()


def test_a_preparation_waits_for_another_process(home: Home, tmp_path: Path) -> None:
    lock = home.dataset("books").parent / ".lock-books"
    lock.parent.mkdir(parents=True)
    script = f"import fcntl; f = open({str(lock)!r}, 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdin
        assert other.stdout
        other.stdout.readline()
        sentences: list[str] = []

        def report(sentence: str, done: float) -> None:
            sentences.append(sentence)
            if sentence.startswith("Waiting") and other.stdin and not other.stdin.closed:
                other.stdin.close()

        prepare(home, "books", write_books(tmp_path / "source"), "bpe:300", report=report, stopped=never)
        other.wait(10)
    assert sentences[0] == "Waiting for another run that prepares books"
    assert sentences[-1] == "The dataset is ready"


def test_a_dataset_is_never_overwritten(home: Home, tmp_path: Path) -> None:
    source = write_books(tmp_path / "source")
    before = make(home, source).train.tobytes()
    with pytest.raises(Refused, match="The dataset books exists already; delete datasets/books first"):
        make(home, source, size=280)
    assert open_dataset(home, "books").train.tobytes() == before


def test_a_loaded_tokenizer_is_used_as_it_is(books: Dataset, home: Home, tmp_path: Path) -> None:
    source = write_books(tmp_path / "source")
    prepare(home, "again", source, str(books.tokenizer_path), report=silent, stopped=never)
    assert open_dataset(home, "again").train.tobytes() == books.train.tobytes()


@pytest.mark.parametrize(
    ("name", "spec", "sentence"),
    [
        ("../x", "bpe:300", "must be 1 to 64 letters, digits"),
        (".x", "bpe:300", "no dot in front"),
        ("x" * 65, "bpe:300", "1 to 64"),
        ("ok", "bpe:many", "must be bpe:SIZE"),
        ("ok", "bpe:60000", "The text is too short for data.tokenizer = bpe:60000"),
        ("ok", "smollm2", "comes with a later version"),
        ("ok", "nowhere/tokenizer.json", "The tokenizer tokenizer.json is not there"),
    ],
)
def test_unusable_names_and_tokenizers_are_refused(
    home: Home, tmp_path: Path, name: str, spec: str, sentence: str
) -> None:
    with pytest.raises((ConfigError, Refused)) as raised:
        prepare(home, name, write_books(tmp_path / "source"), spec, report=silent, stopped=never)
    assert sentence in str(raised.value)
    assert not home.dataset("ok").exists()


# Opening


def test_a_missing_dataset_says_what_to_do_now(home: Home) -> None:
    for preset in ("blueberry-nano", "blueberry-nano-published", "blueberry-88m"):
        for check in (
            lambda config: check_available(home, config),
            lambda config: ensure_dataset(home, config, silent, never),
        ):
            with pytest.raises(Refused) as raised:
                check(load_preset(preset))
            for part in (
                "smollm-1b (1,000,000,000 tokens)",
                "engine prepare smollm-1b`",
                "the preset seedling or sprout",
            ):
                assert part in str(raised.value)
    with pytest.raises(Refused, match="The dataset starter is not prepared yet"):
        open_dataset(home, "starter")
    check_available(home, load_preset("seedling"))
    with pytest.raises(ConfigError):
        open_dataset(home, "../../etc")


def _cut(folder: Path) -> None:
    shard = (folder / "train.bin").read_bytes()
    (folder / "train.bin").unlink()
    (folder / "train.bin").write_bytes(shard[:-2])


@pytest.mark.parametrize(
    "damage",
    [
        _cut,
        lambda folder: (folder / "val.bin").unlink(),
        lambda folder: (folder / "tokenizer.json").write_text("{}"),
        lambda folder: (folder / "card.json").write_text("{"),
        lambda folder: (folder / "card.json").write_text("[]"),
    ],
)
def test_a_damaged_dataset_is_refused(home: Home, tmp_path: Path, damage: Callable[[Path], Any]) -> None:
    damage(make(home, write_books(tmp_path / "source", books=1)).folder)
    with pytest.raises(Refused, match=r"The dataset books is damaged: .*; delete datasets/books"):
        open_dataset(home, "books")


def test_vocabulary_and_context_must_fit_the_config(home: Home, tmp_path: Path) -> None:
    dataset = make(home, write_books(tmp_path / "source"))
    assert ensure_dataset(home, config_of("books"), silent, never).train.tobytes() == dataset.train.tobytes()
    with pytest.raises(
        ConfigError,
        match=r"model.vocab_size = 512, but the dataset books has 300 pieces; set "
        r"model.vocab_size=300\.",
    ):
        check_available(home, config_of("books", **{"model.vocab_size": 512}))
    with pytest.raises(ConfigError, match=r"has [\d,]+ training tokens, but model.context = 8192 needs at least"):
        check_available(home, config_of("books", **{"model.context": 8192, "train.batch_tokens": 8192}))
    with pytest.raises(ConfigError, match=r"model.vocab_size = 4096 must equal the 2048 pieces of data.tokenizer"):
        check_available(home, load_preset("seedling", {"data.tokenizer": "bpe:2048"}))


def test_the_card_is_json_a_person_can_read(books: Dataset) -> None:
    lines = (books.folder / "card.json").read_text(encoding="utf-8").splitlines()
    assert json.loads("\n".join(lines)) == books.card
    assert len(lines) > 20


# The starter novels


def test_the_starter_novels_become_a_dataset(starter: Dataset) -> None:
    assert starter.vocab_size == 4096
    assert starter.card["documents"] == 739
    assert len(starter.train) > 2_000_000
    assert 0.03 <= starter.card["val_bytes"] / starter.card["bytes"] < 0.05
    assert starter.train.max() < 4096
    text = tokenizer.load(starter.tokenizer_path).decode(starter.val.tolist())
    for person in ("Alice", "Emma", "Fanny", "Elizabeth", "Elinor", "Ahab", "Holmes", "Pierre"):
        assert person in text


def test_chapters_begin_with_their_headings(starter: Dataset) -> None:
    firsts = [text.split("\n", 1)[0] for text in documents(Path(__file__).parents[1] / "data" / "starter")]
    headings = [first for first in firsts if first.upper().startswith(("CHAPTER", "BOOK", "VOLUME", "ADVENTURE"))]
    assert len(headings) > 700


def test_a_second_run_opens_the_same_dataset(starter: Dataset) -> None:
    reports: list[str] = []
    home = Home.at(starter.folder.parents[1])
    again = ensure_dataset(home, load_preset("sprout"), lambda sentence, _: reports.append(sentence), never)
    assert again.card == starter.card
    assert reports == []
    with pytest.raises(ConfigError, match=r"model.vocab_size=4096, or make another one with data.dataset=starter-2048"):
        check_available(home, load_preset("seedling", {"model.vocab_size": 2048}))
