"""One attempt at a run: what its parts share, how it begins after a start, a crash or a roll-back, and its index."""

import contextlib
import gc
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from sqlite_utils import Database
from torch import Tensor

from engine import store
from engine.checkpoint import CorruptCheckpoint, checkpoints, look_up, newest_valid, set_aside, step_of, sweep
from engine.config import RunConfig, from_json
from engine.data.rows import EPOCH
from engine.device import Place
from engine.guard import RollBack
from engine.home import Home
from engine.model import Transformer
from engine.optim import Optimizers
from engine.process import identity
from engine.recorder import Recorder
from engine.say import say
from engine.space import UNSTORABLE, reason

ROLL_BACK = "roll-back"
"""The kind of the event that each roll-back leaves; their number is the run's."""


@dataclass
class Run:
    """What the parts of a running trainer share."""

    home: Home
    id: str
    device: str
    config: RunConfig
    db: Database
    recorder: Recorder
    attempt: int
    checkpoint: Path | None
    """Where this attempt goes on from; None at the beginning."""
    roll_backs: int = 0
    """How often the run went back because its loss was no number."""
    micro_batch: int = 0
    """Rows of one forward pass, once they are chosen."""
    unasked: bool = False
    """Whether a stop cut the answers of this step short, so that it is to be asked when the run goes on."""
    changes: list[store.Row] = field(default_factory=list)
    """What a person has changed about it so far."""
    forked: bool = False
    """Whether it began with the weights of another run, without which there is no beginning."""

    @property
    def folder(self) -> Path:
        """Where its checkpoints lie."""
        return self.home.run(self.id)


@dataclass
class Learner:
    """What learns, and all that a checkpoint of it holds."""

    model: Transformer
    optimizers: Optimizers
    scaler: torch.amp.GradScaler
    rate: float = 1.0
    """What all learning rates are multiplied with: halved at each roll-back."""
    text_from: int = 0
    """The step at which the order of its text began: that of the fork which gave it another text, else 0."""

    @classmethod
    def new(cls, config: RunConfig, place: Place) -> "Learner":
        """A model with its first weights at `place`, and what trains it."""
        with place.device:
            model = Transformer(config.model, place.dtype)
        model.init_weights(config.train.seed)
        optimizers = Optimizers(model, config.optimizer, place.muon_dtype)
        return cls(model, optimizers, torch.amp.GradScaler(place.device.type, enabled=place.precision == "fp16"))

    def clip_gradients(self, longest: float) -> Tensor:
        """Cut the gradient to the length `longest`; returns how long it was."""
        self.scaler.unscale_(self.optimizers)
        return torch.nn.utils.clip_grad_norm_(self.model.parameters(), longest)

    def update(self, loss: Tensor, grad_norm: Tensor, factor: float, momentum: float) -> None:
        """Move the weights by their gradients at `factor` of the highest learning rates.

        Where the loss or the gradient's length is no number, nothing moves. That is decided on the device, where nobody
        waits for it (but an fp16 scaler); the meter learns of it later.
        """
        finite = loss.isfinite() & grad_norm.isfinite()
        self.scaler.step(self.optimizers, self.rate * factor, finite, momentum)
        self.scaler.update()


def begin(home: Home, db: Database, run_id: str, recorder: Recorder | None = None) -> Run:
    """Begin the next attempt from the newest checkpoint that is whole.

    `recorder` is the last attempt's, in this process, with nothing left to write.
    """
    row, config, folder = store.get_run(db, run_id), from_json(store.get_config(db, run_id)), home.run(run_id)
    attempt, now = row["attempt"] + 1, time.time()
    sweep(folder)
    checkpoint, problems = newest_valid(folder)
    step = step_of(checkpoint) if checkpoint else -1
    # In one transaction: whoever sees the new attempt must not see steps it is about to repeat.
    with store.writing(db):
        store.update_state(
            db, run_id, attempt=attempt, heartbeat_at=now, started_at=row["started_at"] or now, **identity()
        )
        store.supersede_after(db, run_id, step)
        leave_path(db, run_id, folder, step, exhibits_only=config.checkpoint.keep_ages > 0)
    try:
        tidy_index(db, run_id, folder, config, row["attempt"])
    except UNSTORABLE as error:
        say(f"runs.db does not list every checkpoint yet ({reason(error)}); the next save tries again")
    roll_backs = sum(event["kind"] == ROLL_BACK for event in store.list_events(db, run_id, limit=-1))
    store.take_changes(db, run_id)  # what waited for this attempt holds from its first step on
    changes = store.list_changes(db, run_id)
    if recorder is None:
        recorder = Recorder(home.database, run_id, attempt)
    recorder.attempt = attempt
    for problem in problems:
        recorder.event("corrupt", f"{problem} An earlier checkpoint is used.")
    forked = row["parent_step"] is not None
    return Run(
        home,
        run_id,
        row["device"],
        config,
        db,
        recorder,
        attempt,
        checkpoint,
        roll_backs,
        changes=changes,
        forked=forked,
    )


def roll_back(run: Run, why: RollBack) -> Run | None:
    """Begin another attempt in this process after `why`; None when the database does not take that in."""
    run.recorder.event(ROLL_BACK, str(why), why.step)
    run.recorder.state(status="preparing", phase="starting", message="Going back to the last checkpoint")
    gc.collect()  # the model that went wrong lies in circles of references; two at once may not fit into a GPU
    # What was measured has to be in the database before it can be marked as repeated.
    return begin(run.home, run.db, run.id, run.recorder) if run.recorder.flush() else None


def leave_path(db: Database, run_id: str, folder: Path, step: int, exhibits_only: bool) -> None:
    """Let go of the weights of steps after `step`, which are done again; in a transaction of the caller's.

    What they said can be asked again as long as it stays, so those that said it are set aside where nobody else has
    them: an exhibit's, and a person's answers' unless `exhibits_only`. What was set aside before goes by the same rule.
    Killed in between, a row may name what is gone; the next attempt, which begins no later, puts that right.
    """
    ages = store.list_checkpoints(db, run_id, "sampling")
    needed = store.weights_with_words(db, run_id, exhibits_only)
    needed -= {row["sha256"] for row in ages if row["step"] <= step}
    left = [row for row in store.list_checkpoints(db, run_id) if row["step"] > step]
    for row in left + store.list_checkpoints(db, run_id, "kept"):
        path = None
        if row["kind"] != "full" and row["sha256"] in needed:
            path = set_aside(folder / row["path"], row["step"], row["attempt"])
        if path:
            store.set_aside(db, row["id"], str(path.relative_to(folder)))
            needed.remove(row["sha256"])
        else:
            store.forget_checkpoint(db, run_id, row["step"], row["kind"], row["attempt"])
            if row["kind"] != "full":  # a damaged checkpoint stays until the run is past it
                (folder / row["path"]).unlink(missing_ok=True)


def tidy_index(db: Database, run_id: str, folder: Path, config: RunConfig, attempt: int) -> None:
    """Make the checkpoint rows say what is on the disk, where a kill or a full disk came between the two.

    A whole checkpoint without a row gets one, with `attempt` as its maker; a row without a whole checkpoint goes.
    """
    rows = {row["step"]: row for row in store.list_checkpoints(db, run_id, "full")}
    there = {step_of(path): path for path in checkpoints(folder)}
    for step in rows.keys() - there.keys():
        store.forget_checkpoint(db, run_id, step, "full")
    for step in there.keys() - rows.keys():
        with contextlib.suppress(CorruptCheckpoint):  # it was named when it was looked for, and is not offered
            found = look_up(there[step])
            tokens = step * config.train.batch_tokens
            store.add_checkpoint(
                db,
                run_id,
                attempt=attempt,
                step=step,
                tokens=tokens,
                kind="full",
                path=found.path.name,
                bytes=found.bytes,
                sha256=found.sha256,
            )


def losses_before(db: Database, run_id: str) -> list[float]:
    """The losses of a run's steps that count, oldest first."""
    at = store.METRICS.index("train_loss")
    return [loss for row in store.metrics_after(db, run_id, 0) if (loss := row[at]) is not None]


def epochs_told(db: Database, run_id: str) -> int:
    """The last step at which the run told that it begins its text anew; 0 where it did not yet."""
    events = store.list_events(db, run_id, limit=-1)
    return max((event["step"] for event in events if event["kind"] == EPOCH), default=0)
