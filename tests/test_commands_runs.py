"""`runs`, `rename`, `tag`, `note`, `put-away`, `settings` and `delete` on the command line."""

import pytest
from sqlite_utils import Database
from test_main import refused, run_json
from ui_helpers import add_answer, add_points, make_run

from engine import store
from engine.__main__ import main
from engine.home import Home

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def at(home: Home, db: Database) -> tuple[str, str]:
    """The option for a home with two runs that ended, `one` and `two`."""
    for name in ("one", "two"):
        store.end_run(db, make_run(db, name), "finished")
    return "--home", str(home.path)


def said(capsys: Capture, *words: str) -> str:
    """What a command prints for people; it must succeed."""
    assert main(words) == 0
    return capsys.readouterr().out


def test_a_run_is_renamed(at: tuple[str, str], capsys: Capture) -> None:
    assert said(capsys, "rename", "one", "first", *at).startswith("first (")
    assert run_json(capsys, "rename", "first", "again", *at)["name"] == "again"
    assert "1 to 64 letters" in refused(capsys, "rename", "again", "a b", *at)
    assert "called two already" in refused(capsys, "rename", "again", "two", *at)
    assert "no run 'one'" in refused(capsys, "rename", "one", "x", *at)


def test_tags_come_with_a_plus_and_go_with_a_minus(at: tuple[str, str], capsys: Capture) -> None:
    assert "has the tags wide, too slow" in said(capsys, "tag", "one", "+wide", "+too slow", *at)
    assert run_json(capsys, "tag", "one", "-wide", "+new", *at)["tags"] == ["too slow", "new"]
    assert run_json(capsys, "tag", "one", "--remove", "new", "--add=x", *at)["tags"] == ["too slow", "x"]
    assert "has no tags" in said(capsys, "tag", "one", "-too slow", "-x", *at)
    assert "without commas" in refused(capsys, "tag", "one", "+a,b", *at)


def test_a_note_is_written(at: tuple[str, str], capsys: Capture) -> None:
    assert "has a new note" in said(capsys, "note", "one", "look at step 400", *at)
    assert run_json(capsys, "status", "one", *at)["notes"] == "look at step 400"
    assert "control characters" in refused(capsys, "note", "one", "a\x1b[31m", *at)


def test_the_list_leaves_out_what_is_put_away(at: tuple[str, str], capsys: Capture) -> None:
    said(capsys, "tag", "two", "+keep", *at)
    said(capsys, "put-away", "one", *at)

    assert [run["name"] for run in run_json(capsys, "runs", *at)] == ["two", "Blueberry-Nano"]
    assert [run["name"] for run in run_json(capsys, "runs", "--all", *at)] == ["two", "one", "Blueberry-Nano"]
    assert main(["runs", *at]) == 0
    caught = capsys.readouterr()
    assert "keep" in caught.out and "1 more is put away; --all shows them." in caught.err
    assert "finished, put away" in said(capsys, "runs", "--all", *at)

    assert "back in the lists" in said(capsys, "put-away", "one", "--back", *at)
    assert len(run_json(capsys, "runs", *at)) == 3


def test_the_command_of_a_run(at: tuple[str, str], capsys: Capture) -> None:
    assert said(capsys, "settings", "one", *at) == "python -m engine start --preset seedling --name one\n"
    assert run_json(capsys, "settings", "one", *at)["config"]["train"]["seed"] == 1337
    assert '"layers"' in said(capsys, "settings", store.REFERENCE_ID, *at)


def test_nothing_is_deleted_before_it_was_told_what(
    home: Home, db: Database, at: tuple[str, str], capsys: Capture
) -> None:
    run_id = store.find_run(db, "one")["id"]
    add_points(db, run_id, 1, 20)
    store.keep(db, add_answer(db, run_id, " a cat"), "good", "Cat")
    home.run(run_id).mkdir(parents=True)
    home.log(run_id).write_bytes(bytes(3_000_000))

    assert main(["delete", "one", *at]) == 1
    caught = capsys.readouterr()
    assert "3 MB of disk" in caught.out and "20 steps" in caught.out and "1 in the time capsule keep" in caught.out
    assert caught.err == "Nothing is deleted yet; one goes with --yes --exhibits.\n"
    assert "an exhibit of one" in refused(capsys, "delete", "one", "--yes", *at)
    assert store.get_run(db, run_id)["name"] == "one"

    found = run_json(capsys, "delete", "one", "--yes", "--exhibits", *at)
    assert found["deleted"] and found["bytes"] == 3_000_000 and found["rows"]["metrics"] == 20
    assert "no run 'one'" in refused(capsys, "delete", "one", "--yes", *at)


def test_the_published_run_is_not_deleted(at: tuple[str, str], capsys: Capture) -> None:
    assert "published run stays" in refused(capsys, "delete", store.REFERENCE_ID, "--yes", "--exhibits", *at)
    assert main(["delete", store.REFERENCE_ID, *at]) == 1
    assert "published run stays" in capsys.readouterr().err
