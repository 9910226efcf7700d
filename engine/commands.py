"""What each command of `python -m engine` does and prints. engine/__main__.py has the words of the command line."""

import argparse
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from engine import (
    asking,
    commands_alerts,
    commands_capsule,
    commands_fame,
    commands_fork,
    commands_home,
    commands_judge,
    commands_live,
    commands_money,
    commands_preflight,
    commands_queue,
    commands_report,
    commands_runs,
    commands_sweep,
    config,
    gpu,
    launch,
    store,
)
from engine.estimate import training_bytes
from engine.follow import begun, end_of, ended, print_json
from engine.home import Home
from engine.phrases import age, count, duration, loss, plain, size, table

Arguments = argparse.Namespace


def presets(given: Arguments) -> int:
    """List the presets."""
    found, device = [(name, config.load_preset(name)) for name in config.presets()], launch.default_device()
    if given.json:
        return print_json(
            [
                {
                    "name": name,
                    "title": chosen.title,
                    "parameters": chosen.model.parameters,
                    "active_parameters": chosen.model.active_parameters,
                    "tokens": chosen.train.tokens,
                    "steps": chosen.total_steps,
                    "dataset": chosen.data.dataset,
                    "memory_bytes": training_bytes(chosen, device),
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
                    f"~ {size(training_bytes(chosen, device))}",
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
    run_id = launch.start_run(home, given.preset, given.name, config.parse_overrides(given.set), given.queue)
    return begun(home, run_id, given)


def status(given: Arguments) -> int:
    """One run in full."""
    home = Home.at(given.home)
    found, gpus = launch.run_status(home, given.run), _gpus(home)
    if given.json:
        return print_json(found | {"gpus": [asdict(one) for one in gpus]})
    doing = " · ".join(part for part in (found["status"], found["phase"], found["message"]) if part)
    facts = {
        "run": f"{found['name']} ({found['id']})",
        "preset": found["preset"],
        "status": doing,
        "age": f"{age(found['tokens'])} of {count(found['target_tokens'])}, step {found['step']:,} of "
        f"{found['total_steps']:,}",
        "loss": f"{loss(found['train_loss'])}, on unseen text {loss(found['val_loss'])}",
        "text": f"reading {found['epoch']:,} of {found['epochs']:,}" if found["epoch"] else "",
        "speed": f"{count(found['tokens_per_second'])} tokens a second on {found['device']}"
        if found["tokens_per_second"]
        else "",
        "experts": _experts(found["expert_load"]),
        "worked": duration(found["elapsed_seconds"]),
        "to go": duration(found["eta_seconds"]) if found["eta_seconds"] is not None else "",
        "cost": commands_money.costs(found["money"], bool(found["parent_step"])),
        "energy": commands_money.energy_used(found["money"], bool(found["parent_step"])),
        "pid": str(found["pid"] or ""),
        "error": found["error"] or "",
    }
    for name, value in facts.items():
        if value:
            print(f"{name:7} {value}")
    for one in gpus:
        print("\n        ".join((f"memory  {one}", *map(str, one.holders))))
    return 0


def stop(given: Arguments) -> int:
    """Save and end a run, and wait for that."""
    home = Home.at(given.home)
    launch.stop_run(home, given.run, now=given.now)
    return ended(end_of(home, given.run), given)


def pause(given: Arguments) -> int:
    """Let a run hold still."""
    launch.pause_run(Home.at(given.home), given.run)
    return _short(given, "pauses after the step it is in; resume makes it go on")


def sample(given: Arguments) -> int:
    """Have a run that trains asked all its prompts now."""
    home = Home.at(given.home)
    with closing(store.connect(home.database)) as db:
        launch.reconcile(home, db)
        asking.sample_now(db, given.run)
    return _short(given, "answers its prompts after the step it is in; `python -m engine samples` prints them")


def resume(given: Arguments) -> int:
    """Go on with a run that ended early or is paused."""
    home = Home.at(given.home)
    launch.resume_run(home, given.run, given.queue)
    return begun(home, launch.run_status(home, given.run)["id"], given)


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
        return print_json(found)
    for sample in found:
        print(
            f"#{sample['id']}  step {sample['step']:,}, {age(sample['tokens'])}, {sample['source']}\n"
            f"{plain(sample['prompt'])}|{plain(sample['text'])}\n"
        )
    if not found:
        print(f"{run['name']} has said nothing yet.")
    return 0


def archive(given: Arguments) -> int:
    """Keep a sample as an exhibit of the time capsule."""
    home = Home.at(given.home)
    with closing(store.connect(home.database)) as db:
        exhibit = store.keep(db, given.sample, given.category, given.title, given.note, given.tag)
    if given.json:
        return print_json({"id": exhibit, "sample_id": given.sample})
    print(f"Sample {given.sample} is exhibit {exhibit} of the time capsule.")
    return 0


def generate(given: Arguments) -> int:
    """Let a run go on with a prompt; printed as it grows and kept like an answer of the page."""
    home = Home.at(given.home)
    if given.run.endswith("@live"):
        return commands_live.generate(home, given)
    from engine.generate import Ask, load_speaker  # torch: only this command pays for it

    name, step = _at_step(given.run)
    ask = Ask(
        prompt=given.prompt,
        max_tokens=given.max_tokens,
        temperature=given.temperature,
        top_k=given.top_k,
        top_p=given.top_p,
        seed=given.seed,
        min_p=given.min_p,
        repetition_penalty=given.repetition_penalty,
        stop=tuple(given.stop),
    )
    with closing(store.connect(home.database)) as db:
        speaker = load_speaker(home, db, store.find_run(db, name)["id"], step)
        shown = ""
        if not given.json:
            print(plain(ask.prompt), end="", flush=True)
        for piece in speaker.stream(ask):
            if not given.json and piece.text.startswith(shown):
                print(plain(piece.text[len(shown) :]), end="", flush=True)
                shown = piece.text
        sample = speaker.sample_row(ask, piece, "playground")
        sample_id = store.add_sample(db, sample)
    if given.json:
        return print_json(sample | {"id": sample_id})
    print(
        f"\n({sample['run_id']} at step {sample['step']:,}, {piece.new_tokens} tokens; sample {sample_id})",
        file=sys.stderr,
    )
    return 0


def export(given: Arguments) -> int:
    """Write a run's model as a folder that transformers reads (Qwen3ForCausalLM)."""
    from engine.export import export as write  # torch

    home = Home.at(given.home)
    name, step = _at_step(given.run)
    with closing(store.connect(home.database)) as db:
        made = write(home, db, store.find_run(db, name)["id"], step, Path(given.out), given.dtype)
    if given.json:
        return print_json(asdict(made) | {"path": str(made.path)})
    print(f"{made.path} ({size(made.bytes)}, {made.dtype}, step {made.step:,})")
    return 0


def _experts(loads: list[list[float]] | None) -> str:
    """How unevenly the experts are used, in words."""
    if not loads:
        return ""
    shares = [share for layer in loads for share in layer]
    return f"{min(shares):.1%} to {max(shares):.1%} of a layer's text each, {1 / len(loads[0]):.1%} when even"


def _gpus(home: Home) -> list[gpu.Gpu]:
    with closing(store.connect(home.database)) as db:
        return gpu.look(store.open_runs(db))


def _at_step(text: str) -> tuple[str, int | None]:
    """RUN and STEP of RUN[@STEP]."""
    name, _, step = text.partition("@")
    if step and not step.isdecimal():
        raise store.Refused(f"{text!r} must be RUN or RUN@STEP, for example {name}@400.")
    return name, int(step) if step else None


def _short(given: Arguments, sentence: str) -> int:
    found = launch.run_status(Home.at(given.home), given.run)
    if given.json:
        return print_json(found)
    print(f"{found['name']} {sentence}.")
    return 0


COMMANDS: dict[str, Callable[[Arguments], int]] = {
    "presets": presets,
    "start": start,
    "preflight": commands_preflight.preflight,
    "runs": commands_runs.runs,
    "status": status,
    "stop": stop,
    "pause": pause,
    "sample": sample,
    "resume": resume,
    "fork": commands_fork.fork_run,
    "set": commands_fork.change_run,
    "generate": generate,
    "export": export,
    "report": commands_report.report,
    "samples": samples,
    "judge": commands_judge.judge,
    "archive": archive,
    "gallery": commands_fame.gallery,
    "capsule": commands_capsule.run,
    "rename": commands_runs.rename,
    "tag": commands_runs.tag,
    "note": commands_runs.note,
    "put-away": commands_runs.put_away,
    "settings": commands_runs.settings,
    "delete": commands_runs.delete,
    "queue": commands_queue.show,
    "sweep": commands_sweep.run,
    "prepare": commands_home.prepare,
    "datasets": commands_home.datasets,
    "price": commands_money.price,
    "budget": commands_money.budget,
    "alerts": commands_alerts.show,
    "doctor": commands_home.check_up,
    "backup": commands_home.backup,
}
