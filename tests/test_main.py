"""The command line: what it prints, what it refuses, and with which exit status."""

import contextlib
import json
import signal
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from helpers import end_trainers, supervised, wait_for
from sqlite_utils import Database

from engine import launch, process, store
from engine.__main__ import main
from engine.config import load_preset
from engine.home import PROJECT, Home
from engine.talk import Talker

Capture = pytest.CaptureFixture[str]
FOREVER = ("--points", "1000000")


def run_json(capsys: Capture, *words: str) -> Any:
    """What a command prints as data; it must succeed."""
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys: Capture, *words: str) -> str:
    """The one line of a refused command."""
    assert main(words) == 1
    caught = capsys.readouterr()
    assert caught.out == ""
    assert caught.err.count("\n") == 1, caught.err
    return caught.err


def test_presets(capsys: Capture) -> None:
    found = {preset["name"]: preset for preset in run_json(capsys, "presets")}
    assert found["blueberry-nano"]["parameters"] == 151_032_320
    assert {"parameters", "tokens", "memory_bytes", "title"} <= set(found["seedling"])
    assert main(["presets"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["PRESET", "PARAMETERS", "TOKENS"]
    assert len(lines) == len(found) + 1


def test_a_fresh_home_has_the_published_run(tmp_path: Path, capsys: Capture) -> None:
    found = run_json(capsys, "runs", "--home", str(tmp_path / "fresh"))
    assert [run["name"] for run in found] == ["Blueberry-Nano"]


def test_a_run_from_start_to_stop(home: Home, capsys: Capture) -> None:
    at = ("--home", str(home.path))
    with supervised(home, *FOREVER):
        started = run_json(
            capsys,
            "start",
            "--preset",
            "seedling",
            "--name",
            "mine",
            "--set",
            "train.seed=3",
            "train.tokens=1M",
            "--set",
            "eval.every=7",
            *at,
        )
        wait_for(lambda: launch.run_status(home, "mine")["status"] == "running")
        running = run_json(capsys, "status", "mine", *at)
        assert running["id"] == started["id"]
        assert running["pid"] > 0
        assert main(["status", started["id"][:5], *at]) == 0
        assert "status  running · training" in capsys.readouterr().out
        assert main(["sample", "mine", *at]) == 0
        assert capsys.readouterr().out.startswith("mine answers its prompts after the step it is in; ")
        assert main(["pause", "mine", *at]) == 0
        wait_for(lambda: launch.run_status(home, "mine")["status"] == "paused")
        assert main(["resume", "mine", *at]) == 0
        wait_for(lambda: launch.run_status(home, "mine")["status"] == "running")
        capsys.readouterr()
        assert "one is" not in refused(capsys, "start", "--preset", "seedling", *at)
        assert main(["stop", "mine", *at]) == 0
        assert capsys.readouterr().out.startswith("mine is stopped at step ")
        assert run_json(capsys, "resume", "mine", *at)["status"] == "preparing"
        assert run_json(capsys, "stop", "mine", "--now", *at)["status"] == "stopped"
        found = run_json(capsys, "runs", *at)
        assert [(run["name"], run["status"]) for run in found] == [("mine", "stopped"), ("Blueberry-Nano", "finished")]
        config = json.loads(store.get_config(store.connect(home.database), started["id"]))
        assert (config["train"]["seed"], config["train"]["tokens"], config["eval"]["every"]) == (3, 1_000_000, 7)
        assert main(["runs", *at]) == 0
        assert "mine" in capsys.readouterr().out


def test_start_prints_the_id_alone(home: Home, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "start_supervisor", lambda _: None)
    assert main(["start", "--preset", "seedling", "--home", str(home.path)]) == 0
    caught = capsys.readouterr()
    assert launch.run_status(home, caught.out.strip())["name"] == "seedling-1"


def test_waiting_shows_progress_and_the_end(home: Home, capsys: Capture) -> None:
    with supervised(home, "--points", "60", "--speed", "60"):
        assert main(["start", "--preset", "seedling", "--wait", "--home", str(home.path)]) == 0
        caught = capsys.readouterr()
        assert len(caught.out.split()) == 1
        assert "training: step" in caught.err
        assert caught.err.endswith("seedling-1 is finished at step 60, 246 k tokens old.\n")


def test_waiting_for_a_run_that_fails_is_exit_status_1(home: Home, capsys: Capture) -> None:
    with supervised(home, "--crash-at", "2"):
        assert main(["start", "--preset", "seedling", "--wait", "--json", "--home", str(home.path)]) == 1
        caught = capsys.readouterr()
        assert json.loads(caught.out)["status"] == "failed"
        assert "seedling-1 is failed: The trainer ended with exit status 1; its last words: ValueError" in caught.err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("status", "nobody"), "There is no run 'nobody'"),
        (("stop", "nobody"), "There is no run"),
        (("resume", store.REFERENCE_ID), "is finished"),
        (("samples", "nobody"), "There is no run"),
        (("archive", "9999", "--category", "good", "--title", "x"), "There is no sample 9999"),
        (("archive", "1", "--category", "", "--title", "x"), "A category needs"),
        (("start", "--preset", "seedlin"), "did you mean seedling?"),
        (("start", "--set", "train.tokens"), "Give settings as key=value"),
        (("start", "--set", "train.seed=1", "train.seed=2"), "given twice"),
        (("start", "--set", "optimizer.muon_lr=-1"), "must be a finite number > 0"),
        (("start", "--set", "model.heads=5"), "model.heads = 5 must divide model.width = 256; try 4."),
        (("start", "--set", "model.kv_heads=3"), "model.kv_heads = 3 must divide model.heads = 4; try"),
        (("start", "--set", "model.window=300"), "model.window = 300 must be at most model.context = 256; try 0"),
        (("start", "--set", "train.attention=flash3"), "must be one of auto, flash, cudnn, flash-attn, plain."),
        (("start", "--set", "train.precision=fp8"), "must be one of auto, fp32, bf16, fp16."),
        (("start", "--set", "train.micro_batch=5"), "must divide the 16 rows of a step; try 4."),
        (("start", "--name", "../x"), "must have 1 to 64 letters"),
        (("start", "--preset", "blueberry-nano"), "smollm-1b"),
    ],
)
def test_what_is_refused_is_one_line(home: Home, capsys: Capture, words: tuple[str, ...], line: str) -> None:
    assert line in refused(capsys, *words, "--home", str(home.path))


def test_a_home_without_a_database_is_a_line(tmp_path: Path, capsys: Capture) -> None:
    assert "runs.db is not there" in refused(capsys, "status", "x", "--home", str(tmp_path))


def test_a_broken_database_is_a_line(home: Home, capsys: Capture) -> None:
    for file in home.path.glob("runs.db*"):
        file.unlink()
    home.database.write_bytes(b"this is no database, but it is long enough to be read as one" * 20)
    assert "runs.db cannot be used" in refused(capsys, "status", "x", "--home", str(home.path))


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("dance",),
        ("status",),
        ("archive", "x", "--category", "good", "--title", "t"),
        ("bench", "nothing"),
        ("generate", "a"),
        ("bench",),
        ("bench", "../x"),
    ],
)
def test_wrong_usage_is_exit_status_2(words: tuple[str, ...], capsys: Capture) -> None:
    try:
        assert main(words) == 2
    except SystemExit as end:
        assert end.code == 2
    assert capsys.readouterr().err


def test_bench_hands_over_to_the_script(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[list[str]] = []
    script = types.ModuleType("benchmarks.train")
    script.main = lambda argv: heard.append(argv)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "benchmarks.train", script)
    assert main(["bench", "train", "--device", "cpu"]) == 0
    assert heard == [["--device", "cpu"]]


def test_samples_and_archive(home: Home, db: Database, capsys: Capture) -> None:
    at = ("--home", str(home.path))
    run_id = store.create_run(db, load_preset("seedling"), "seedling", "a", "cpu")
    store.end_run(db, run_id, "finished")
    assert main(["samples", "a", *at]) == 0
    assert capsys.readouterr().out == "a has said nothing yet.\n"
    for number in range(3):
        store.add_sample(
            db,
            {
                "run_id": run_id,
                "attempt": 1,
                "step": number,
                "tokens": number * 4096,
                "prompt": "Once",
                "text": f" upon \x1b[31m{number}",
                "source": "periodic",
                "created_at": 1.0,
            },
        )
    assert len(run_json(capsys, "samples", "a", *at)) == 3
    newest = run_json(capsys, "samples", "a", "--limit", "1", *at)[0]
    assert main(["samples", "a", "--limit", "1", *at]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "8.2 k tokens old" in shown
    kept = run_json(capsys, "archive", str(newest["id"]), "--category", "Good", "--title", "First words", *at)
    exhibits, _ = store.search_archive(db, query="First words")
    assert [exhibit["id"] for exhibit in exhibits] == [kept["id"]]


def test_a_closed_pipe_is_no_trace() -> None:
    done = subprocess.run(
        f"{sys.executable} -m engine presets | true",
        shell=True,
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stderr == ""


def test_a_real_run_is_trained_asked_and_asked_again(tmp_path: Path, capsys: Capture) -> None:
    home, at = Home.at(tmp_path), ("--home", str(tmp_path))
    small = [
        "data.dataset=starter-300",
        "data.tokenizer=bpe:300",
        "model.vocab_size=300",
        "model.layers=1",
        "model.width=32",
        "model.heads=2",
        "model.kv_heads=1",
        "model.mlp_width=32",
        "model.context=32",
        "train.batch_tokens=128",
        "train.tokens=640",
        "eval.tokens=256",
        "eval.every=5",
        "sample.every=5",
        "sample.max_tokens=8",
        "sample.suites=stories",
    ]
    assert main(["start", "--preset", "seedling", "--name", "tiny", "--wait", "--set", *small, *at]) == 0
    assert "tiny is finished at step 5" in capsys.readouterr().err
    assert run_json(capsys, "samples", "tiny", *at)

    question = ("generate", "tiny", "--prompt", "Once", "--max-tokens", "12", "--seed", "3", *at)
    assert main(question) == 0
    printed = capsys.readouterr().out
    first, again, younger = (
        run_json(capsys, *words) for words in (question, question, ("generate", "tiny@0", *question[2:]))
    )
    assert printed.startswith("Once")
    assert first["text"] == again["text"] != younger["text"]
    settings = ("--min-p", "0.1", "--repetition-penalty", "1.3", "--stop", "e", "--stop", "a")
    other = run_json(capsys, *question, *settings)
    assert (other["min_p"], other["repetition_penalty"], other["stop"]) == (0.1, 1.3, '["e", "a"]')
    assert not {"e", "a"} & set(other["text"])
    assert "repetition_penalty = 0.0 must be" in refused(capsys, *question, "--repetition-penalty", "0")
    assert "RUN@STEP" in refused(capsys, "generate", "tiny@last", "--prompt", "x", *at)
    assert "no weights of step 77" in refused(capsys, "generate", "tiny@77", "--prompt", "x", *at)

    talker = Talker(home)
    try:
        answer = list(talker.stream(first["run_id"], None, "Once", max_tokens=12, seed=3))[-1]
        assert (answer["text"], answer["finish"], answer["step"]) == (first["text"], "length", 5)
        with pytest.raises(store.Refused, match="at once"):
            list(talker.stream(first["run_id"], None, "long " * 200))
    finally:
        talker.close()
    end_supervisor(home)
    end_trainers(home)


def end_supervisor(home: Home) -> None:
    """Send home the supervisor that `start` left behind, unless it went by itself meanwhile."""
    pid = int(home.supervisor_log.read_text(encoding="utf-8").split("supervisor ")[1].split()[0])
    with contextlib.suppress(ProcessLookupError):
        who = process.identity(pid)
        process.send(signal.SIGTERM, pid, who["process_started_at"], who["boot_id"])
    wait_for(lambda: not process.is_held(home.supervisor_lock))
