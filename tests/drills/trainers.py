"""Real trainers in a moment: torch is loaded once, then each of them is a fork of this process.

Reads lines `HOME <tab> RUN_ID <tab> NOTES` and answers each with a pid. Such a trainer is `python -m engine.train` in
all but its start: a process with a session, a lock and a state of its own. It notes in NOTES when it made each step.
"""

import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from engine import train
from engine.meter import Meter


def main() -> int:
    """Start what is asked for until the input ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system buries them
    print("ready", flush=True)
    for line in sys.stdin:
        home, run_id, notes = line.rstrip("\n").split("\t")
        pid = os.fork()
        if not pid:
            become_trainer(home, run_id, notes)
        print(pid, flush=True)
    return 0


def become_trainer(home: str, run_id: str, notes: str) -> None:
    """One attempt in this process, and its end."""
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        with Path(notes).with_suffix(".log").open("ab") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        note_steps(notes)
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


if __name__ == "__main__":
    sys.exit(main())
