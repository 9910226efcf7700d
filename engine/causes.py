"""What a trainer died of: what happened and what to do about it, a sentence each."""

import re
import signal
from dataclasses import dataclass
from pathlib import Path

from engine.process import describe_exit

FULL = 50_000_000
"""Bytes left on a disk below which a fault in a file means that it is full (assumption: less than a checkpoint)."""
SMALLER = "choose a smaller train.micro_batch, model.width or model.layers, or close other programs"
GO_ON = "Resume goes on from the last checkpoint"
SPOKEN = (
    (
        r"CUDA out of memory|OutOfMemoryError|CUDA error: out of memory|ALLOC_FAILED",
        "The GPU ran out of memory.",
        "Set train.micro_batch to a smaller number of rows (the result stays the same), or end what else holds the "
        "GPU's memory, then resume.",
    ),
    (
        r"\bMemoryError\b|DefaultCPUAllocator|\[Errno 12\]|bad_alloc",
        "The machine ran out of memory.",
        f"To go on, {SMALLER}, then resume.",
    ),
    (
        r"\[Errno 28\]|No space left on device|disk is full",
        "The disk is full.",
        "Free some space, then resume; the last checkpoint is whole.",
    ),
    (
        r"\bDiverged\b|FloatingPointError|loss is not a (finite )?number",
        "The loss stopped being a number.",
        "Start again with half of optimizer.muon_lr and optimizer.adamw_lr.",
    ),
    (
        r"CUDA error|CUDNN_STATUS|CUBLAS_STATUS|NVML|NCCL",
        "The GPU or its driver failed: {spoken}",
        f"{GO_ON}; if it comes again, restart the machine and run `python -m engine doctor`.",
    ),
    (
        r"ModuleNotFoundError|ImportError",
        "A part of the program is missing: {spoken}",
        "Install requirements.txt again, then resume.",
    ),
)
"""Patterns of a log's last line, most specific first, and the two sentences they stand for."""
SIGNALS = {
    signal.SIGSEGV: (" by a fault in its own code", f"{GO_ON}; if it comes again, install torch anew."),
    signal.SIGBUS: (" because a file it was reading was cut short", f"Look after the disk; {GO_ON}."),
    signal.SIGILL: (
        " because this processor lacks an instruction it uses",
        "Install the build of torch that is made for this processor, then resume.",
    ),
}
FROM_OUTSIDE = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


@dataclass(frozen=True)
class Kills:
    """How many processes the kernel has killed for lack of memory so far; None where it does not tell."""

    group: int | None
    """In the cgroup of this process, which its trainers share (cgroup v2, memory.events)."""
    machine: int | None
    """Since the machine was started (/proc/vmstat)."""


def kills(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> Kills:
    """The kernel's counts now."""
    found = re.search(r"^0::(/\S*)$", _text(proc / "self" / "cgroup"), re.M)
    events = _text(cgroups / found[1].lstrip("/") / "memory.events") if found else ""
    return Kills(_count(events), _count(_text(proc / "vmstat")))


def lacked_memory(before: Kills | None, now: Kills) -> bool | None:
    """Whether the kernel killed a process of ours for lack of memory since `before`; None: it may have."""
    if before is None:
        return None
    if before.group is not None and now.group is not None:
        return now.group > before.group
    if before.machine is not None and now.machine == before.machine:
        return False
    return None


def explain_death(returncode: int | None, spoken: str, lacked: bool | None, free_bytes: int | None = None) -> str:
    """What happened and what to do, from the exit status (None: not known), the log's last line and the kernel.

    `lacked` is the answer of `lacked_memory`, `free_bytes` the room on the home's disk.
    """
    if returncode == -signal.SIGKILL:
        return _killed(lacked)
    number = -returncode if returncode is not None and returncode < 0 else 0
    if number == signal.SIGBUS and free_bytes is not None and free_bytes < FULL:
        return "The disk is full. Free some space, then resume; the last checkpoint is whole."
    if number in FROM_OUTSIDE:
        return f"The trainer {describe_exit(-number)} by a person or another program. {GO_ON}."
    for known in (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL):
        if number == known:
            why, do = SIGNALS[known]
            return f"The trainer {describe_exit(-number)}{why}. {do}"
    for pattern, what, do in SPOKEN:
        if re.search(pattern, spoken):
            return f"{_sentence(what.format(spoken=spoken))} {do}"
    if returncode is None and lacked:
        return (
            "The trainer is gone without a word, and the kernel has killed a process for lack of memory since it "
            f"started: probably this one. To go on, {SMALLER}, then resume."
        )
    words = f"; its last words: {spoken}" if spoken else ""
    return f"{_sentence(f'The trainer {describe_exit(returncode or 0)}{words}')} Its log may tell more; {GO_ON}."


def _killed(lacked: bool | None) -> str:
    if lacked:
        return f"The kernel killed the trainer because memory ran out. To go on, {SMALLER}, then resume."
    if lacked is None:
        return (
            "The trainer was killed (SIGKILL), perhaps by the kernel for lack of memory. "
            f"{GO_ON}; if it comes again, {SMALLER}."
        )
    return f"The trainer was killed (SIGKILL) by a person or another program, not for lack of memory. {GO_ON}."


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def _count(text: str) -> int | None:
    found = re.search(r"^oom_kill (\d+)$", text, re.M)
    return int(found[1]) if found else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
