"""What people ask of datasets: prepare, stop, resume, discard, delete. Requests are rows in runs.db."""

import json
import secrets
import shutil
import signal
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import launch, process, store
from engine.config import ConfigError
from engine.home import Home
from engine.space import folder_bytes

if TYPE_CHECKING:
    from engine.data.recipe import Recipe  # numpy and tokenizers: not for who only looks

PRIVATE = {"roots", "process_started_at", "boot_id", "heartbeat_at", "reached"}
"""Columns of a job that nobody needs to see."""
FIGURES = ("train_tokens", "val_tokens", "documents", "bytes_per_token")
"""Of a card, what lists show."""


def start(home: Home, name: str, recipe: "Recipe", roots: Sequence[Path] | None = None, *, anew: bool = False) -> str:
    """Begin a detached job that writes datasets/NAME; returns its id.

    `roots`: the folders below which files may be read, None for all that the user can. An equal job that ended early
    is resumed; what another one has made is thrown away if `anew` says so. Raises Refused or ConfigError where the name
    is taken, or what can be checked at once is wrong.
    """
    from engine.data.recipe import Recipe

    _check_name(name)
    recipe = with_whole_paths(recipe, roots)
    with closing(store.connect(home.database, durable=True)) as db:
        launch.reconcile(home, db)
        _refuse_taken(home, name, store.job_of(db, name))
        _check(home, name, recipe, roots)
        aside: Path | None = None
        with store.writing(db):
            old = store.job_of(db, name)
            _refuse_taken(home, name, old)
            if old and old["status"] in store.RESUMABLE_JOBS and is_begun(home, name):
                if Recipe.from_json(old["recipe"]) == recipe:
                    job = str(old["id"])
                    store.reopen_job(db, job)
                    store.update_job(db, job, roots=_stored(roots))
                else:
                    if not anew:
                        raise store.Refused(_other(name, old))
                    aside = _set_aside(home, home.making(name))
                    job = store.create_job(db, name, recipe.to_json(), _stored(roots), recipe.tokens or None)
            else:
                job = store.create_job(db, name, recipe.to_json(), _stored(roots), recipe.tokens or None)
    if aside:
        _remove(home, name, aside)
    launch.ensure_supervisor(home)
    return job


def judge_name(home: Home, name: str, recipe: "Recipe | None" = None) -> dict[str, str]:
    """What `start` would say of a name: {"kind": "", ...} where it is free, or where an equal job would go on.

    Else `kind` is name, dataset, job (one works on it), or parts (of a job with other settings, which has ended early),
    and `sentence` says so. `recipe` with whole paths; None is unlike all others.
    """
    from engine.data.recipe import Recipe

    try:
        _check_name(name)
    except store.Refused as error:
        return {"kind": "name", "sentence": str(error)}
    with closing(store.connect(home.database)) as db:
        job = store.job_of(db, name)
    try:
        _refuse_taken(home, name, job)
    except store.Refused as error:
        return {"kind": "job" if job and job["status"] in store.OPEN_JOBS else "dataset", "sentence": str(error)}
    begun = job and job["status"] in store.RESUMABLE_JOBS and is_begun(home, name)
    if job and begun and (recipe is None or Recipe.from_json(job["recipe"]) != recipe):
        return {"kind": "parts", "sentence": _other(name, job)}
    return {"kind": "", "sentence": ""}


def stop(home: Home, job: str) -> None:
    """Ask a job to end; what is made so far stays, and it can be resumed. Returns at once."""
    with closing(store.connect(home.database, durable=True)) as db:
        launch.reconcile(home, db)
        with store.writing(db):
            found = store.find_job(db, job)
            if found["status"] not in store.OPEN_JOBS:
                raise store.Refused(f"The job of {found['name']} has ended already: it is {found['status']}.")
            if found["status"] == "waiting":
                store.end_job(db, found["id"], "stopped")
                return
            if found["status"] == "running":
                store.update_job(db, found["id"], status="stopping", stop_requested_at=time.time())
    process.send(signal.SIGTERM, found["pid"], found["process_started_at"], found["boot_id"])
    launch.ensure_supervisor(home)


def resume(home: Home, job: str) -> None:
    """Let a job that ended early go on where it was."""
    with closing(store.connect(home.database, durable=True)) as db:
        launch.reconcile(home, db)
        with store.writing(db):
            found = store.find_job(db, job)
            if found["status"] in store.RESUMABLE_JOBS:
                _refuse_taken(home, found["name"], found)
            store.reopen_job(db, found["id"])
    launch.ensure_supervisor(home)


def discard(home: Home, job: str) -> int:
    """Forget a job that ended early, and remove what it left behind; returns how many bytes that were."""
    with closing(store.connect(home.database, durable=True)) as db:
        launch.reconcile(home, db)
        with store.writing(db):
            found = store.find_job(db, job)
            if found["status"] in store.OPEN_JOBS:
                raise store.Refused(f"The job of {found['name']} is {found['status']}; stop it first.")
            if found["status"] == "finished":
                raise store.Refused(f"{found['name']} is prepared; delete the dataset if nobody needs it.")
            store.remove_job(db, found["id"])
            aside = _set_aside(home, home.making(found["name"]))
    return _remove(home, found["name"], aside)


def delete_dataset(home: Home, name: str) -> int:
    """Remove datasets/NAME; returns the bytes that this frees. Refused while a job or a run needs it."""
    _check_name(name)
    with closing(store.connect(home.database, durable=True)) as db:
        launch.reconcile(home, db)
        with store.writing(db):
            job = store.job_of(db, name)
            if job and job["status"] in store.OPEN_JOBS:
                raise store.Refused(f"{name} is being prepared; stop its job first.")
            users = [run["name"] for run in store.open_runs(db) if run["dataset"] == name]
            if users:
                raise store.Refused(f"{name} is in use by the run {users[0]}; stop it first.")
            if not home.dataset(name).exists():
                raise store.Refused(f"There is no dataset {name!r}; `python -m engine datasets` lists them.")
            if job and job["status"] == "finished":
                store.remove_job(db, job["id"])
            aside = _set_aside(home, home.dataset(name))
    return _remove(home, name, aside)


def listed(home: Home) -> list[dict[str, Any]]:
    """All jobs, newest first, made true before they are read; `recipe` as an object."""
    with closing(store.connect(home.database)) as db:
        launch.reconcile(home, db)
        return [shown(job) for job in store.list_jobs(db)]


def status(home: Home, job: str) -> dict[str, Any]:
    """One job as `listed` shows it, by id or by the name of its dataset."""
    with closing(store.connect(home.database)) as db:
        launch.reconcile(home, db)
        return shown(store.find_job(db, job))


def shown(job: store.Row) -> dict[str, Any]:
    """What people see of a job; the pid only while there is a process."""
    seen = {key: value for key, value in job.items() if key not in PRIVATE}
    there = job["status"] in ("running", "stopping")
    return seen | {"recipe": json.loads(job["recipe"]), "pid": job["pid"] if there else None}


def is_begun(home: Home, name: str) -> bool:
    """Whether part of a dataset is made, for its job to go on with."""
    return home.job_state(name).is_file()


def wait_until_ended(home: Home, job: str, timeout: float) -> dict[str, Any]:
    """The job as `listed` shows it, once it has ended; raises Refused after `timeout` seconds."""
    until = time.monotonic() + timeout
    while (found := status(home, job))["status"] in store.OPEN_JOBS:
        if time.monotonic() > until:
            raise store.Refused(f"The job of {found['name']} is still {found['status']} after {timeout:.0f} s.")
        time.sleep(0.05)
    return found


def with_whole_paths(recipe: "Recipe", roots: Sequence[Path] | None = None) -> "Recipe":
    """The recipe with paths that mean the same in the job's process, which works in another folder."""
    from engine.data.recipe import STARTER
    from engine.data.vocabulary import is_path
    from engine.tokenizer import known_size

    def whole(path: str) -> str:
        return str(Path(path).expanduser().absolute())

    sources = (
        source if source.hub or source.where == STARTER else replace(source, where=whole(source.where))
        for source in recipe.sources
    )
    tokenizer = recipe.tokenizer
    if known_size(tokenizer) is None and is_path(tokenizer, roots):
        tokenizer = whole(tokenizer)
    return replace(recipe, sources=tuple(sources), tokenizer=tokenizer)


def datasets(home: Home) -> list[dict[str, Any]]:
    """The datasets of a home by name: what their cards say, and `bytes_on_disk`; `damaged` where a card is no card."""
    found = []
    for card in sorted((home.path / "datasets").glob("*/card.json")):
        if card.parent.name.startswith("."):
            continue
        row: dict[str, Any] = {"name": card.parent.name, "bytes_on_disk": folder_bytes(card.parent)}
        try:
            said = json.loads(card.read_text(encoding="utf-8"))
            if not all(isinstance(said.get(key, 0), int | float) for key in FIGURES):
                raise TypeError("no card of ours")
            found.append(said | row)
        except (OSError, ValueError, TypeError, AttributeError):
            found.append(row | {"damaged": True})
    return found


def _check_name(name: str) -> None:
    from engine.data.shards import check_name

    try:
        check_name(name)
    except ConfigError as error:
        raise store.Refused(
            f"The dataset's name {name[:70]!r} must be 1 to 64 letters, digits, or . _ - (no dot in front)."
        ) from error


def _check(home: Home, name: str, recipe: "Recipe", roots: Sequence[Path] | None) -> None:
    """Raise Refused or ConfigError for what is wrong at the first look; a hub is left to the job, which may wait."""
    from engine.data.room import check_space
    from engine.data.sources import open_source
    from engine.data.vocabulary import resolve
    from engine.tokenizer import SMOLLM2, new_separator

    readers = [open_source(source, roots, recipe.skip_unreadable) for source in recipe.sources if not source.hub]
    if recipe.tokenizer == SMOLLM2 or Path(recipe.tokenizer).is_absolute():
        new_separator(resolve(recipe.tokenizer, roots), recipe.separator, Path(recipe.tokenizer).name)
    if recipe.tokens or len(readers) == len(recipe.sources):
        folder = home.dataset(name)
        try:
            folder.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise store.Refused(f"{folder.parent.name}/ cannot be made in this home: {error.strerror}.") from error
        check_space(home, name, recipe, readers)


def _refuse_taken(home: Home, name: str, job: store.Row | None) -> None:
    if job and job["status"] in store.OPEN_JOBS:
        raise store.Refused(f"The dataset {name} is being prepared already.")
    if home.dataset(name).exists():
        raise store.Refused(f"The dataset {name} exists already; delete it first, or choose another name.")


def _other(name: str, job: store.Row) -> str:
    return (
        f"{name} is {job['status']} with other settings, and part of it is made: resume or discard it, "
        "or choose another name."
    )


def _stored(roots: Sequence[Path] | None) -> list[str] | None:
    return None if roots is None else [str(root) for root in roots]


def _set_aside(home: Home, folder: Path) -> Path | None:
    """Move a folder out of the way, which is done in a moment however large it is; None where there is none."""
    aside = folder.with_name(f".deleted-{secrets.token_hex(5)}")
    try:
        return folder.rename(aside)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise store.Refused(f"datasets/{folder.name} cannot be removed: {error.strerror}.") from error


def _remove(home: Home, name: str, aside: Path | None) -> int:
    """Remove what was set aside, now or by a process that was killed, and the log; returns its bytes."""
    freed = folder_bytes(aside) if aside else 0
    home.job_log(name).unlink(missing_ok=True)
    for old in home.job_log(name).parent.glob(".deleted-*"):
        if old.is_symlink():
            old.unlink()
        else:
            shutil.rmtree(old, ignore_errors=True)
    return freed
