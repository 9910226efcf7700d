"""Forks for the page and the API: from which age, what may change, what would go on. Every argument is checked here."""

from collections.abc import Mapping
from contextlib import closing
from typing import Any, Protocol

from sqlite_utils import Database

from engine import config, store
from engine.config import ConfigError
from engine.fork import Origin, Plan, is_fixed
from engine.home import Home
from engine.store import Refused, Row
from ui import describe
from ui.actions import check_data
from ui.checks import text, whole
from ui.reading import Reader


class Forking(Protocol):
    """The part of engine.fork that the page uses."""

    def origins(self, home: Home, db: Database, run_id: str) -> list[Origin]: ...
    def plan_fork(
        self, home: Home, db: Database, parent: Row, step: int | None = ..., overrides: Mapping[str, Any] | None = ...
    ) -> Plan: ...
    def fork_run(
        self,
        home: Home,
        run: str,
        step: int | None = ...,
        name: str = ...,
        overrides: Mapping[str, Any] | None = ...,
        queue: bool = ...,
    ) -> str: ...


class Forks:
    """What the page asks about forks of the runs of one home."""

    def __init__(self, home: Home, reader: Reader, forking: Forking) -> None:
        self.home, self.reader, self.forking = home, reader, forking

    def fork_run(self, run: str, step: int = -1, name: str = "", overrides_json: str = "{}") -> str:
        """Start a run with the weights of another one at `step` (-1: its newest checkpoint); returns its id."""
        return self._start(run, step, name, overrides_json, queue=False)

    def queue_fork(self, run: str, step: int = -1, name: str = "", overrides_json: str = "{}") -> str:
        """The same, in line for its device; returns its id."""
        return self._start(run, step, name, overrides_json, queue=True)

    def choices(self, run: str) -> dict[str, Any]:
        """From which ages a run can be forked, the settings that may change with their values, and its line."""
        parent = self._run(run)
        with closing(store.connect(self.home.database)) as db:
            there = self.forking.origins(self.home, db, parent["id"]) if parent["kind"] == "trained" else []
            settings = config.settings(config.from_json(store.get_config(db, parent["id"]))) if there else {}
            line = [{"id": row["id"], "name": row["name"], "step": step} for row, step in store.ancestors(db, parent)]
            forks = [
                {"id": row["id"], "name": row["name"], "step": row["parent_step"]}
                for row in store.children_of(db, parent["id"])
            ]
        return {
            "run": parent["id"],
            "steps": [{"step": one.step, "tokens": one.row["tokens"], "exact": one.exact} for one in there],
            "fields": [field for field in describe.form_fields() if not is_fixed(field["key"])] if there else [],
            "values": {key: value for key, value in settings.items() if not is_fixed(key)},
            "line": line,
            "forks": forks,
        }

    def check(self, run: str, step: int, name: str, overrides_json: str) -> dict[str, Any]:
        """What a fork would be, or what is wrong and at which field."""
        if wrong := describe.name_problem(name):
            return {"error": wrong, "key": "name"}
        try:
            parent, at, overrides = self._asked(run, step, overrides_json)
            plan = self.forking.plan_fork(self.home, self.reader.db(), parent, at, overrides)
        except (ConfigError, Refused) as error:
            return {"error": str(error), "key": describe.offending_key(str(error))}
        left = (plan.config.total_steps - plan.origin.step) * plan.config.train.batch_tokens
        speed = describe.speed(parent)
        return {
            "error": "",
            "step": plan.origin.step,
            "total_steps": plan.config.total_steps,
            "tokens": left,
            "seconds": left / speed if speed else None,
            "device": parent["device"],
            "notes": plan.notes,
        }

    def _start(self, run: str, step: int, name: str, overrides_json: str, *, queue: bool) -> str:
        parent, at, overrides = self._asked(run, step, overrides_json)
        name = text(name, "The name", 200).strip()
        return self.forking.fork_run(self.home, parent["id"], at, name, overrides, queue)

    def _asked(self, run: str, step: int, overrides_json: str) -> tuple[Row, int | None, dict[str, Any]]:
        overrides = describe.parse_overrides(text(overrides_json, "The settings", 20_000))
        parent, at = self._run(run), whole(step, "The step", -1, 10**15)
        if "data.dataset" in overrides:
            check_data(config.DataConfig(dataset=str(overrides["data.dataset"]), tokenizer="smollm2"))
        return parent, None if at == -1 else at, overrides

    def _run(self, run: str) -> Row:
        return store.find_run(self.reader.db(), text(run, "The run", 200))
