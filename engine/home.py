"""Where one person's runs live: the layout of a home folder, and nothing else."""

import os
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Home:
    """A folder with runs.db, checkpoints/, datasets/ and exports/. Several can be in use at once."""

    path: Path

    @classmethod
    def at(cls, path: str | Path | None = None) -> "Home":
        """The home at `path`, else at $BLUEBERRY_HOME, else the project folder; made if it is not there."""
        home = cls(Path(path or os.environ.get("BLUEBERRY_HOME") or PROJECT).expanduser().resolve())
        home.path.mkdir(parents=True, exist_ok=True)
        return home

    @property
    def database(self) -> Path:
        """The one channel between page, command line and training."""
        return self.path / "runs.db"

    @property
    def backups(self) -> Path:
        """Copies of runs.db."""
        return self.path / "backups"

    @property
    def capsules(self) -> Path:
        """Capsules that are still sealed; names that begin with a dot are on their way in or out."""
        return self.path / "capsules"

    @property
    def supervisor_lock(self) -> Path:
        """Held by the one supervisor of this home while it lives."""
        return self.path / ".supervisor.lock"

    @property
    def supervisor_log(self) -> Path:
        """What the supervisor printed."""
        return self.path / ".supervisor.log"

    @property
    def worker_log(self) -> Path:
        """What the generation worker printed."""
        return self.path / ".worker.log"

    def probe(self, device: str) -> Path:
        """What a measurement on `device` before a run needs: its lock, its log, weights written for the clock."""
        return self.path / f".probe-{device.replace(':', '-')}"

    def run(self, run_id: str) -> Path:
        """The folder of one run: checkpoints, sampling weights, log."""
        return self.path / "checkpoints" / run_id

    def log(self, run_id: str) -> Path:
        """What the run's trainer printed."""
        return self.run(run_id) / "train.log"

    def tokenizer(self, run_id: str) -> Path:
        """The run's own copy of its tokenizer."""
        return self.run(run_id) / "tokenizer.json"

    def dataset(self, name: str) -> Path:
        """The folder of one prepared dataset."""
        return self.path / "datasets" / name

    def making(self, name: str) -> Path:
        """Where a dataset lies until it is whole."""
        return self.path / "datasets" / f".making-{name}"

    def job_state(self, name: str) -> Path:
        """How far the making of a dataset is; written anew with each chunk of text that is finished."""
        return self.making(name) / "state.json"

    def job_log(self, name: str) -> Path:
        """What the job that makes a dataset printed."""
        return self.path / "datasets" / f".log-{name}"
