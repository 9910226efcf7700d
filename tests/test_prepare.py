"""From text to token shards: the split, what is learned on it, stopping and going on, mixtures and budgets."""

import functools
import importlib
import itertools
import json
import lzma
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from books import TEXT, make, never, recipe, silent, write_books

from engine import tokenizer
from engine.config import ConfigError
from engine.data import Dataset, Progress, Recipe, Source, Stopped, chunks, documents, open_dataset, prepare, room
from engine.data.recipe import Filters
from engine.data.split import share_for
from engine.home import Home
from engine.store import Refused

preparing = importlib.import_module("engine.data.prepare")
"""The module: engine.data has a function of that name."""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.at(tmp_path / "home")


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("books")
    return make(Home.at(folder), write_books(folder / "source"))


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
    assert differing <= {"created_at", "command", "recipe"}


def test_progress_is_reported_and_never_goes_back(home: Home, tmp_path: Path) -> None:
    reports: list[Progress] = []
    prepare(home, "books", recipe(write_books(tmp_path / "source")), report=reports.append, stopped=never)
    shares = [report.share for report in reports if report.share is not None]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert [report.tokens for report in reports] == sorted(report.tokens for report in reports)
    for beginning in ("Learning a vocabulary of 300 pieces", "Turning text into tokens", "The dataset is ready"):
        assert any(report.message.startswith(beginning) for report in reports)


def test_stopped_at_any_moment_it_goes_on_and_gives_the_same_shards(
    books: Dataset, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With chunks of two chapters or so, so that there is much to go on with."""
    monkeypatch.setattr(chunks, "SMALLEST_CHUNK", 900)
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 900)
    monkeypatch.setattr(preparing, "BATCH_BYTES", 300)
    monkeypatch.setattr(preparing, "LEARN_CHUNKS", 9)
    wanted = recipe(write_books(tmp_path / "source", books=2))
    prepare(home, "whole", wanted, report=silent, stopped=never)
    starts: list[int] = []
    for patience in itertools.count(1):
        asked, seen = iter(range(patience)), list[Progress]()
        try:
            prepare(home, "books", wanted, report=seen.append, stopped=lambda asked=asked: next(asked, None) is None)
            break
        except Stopped:
            starts += [report.tokens for report in seen if report.stage == "encoding"][:1]
            with pytest.raises(Refused):
                open_dataset(home, "books")
    assert len(set(starts)) > 4
    assert starts == sorted(starts)
    whole, parts = open_dataset(home, "whole"), open_dataset(home, "books")
    for file in whole.card["files"]:
        assert (whole.folder / file).read_bytes() == (parts.folder / file).read_bytes()
    assert {key for key in whole.card if whole.card[key] != parts.card[key]} <= {"name", "command", "created_at"}
    assert {path.name for path in whole.folder.parent.iterdir()} == {".lock-books", ".lock-whole", "books", "whole"}


def test_what_a_killed_preparation_left_is_swept(home: Home, tmp_path: Path) -> None:
    left = home.dataset("books").parent / ".making-books"
    left.mkdir(parents=True)
    (left / "train.bin").write_bytes(b"half")
    (left / "state.json").write_text('{"recipe": ')
    with pytest.raises(Refused):
        open_dataset(home, "books")
    make(home, write_books(tmp_path / "source"))
    assert not left.exists()


def test_a_shard_that_lost_its_end_is_not_filled_up(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "SMALLEST_CHUNK", 900)
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 900)
    wanted, seen = recipe(write_books(tmp_path / "source", books=1)), list[Progress]()
    with pytest.raises(Stopped):
        prepare(home, "books", wanted, report=seen.append, stopped=lambda: bool(seen) and seen[-1].tokens > 500)
    shard = home.dataset("books").parent / ".making-books" / "train.bin"
    shard.write_bytes(shard.read_bytes()[:10])
    with pytest.raises(Refused, match=r"making-books/train.bin is shorter than it was .* discard what is there"):
        prepare(home, "books", wanted, report=silent, stopped=never)


def test_a_preparation_waits_for_another_process(home: Home, tmp_path: Path) -> None:
    lock = home.dataset("books").parent / ".lock-books"
    lock.parent.mkdir(parents=True)
    script = f"import fcntl; f = open({str(lock)!r}, 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdin
        assert other.stdout
        other.stdout.readline()
        sentences: list[str] = []

        def report(progress: Progress) -> None:
            sentences.append(progress.message)
            if progress.stage == "waiting" and other.stdin and not other.stdin.closed:
                other.stdin.close()

        prepare(home, "books", recipe(write_books(tmp_path / "source")), report=report, stopped=never)
        other.wait(10)
    assert sentences[0] == "Waiting for another process that prepares books"
    assert sentences[-1] == "The dataset is ready"


def test_a_dataset_is_never_overwritten(home: Home, tmp_path: Path) -> None:
    source = write_books(tmp_path / "source")
    before = make(home, source).train.tobytes()
    with pytest.raises(Refused, match="The dataset books exists already; delete datasets/books first"):
        make(home, source, size=280)
    assert open_dataset(home, "books").train.tobytes() == before


def test_a_loaded_tokenizer_is_used_as_it_is(books: Dataset, home: Home, tmp_path: Path) -> None:
    source = write_books(tmp_path / "source")
    prepare(home, "again", recipe(source, str(books.tokenizer_path)), report=silent, stopped=never)
    assert open_dataset(home, "again").train.tobytes() == books.train.tobytes()


@pytest.mark.parametrize(
    ("name", "spec", "sentence"),
    [
        ("../x", "bpe:300", "must be 1 to 64 letters, digits"),
        (".x", "bpe:300", "no dot in front"),
        ("x" * 65, "bpe:300", "1 to 64"),
        ("ok", "bpe:many", "must be bpe:SIZE"),
        ("ok", "bpe:60000", "The text is too short for data.tokenizer = bpe:60000"),
        ("ok", "nowhere/tokenizer.json", "The tokenizer tokenizer.json is not there"),
    ],
)
def test_unusable_names_and_tokenizers_are_refused(
    home: Home, tmp_path: Path, name: str, spec: str, sentence: str
) -> None:
    with pytest.raises((ConfigError, Refused)) as raised:
        prepare(home, name, recipe(write_books(tmp_path / "source"), spec), report=silent, stopped=never)
    assert sentence in str(raised.value)
    assert not home.dataset("ok").exists()


# Mixtures, budgets, shares


def test_a_mixture_holds_its_shares_and_ends_with_the_first_source_that_does(home: Home, tmp_path: Path) -> None:
    folders = [write_books(tmp_path / f"part_{part}", books=1, chapters=60, seed=part) for part in (1, 2)]
    sources = tuple(Source(str(folder), weight=weight) for folder, weight in zip(folders, (0.75, 0.25), strict=True))
    prepare(home, "mix", Recipe(sources, "bpe:300"), report=silent, stopped=never)

    card = open_dataset(home, "mix").card

    first, second = card["sources"]
    assert first["documents"] == 60
    assert 0.74 < first["text_bytes"] / (first["text_bytes"] + second["text_bytes"]) < 0.76
    assert first["documents"] + second["documents"] == card["documents"]
    assert (first["weight"], second["weight"]) == (0.75, 0.25)


def test_sources_without_weights_follow_each_other(home: Home, tmp_path: Path) -> None:
    folders = [write_books(tmp_path / f"part_{part}", books=1, seed=part) for part in (1, 2)]
    sources = tuple(Source(str(folder)) for folder in folders)
    prepare(home, "both", Recipe(sources, "bpe:300"), report=silent, stopped=never)
    assert [source["documents"] for source in open_dataset(home, "both").card["sources"]] == [30, 30]


def test_a_budget_ends_with_the_document_that_fills_it(home: Home, tmp_path: Path) -> None:
    source = write_books(tmp_path / "source")
    whole = make(home, source, "whole")
    prepare(home, "some", recipe(source, str(whole.tokenizer_path), tokens=2000), report=silent, stopped=never)

    some = open_dataset(home, "some")

    assert 2000 <= len(some.train) < 2400
    assert some.train.tobytes() == whole.train[: len(some.train)].tobytes()
    assert some.card["train_documents"] == int((some.train == some.card["separator_id"]).sum())


@pytest.mark.parametrize(
    ("total", "share"), [(None, 0.01), (10_000_000, 0.03), (400_000_000, 0.015), (5_000_000_000, 0.002)]
)
def test_what_is_held_out_is_enough_and_not_too_much(total: int | None, share: float) -> None:
    assert share_for(total) == pytest.approx(share)
    if total:
        assert share_for(total) * total / 4.5 >= min(500_000, 0.01 * total / 4.5)


def test_documents_can_be_found_again(books: Dataset) -> None:
    vocabulary = tokenizer.load(books.tokenizer_path)
    for split, tokens in (("train", books.train), ("val", books.val)):
        ends = np.fromfile(books.folder / f"{split}.documents", np.uint64).astype(int)
        assert len(ends) == books.card[f"{split}_documents"]
        assert (tokens[ends - 1] == books.card["separator_id"]).all()
        assert ends[-1] == len(tokens)
        assert vocabulary.decode(tokens[ends[0] : ends[1] - 1].tolist()).startswith("Chapter ")
    assert sum(books.card["lengths"].values()) == books.card["documents"]


def test_what_filters_drop_is_counted_and_too_much_is_a_sentence(home: Home, tmp_path: Path) -> None:
    source = tmp_path / "source.txt"
    texts = ["The cat sat on the old red mat. " * 9 + str(number) for number in range(20)]
    source.write_text("\f".join([*texts, "Hm.", "Oh.", "So."]))
    mild, harsh = (recipe(source, "bpe:270", filters=Filters(min_characters=least)) for least in (20, 900))
    prepare(home, "some", mild, report=silent, stopped=never)
    assert open_dataset(home, "some").card["dropped"] == {"too short": 3}
    with pytest.raises(Refused, match="leave 0 of 23 documents, but training and validation need one each: choose"):
        prepare(home, "none", harsh, report=silent, stopped=never)


def test_a_disk_that_is_too_small_is_told_before_anything_is_written(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "free_disk", lambda path: 10**8)
    with pytest.raises(Refused, match=r"datasets/big needs about 2.1 GB of disk and 0.1 GB are free; free some space"):
        prepare(home, "big", recipe(write_books(tmp_path / "source"), tokens=10**9), report=silent, stopped=never)
    assert not (home.dataset("big").parent / ".making-big" / "train.bin").exists()


def test_what_is_written_already_needs_no_room(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "free_disk", lambda path: 10**8)
    check = functools.partial(room.check_space, home, "big", recipe(tmp_path, tokens=10**9), [])
    shard = home.making("big") / "train.bin"
    shard.parent.mkdir(parents=True)
    with shard.open("wb") as file:
        file.truncate(1_990_000_000)  # a hole, which takes no room
    check()
    with pytest.raises(Refused, match=r"needs about 2\.1 GB"):
        check(wide=True)


def test_a_long_text_becomes_several_documents_cut_where_it_may_be(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "LONGEST", 1000)
    dice = np.random.default_rng(1)
    lines = [" ".join(dice.choice(TEXT.split(), 9)) for _ in range(200)]
    texts = ["\n".join(lines), " ".join(lines[:40]), "".join(lines).replace(" ", "")[:2500], "Short."]
    source = tmp_path / "long.jsonl"
    source.write_text("\n".join(json.dumps({"text": text}) for text in texts))

    prepare(home, "long", recipe(source, "bpe:280"), report=silent, stopped=never)

    made = open_dataset(home, "long")
    vocabulary = tokenizer.load(made.tokenizer_path)
    decoded = "".join(vocabulary.decode(part.tolist(), skip_special_tokens=False) for part in (made.train, made.val))
    parts = decoded.split(tokenizer.END)[:-1]
    assert max(map(len, parts)) <= 1000 and len(parts) == made.card["documents"]
    assert sum(map(len, parts)) == sum(map(len, texts))
    everything = "\0".join(texts)
    assert all(part in everything for part in parts)
    ends = [part[-1] for part in parts if len(part) > 500]
    assert ends.count("\n") > 5 and ends.count(" ") > 0


def test_licences_that_differ_are_told_one_by_one(home: Home, tmp_path: Path) -> None:
    source = write_books(tmp_path / "mine", books=1)
    both = Recipe((Source("starter", weight=0.2), Source(str(source), weight=0.8)), "bpe:300", tokens=2000)
    prepare(home, "both", both, report=silent, stopped=never)
    assert open_dataset(home, "both").card["licence"].startswith("starter: public domain")
    assert open_dataset(home, "both").card["licence"].endswith("; mine: not stated")
