"""Prompt suites that are edited: what is written is whole, checked, and never over somebody else's change."""

import threading
from pathlib import Path

import pytest
from helpers import without_rights
from sqlite_utils import Database
from support import at_once, new_run

from engine import store, suites
from engine.config import ConfigError
from engine.home import Home
from engine.prompts import LONGEST, load_suite
from engine.store import Refused


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two suites."""
    made = tmp_path / "prompts"
    made.mkdir()
    (made / "stories.txt").write_bytes("\ufeff# old ones\r\nOnce upon a time\r\nCall me\r\n".encode())
    (made / "broken.txt").write_bytes(b"fine\n\xff\n")
    return made


def test_suites_are_listed_with_what_is_wrong(folder: Path) -> None:
    broken, stories = suites.listed(folder)

    assert (stories.name, stories.prompts, stories.problem) == ("stories", 2, "")
    assert (broken.name, broken.prompts, broken.text) == ("broken", 0, None)
    assert broken.problem == "prompts/broken.txt is not UTF-8 text: byte 5 does not fit."
    with pytest.raises(Refused, match="byte 5 does not fit"):
        suites.read("broken", folder)
    with pytest.raises(Refused, match="There is no prompt file"):
        suites.read("nope", folder)


def test_a_suite_is_saved_as_text_with_lines_of_one_kind(folder: Path) -> None:
    read = suites.read("stories", folder)
    assert read.text == "# old ones\nOnce upon a time\nCall me\n"

    made = suites.save("stories", "# new ones\r\nIt was — dark", read.sha256, folder)

    assert (folder / "stories.txt").read_bytes() == "# new ones\nIt was — dark\n".encode()
    assert (made.prompts, made.sha256) == (1, suites.read("stories", folder).sha256)
    assert load_suite("stories", folder) == ["It was — dark"]
    assert sorted(path.name for path in folder.iterdir()) == ["broken.txt", "stories.txt"]


def test_a_new_suite_and_its_end(folder: Path) -> None:
    made = suites.save("my.own-1", "Hello\n", "", folder)
    assert load_suite("my.own-1", folder) == ["Hello"]

    with pytest.raises(Refused, match="has changed since you opened it"):
        suites.delete("my.own-1", "0" * 64, folder)
    suites.delete("my.own-1", made.sha256, folder)

    assert not (folder / "my.own-1.txt").exists()
    with pytest.raises(Refused, match="There is no prompt file"):
        suites.delete("my.own-1", made.sha256, folder)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("", "1 to 64 letters"),
        ("../stories", "1 to 64 letters"),
        ("/etc/passwd", "1 to 64 letters"),
        (".hidden", "start with a letter or digit"),
        ("a/b", "1 to 64 letters"),
        ("a\nb", "1 to 64 letters"),
        ("a,b", "1 to 64 letters"),
        ("x" * 65, "1 to 64 letters"),
        ("\u202egpj", "1 to 64 letters"),
        ("CON", "on every system"),
        ("nul.more", "on every system"),
        ("com7", "on every system"),
        ("ends.", "on every system"),
        ("mine.txt", "Leave out .txt"),
        ("Stories", "prompts/stories.txt is there already"),
        ("stories", "prompts/stories.txt is there already"),
    ],
)
def test_what_a_new_suite_cannot_be_called(folder: Path, name: str, sentence: str) -> None:
    with pytest.raises(Refused) as raised:
        suites.save(name, "Hello", "", folder)

    assert sentence in str(raised.value)
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("# nothing\n\n", "prompts/stories.txt holds no prompt; write one a line."),
        ("", "holds no prompt"),
        ("fine\n" + "x" * (LONGEST + 1), "line 2: a prompt has at most 8,192 characters; this one has 8,193."),
        ("fine\n\ud800", "is not UTF-8 text: byte 5 does not fit."),
        ("x\n" * 100_001, "at most 200,000 bytes"),
    ],
)
def test_a_text_that_no_run_could_be_asked_is_not_written(folder: Path, text: str, sentence: str) -> None:
    read = suites.read("stories", folder)

    with pytest.raises((ConfigError, Refused)) as raised:
        suites.save("stories", text, read.sha256, folder)

    assert sentence in str(raised.value)
    assert suites.read("stories", folder) == read


def test_a_file_that_changed_meanwhile_is_not_written_over(folder: Path) -> None:
    read = suites.read("stories", folder)
    (folder / "stories.txt").write_text("Somebody else's\n")

    with pytest.raises(Refused, match="has changed since you opened it; nothing was written over it"):
        suites.save("stories", "mine", read.sha256, folder)
    assert load_suite("stories", folder) == ["Somebody else's"]

    (folder / "stories.txt").unlink()
    with pytest.raises(Refused, match="was removed since you opened it"):
        suites.save("stories", "mine", read.sha256, folder)
    assert not (folder / "stories.txt").exists()


def test_a_name_with_the_hash_of_a_file_elsewhere_is_no_way_to_it(folder: Path) -> None:
    outside = folder.parent / "secret.txt"
    outside.write_text("theirs\n")
    known = suites._suite("secret", outside.read_bytes()).sha256

    with pytest.raises(Refused):
        suites.save("../secret", "mine", known, folder)
    with pytest.raises(Refused):
        suites.delete("../secret", known, folder)

    assert outside.read_text() == "theirs\n"


def test_of_several_that_save_at_once_one_does(folder: Path) -> None:
    read = suites.read("stories", folder)

    made = at_once(6, lambda number: suites.save("stories", f"writer {number}\n", read.sha256, folder))

    written = [one for one in made if isinstance(one, suites.Suite)]
    assert len(written) == 1 and suites.read("stories", folder) == written[0]
    assert all("has changed since" in str(one) for one in made if one is not written[0])


def test_whoever_reads_while_it_is_saved_sees_the_old_text_or_the_new(folder: Path) -> None:
    texts = ["a\n" * 9_000, "b\n" * 9_000]
    (folder / "stories.txt").write_text(texts[0])
    seen, done = set(), threading.Event()

    def look() -> None:
        while not done.is_set():
            seen.add((folder / "stories.txt").read_text())

    reader = threading.Thread(target=look)
    reader.start()
    for number in range(20):
        suites.save("stories", texts[number % 2], suites.read("stories", folder).sha256, folder)
    done.set()
    reader.join()

    assert seen <= set(texts)


def test_a_save_that_fails_leaves_the_old_text_and_nothing_else(folder: Path) -> None:
    read = suites.read("stories", folder)

    with without_rights(folder), pytest.raises(Refused, match=r"could not be written|cannot be used"):
        suites.save("stories", "mine", read.sha256, folder)

    assert suites.read("stories", folder) == read
    assert len(list(folder.iterdir())) == 2


def test_what_a_killed_save_left_is_swept_by_the_next(folder: Path) -> None:
    (folder / ".stories.txt.0011aabb.part").write_text("half")

    suites.save("more", "Hello", "", folder)

    assert sorted(path.name for path in folder.iterdir()) == ["broken.txt", "more.txt", "stories.txt"]


def test_the_rights_of_a_file_stay(folder: Path) -> None:
    (folder / "stories.txt").chmod(0o600)

    suites.save("stories", "mine", suites.read("stories", folder).sha256, folder)

    assert (folder / "stories.txt").stat().st_mode & 0o777 == 0o600


def test_a_suite_that_presets_ask_stays(folder: Path) -> None:
    read = suites.read("stories", folder)

    with pytest.raises(Refused, match=r"presets .*seedling.* ask prompts/stories.txt, so it stays; edit it instead"):
        suites.delete("stories", read.sha256, folder)

    assert (folder / "stories.txt").exists()


def test_the_runs_that_will_read_a_suite_again_are_named(home: Home, db: Database) -> None:
    run_id = new_run(home, db, sample__suites="stories, mine")

    assert suites.runs_asking(db, "mine") == ["tiny"] and suites.runs_asking(db, "other") == []
    store.end_run(db, run_id, "finished")
    assert suites.runs_asking(db, "mine") == []
