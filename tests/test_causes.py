"""A trainer's death is told in two sentences: what happened, and what to do."""

import errno
import signal
from pathlib import Path

import pytest

from engine.causes import FULL, Kills, explain_death, kills, lacked_memory


@pytest.mark.parametrize(
    ("spoken", "what", "do"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", "The GPU ran out", "micro_batch"),
        ("RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED", "The GPU ran out", "micro_batch"),
        ("MemoryError", "The machine ran out of memory", "train.micro_batch"),
        ("RuntimeError: [enforce fail] DefaultCPUAllocator: can't allocate memory", "The machine ran", "model.width"),
        (f"OSError: [Errno {errno.ENOSPC}] No space left on device: 'x'", "The disk is full", "Free some space"),
        ("pysqlite3.dbapi2.OperationalError: database or disk is full", "The disk is full", "Free some space"),
        ("engine.meter.Diverged: The loss stopped being a number", "stopped being a number", "muon_lr"),
        ("RuntimeError: CUDA error: an illegal memory access", "The GPU or its driver failed: Runtime", "doctor"),
        ("ModuleNotFoundError: No module named 'numpy'", "A part of the program is missing", "requirements.txt"),
        ("ValueError: a shard is short", "exit status 1; its last words: ValueError: a shard is short.", "Resume"),
        ("", "The trainer ended with exit status 1.", "Its log may tell more"),
    ],
)
def test_the_last_line_of_the_log_is_understood(spoken: str, what: str, do: str) -> None:
    told = explain_death(1, spoken, None)

    assert what in told.split(". ")[0] + "." and do in told


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (signal.SIGSEGV, "by a fault in its own code. Resume"),
        (signal.SIGBUS, "a file it was reading was cut short. Look after the disk"),
        (signal.SIGILL, "lacks an instruction it uses. Install the builds of requirements.txt"),
        (signal.SIGTERM, "(SIGTERM) by a person or another program. Resume"),
        (signal.SIGHUP, "(SIGHUP) by a person or another program. Resume"),
        (signal.SIGFPE, "was killed (SIGFPE); its last words: tired. Its log"),
    ],
)
def test_a_signal_is_named_with_what_it_means(number: int, words: str) -> None:
    assert words in explain_death(-number, "tired", None, FULL)


def test_a_fault_in_a_file_on_a_full_disk_is_the_full_disk() -> None:
    assert explain_death(-signal.SIGBUS, "", None, FULL - 1).startswith("The disk is full.")


def test_an_abort_says_what_was_said_before_it() -> None:
    assert explain_death(-signal.SIGABRT, "what(): CUDA error: unspecified", None).startswith("The GPU or its driver")


@pytest.mark.parametrize(
    ("lacked", "words"),
    [
        (True, "The kernel killed the trainer because memory ran out. To go on, choose a smaller"),
        (None, "perhaps by the kernel for lack of memory"),
        (False, "by a person or another program, not for lack of memory"),
    ],
)
def test_sigkill_is_lack_of_memory_only_where_the_kernel_says_so(lacked: bool | None, words: str) -> None:
    assert words in explain_death(-signal.SIGKILL, "whatever it said", lacked)


def test_an_adopted_trainers_exit_status_is_unknown_but_the_kernel_is_asked() -> None:
    assert "probably this one" in explain_death(None, "", True)
    assert explain_death(None, "", None).startswith("The trainer ended without saying why.")


@pytest.mark.parametrize(
    ("before", "now", "answer"),
    [
        (Kills(0, 0), Kills(1, 1), True),
        (Kills(2, 2), Kills(2, 9), False),  # a process of others
        (Kills(None, 3), Kills(None, 3), False),
        (Kills(None, 3), Kills(None, 4), None),  # ours or another's
        (Kills(None, None), Kills(None, None), None),
        (None, Kills(1, 1), None),
    ],
)
def test_the_kernels_counts_are_compared_with_those_at_the_start(
    before: Kills | None, now: Kills, answer: bool | None
) -> None:
    assert lacked_memory(before, now) is answer


def test_the_kernels_counts_are_read_where_it_keeps_them(tmp_path: Path) -> None:
    proc, cgroups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (cgroups / "user.slice" / "box").mkdir(parents=True)
    assert kills(proc, cgroups) == Kills(None, None)
    (proc / "self" / "cgroup").write_text("4:memory:/old\n0::/user.slice/box\n")
    (proc / "vmstat").write_text("nr_free_pages 17\noom_kill 4\nlast 1\n")
    assert kills(proc, cgroups) == Kills(None, 4)
    (cgroups / "user.slice" / "box" / "memory.events").write_text("low 0\noom 2\noom_kill 1\noom_group_kill 8\n")
    assert kills(proc, cgroups) == Kills(1, 4)
