"""What a trainer or a job died of: what happened and what to do about it, a sentence each."""

import re
import signal
from dataclasses import asdict, dataclass
from pathlib import Path

from engine.process import describe_exit

FULL = 50_000_000
"""Bytes left on a disk below which a fault in a file means that it is full (assumption: less than a checkpoint)."""


@dataclass(frozen=True)
class Kind:
    """How to speak of one kind of process."""

    name: str
    smaller: str
    """What makes it need less memory."""
    go_on: str
    whole: str
    """What is not lost."""


TRAINER = Kind(
    "trainer",
    "choose a smaller train.micro_batch, model.width or model.layers, or close other programs",
    "Resume goes on from the last checkpoint",
    "the last checkpoint is whole",
)
JOB = Kind("job", "close other programs", "Resume goes on where it was", "what is made so far is whole")
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
        "To go on, {smaller}, then resume.",
    ),
    (
        r"\[Errno 28\]|No space left on device|disk is full",
        "The disk is full.",
        "Free some space, then resume; {whole}.",
    ),
    (
        r"\bDiverged\b|FloatingPointError|loss is not a (finite )?number",
        "The loss stopped being a number.",
        "Start again with half of optimizer.muon_lr and optimizer.adamw_lr.",
    ),
    (
        r"CUDA error|CUDNN_STATUS|CUBLAS_STATUS|NVML|NCCL",
        "The GPU or its driver failed: {spoken}",
        "{go_on}; if it comes again, restart the machine and run `python -m engine doctor`.",
    ),
    (
        r"ModuleNotFoundError|ImportError",
        "A part of the program is missing: {spoken}",
        "Install requirements.txt again, then resume.",
    ),
)
"""Patterns of a log's last line, most specific first, and the two sentences they stand for."""
SIGNALS = {
    signal.SIGSEGV: (" by a fault in its own code", "{go_on}; if it comes again, install requirements.txt anew."),
    signal.SIGBUS: (" because a file it was reading was cut short", "Look after the disk; {go_on}."),
    signal.SIGILL: (
        " because this processor lacks an instruction it uses",
        "Install the builds of requirements.txt that are made for this processor, then resume.",
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


def explain_death(
    returncode: int | None, spoken: str, lacked: bool | None, free_bytes: int | None = None, kind: Kind = TRAINER
) -> str:
    """What happened and what to do, from the exit status (None: not known), the log's last line and the kernel.

    `lacked` is the answer of `lacked_memory`, `free_bytes` the room on the home's disk.
    """
    words = asdict(kind) | {"spoken": spoken}
    if returncode == -signal.SIGKILL:
        return _killed(lacked).format(**words)
    number = -returncode if returncode is not None and returncode < 0 else 0
    if number == signal.SIGBUS and free_bytes is not None and free_bytes < FULL:
        return f"The disk is full. Free some space, then resume; {kind.whole}."
    if number in FROM_OUTSIDE:
        return f"The {kind.name} {describe_exit(-number)} by a person or another program. {kind.go_on}."
    for known, (why, do) in SIGNALS.items():
        if number == known:
            return f"The {kind.name} {describe_exit(-number)}{why}. {do.format(**words)}"
    for pattern, what, do in SPOKEN:
        if re.search(pattern, spoken):
            return f"{_sentence(what.format(**words))} {do.format(**words)}"
    if returncode is None and lacked:
        return (
            f"The {kind.name} is gone without a word, and the kernel has killed a process for lack of memory since it "
            f"started: probably this one. To go on, {kind.smaller}, then resume."
        )
    last = f"; its last words: {spoken}" if spoken else ""
    return (
        f"{_sentence(f'The {kind.name} {describe_exit(returncode or 0)}{last}')} Its log may tell more; {kind.go_on}."
    )


def _killed(lacked: bool | None) -> str:
    if lacked:
        return "The kernel killed the {name} because memory ran out. To go on, {smaller}, then resume."
    if lacked is None:
        return (
            "The {name} was killed (SIGKILL), perhaps by the kernel for lack of memory. "
            "{go_on}; if it comes again, {smaller}."
        )
    return "The {name} was killed (SIGKILL) by a person or another program, not for lack of memory. {go_on}."


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
