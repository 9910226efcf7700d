"""Which folders may be read: the page and the API reach only some of them, whatever a path or a link says."""

import os
from collections.abc import Sequence
from pathlib import Path

from engine.home import PROJECT, Home
from engine.store import Refused

VARIABLE = "BLUEBERRY_DATA_ROOTS"
"""Set by app.py from --data-root: folders, parted as in PATH."""


def data_roots(home: Home) -> tuple[Path, ...]:
    """What the page and the API may read: the home, the project's data/ and the --data-root folders."""
    given = os.environ.get(VARIABLE, "").split(os.pathsep)
    return tuple(root.resolve() for root in (home.path, PROJECT / "data", *(Path(one) for one in given if one)))


def allowed(path: Path, roots: Sequence[Path] | None, name: str) -> Path:
    """The file or folder that `path` leads to through all links; it need not be there.

    `roots` None allows everything. Raises Refused outside of them, with the same words whether there is something or
    not; `name` is what the sentence calls the path.
    """
    try:
        real = path.expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, an unknown user, a NUL character
        raise Refused(f"The path {name!r} leads nowhere; give the path of a file or folder.") from error
    if roots is None or any(real.is_relative_to(root.resolve()) for root in roots):
        return real
    raise Refused(
        f"{name} is outside the folders that may be read from here, which are the home, the project's data/ and those "
        "that app.py was started with as --data-root FOLDER."
    )
