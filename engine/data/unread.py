"""What of a source is not read, files that cannot be and files of other kinds, and how that is told."""

import errno
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from engine.store import Refused

TOLD = 5
"""Files that a sentence names; the others it counts."""
MOST = 1000
"""Unreadable files of a source that are left out; more are a mistake of another kind."""
SECONDS = 10.0
"""In which a job that has met an unreadable file looks for others, to tell of them together."""
_OF_THE_FILE = {None, errno.EACCES, errno.EPERM, errno.ELOOP}
"""Of OSErrors those that come again whenever the file is read; the others are the machine's, of the moment."""


class Bad(NamedTuple):
    """A file that cannot be read."""

    name: str
    """Path below its source."""
    why: str
    """A sentence that names the file."""


class Unreadable(Refused):
    """Some files of a source cannot be read; it can be read without them."""


class Changed(Refused):
    """A file was written while its source was read."""


def can_be_left_out(error: Refused) -> bool:
    """Whether a file gives this error each time, so that leaving it out gives the same texts each time."""
    cause = error.__cause__
    return not isinstance(error, Changed) and not (isinstance(cause, OSError) and cause.errno not in _OF_THE_FILE)


def unreadable(source: str, bad: Sequence[Bad], files: int, whole: bool) -> Refused:
    """The error that tells of the unreadable files among `files`; `whole`: all of these were looked at."""
    if len(bad) == files and len({one.why.replace(one.name, "") for one in bad}) == 1:
        return Refused(bad[0].why)  # one file, or the same in all: a wrong column, most often
    nothing = len(bad) == files
    way_out = "Mend what is wrong, or leave unreadable files out (--skip-unreadable)."
    if len(bad) == 1 and whole:
        return Unreadable(f"{bad[0].why}\n{way_out}")
    least = "" if whole else "At least "
    head = f"{least}{len(bad):,} of {files:,} files of {source} cannot be read:"
    told = [head, *(f"· {one}" for one in listed(bad))]
    return Refused("\n".join(told)) if nothing else Unreadable("\n".join([*told, way_out]))


def listed(bad: Sequence[Bad]) -> list[str]:
    """A sentence each of the first unreadable files, and how many more there are."""
    more = [f"and {len(bad) - TOLD:,} more."] if len(bad) > TOLD else []
    return [*(one.why for one in bad[:TOLD]), *more]


def other_kinds(counts: Mapping[str, int]) -> str:
    """ "14 files of other kinds were not read: .png 10, .pdf 4.", the most frequent first; "" for none."""
    total = sum(counts.values())
    if not total:
        return ""
    order = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    said = [f"{kind} {number:,}" for kind, number in order[:TOLD]]
    said += [f"others {sum(number for _, number in order[TOLD:]):,}"] if len(order) > TOLD else []
    number = "1 file of another kind was" if total == 1 else f"{total:,} files of other kinds were"
    return f"{number} not read: {', '.join(said)}."
