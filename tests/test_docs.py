"""What the documentation says of the repository and of the database is so."""

import re
import subprocess
from pathlib import Path

import pytest
from sqlite_utils import Database

from engine.home import PROJECT

README = (PROJECT / "README.md").read_text(encoding="utf-8")
SCHEMA = (PROJECT / "docs" / "SCHEMA.md").read_text(encoding="utf-8")


def file_tree() -> dict[str, str]:
    """Paths of README's file tree with what it says about them; folders end with a slash."""
    block = re.search(r"^```text\n(app\.py .*?)^```$", README, re.M | re.S)
    assert block, "README has no file tree: a ```text block that begins with app.py"
    parents: list[str] = []
    found: dict[str, str] = {}
    for line in block[1].splitlines():
        fields = re.fullmatch(r"((?:  )*)(\S+)\s{2,}(\S.*)", line)
        assert fields, f"not `path  description`: {line!r}"
        depth = len(fields[1]) // 2
        assert depth <= len(parents), f"indented too far: {line!r}"
        path = "".join(parents[:depth]) + fields[2]
        parents = parents[:depth] + ([fields[2]] if path.endswith("/") else [])
        assert path not in found, f"named twice: {path}"
        found[path] = fields[3]
    return found


def tracked() -> list[str]:
    """Files of the repository; in an unpacked archive without git, those that are there."""
    if (PROJECT / ".git").exists():
        listed = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True)
        return listed.stdout.splitlines()
    hidden = {".venv", "checkpoints", "datasets", "exports", "__pycache__"}
    files = (path.relative_to(PROJECT) for path in PROJECT.rglob("*") if path.is_file())
    return [path.as_posix() for path in files if not hidden & set(path.parts) and not path.name.startswith("runs.db")]


def test_every_path_in_the_file_tree_exists() -> None:
    for path in file_tree():
        assert (PROJECT / path).is_dir() if path.endswith("/") else (PROJECT / path).is_file(), path


def test_the_file_tree_leaves_nothing_out() -> None:
    """Everything at the top, and every module of the engine and the page."""
    named, needed = set(file_tree()), set()
    for path in tracked():
        first, *rest = path.split("/")
        needed.add(f"{first}/" if rest else first)
        if first in ("engine", "ui") and len(rest) == 1 and path.endswith(".py") and rest[0] != "__init__.py":
            needed.add(path)

    assert needed - named - {".gitignore"} == set()


def test_every_picture_and_file_that_readme_links_to_exists() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("http") or (PROJECT / target).exists(), target


def described() -> dict[str, dict[str, str]]:
    """Tables of SCHEMA.md: columns in order with their types."""
    tables = {}
    for name, text in re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", SCHEMA, re.M | re.S):
        columns = re.findall(r"^\| `(\w+)` \| (\w+) \| \S", text, re.M)
        if columns:
            tables[name] = dict(columns)
    return tables


def test_the_schema_document_has_every_table_and_column(db: Database) -> None:
    real = {
        table: {row[1]: row[2] for row in db.execute(f"PRAGMA table_info({table})")}
        for table in db.table_names()
        if not table.startswith(("sqlite_", "archive_words", "sample_words"))  # full-text index: no columns with types
    }

    assert described() == real
    for table, columns in described().items():
        assert list(columns) == list(real[table]), f"the order in {table}"


def test_the_schema_document_has_every_view_and_index(db: Database) -> None:
    found = [
        row[0]
        for row in db.execute(
            "SELECT name FROM sqlite_master WHERE type IN ('view', 'index', 'trigger') AND name NOT LIKE 'sqlite_%'"
        )
    ]

    assert len(found) > 5
    for name in found:
        assert f"`{name}`" in SCHEMA, name


@pytest.mark.parametrize(
    "document", ["README.md", "docs/SCHEMA.md", "docs/LOG.md", "docs/SPEED.md", "docs/RELIABILITY.md"]
)
def test_documents_speak_of_the_project_only(document: str) -> None:
    """No path of somebody's machine."""
    text = (PROJECT / document).read_text(encoding="utf-8")

    assert not re.search(r"(?<![\w.])/(home|root|work|Users)/", text)
    assert Path(PROJECT / document).stat().st_size > 1000
