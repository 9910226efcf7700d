"""Real trainers in a moment: torch is loaded once, then each of them is a fork of the process that runs this file.

It reads lines `HOME <tab> RUN_ID <tab> NOTES <tab> PHASE` and answers each with a pid. Such a trainer is
`python -m engine.train` in all but its start: a process with a session, a lock and a state of its own. It notes in the
file NOTES when it made each step.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlite_utils import Database

PROJECT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(PROJECT))

from engine import endings, process, store, train  # noqa: E402 - the line above finds it
from engine.home import Home  # noqa: E402 - the line above finds it
from engine.meter import Meter  # noqa: E402 - the line above finds it


class Server:
    """The process that starts trainers, seen from a test."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            cwd=PROJECT,
            env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._line() == "ready"

    def start(self, home: Home, db: Database, run_id: str, notes: Path, linger: str = "") -> store.Row:
        """Begin an attempt as the supervisor does; the run's row with its trainer in it.

        In the phase `linger` it stays for a second, so that it can be met there.
        """
        store.take_commands(db, endings.STARTS, run_id)
        assert self.process.stdin
        self.process.stdin.write(f"{home.path}\t{run_id}\t{notes}\t{linger}\n")
        self.process.stdin.flush()
        who = process.identity(int(self._line()))
        store.update_state(db, run_id, **who)
        return store.get_run(db, run_id) | dict(who)

    def close(self) -> None:
        """End it; trainers that still run are none of its business."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.close()
        self.process.wait(timeout=10)
        self.process.stdout.close()

    def _line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()


def alive(run: store.Row) -> bool:
    """Whether a run's trainer still runs."""
    return process.alive(run["pid"], run["process_started_at"], run["boot_id"])


def main() -> int:
    """Start what is asked for until the input ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system buries them
    print("ready", flush=True)
    for line in sys.stdin:
        home, run_id, notes, phase = line.rstrip("\n").split("\t")
        pid = os.fork()
        if not pid:
            become_trainer(home, run_id, notes, phase)
        print(pid, flush=True)
    return 0


def become_trainer(home: str, run_id: str, notes: str, phase: str) -> None:
    """One attempt in this process, and its end."""
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        with Path(notes).with_suffix(".log").open("ab") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        note_steps(notes)
        linger_in(phase)
        code = train.main(["--home", home, run_id])
    finally:
        os._exit(code)


def note_steps(notes: str) -> None:
    """Write down each step at once: what the kernel has got outlives a kill."""
    file, add = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND), Meter.add

    def noted(self: Meter, step: int, *measured: object, **more: object) -> None:
        os.write(file, f"{step} {time.monotonic()}\n".encode())
        add(self, step, *measured, **more)  # type: ignore[arg-type]

    Meter.add = noted  # type: ignore[method-assign]


def linger_in(slow: str) -> None:
    """Let the trainer stay in the phase `slow` for a second longer."""
    phase = Meter.phase

    @contextmanager
    def lingering(self: Meter, name: str, message: str) -> Iterator[None]:
        with phase(self, name, message):
            time.sleep(name == slow)
            yield

    Meter.phase = lingering  # type: ignore[method-assign]


if __name__ == "__main__":
    sys.exit(main())
