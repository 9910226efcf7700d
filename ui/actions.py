"""What a person can do from the page or the API. Every argument is checked here: a browser cannot be trusted."""

import logging
import re
import threading
from collections.abc import Generator
from typing import Any, Protocol

from engine import backups, config, store
from engine.asking import sample_now
from engine.config import ConfigError
from engine.home import Home
from engine.store import Refused, Row, StoreError
from ui import asking, describe
from ui.asking import Talker as Talker
from ui.checks import text as _text
from ui.checks import whole as _whole
from ui.reading import Reader

log = logging.getLogger(__name__)
CLEAR = (ConfigError, Refused, StoreError)
"""Errors whose message is a sentence for the person."""
MOST_CANCELS = 1000
DATASET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
TOKENIZER_NAME = re.compile(r"smollm2|bpe:[0-9]{1,7}")


class Launch(Protocol):
    """The part of engine.launch that the page uses."""

    def start_run(
        self, home: Home, preset: str, name: str = ..., overrides: dict[str, Any] | None = ..., queue: bool = ...
    ) -> str: ...
    def stop_run(self, home: Home, run: str, now: bool = ...) -> None: ...
    def resume_run(self, home: Home, run: str, queue: bool = ...) -> None: ...
    def pause_run(self, home: Home, run: str) -> None: ...
    def unpause_run(self, home: Home, run: str) -> None: ...
    def run_status(self, home: Home, run: str) -> dict[str, Any]: ...
    def reconcile(self, home: Home, db: Any) -> None: ...
    def default_device(self) -> str: ...


class Actions:
    """The handlers behind the buttons and the API names of the page."""

    def __init__(self, home: Home, launch: Launch, talker: Talker, reader: Reader) -> None:
        self.home, self.launch, self.talker, self.reader = home, launch, talker, reader
        self._cancels: dict[str, threading.Event] = {}
        self._copying = threading.Lock()

    def start_run(self, preset: str, name: str = "", overrides_json: str = "{}") -> str:
        """Start a detached run and return its id."""
        return self._start(preset, name, overrides_json, queue=False)

    def queue_run(self, preset: str, name: str = "", overrides_json: str = "{}") -> str:
        """Put a run in line for its device, where it begins once it is its turn; returns its id."""
        return self._start(preset, name, overrides_json, queue=True)

    def _start(self, preset: str, name: str, overrides_json: str, *, queue: bool) -> str:
        overrides = describe.parse_overrides(_text(overrides_json, "The settings", 20_000))
        name = _text(name, "The name", 200).strip()
        chosen = config.load_preset(_text(preset, "The preset", 80), overrides)
        check_data(chosen.data)
        return self.launch.start_run(self.home, preset, name, overrides, queue)

    def stop_run(self, run: str) -> str:
        """Ask a run to save and stop; returns at once with its id."""
        run_id = self._run(run)["id"]
        self.launch.stop_run(self.home, run_id)
        return str(run_id)

    def resume_run(self, run: str) -> str:
        """Go on from the newest checkpoint; returns the run's id."""
        run_id = self._run(run)["id"]
        self.launch.resume_run(self.home, run_id)
        return str(run_id)

    def queue_resume(self, run: str) -> str:
        """The same once it is its turn: the run waits in line for its device."""
        run_id = self._run(run)["id"]
        self.launch.resume_run(self.home, run_id, queue=True)
        return str(run_id)

    def pause_run(self, run: str) -> str:
        """Let a training run hold still, with its process and its memory; returns its id."""
        run_id = self._run(run)["id"]
        self.launch.pause_run(self.home, run_id)
        return str(run_id)

    def unpause_run(self, run: str) -> str:
        """Let a paused run go on; returns its id."""
        run_id = self._run(run)["id"]
        self.launch.unpause_run(self.home, run_id)
        return str(run_id)

    def sample_now(self, run: str) -> str:
        """Have a run that trains asked all its prompts after the step it is in; returns its id."""
        run_id = self._run(run)["id"]
        self.reader.settle()
        return str(sample_now(self.reader.db(), run_id)["id"])

    def back_up(self) -> dict[str, Any]:
        """Copy runs.db to backups/ in the home, also while runs train; returns the file's name and size in bytes."""
        if not self._copying.acquire(blocking=False):
            raise Refused("A backup is being made already; it will be there in a moment.")
        try:
            made = backups.back_up(self.home)
        finally:
            self._copying.release()
        return {"name": made.path.name, "bytes": made.bytes}

    def run_status(self, run: str) -> dict[str, Any]:
        """Everything `python -m engine status --json` tells about a run."""
        return self.launch.run_status(self.home, self._run(run)["id"])

    def list_runs(self) -> list[dict[str, Any]]:
        """All runs, newest first, the published one last."""
        return [self.launch.run_status(self.home, run["id"]) for run in self.reader.runs()]

    def list_samples(self, run: str, after: int = 0) -> list[dict[str, Any]]:
        """Up to 1,000 current answers of a run with an id above `after`, oldest first."""
        return store.list_samples(self.reader.db(), self._run(run)["id"], _whole(after, "The id", 0, 2**62))

    def ask(
        self,
        run: str,
        step: int | str | None,
        prompt: str,
        max_tokens: int,
        temperature: float,
        top_k: int,
        top_p: float,
        seed: int,
        token: str = "",
        weights: str | None = None,
        min_p: float | None = None,
        repetition_penalty: float | None = None,
        stop: list[str] | None = None,
        count: int | None = None,
        who: list[dict[str, Any]] | None = None,
    ) -> Generator[dict[str, Any], None, None]:
        """Stream an answer of a run at the age `step` (None or -1 for the newest, "live" for the run that trains now);
        `cancel(token)` ends it.

        `weights` is the sha256 of an exhibit's weights, where no others of that age will do. `count` answers are made
        at once; `who` asks several checkpoints instead, each piece then has its `column`.
        """
        prompt = asking.clean_prompt(prompt)
        settings = asking.checked(
            {
                "max_tokens": max_tokens,
                "temperature": temperature,
                "top_k": top_k,
                "top_p": top_p,
                "seed": seed,
                "min_p": min_p,
                "repetition_penalty": repetition_penalty,
                "stop": stop,
                "count": count,
            }
        )
        asked = asking.models(self._run, run, step, weights, who)
        token = _text(token, "The token", 64)
        cancel = self._cancels.setdefault(token, threading.Event())
        either = asking.Either(self.talker, self.home, self.reader)
        try:
            if who is None:
                run_id, at, sha256 = asked[0]
                yield from either.stream(run_id, at, prompt, **settings, weights=sha256, cancel=cancel)
            else:
                yield from asking.beside(either, asked, prompt, settings, cancel)
        finally:
            self._cancels.pop(token, None)

    def ask_with(
        self, run: str, step: int | None, prompt: str, settings_json: str = "{}"
    ) -> Generator[dict[str, Any], None, None]:
        """Stream an answer with settings that are named in JSON; those that are not stay as they are by default."""
        yield from self.ask(run, step, prompt, **asking.parse_settings(settings_json))

    def cancel(self, token: str) -> None:
        """End the answer that was asked for with `token`, or keep it from beginning."""
        token = _text(token, "The token", 64)
        if token in self._cancels or len(self._cancels) < MOST_CANCELS:
            self._cancels.setdefault(token, threading.Event()).set()

    def archive_sample(
        self, sample_id: int, category: str, title: str, note: str = "", tags: list[str] | None = None
    ) -> int:
        """Keep a sample as an exhibit, or change how it is kept; returns the exhibit's id."""
        sample = _whole(sample_id, "The sample", 1, 2**62)
        return store.keep(
            self.reader.db(),
            sample,
            _text(category, "The category", 200),
            _text(title, "The title", 1000),
            _text(note, "The note", 10_000),
            tags if tags is None else _tags(tags),
        )

    def remove_exhibit(self, exhibit: int) -> None:
        """Take an exhibit out of the time capsule; its sample stays."""
        store.remove_exhibit(self.reader.db(), _whole(exhibit, "The exhibit", 1, 2**62))

    def search_samples(self, query: str = "", run: str = "", category: str = "") -> dict[str, Any]:
        """The newest 50 exhibits that match, and how many there are."""
        run_id = self._run(run)["id"] if run else ""
        found, total = store.search_archive(
            self.reader.db(), _text(query, "The search", 1000), _text(category, "The category", 200), run_id
        )
        return {"total": total, "exhibits": found}

    def _run(self, text: str) -> Row:
        return store.find_run(self.reader.db(), _text(text, "The run", 200))


def _tags(value: Any) -> list[str]:
    if not isinstance(value, list) or len(value) > store.MOST_TAGS or not all(isinstance(one, str) for one in value):
        raise Refused(f"Tags must be a list of up to {store.MOST_TAGS} texts.")
    return [_text(one, "A tag", 200).encode("utf-8", "replace").decode() for one in value]


def check_data(data: config.DataConfig) -> None:
    """The page and the API name datasets and tokenizers; they never point at files."""
    if not DATASET_NAME.fullmatch(data.dataset):
        raise ConfigError(f"data.dataset = {data.dataset[:60]!r} must be the name of a folder below datasets/.")
    if not TOKENIZER_NAME.fullmatch(data.tokenizer):
        raise ConfigError(
            f"data.tokenizer = {data.tokenizer[:60]!r} must be smollm2 or bpe:SIZE; other tokenizers are "
            "chosen on the command line."
        )


def sentence(error: Exception) -> str:
    """What a person is told about an error; anything unforeseen goes to the log, not to them."""
    if isinstance(error, CLEAR):
        return str(error)
    if isinstance(error, store.DatabaseError):
        log.error("database: %s", error)
        return "The database cannot be used right now; is the disk full, or runs.db read-only?"
    log.error("unforeseen error", exc_info=error)
    return "Something went wrong here; the terminal that runs app.py shows what."
