"""A dataset job whose preparer only pretends, with the protocol of the real one: chunks, a state, a folder at the end.

python tests/fake_job.py --home DIR JOB_ID [--chunks N] [--speed CHUNKS_A_SECOND] [misbehaviour]
"""

import argparse
import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from engine import store
from engine.data import chunks, job, prepare
from engine.data.progress import Asked, Progress, Report, Stopped
from engine.data.recipe import Recipe
from engine.home import Home

CHUNK = 1000
"""Tokens of a pretended chunk; each is one document of two bytes a token."""


def arguments() -> argparse.ArgumentParser:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", type=int, metavar="BYTES", help="no pretence, in chunks of so many bytes of text")
    parser.add_argument("--chunks", type=int, default=5)
    parser.add_argument("--speed", type=float, default=50.0, help="chunks a second")
    parser.add_argument("--deaf", type=float, default=0.0, help="seconds before it hears signals or touches its job")
    parser.add_argument("--crash-at", type=int, help="the chunk before whose end it dies")
    parser.add_argument(
        "--crash", choices=("raise", "kill", "exit", "full", "memory", "refused", "published"), default="raise"
    )
    parser.add_argument("--once", action="store_true", help="dies in the first attempt only")
    parser.add_argument("--hang", action="store_true", help="never looks whether it is to stop")
    parser.add_argument("--linger", action="store_true", help="does not exit after it has ended its job")
    parser.add_argument("--worker", action="store_true", help="starts a child process and leaves it behind")
    return parser


class Fake:
    """Pretends to make a dataset of so many chunks."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given

    def __call__(
        self, home: Home, name: str, recipe: Recipe, *, report: Report, stopped: Asked, roots: Sequence[Path] | None
    ) -> None:
        """The signature of engine.data.prepare."""
        given, making, state = self.given, home.making(name), home.job_state(name)
        if home.dataset(name).exists():
            raise store.Refused(f"The dataset {name} exists already.")
        making.mkdir(parents=True, exist_ok=True)
        report(Progress("waiting", "Waiting for another process"))
        done = json.loads(state.read_text(encoding="utf-8"))["chunk"] if state.exists() else 0
        if given.worker:
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        with (making / "train.bin").open("ab") as shard:
            shard.truncate(done * CHUNK)
            while done < given.chunks:
                until = time.monotonic() + 1 / given.speed
                while time.monotonic() < until:
                    if stopped() and not given.hang:
                        raise Stopped
                    time.sleep(0.005)
                if given.crash_at == done + 1 and not (given.once and (making / "died").exists()):
                    (making / "died").touch()
                    self.die(report, home, name)
                shard.write(bytes([done % 251]) * CHUNK)
                shard.flush()
                done += 1
                (making / ".state").write_text(json.dumps({"chunk": done}), encoding="utf-8")
                (making / ".state").replace(state)
                share, tokens = done / given.chunks, done * CHUNK
                report(Progress("encoding", "Pretending", share, done, tokens, 2 * tokens, {"too short": done}))
        self.publish(home, name)

    def publish(self, home: Home, name: str) -> None:
        (home.making(name) / "card.json").write_text(json.dumps({"name": name}), encoding="utf-8")
        home.making(name).rename(home.dataset(name))

    def die(self, report: Report, home: Home, name: str) -> None:
        """End in the way that was asked for."""
        how = self.given.crash
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "exit":
            os._exit(3)
        if how == "full":
            raise OSError(errno.ENOSPC, "No space left on device", str(home.making(name) / "train.bin"))
        if how == "memory":
            raise MemoryError
        if how == "refused":
            raise store.Refused("The source has no text.")
        if how == "published":
            self.publish(home, name)
            os.kill(os.getpid(), signal.SIGKILL)
        raise ValueError(f"{home.path}/datasets: the pretended mistake\nand more of it")


def main() -> int:
    """One attempt."""
    given, rest = arguments().parse_known_args()
    if given.deaf:
        time.sleep(given.deaf)
    if given.real:
        chunks.CHUNK_BYTES = given.real
    code = job.main(rest, prepare if given.real else Fake(given))
    if given.linger:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
    return code


if __name__ == "__main__":
    os._exit(main())
