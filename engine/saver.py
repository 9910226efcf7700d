"""Saves while training goes on: the numbers are copied, and a thread writes them down.

A save that the disk or the database does not take is told and tried again at the next one; only the last save of an
attempt can fail it.
"""

import contextlib
import errno
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from typing import Any

import torch
from sqlite_utils import Database

from engine import store
from engine.attempt import Learner, Run, tidy_index
from engine.checkpoint import Snapshot, checkpoints, remove_checkpoint, remove_sampling, step_of, write_checkpoint
from engine.data import Stopped
from engine.guard import Guard
from engine.retention import removable_ages, removable_checkpoints
from engine.say import say
from engine.space import RESERVE, UNSTORABLE, free_disk, free_memory, reason

LOCK, LOCK_SHORT = 60.0, 10.0
"""Seconds a save waits for the database: beside training, and while training waits for it."""
MOMENT = 2.0
"""Seconds that training waits for the save before: a disk now and then takes that long, a locked database longer."""
PATIENCE, PATIENCE_STOPPING = 120.0, 45.0
"""Seconds the last save is tried for: a full disk is often full for a minute only. After a request to stop less than
the minute after which the supervisor kills, so that the reason can still be told."""
RETRY = 2.0
"""Seconds between two tries."""


class CannotSave(RuntimeError):
    """The last save failed; the message is one sentence for the person."""


class Saver:
    """One attempt's saves, one at a time. `saved_step` is the newest step that is whole on the disk."""

    def __init__(
        self, run: Run, learner: Learner, guard: Guard, dataset_sha256: str, show: Callable[[str], None]
    ) -> None:
        """`show` shows a message about the run until it is given another one."""
        self.run, self.learner, self.guard, self.dataset_sha256, self.show = run, learner, guard, dataset_sha256, show
        self.saved_step = step_of(run.checkpoint) if run.checkpoint else 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="saver")
        self._writing: Future[None] | None = None
        self._failing, self._left_out = False, False

    def save(self, step: int, elapsed_seconds: float) -> None:
        """Save `step`, hidden from training where memory allows; raises what the save before it ran into.

        Where that one is still being written, `step` is left out: training does not wait for a locked database.
        """
        if not self._is_free():
            self._leave_out(step)
            return
        self._check_weights(step)
        model, optimizers, state = self.learner.model, self.learner.optimizers, self._state(step, elapsed_seconds)
        needed = 2 * self._size()  # the copy, and the bytes of the files that are made of it
        if free_memory() >= needed:
            snapshot = Snapshot.of(model, optimizers, copy=True)
            self._writing = self._thread.submit(self._write, step, snapshot, state, LOCK)
        else:
            say(f"Training waits while step {step} is saved: less than {needed / 1e9:.1f} GB of memory are free.")
            self._write(step, Snapshot.of(model, optimizers), state, LOCK_SHORT)

    def save_last(self, step: int, elapsed_seconds: float) -> None:
        """Save `step` before the attempt ends, trying again for a while.

        Raises CannotSave, or Stopped where the person ends at once or the save only lacks its row in runs.db.
        """
        self.wait()
        self._check_weights(step)
        recorder, began = self.run.recorder, time.monotonic()
        snapshot = Snapshot.of(self.learner.model, self.learner.optimizers)
        state = self._state(step, elapsed_seconds)
        while (problem := self._try(step, snapshot, state, LOCK_SHORT)) is not None:
            whole, stopping = self.saved_step == step, recorder.stop.is_set()
            late = time.monotonic() - began > (PATIENCE_STOPPING if stopping else PATIENCE)
            if late and not (whole and stopping):
                raise CannotSave(self._failure(step, problem))
            if late or recorder.stop_now.wait(RETRY):
                kind = "note" if whole else "skipped"
                recorder.event(kind, f"Ended by request. {self._failure(step, problem)}", step)
                raise Stopped
            self.show(f"The last save waits: {problem}. Make room, or end at once to go without it.")
        self._succeeded()

    def check(self) -> None:
        """Raise what a save in the background ran into, without waiting for one that is not done."""
        if self._writing is not None and self._writing.done():
            self.wait()

    def wait(self) -> None:
        """Return when no save is being written; raises what it ran into."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()

    def close(self) -> None:
        """Let the save that is being written end, whatever comes of it."""
        self._thread.shutdown(wait=True)

    def _is_free(self) -> bool:
        """Whether no save is being written, or the one that is ends in a moment; raises what it ran into."""
        if self._writing is not None:
            if wait_for([self._writing], timeout=MOMENT).not_done:
                return False
            self.wait()
        return True

    def _leave_out(self, step: int) -> None:
        sentence = f"Step {step:,} was not saved: an earlier save is still being written; training goes on without it."
        say(sentence)
        if not self._left_out:
            self.run.recorder.event("skipped", sentence, step)
        self._left_out = True

    def _check_weights(self, step: int) -> None:
        """Raise what the guard says when a weight is no number: a checkpoint has to be good to go on from."""
        if not torch.stack([weight.isfinite().all() for weight in self.learner.model.parameters()]).all():
            raise self.guard.divergence("A weight", step)

    def _size(self) -> int:
        """Bytes of what a checkpoint holds."""
        averages = self.learner.optimizers.tensors().values()
        return sum(tensor.nbytes for tensor in (*self.learner.model.parameters(), *averages))

    def _state(self, step: int, elapsed_seconds: float) -> dict[str, Any]:
        config = self.run.config
        return {
            "step": step,
            "tokens": step * config.train.batch_tokens,
            "rows": step * config.rows_per_step,
            "elapsed_seconds": elapsed_seconds,
            "dataset_sha256": self.dataset_sha256,
            "scaler": self.learner.scaler.state_dict(),
            "rate": self.learner.rate,
            "unasked": self.run.unasked,
            "text_from": self.learner.text_from,
        }

    def _write(self, step: int, snapshot: Snapshot, state: dict[str, Any], patience: float) -> None:
        problem = self._try(step, snapshot, state, patience)
        if problem is None:
            self._succeeded()
            return
        if self.saved_step == step:
            kind, sentence = "note", f"Step {step:,} is saved, but runs.db does not list it yet ({problem})"
            self.show(f"{sentence}.")
        else:
            kind, sentence = "skipped", f"Step {step:,} was not saved ({problem})"
            self.show(f"Not saved since step {self.saved_step:,}: {problem}")
        say(sentence)
        if not self._failing:
            self.run.recorder.event(kind, f"{sentence}; training goes on and tries again.", step)
        self._failing = True

    def _try(self, step: int, snapshot: Snapshot, state: dict[str, Any], patience: float) -> str | None:
        """Write, index and let go of old ones; returns what was in the way, or None. Knows when half of it is done."""
        began = time.monotonic()
        try:
            if self.saved_step != step:
                if free_disk(self.run.folder) < self._size() + RESERVE:
                    raise OSError(errno.ENOSPC, "No space left on device")
                # Whoever goes on from this checkpoint does not measure again what was before it.
                if not self.run.recorder.flush(patience):
                    return "runs.db does not take what was measured before it"
                write_checkpoint(self.run.folder, step, snapshot, state)
                self.saved_step = step
                self.run.recorder.state(save_seconds=time.monotonic() - began)
            # A connection belongs to the thread that opened it.
            with contextlib.closing(store.connect(self.run.home.database, durable=True, patience=patience)) as db:
                tidy_index(db, self.run.id, self.run.folder, self.run.config, self.run.attempt)
                self._let_go(db, step)
        except UNSTORABLE as error:
            return reason(error)
        return None

    def _let_go(self, db: Database, step: int) -> None:
        """Remove what retention does not keep. Checkpoints of later steps are damaged, or the run would be there."""
        run, rules = self.run, self.run.config.checkpoint
        full = {row["step"] for row in store.list_checkpoints(db, run.id, "full") if row["step"] <= step}
        ages = {row["step"] for row in store.list_checkpoints(db, run.id, "sampling")}
        exhibits = exhibited_steps(db, run.id)
        evals = [dict(zip(store.EVALS, row, strict=True)) for row in store.evals_after(db, run.id, 0)]
        val_losses = {int(row["step"] or 0): row["val_loss"] for row in evals if row["val_loss"] is not None}
        for age in removable_ages(ages, rules.keep_ages, exhibits):
            store.forget_checkpoint(db, run.id, age, "sampling")
            remove_sampling(run.folder, age)
        for old in removable_checkpoints(full, rules, val_losses, exhibits, ages):
            store.forget_checkpoint(db, run.id, old, "full")
            remove_checkpoint(run.folder, old)
        for damaged in checkpoints(run.folder):
            if step_of(damaged) < step and step_of(damaged) not in full:
                remove_checkpoint(run.folder, step_of(damaged))

    def _succeeded(self) -> None:
        if self._failing:
            self.run.recorder.event("note", f"Saving works again: step {self.saved_step:,} is saved.", self.saved_step)
            self.show("")
        self._failing = False

    def _failure(self, step: int, problem: str) -> str:
        """What became of the last save, and what to do."""
        if self.saved_step == step:
            return f"Step {step:,} is saved, but runs.db does not list it yet ({problem}); resume, and it will."
        counts = f"step {self.saved_step:,} is the last one saved; " if self.saved_step else ""
        return f"Step {step:,} could not be saved ({problem}); {counts}free some space, then resume."


def exhibited_steps(db: Database, run_id: str) -> set[int]:
    """The steps of a run that said something the archive keeps."""
    found: set[int] = set()
    page = 0
    while exhibits := store.search_archive(db, run_id=run_id, page=page)[0]:
        found |= {exhibit["step"] for exhibit in exhibits}
        page += 1
    return found
