"""Datasets of the hub, read with the real libraries from a hub on a loopback port."""

import csv
import gzip
import inspect
import io
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pytest
from fake_hub import Repository, serving
from pyarrow import parquet

from engine.home import PROJECT

TEXTS = [f"Text {number}: „ä“ 🫐\nand more of it" for number in range(7)]
MIXED = [text for text in TEXTS for text in (text, " \n")]
PARQUET, LINES, ROWS, PUSHED = "hub:lab/parquet,config=edu", "hub:lab/lines", "hub:lab/rows", "hub:lab/pushed"
READ = [
    PARQUET,
    f"{PARQUET},streaming=false",
    "hub:lab/parquet,config=edu,split=test",
    LINES,
    f"{LINES},streaming=false",
    ROWS,
    f"{ROWS},streaming=false",
]
REFUSED = {
    "hub:lab/parquet": "lab/parquet has several configurations, choose one; there are: edu, cosmo.",
    "hub:lab/parquet,config=law": "lab/parquet has no configuration 'law'; there are: edu, cosmo.",
    "hub:lab/parquet,config=edu,split=dev": "lab/parquet has no split 'dev'; there are: train, test.",
    "hub:lab/parquet,config=edu,column=body": "there is no column 'body'; there are: id, text.",
    "hub:lab/parquet,config=edu,column=id": "the column 'id' holds int64, not text; choose a column of strings.",
    "hub:lab/parquet,config=edu,revision=v9": "lab/parquet has no revision 'v9'; give a branch, a tag or a commit.",
    "hub:lab/lines,column=body": "a.jsonl.gz, line 1: there is no column 'body'; there are: text, n.",
    "hub:lab/rows,column=body": "lab/rows: there is no column 'body'; there are: id, text.",
    "hub:lab/rows,column=id": "lab/rows: the column 'id' holds int, not text; choose a column of strings.",
    "hub:lab/nothing": "The hub has no dataset lab/nothing, or it is a private one; check the name, or run `hf auth",
    "hub:lab/gated": "lab/gated is given only to people who have accepted its terms: accept them at https://hugging",
    "hub:lab/script": "lab/script can only be read by running code of its own, which is never done here; choose a",
    "hub:lab/empty": "lab/empty has no files that `datasets` can read.",
    "hub:lab/blank": "lab/blank has no text: whatever was read in it is blank.",
    "hub:lab/damaged": "data/train.parquet is damaged: it is not a whole .parquet file.",
    "hub:lab/torn": "lab/torn cannot be read: Error tokenizing data. C error: EOF inside string starting at row 8",
    "hub:lab/torn,streaming=false": "lab/torn cannot be read: Error tokenizing data. C error: EOF inside string",
    "hub:lab/gone": "The hub answered 410 for lab/gone; try again later, or make the dataset on a machine",
    "hub:lab/half": "The hub answered 410 for lab/half; try again later, or make the dataset",
    "hub:lab/parquet,config=edu,column=body,streaming=false": "there is no column 'body'; there are: id, text.",
    "hub:lab/spy": "lab/spy ",
    "hub:a/b/c": "hub:a/b/c must be hub:OWNER/NAME",
    "hub:../../etc": "must be hub:OWNER/NAME",
    "hub:lab/..": "must be hub:OWNER/NAME",
    "hub:lab/x y": "must be hub:OWNER/NAME",
}


def as_parquet(texts: list[str]) -> bytes:
    file = io.BytesIO()
    parquet.write_table(pa.table({"id": range(len(texts)), "text": texts}), file, row_group_size=3)
    return file.getvalue()


def as_lines(texts: list[str]) -> bytes:
    return "".join(json.dumps({"text": text, "n": number}) + "\n" for number, text in enumerate(texts)).encode()


def as_csv(texts: list[str]) -> bytes:
    file = io.StringIO()
    csv.writer(file).writerows([["id", "text"], *enumerate(texts)])
    return file.getvalue().encode()


def card(**configs: dict[str, str]) -> bytes:
    """A README as the hub's datasets have it: JSON is YAML too."""
    listed = [
        {"config_name": name, "data_files": [{"split": split, "path": path} for split, path in files.items()]}
        for name, files in configs.items()
    ]
    return f"---\n{json.dumps({'configs': listed})}\n---\n# About\n".encode()


def repositories(touched: Path) -> dict[str, Repository]:
    """Datasets of every kind; the script, if it ran, would make `touched`."""
    many = {
        "README.md": card(edu={"train": "edu/train-*", "test": "edu/test-*"}, cosmo={"train": "cosmo/*"}),
        "edu/train-0.parquet": as_parquet(MIXED[:6]),
        "edu/train-1.parquet": as_parquet(MIXED[6:]),
        "edu/test-0.parquet": as_parquet(["a test"]),
        "cosmo/train-0.parquet": as_parquet(["cosmopedia"]),
    }
    return {
        "lab/parquet": Repository([many], card={"license": "odc-by"}),
        "lab/lines": Repository([{"a.jsonl.gz": gzip.compress(as_lines(MIXED[:6])), "b.jsonl": as_lines(MIXED[6:])}]),
        "lab/rows": Repository([{"a.csv": as_csv(MIXED[:6]), "b.csv": as_csv(MIXED[6:])}]),
        "lab/pushed": Repository(
            [{"data/train.parquet": as_parquet(TEXTS)}, {"data/train.parquet": as_parquet(["another text"])}]
        ),
        "lab/gated": Repository([{"data/train.parquet": as_parquet(TEXTS)}], gated=True),
        "lab/script": Repository([{"script.py": f"open({str(touched)!r}, 'w')".encode()}]),
        "lab/empty": Repository([{"README.md": b"# Nothing"}]),
        "lab/blank": Repository([{"a.csv": as_csv([" ", "\t"])}]),
        "lab/damaged": Repository([{"data/train.parquet": as_parquet(TEXTS)[:-30]}]),
        "lab/torn": Repository([{"a.csv": as_csv(TEXTS) + b'1,"never closed'}]),
        "lab/gone": Repository([{"data/train.parquet": as_parquet(TEXTS)}], statuses={"data/train.parquet": 410}),
        "lab/half": Repository(
            [{"data/train-0.parquet": as_parquet(TEXTS), "data/train-1.parquet": as_parquet(TEXTS)}],
            statuses={"data/train-1.parquet": 410},
        ),
        "lab/spy": Repository([{"README.md": card(default={"train": "/etc/passwd"}), "a.txt": b"bait"}]),
    }


def run(folder: Path, cases: dict[str, Any], **environment: str) -> dict[str, Any]:
    """What tests/read_hub.py prints, run in `folder` with a Hugging Face home of its own."""
    env = os.environ | {"HF_HOME": str(folder / "hf"), "HF_HUB_DISABLE_XET": "1", "PYTHONPATH": str(PROJECT)}
    ended = subprocess.run(
        [sys.executable, str(PROJECT / "tests" / "read_hub.py")],
        input=json.dumps(cases),
        cwd=folder,
        env=env | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == "", "bars, warnings"
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


@pytest.fixture(scope="module")
def touched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("script") / "touched"


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory, touched: Path) -> Iterator[dict[str, Any]]:
    """Every case of this file, read in one process."""
    folder = tmp_path_factory.mktemp("hub")
    (folder / "lab" / "parquet").mkdir(parents=True)
    (folder / "lab" / "parquet" / "local.txt").write_text("a folder of the same name is not the hub's dataset")
    hub = repositories(touched)
    first = hub["lab/pushed"].shas()[0]
    with serving(hub) as (address, _):
        cases = {"read": [*READ, *REFUSED], "pushed": [[f"{PUSHED},revision={first}", PUSHED]]}
        yield run(folder, cases, HF_ENDPOINT=address)


@pytest.mark.parametrize("words", [words for words in READ if "test" not in words])
def test_a_dataset_is_read_and_gone_on_with_from_every_place(answers: dict[str, Any], words: str) -> None:
    found = answers["read"][words]
    assert found.get("texts") == TEXTS, found
    assert found["resumes"]
    assert not answers["torch"]


def test_parquet_files_keep_their_names_and_say_how_far(answers: dict[str, Any]) -> None:
    found = answers["read"][PARQUET]
    assert found["files"] == ["edu/train-0.parquet"] * 3 + ["edu/train-1.parquet"] * 4
    assert found["shares"] == sorted(found["shares"]) and 0 < found["shares"][0] < 0.2
    assert answers["read"]["hub:lab/parquet,config=edu,split=test"]["texts"] == ["a test"]


def test_the_card_names_the_commit_and_the_licence(answers: dict[str, Any]) -> None:
    found = answers["read"][PARQUET]
    assert found["licence"] == "odc-by"
    (entry,) = found["card"]
    sha = repositories(Path())["lab/parquet"].shas()[0]
    assert entry == {"dataset": "lab/parquet", "config": "edu", "split": "train", "revision": sha, "documents": 3}
    assert answers["read"][LINES]["licence"] == ""


def test_a_job_goes_on_with_the_commit_it_began_with(answers: dict[str, Any]) -> None:
    assert answers["pushed"] == [TEXTS]


@pytest.mark.parametrize("words", REFUSED)
def test_what_cannot_be_read_is_a_sentence_with_a_way_out(answers: dict[str, Any], words: str) -> None:
    found = answers["read"][words]
    assert REFUSED[words] in found.get("error", found)
    assert "\n" not in found["error"] and str(PROJECT) not in found["error"] and "root:" not in found["error"]


def test_code_of_a_dataset_is_never_run(answers: dict[str, Any], touched: Path) -> None:
    """`datasets` 5 has no switch for it any more; that it stays so is looked at here."""
    assert answers["read"]["hub:lab/script"]["kind"] == "Refused"
    assert not touched.exists()
    assert "trust_remote_code" not in inspect.signature(datasets.load_dataset).parameters
    for path in (PROJECT / "engine").rglob("*.py"):
        assert "trust_remote_code" not in path.read_text(encoding="utf-8")


def test_a_hub_that_is_not_there_is_told_within_seconds(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    found = run(tmp_path, {"read": [PARQUET]}, HF_ENDPOINT=address)["read"][PARQUET]
    assert found["error"] == (
        "The hub cannot be reached for lab/parquet; try again when there is a connection, or make the dataset on a "
        "machine that reaches it and copy its folder into datasets/ of this home, or download the files that are "
        "wanted there (hf download lab/parquet --repo-type dataset --include ... --local-dir FOLDER) and give that "
        "folder as the source."
    )
    assert found["seconds"] < 12  # 1.1 alone, most of it imports


def test_a_hub_that_says_nothing_is_waited_for_a_moment_only(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        found = run(tmp_path, {"read": [PARQUET], "patience": 0.3}, HF_ENDPOINT=address)["read"][PARQUET]
    assert found["error"].startswith("The hub cannot be reached for lab/parquet")
    assert found["seconds"] < 15


def test_a_network_that_wants_a_login_is_told(tmp_path: Path) -> None:
    with serving({}) as (address, _):
        found = run(tmp_path, {"read": [PARQUET]}, HF_ENDPOINT=f"{address}/login")["read"][PARQUET]
    assert found["error"].startswith("What answers in the hub's place is not the hub, so lab/parquet cannot be read")


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("where a folder should be")
    with serving(repositories(tmp_path)) as (address, _):
        found = run(tmp_path, {"read": [PARQUET]}, HF_ENDPOINT=address, HF_HOME=str(tmp_path / "file"))
    assert "lab/parquet cannot be read: " in found["read"][PARQUET]["error"]
    assert "look at the folder HF_HOME" in found["read"][PARQUET]["error"]


def test_what_was_read_before_a_failure_stays(answers: dict[str, Any]) -> None:
    assert answers["read"]["hub:lab/half"]["given"] == len(TEXTS)


def test_whoever_is_offline_on_purpose_is_told_so(tmp_path: Path) -> None:
    found = run(tmp_path, {"read": [PARQUET]}, HF_HUB_OFFLINE="1")["read"][PARQUET]
    assert found["error"].startswith(
        "HF_HUB_OFFLINE is set, so lab/parquet is not asked for; unset it, or make the dataset"
    )
    assert found["seconds"] < 12


LONG = [f"text {number}: " + "the boat waited for rain. " * 400 for number in range(1200)]
"""Some 12 MB: more than the library reads ahead, so that a break comes in the middle of the texts."""


def broken_hub(breaks: list[int]) -> dict[str, Repository]:
    """A dataset of two files, of which some readings of the second break off."""
    files = {"a.jsonl": as_lines(TEXTS), "b.jsonl": as_lines(LONG)}
    return {"lab/broken": Repository([files], drops={"b.jsonl": breaks})}


@pytest.mark.parametrize("breaks", [[0], [1, 2], [1, 2, 3, 5, 6]])
def test_a_network_that_breaks_in_between_costs_no_text(tmp_path: Path, breaks: list[int]) -> None:
    with serving(broken_hub(breaks)) as (address, _):
        found = run(tmp_path, {"read": [], "patient": {"hub:lab/broken": [0.01] * 5}}, HF_ENDPOINT=address)
    answer = found["patient"]["hub:lab/broken"]
    assert answer["error"] == ""
    assert answer["texts"] == TEXTS + LONG
    assert answer["told"][0] == "The hub does not answer, trying again in 0.01 s (1 of 5)"
    assert answer["told"][-1] == ""


def test_a_network_that_stays_away_is_told_after_the_last_try(tmp_path: Path) -> None:
    with serving(broken_hub(list(range(1, 100)))) as (address, _):
        found = run(tmp_path, {"read": [], "patient": {"hub:lab/broken": [0.01] * 3}}, HF_ENDPOINT=address)
    answer = found["patient"]["hub:lab/broken"]
    assert answer["error"].startswith("The hub cannot be reached for lab/broken; try again when there is a connection")
    assert [one.partition("(")[2] for one in answer["told"]] == ["1 of 3)", "2 of 3)", "3 of 3)"]
    assert answer["texts"] == (TEXTS + LONG)[: len(answer["texts"])] and len(answer["texts"]) > len(TEXTS)
