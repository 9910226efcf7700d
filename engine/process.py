"""Who a process is, so that nobody else's process is ever taken for ours, and locks that die with their holder."""

import contextlib
import fcntl
import os
import signal
import time
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, TypedDict

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
SAME_START = 0.005
"""Seconds between two start times of one process; the kernel counts in ticks of 0.01 s, we compare exact copies."""
DEAD = {"Z", "X", "x", "zombie", "dead"}
MARK = "BLUEBERRY_RUN"
"""In the environment of a trainer or a dataset job and of everything it starts: the run's or the job's id."""


class Identity(TypedDict):
    """The columns of a run's state that say which process trains it, and of a job that say which works on it."""

    pid: int
    process_started_at: float
    boot_id: str


@cache
def boot_id() -> str:
    """What changes when the machine restarts; empty where start times are dates, which need no such help."""
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def started_at(pid: int) -> float | None:
    """When a living process started, or None where there is none (a zombie does not live).

    On Linux in seconds since boot: psutil's date moves when someone sets the clock, and the run would look dead.
    """
    state, start = _look(pid)
    return None if state in DEAD else start


def identity(pid: int | None = None) -> Identity:
    """The identity of a process, by default this one; of a zombie too. Raises ProcessLookupError."""
    pid = os.getpid() if pid is None else pid
    start = _look(pid)[1]
    if start is None:
        raise ProcessLookupError(f"There is no process {pid}.")
    return {"pid": pid, "process_started_at": start, "boot_id": boot_id()}


def alive(pid: int | None, process_started_at: float | None, boot: str | None) -> bool:
    """Whether that very process still runs: not a zombie, not a stranger with its number, not one of another boot."""
    if pid is None or process_started_at is None or boot != boot_id():
        return False
    start = started_at(pid)
    return start is not None and abs(start - process_started_at) < SAME_START


def send(
    number: int, pid: int | None, process_started_at: float | None, boot: str | None, *, group: bool = False
) -> bool:
    """Signal that very process, or the group it leads; False when it is gone (a stranger is never signalled)."""
    if not alive(pid, process_started_at, boot):
        return False
    assert pid is not None
    with contextlib.suppress(ProcessLookupError):
        if group and os.getpgid(pid) == pid:
            os.killpg(pid, number)
        else:
            os.kill(pid, number)
        return True
    return False


def end_leftovers(leader: int, mark: str) -> int:
    """SIGKILL what a dead trainer or job has left running in its group; returns how many processes that were.

    The number of a dead leader may be a stranger's by now: only processes that bear the mark are touched.
    """
    import psutil  # only when one has ended

    ended = 0
    for left in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):
            if left.pid != leader and os.getpgid(left.pid) == leader and left.environ().get(MARK) == mark:
                left.kill()
                ended += 1
    return ended


def torch_environment() -> dict[str, str]:
    """The environment for processes that compute with torch on a processor other programs use too.

    OpenMP threads that wait for each other spin for milliseconds by default, which takes the processor from the program
    they wait for. With short spins the seedling keeps half its speed beside a busy program on two cores, not a third or
    less, and loses 3% alone (docs/LOG.md).
    """
    return {"GOMP_SPINCOUNT": "1000"} | os.environ


def describe_exit(returncode: int) -> str:
    """How a process ended, as the end of a sentence that starts with its name."""
    if returncode == 0:
        return "ended without saying why"
    if returncode > 0:
        return f"ended with exit status {returncode}"
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = f"signal {-returncode}"
    return f"was killed ({name})" + (", perhaps by the system for lack of memory" if name == "SIGKILL" else "")


class Lock:
    """An exclusive lock on a file, held by this process until `release` or its end, and not by its children.

    It is a POSIX lock: another `hold_lock` or `is_held` of the same file in the same process would let go of it.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def release(self) -> None:
        """Let go; more than once does no harm."""
        self._file.close()

    def __enter__(self) -> "Lock":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def hold_lock(path: Path, wait: float = 0.5) -> Lock | None:
    """Take the lock file, made where missing, or None when another process keeps it for `wait` seconds.

    The wait rides out `is_held`, which shares the lock for an instant.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("ab")
    until = time.monotonic() + wait
    while True:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return Lock(file)
        except BlockingIOError:
            if time.monotonic() >= until:
                file.close()
                return None
            time.sleep(0.02)
        except BaseException:
            file.close()
            raise


def is_held(path: Path) -> bool:
    """Whether another process holds the lock file.

    It is asked for with a shared lock, which only a holder is in the way of: another process that asks is not.
    """
    try:
        with path.open("rb") as file:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except BlockingIOError:
        return True
    return False


def _look(pid: int) -> tuple[str, float | None]:
    """State letter or word, and start time, of a process."""
    try:
        # The name in brackets may hold blanks and brackets itself; what follows the last one are the numbers.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return fields[0], int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (FileNotFoundError, ProcessLookupError):
        if BOOT_ID.exists():
            return "X", None
    import psutil  # only where there is no /proc

    try:
        process = psutil.Process(pid)
        return process.status(), process.create_time()
    except psutil.Error:
        return "X", None
