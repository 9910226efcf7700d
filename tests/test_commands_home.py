"""`prepare` and `datasets` on the command line: what they print, what they refuse, what a recipe is made of."""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers import supervised
from test_main import refused, run_json

from engine import commands_home, preparing
from engine.__main__ import main, parser
from engine.data.recipe import KNOWN, Filters, Recipe, Source
from engine.follow_job import progress
from engine.home import PROJECT, Home

Capture = pytest.CaptureFixture[str]
ENDLESS = ("--chunks", "100000")


@pytest.fixture
def at(home: Home) -> tuple[str, str]:
    return "--home", str(home.path)


def recipe_of(*words: str) -> Recipe | None:
    return commands_home.recipe_of(parser().parse_args(["prepare", "mine", *words]))


def test_a_recipe_is_what_the_options_say() -> None:
    assert recipe_of("--source", "starter") == Recipe((Source("starter"),))
    words = "--tokenizer gpt2 --tokens 1.5M --min-characters 20 --max-characters 1M --max-symbol-share 0.2 "
    words += "--max-repetition 1 --keep-duplicates --licence CC0 --separator </s>"
    assert recipe_of("--source", "a,weight=1", "hub:x/y,config=c,weight=2", *words.split()) == Recipe(
        (Source("a", weight=1.0), Source("hub:x/y", config="c", weight=2.0)),
        tokenizer="gpt2",
        tokens=1_500_000,
        filters=Filters(20, 1_000_000, 0.2, 1.0),
        deduplicate=False,
        separator="</s>",
        licence="CC0",
    )


def test_a_column_is_that_of_every_source_without_its_own() -> None:
    made = recipe_of("--source", "a", "--source", "b,column=body", "--text-column", "story")
    assert made and [source.column for source in made.sources] == ["story", "body"]


def test_a_known_dataset_needs_no_source() -> None:
    given = parser().parse_args(["prepare", "smollm-1b", "--tokens", "100M"])
    assert commands_home.recipe_of(given) == replace(KNOWN["smollm-1b"], tokens=100_000_000)
    assert recipe_of() is None


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), "Give --source FILE, FOLDER or hub:OWNER/NAME: there is no known dataset 'mine'."),
        (("--tokens", "5"), "there is no known dataset 'mine'"),
        (("--source", "starter", "--tokens", "many"), "--tokens = 'many' must be a number, for example --tokens 100M."),
        (("--source", "starter", "--tokens", "-5"), "tokens = -5 must be from 0"),
        (("--source", "starter", "--tokens", "nan"), "--tokens = 'nan' must be a number"),
        (("--source", "starter", "--max-repetition", "x"), "must be a number, for example --max-repetition 0.3"),
        (("--source", "starter", "--max-repetition", "nan"), "max_repetition = nan must be from 0 to 1"),
        (("--source", "starter", "--min-characters", "-1"), "min_characters = -1 must be 0 or more"),
        (("--source", "a,weight=1", "b"), "Give every source a weight above 0, or none."),
        (("--source", ""), "A dataset needs a source"),
        (("--stop",), "There is no job 'mine'"),
        (("--discard",), "There is no job 'mine'"),
    ],
)
def test_what_is_refused_is_one_line(at: tuple[str, str], capsys: Capture, words: tuple[str, ...], line: str) -> None:
    assert line in refused(capsys, "prepare", "mine", *words, *at)


@pytest.mark.parametrize("words", [("prepare",), ("prepare", "a", "--stop", "--discard"), ("datasets", "--delete")])
def test_wrong_usage_is_exit_status_2(words: tuple[str, ...], capsys: Capture) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2 and capsys.readouterr().err


def test_a_job_is_followed_to_its_end(home: Home, at: tuple[str, str], capsys: Capture) -> None:
    with supervised(home, job=("--chunks", "60")):
        assert main(["prepare", "mine", "--source", "starter", *at]) == 0
    caught = capsys.readouterr()
    assert caught.out.startswith("mine is ready: 60 k tokens of 60 documents, made in ")
    assert "encoding  " in caught.err and "\r" not in caught.err
    assert "The dataset mine exists already" in refused(capsys, "prepare", "mine", "--source", "starter", *at)
    assert "The dataset mine exists already" in refused(capsys, "prepare", "mine", *at)


def test_a_terminal_sees_one_line_that_changes(
    home: Home, at: tuple[str, str], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "30")
    with supervised(home, job=("--chunks", "60")):
        assert main(["prepare", "mine", "--source", "starter", *at]) == 0
    lines = capsys.readouterr().err.split("\r")
    assert any(line.startswith("encoding  ") for line in lines) and lines[-1] == "\x1b[K"
    assert all(len(line.removesuffix("\x1b[K")) < 30 and "\n" not in line for line in lines)


def test_a_job_goes_on_without_its_follower_until_it_is_stopped(
    home: Home, at: tuple[str, str], capsys: Capture
) -> None:
    with supervised(home, job=("--chunks", "600")):
        job = run_json(capsys, "prepare", "mine", "--source", "starter", "--detach", *at)
        assert job["status"] == "waiting" and job["id"]
        follower = subprocess.Popen(
            [sys.executable, "-m", "engine", "prepare", "mine", "--source", "starter", *at],
            cwd=PROJECT,
            stderr=subprocess.PIPE,
            text=True,
            # Who runs the tests in the background has them ignore interrupts, and a child inherits that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        assert follower.stderr and "encoding" in next(line for line in follower.stderr if "encoding" in line)
        follower.send_signal(signal.SIGINT)
        said = follower.communicate(timeout=20)[1]
        assert follower.returncode == 1
        assert "Preparing mine goes on without you" in said and "--stop" in said and "Traceback" not in said

        assert "mine is running, " in shown(capsys, "datasets", *at)
        assert "is being prepared already" in refused(capsys, "prepare", "mine", "--source", "elsewhere", *at)
        assert main(["prepare", "mine", "--stop", *at]) == 0
        assert "`python -m engine prepare mine` goes on, --discard removes" in capsys.readouterr().out
        assert main(["prepare", "mine", *at]) == 0  # the recipe is that of the job
        assert capsys.readouterr().out.startswith("mine is ready: 600 k tokens")
        assert preparing.status(home, job["id"])["attempt"] == 2


def shown(capsys: Capture, *words: str) -> str:
    assert main(words) == 0
    return capsys.readouterr().out


def test_a_job_that_fails_is_exit_status_1_and_can_be_discarded(
    home: Home, at: tuple[str, str], capsys: Capture
) -> None:
    with supervised(home, job=("--crash-at", "3", "--crash", "refused")):
        assert main(["prepare", "mine", "--source", "starter", "--json", *at]) == 1
        caught = capsys.readouterr()
        assert json.loads(caught.out)["error"] == "The source has no text."
        assert caught.err.endswith("mine is failed: The source has no text.\n")
        assert "mine is failed: The source has no text." in shown(capsys, "datasets", *at)
        assert run_json(capsys, "prepare", "mine", "--discard", *at)["bytes"] > 2000
        assert run_json(capsys, "datasets", *at) == {"datasets": [], "jobs": []}


def test_datasets_are_listed_and_deleted(home: Home, at: tuple[str, str], capsys: Capture) -> None:
    assert "There are no datasets yet" in shown(capsys, "datasets", *at)
    card = {"train_tokens": 1_200_000, "val_tokens": 60_000, "documents": 77, "bytes_per_token": 4.25}
    card |= {"tokenizer": "/some/where/tokenizer.json", "created_at": "2026-11-23T04:00:00+00:00"}
    for name, text in (("good", json.dumps(card)), ("bad", "{")):
        home.dataset(name).mkdir(parents=True)
        (home.dataset(name) / "card.json").write_text(text, encoding="utf-8")
    head, bad, good = shown(capsys, "datasets", *at).splitlines()
    assert head.split()[:3] == ["NAME", "TOKENS", "UNSEEN"]
    assert good.split() == ["good", "1.2", "M", "60", "k", "77", "4.25", "1", "MB", "tokenizer.json", "2026-11-23"]
    assert "its card cannot be read" in bad
    assert [one["name"] for one in run_json(capsys, "datasets", *at)["datasets"]] == ["bad", "good"]
    assert shown(capsys, "datasets", "--delete", "good", *at) == "good is removed: 1 MB are free again.\n"
    assert "There is no dataset 'good'" in refused(capsys, "datasets", "--delete", "good", *at)
    assert "must be 1 to 64 letters" in refused(capsys, "datasets", "--delete", "../x", *at)


def test_progress_is_one_line() -> None:
    job: dict[str, Any] = {
        "status": "running",
        "stage": "encoding",
        "message": "Turning text into tokens",
        "progress": 0.42,
        "tokens": 420_000_000,
        "tokens_per_second": 551_234.0,
        "eta_seconds": 1080.0,
    }
    assert progress(job) == "encoding  42%  420 M tokens  551 k tok/s  18 min to go"
    nothing = dict.fromkeys(job) | {"status": "waiting", "stage": "", "message": "Waits", "tokens": 0}
    assert progress(nothing) == "waiting  Waits"


def answer(monkeypatch: pytest.MonkeyPatch, text: str) -> list[Any]:
    """A preview process that says `text`; what it was asked."""
    asked: list[Any] = []

    def run(command: list[str], input: str, **_: Any) -> subprocess.CompletedProcess[str]:
        assert command[1:] == ["-m", "engine.data.preview"]
        asked.append(json.loads(input))
        return subprocess.CompletedProcess(command, 0, text)

    monkeypatch.setattr(commands_home.subprocess, "run", run)
    return asked


def test_a_preview_makes_nothing(home: Home, at: tuple[str, str], capsys: Capture, monkeypatch: Any) -> None:
    found = {
        "documents": [
            {"file": "a.txt", "text": "Once\x1b[31m\nupon", "bytes": 12, "dropped": "", "duplicate": False},
            {"file": "b.txt", "text": "hm", "bytes": 2, "dropped": "too short", "duplicate": False},
            {"file": "c.txt", "text": "Once", "bytes": 4, "dropped": "", "duplicate": True},
        ],
        "read": 30,
        "dropped": {"too short": 4},
        "estimate": {"tokens": 5_000, "documents": 26, "bytes_on_disk": 3e6, "seconds": 12.0, "exact": False},
        "note": "A part was looked at.",
    }
    asked = answer(monkeypatch, json.dumps(found))
    said = shown(capsys, "prepare", "mine", "--source", "texts", "--preview", *at)
    assert asked[0]["recipe"]["sources"][0]["where"] == str(Path.cwd() / "texts") and asked[0]["roots"] is None
    assert said.splitlines() == [
        "a.txt, 12 bytes",
        "  Once\ufffd[31m upon",
        "b.txt, 2 bytes, dropped: too short",
        "  hm",
        "c.txt, 4 bytes, dropped: duplicate",
        "  Once",
        "30 documents were looked at; dropped: 4 too short.",
        "mine would have about 5 k tokens of 26 documents, take 3 MB of disk and 12 s.",
        "A part was looked at.",
    ]
    assert run_json(capsys, "prepare", "mine", "--source", "texts", "--preview", *at) == found
    assert preparing.listed(home) == []


@pytest.mark.parametrize(
    ("text", "line"), [('{"error": "The hub cannot be reached."}', "The hub cannot be"), ("", "without an answer")]
)
def test_a_preview_that_fails_is_a_line(
    at: tuple[str, str], capsys: Capture, monkeypatch: pytest.MonkeyPatch, text: str, line: str
) -> None:
    answer(monkeypatch, text)
    assert line in refused(capsys, "prepare", "mine", "--source", "x", "--preview", *at)
