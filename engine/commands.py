"""What each command of `python -m engine` does and prints. engine/__main__.py has the words of the command line."""

import argparse
import json
import sys
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

from engine import backups, config, launch, store
from engine.estimate import training_bytes
from engine.home import Home
from engine.phrases import age, count, duration, loss, size, table

STOP_WAIT = 250.0
"""Seconds until `stop` gives up: more than the supervisor's longest patience, after which it kills."""
GOOD_ENDS = ("finished", "stopped")
WATCH_PERIOD, LINE_PERIOD = 0.5, 5.0
"""Seconds between two looks at a run that is followed, and between two lines about it in one phase."""
Arguments = argparse.Namespace


def presets(given: Arguments) -> int:
    """List the presets."""
    found = [(name, config.load_preset(name)) for name in config.presets()]
    if given.json:
        return _json(
            [
                {
                    "name": name,
                    "title": chosen.title,
                    "parameters": chosen.model.parameters,
                    "tokens": chosen.train.tokens,
                    "steps": chosen.total_steps,
                    "dataset": chosen.data.dataset,
                    "memory_bytes": training_bytes(chosen),
                }
                for name, chosen in found
            ]
        )
    print(
        table(
            ("PRESET", "PARAMETERS", "TOKENS", "MEMORY", "DATASET", "WHAT FOR"),
            [
                (
                    name,
                    count(chosen.model.parameters),
                    count(chosen.train.tokens),
                    f"~ {size(training_bytes(chosen))}",
                    chosen.data.dataset,
                    chosen.title,
                )
                for name, chosen in found
            ],
            right=("PARAMETERS", "TOKENS", "MEMORY"),
        )
    )
    return 0


def start(given: Arguments) -> int:
    """Start a detached run; with --wait, follow it to its end."""
    home = Home.at(given.home)
    launch.open_home(home)
    run_id = launch.start_run(home, given.preset, given.name, config.parse_overrides(given.set))
    return _begun(home, run_id, given)


def runs(given: Arguments) -> int:
    """List the runs, newest first."""
    home = Home.at(given.home)
    launch.open_home(home)
    with closing(store.connect(home.database)) as db:
        launch.reconcile(home, db)
        found = [launch.status_of(run) for run in store.list_runs(db)]
    if given.json:
        return _json(found)
    print(
        table(
            ("ID", "NAME", "PRESET", "STATUS", "AGE", "LOSS", "VAL LOSS", "TOK/S"),
            [
                (
                    run["id"],
                    run["name"],
                    run["preset"],
                    run["status"],
                    count(run["tokens"]),
                    loss(run["train_loss"]),
                    loss(run["val_loss"]),
                    count(run["tokens_per_second"]),
                )
                for run in found
            ],
            right=("AGE", "LOSS", "VAL LOSS", "TOK/S"),
        )
    )
    return 0


def status(given: Arguments) -> int:
    """One run in full."""
    found = launch.run_status(Home.at(given.home), given.run)
    if given.json:
        return _json(found)
    doing = " · ".join(part for part in (found["status"], found["phase"], found["message"]) if part)
    facts = {
        "run": f"{found['name']} ({found['id']})",
        "preset": found["preset"],
        "status": doing,
        "age": f"{age(found['tokens'])} of {count(found['target_tokens'])}, step {found['step']:,} of "
        f"{found['total_steps']:,}",
        "loss": f"{loss(found['train_loss'])}, on unseen text {loss(found['val_loss'])}",
        "speed": f"{count(found['tokens_per_second'])} tokens a second on {found['device']}"
        if found["tokens_per_second"]
        else "",
        "worked": duration(found["elapsed_seconds"]),
        "to go": duration(found["eta_seconds"]) if found["eta_seconds"] is not None else "",
        "pid": str(found["pid"] or ""),
        "error": found["error"] or "",
    }
    for name, value in facts.items():
        if value:
            print(f"{name:7} {value}")
    return 0


def stop(given: Arguments) -> int:
    """Save and end a run, and wait for that."""
    home = Home.at(given.home)
    launch.stop_run(home, given.run, now=given.now)
    ended = launch.status_of(launch.wait_until_ended(home, given.run, STOP_WAIT))
    return _ended(ended, given)


def pause(given: Arguments) -> int:
    """Let a run hold still."""
    launch.pause_run(Home.at(given.home), given.run)
    return _short(given, "pauses after the step it is in; resume makes it go on")


def resume(given: Arguments) -> int:
    """Go on with a run that ended early or is paused."""
    home = Home.at(given.home)
    launch.resume_run(home, given.run)
    return _begun(home, launch.run_status(home, given.run)["id"], given)


def samples(given: Arguments) -> int:
    """Print what a run has said."""
    home = Home.at(given.home)
    with closing(store.connect(home.database)) as db:
        run = store.find_run(db, given.run)
        found: list[store.Row] = []
        while page := store.list_samples(db, run["id"], found[-1]["id"] if found else 0):
            found += page
    found = found[-given.limit :] if given.limit else found
    if given.json:
        return _json(found)
    for sample in found:
        print(
            f"#{sample['id']}  step {sample['step']:,}, {age(sample['tokens'])}, {sample['source']}\n"
            f"{_plain(sample['prompt'])}|{_plain(sample['text'])}\n"
        )
    if not found:
        print(f"{run['name']} has said nothing yet.")
    return 0


def archive(given: Arguments) -> int:
    """Keep a sample as an exhibit of the time capsule."""
    home = Home.at(given.home)
    with closing(store.connect(home.database)) as db:
        exhibit = store.keep(db, given.sample, given.category, given.title, given.note)
    if given.json:
        return _json({"id": exhibit, "sample_id": given.sample})
    print(f"Sample {given.sample} is exhibit {exhibit} of the time capsule.")
    return 0


def generate(given: Arguments) -> int:
    """Let a run go on with a prompt; printed as it grows and kept like an answer of the page."""
    from engine.generate import Ask, load_speaker  # torch: only this command pays for it

    home = Home.at(given.home)
    name, _, step = given.run.partition("@")
    if step and not step.isdecimal():
        raise store.Refused(f"{given.run!r} must be RUN or RUN@STEP, for example {name}@400.")
    ask = Ask(
        prompt=given.prompt,
        max_tokens=given.max_tokens,
        temperature=given.temperature,
        top_k=given.top_k,
        top_p=given.top_p,
        seed=given.seed,
    )
    with closing(store.connect(home.database)) as db:
        speaker = load_speaker(home, db, store.find_run(db, name)["id"], int(step) if step else None)
        shown = ""
        if not given.json:
            print(_plain(ask.prompt), end="", flush=True)
        for piece in speaker.stream(ask):
            if not given.json and piece.text.startswith(shown):
                print(_plain(piece.text[len(shown) :]), end="", flush=True)
                shown = piece.text
        sample = speaker.sample_row(ask, piece, "playground")
        sample_id = store.add_sample(db, sample)
    if given.json:
        return _json(sample | {"id": sample_id})
    print(
        f"\n({sample['run_id']} at step {sample['step']:,}, {piece.new_tokens} tokens; sample {sample_id})",
        file=sys.stderr,
    )
    return 0


def backup(given: Arguments) -> int:
    """Copy runs.db, also while runs train."""
    shown = sys.stderr.isatty() and not given.json

    def report(share: float) -> None:
        if shown:
            print(f"\r{share:4.0%}", end="", file=sys.stderr, flush=True)

    made = backups.back_up(Home.at(given.home), given.file or given.to, report)
    if given.json:
        return _json({"path": str(made.path), "bytes": made.bytes})
    print(f"{chr(13) if shown else ''}{made.path} ({size(made.bytes)})")
    return 0


def _begun(home: Home, run_id: str, given: Arguments) -> int:
    """Say that a trainer is on its way, or follow it to the end."""
    if given.wait:
        return _follow(home, run_id, given)
    if given.json:
        return _json(launch.run_status(home, run_id))
    print(run_id)
    return 0


def _follow(home: Home, run_id: str, given: Arguments) -> int:
    """Print progress on stderr until the run has ended."""
    if not given.json:
        print(run_id, flush=True)
    now = launch.run_status(home, run_id)
    doing, said = "", 0.0
    try:
        while now["status"] in store.OPEN:
            if now["status"] + now["phase"] != doing or time.monotonic() - said > LINE_PERIOD:
                doing, said = now["status"] + now["phase"], time.monotonic()
                print(_progress(now), file=sys.stderr, flush=True)
            time.sleep(WATCH_PERIOD)
            now = launch.run_status(home, run_id)
    except KeyboardInterrupt:
        print(f"\n{now['name']} goes on without you; `python -m engine stop {now['name']}` ends it.", file=sys.stderr)
        return 1
    return _ended(launch.status_of(launch.wait_until_ended(home, run_id, STOP_WAIT)), given)


def _progress(run: dict[str, Any]) -> str:
    """One line on what a run does now."""
    if run["status"] == "preparing":
        share = "" if run["progress"] is None else f" {run['progress']:.0%}"
        return f"preparing: {run['message'] or 'starting'}{share}"
    speed = f"  {count(run['tokens_per_second'])} tok/s" if run["tokens_per_second"] else ""
    left = "" if run["eta_seconds"] is None else f"  {duration(run['eta_seconds'])} to go"
    return (
        f"{run['phase'] or run['status']}: step {run['step']:,}/{run['total_steps']:,}"
        f"  loss {loss(run['train_loss'])}  unseen {loss(run['val_loss'])}{speed}{left}"
    )


def _ended(run: dict[str, Any], given: Arguments) -> int:
    """Print how a run ended; exit status 1 unless it finished or was stopped."""
    good = run["status"] in GOOD_ENDS
    if given.json:
        _json(run)
    elif good:
        note = f": {run['error']}" if run["error"] else "."
        print(
            f"{run['name']} is {run['status']} at step {run['step']:,}, {age(run['tokens'])}{note}",
            file=sys.stderr if getattr(given, "wait", False) else sys.stdout,
        )
    if not good:
        print(f"{run['name']} is {run['status']}: {run['error'] or 'no reason is known.'}", file=sys.stderr)
    return 0 if good else 1


def _short(given: Arguments, sentence: str) -> int:
    found = launch.run_status(Home.at(given.home), given.run)
    if given.json:
        return _json(found)
    print(f"{found['name']} {sentence}.")
    return 0


def _plain(text: str) -> str:
    """Model text without what a terminal would obey."""
    return "".join(letter if letter.isprintable() or letter in "\n\t" else "\ufffd" for letter in text)


def _json(value: Any) -> int:
    print(json.dumps(value))
    return 0


COMMANDS: dict[str, Callable[[Arguments], int]] = {
    "presets": presets,
    "start": start,
    "runs": runs,
    "status": status,
    "stop": stop,
    "pause": pause,
    "resume": resume,
    "generate": generate,
    "samples": samples,
    "archive": archive,
    "backup": backup,
}
