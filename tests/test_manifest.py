"""A checkpoint is believed only when every file is what its manifest says; no torch is needed for that."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from engine.home import PROJECT
from engine.manifest import BLOCK, CorruptCheckpoint, sha256_of, verify


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    folder, data = tmp_path / "step_000008", b"0123456789"
    folder.mkdir()
    (folder / "model").write_bytes(data)
    manifest = {"model": {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}}
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def test_what_was_saved_is_believed(saved: Path) -> None:
    verify(saved)


@pytest.mark.parametrize("data", [b"0123456788", b"012345678", b"01234567890", b""])
def test_what_has_changed_is_not(saved: Path, data: bytes) -> None:
    (saved / "model").write_bytes(data)
    with pytest.raises(CorruptCheckpoint, match="step_000008/model: hash mismatch"):
        verify(saved)


def test_a_missing_file_is_named(saved: Path) -> None:
    (saved / "model").unlink()
    with pytest.raises(CorruptCheckpoint, match="step_000008/model cannot be read"):
        verify(saved)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"model": 3}', '{"model": {"bytes": "many"}}'])
def test_an_unreadable_manifest_is_told(saved: Path, text: str) -> None:
    (saved / "manifest.json").write_text(text, encoding="utf-8")
    with pytest.raises(CorruptCheckpoint, match=r"step_000008 has no readable manifest\.json"):
        verify(saved)


def test_large_files_are_read_in_pieces(tmp_path: Path) -> None:
    data = bytes(range(256)) * (BLOCK // 100)
    (tmp_path / "large").write_bytes(data)
    assert sha256_of(tmp_path / "large") == hashlib.sha256(data).hexdigest()


def test_torch_is_not_needed() -> None:
    code = "import sys, engine.manifest, engine.doctor; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=False, timeout=60).returncode == 0
