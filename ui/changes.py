"""What may change about a run while it runs, for the page and the API. Every argument is checked here."""

from collections.abc import Mapping
from typing import Any, Protocol

from sqlite_utils import Database

from engine import config, store
from engine.changing import Change, Standing
from engine.config import ConfigError, RunConfig
from engine.home import Home
from engine.inflight import KEYS, Course
from engine.store import Refused, Row
from ui import describe
from ui.checks import text
from ui.reading import Reader

LABELS = {
    "rate_factor": ("Learning rates times", "0.01 to 100; 1 is what its config says"),
    "train.tokens": ("End after", "tokens it has read in all then"),
    "schedule.tokens": ("Schedule over", "tokens in which the learning rate rises and falls"),
}


class Changing(Protocol):
    """The part of engine.changing that the page uses."""

    def standing(self, db: Database, run_id: str, config: RunConfig) -> Standing: ...
    def plan_change(self, db: Database, run: Row, wanted: Mapping[str, Any]) -> Change: ...
    def change_run(self, home: Home, run: str, wanted: Mapping[str, Any]) -> Change: ...


class Changes:
    """What the page asks about changes of the runs of one home."""

    def __init__(self, home: Home, reader: Reader, changing: Changing) -> None:
        self.home, self.reader, self.changing = home, reader, changing

    def there(self, run: str) -> dict[str, Any]:
        """The settings that may change with their present values, and what was changed so far, oldest first."""
        row = self._run(run)
        if row["kind"] != "trained":
            return {"run": row["id"], "fields": [], "changes": []}
        chosen = config.from_json(store.get_config(self.reader.db(), row["id"]))
        standing = self.changing.standing(self.reader.db(), row["id"], chosen)
        help = {field["key"]: field for field in describe.form_fields()}
        fields = []
        for key in KEYS:
            known = help.get(key, {"label": "", "help": "", "unit": ""})
            label, about = LABELS.get(key, (known["label"], known["help"]))
            unit = "tokens" if key.endswith("tokens") else known["unit"]
            value, planned = _value(standing.now, key, chosen), _value(standing.planned, key, chosen)
            fields.append({"key": key, "label": label, "help": about, "unit": unit, "value": value, "planned": planned})
        made = [
            {"key": one["key"], "value": one["value"], "step": one["step"], "at": round(one["created_at"])}
            for one in standing.changes
        ]
        return {"run": row["id"], "fields": fields, "changes": made}

    def check(self, run: str, changes_json: str) -> dict[str, Any]:
        """What these changes would do, or what is wrong and at which field."""
        try:
            plan = self.changing.plan_change(self.reader.db(), self._run(run), _read(changes_json))
        except (ConfigError, Refused) as error:
            key = next((key for key in KEYS if str(error).startswith(key)), "")
            return {"error": str(error), "key": key}
        return {"error": "", "notes": plan.notes}

    def change_run(self, run: str, changes_json: str) -> dict[str, Any]:
        """Let a run go on with other values from its next step on: {"rate_factor": 0.5, "eval.every": 100, ...}."""
        change = self.changing.change_run(self.home, self._run(run)["id"], _read(changes_json))
        return {"run": change.run["id"], "changes": change.values, "notes": change.notes}

    def _run(self, run: str) -> Row:
        return store.find_run(self.reader.db(), text(run, "The run", 200))


def _value(course: Course, key: str, chosen: RunConfig) -> float:
    if key == "rate_factor":
        return course.rate_factor
    if key in ("train.tokens", "schedule.tokens"):
        steps = course.total_steps if key == "train.tokens" else course.schedule_steps
        return chosen.train.tokens if steps == chosen.total_steps else steps * chosen.train.batch_tokens
    return int(getattr(course, key.replace(".", "_")))


def _read(changes_json: str) -> dict[str, Any]:
    """Values by key; texts like "1M" become numbers."""
    values = describe.parse_overrides(text(changes_json, "The changes", 20_000))
    return {key: config.parse_value(value) if isinstance(value, str) else value for key, value in values.items()}
