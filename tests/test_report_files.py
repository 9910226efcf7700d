"""engine/report_files.py: a folder of a report is its own, and nothing else in it is touched."""

from pathlib import Path

import pytest

from engine import report_files
from engine.report_files import OURS, write_files
from engine.store import Refused

FILES = {"report.md": b"one", "training.png": b"picture"}


def test_a_folder_is_made_and_written_anew(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "report"

    assert write_files(folder, FILES) == [folder / "report.md", folder / "training.png"]
    write_files(folder, {"report.md": b"two"})

    assert (folder / "report.md").read_bytes() == b"two" and (folder / "training.png").read_bytes() == b"picture"
    assert {path.name for path in folder.iterdir()} == {OURS, *FILES}


def test_work_of_others_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "report.md").write_text("mine")
    with pytest.raises(Refused, match=r"report\.md in .* was not made by a report"):
        write_files(tmp_path, FILES)
    assert {path.name for path in tmp_path.iterdir()} == {"notes.txt", "report.md"}, "nothing else was begun"

    (tmp_path / "report.md").unlink()
    write_files(tmp_path, FILES)
    (tmp_path / "report.md").write_text("edited")
    with pytest.raises(Refused, match="was changed since"):
        write_files(tmp_path, FILES)
    assert (tmp_path / "report.md").read_text() == "edited" and (tmp_path / "notes.txt").read_text() == "mine"


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("precious")
    folder = tmp_path / "report"
    write_files(folder, FILES)
    (folder / "report.md").unlink()
    (folder / "report.md").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(Refused, match="was changed since"):
        write_files(folder, FILES)
    assert (tmp_path / "elsewhere").read_text() == "precious"


def test_a_file_in_place_of_a_folder_and_a_damaged_note(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused, match="is a file; name a folder"):
        write_files(tmp_path / "file", FILES)
    (tmp_path / OURS).write_text("[]")
    with pytest.raises(Refused, match="is damaged"):
        write_files(tmp_path, FILES)


def test_a_write_that_is_cut_short_leaves_whole_files_and_can_be_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "report"
    write_files(folder, FILES)
    put = report_files._put

    def full(path: Path, content: bytes) -> None:
        if path.name == "training.png":
            raise OSError(28, "No space left on device")
        put(path, content)

    monkeypatch.setattr(report_files, "_put", full)
    with pytest.raises(Refused, match="the disk is full"):
        write_files(folder, {"report.md": b"new", "training.png": b"new"})
    monkeypatch.undo()

    assert (folder / "training.png").read_bytes() == b"picture"
    write_files(folder, {"report.md": b"newer", "training.png": b"newer"})
    assert (folder / "report.md").read_bytes() == b"newer"


def test_a_new_folder_that_cannot_be_filled_does_not_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report_files, "_put", full)
    with pytest.raises(Refused, match="the disk is full"):
        write_files(tmp_path / "report", FILES)
    assert not (tmp_path / "report").exists()
