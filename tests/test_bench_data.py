"""`bench data` measures preparing, its peers, the loader and a kill, and says what is reached."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.data import main, middle, parser
from benchmarks.preparing import resume
from benchmarks.preparing.process import Failed
from benchmarks.preparing.report import shown
from benchmarks.preparing.resume import go_on
from benchmarks.preparing.text import read, write
from engine.config import ConfigError

SIDE = {"tokens": 10_000_000, "seconds": 20.0, "work": 35.0, "tokens_per_second": 600_000.0, "peak_bytes": 900_000_000}
REPORT: dict[str, Any] = {
    "cores": 2,
    "text": {"source": "starter", "documents": 4000, "bytes": 40_000_000, "copies": 5},
    "sides": {
        "prepared": SIDE | {"stages": {"encoding": 18.0, "finishing": 2.0}},
        "datasets.map, 1 process": SIDE | {"tokens_per_second": 300_000.0},
    },
    "ratio": 2.0,
    "loader": {"processor": "Some CPU", "device": "cpu", "rows": 32, "context": 2048, "plain": 9e8, "documents": 4e8},
    "resume": {"seconds": 1.25, "all_seconds": [1.0, 1.25], "saved_tokens": 7_500_000, "tokenizer": "smollm2"},
}


def test_a_short_source_is_repeated_and_no_two_documents_are_equal(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ftwo\f\fthree", encoding="utf-8")

    text = write(tmp_path / "a.txt", 25, tmp_path / "out.jsonl")

    assert read(text.path) == ["one", "two", "three", "(2)\none", "(2)\ntwo"]
    assert (text.documents, text.bytes, text.copies) == (5, 25, 2)


def test_a_table_for_people_says_what_is_reached() -> None:
    lines = shown(REPORT).splitlines()

    assert lines[0] == "Some CPU, 2 cores; 40 MB of text in 4,000 documents (starter, 5 times), 10 M tokens"
    assert "datasets.map, 1 process  300,000        2.00x          3.50       900 MB" in lines
    assert "after a kill    1.2 s until a job of 7.5 M tokens goes on (smollm2; the longest of 2)" in lines
    assert lines[-4:] == [
        "reached  550k tok/s end to end",
        "reached  less than 1.5 GB",
        "reached  loader 20 M tok/s",
        "reached  goes on within 5 s",
    ]
    slow = REPORT | {"resume": REPORT["resume"] | {"seconds": 5.1}}
    assert shown(slow).splitlines()[-1] == "MISSED   goes on within 5 s"


def test_the_middle_of_some_rounds() -> None:
    assert middle([{"tokens_per_second": speed} for speed in (5, 1, 3)]) == {"tokens_per_second": 3}


class Job:
    """A job that reports, and remembers which were killed."""

    killed: list["Job"]

    def __init__(self, spec: dict[str, Any]) -> None:
        self.reports = spec["reports"]

    def lines(self) -> Iterator[dict[str, Any]]:
        yield {"stage": "reading", "tokens": 40}
        for tokens in self.reports:
            yield {"stage": "encoding", "tokens": tokens}

    def kill(self) -> None:
        self.killed.append(self)


def test_a_job_is_killed_and_started_again_until_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resume, "Process", Job)
    Job.killed = []

    found = go_on({"reports": [40, 40, 80, 120]}, 70, kills=3)

    assert (found["tokens"], found["saved_tokens"], len(found["all_seconds"]), len(Job.killed)) == (80, 40, 3, 4)
    assert found["seconds"] == max(found["all_seconds"])


def test_a_job_that_ends_before_it_is_killed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resume, "Process", Job)
    Job.killed = []

    with pytest.raises(Failed, match="ended before it had 70 tokens"):
        go_on({"reports": [10, 20]}, 70, kills=3)


def test_what_cannot_be_measured_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="there is no file or folder 'nowhere'"):
        main(["--source", str(tmp_path / "nowhere")])
    for wrong in ("0", "-1", "x", "1.5"):
        with pytest.raises(SystemExit):
            parser().parse_args(["--megabytes", wrong])
    assert parser().parse_args(["--resume-tokens", "1B"]).resume_tokens == 10**9
    assert "whole value" in capsys.readouterr().err


def test_a_report_for_programs_has_every_figure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--megabytes", "2", "--no-peer", "--json"]) == 0

    report = json.loads(capsys.readouterr().out)
    assert set(report["sides"]) == {"prepared", "tokenizers alone"}
    assert all(side["tokens_per_second"] > 0 and side["peak_bytes"] > 10**7 for side in report["sides"].values())
    # The same tokens, but for the end of each document.
    prepared, alone = (report["sides"][name]["tokens"] for name in ("prepared", "tokenizers alone"))
    assert prepared == alone + report["text"]["documents"]
    assert report["loader"]["plain"] > 10**6 and report["resume"]["seconds"] > 0
