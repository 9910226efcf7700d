"""Texts without the folders of the machine that a run was trained on."""

import re
from pathlib import Path

from engine.home import PROJECT, Home

ABSOLUTE = re.compile(r"(?<![\w.:/~-])(?:~|/)(?:[^\s/:'\"]+/|/)*([^\s/:'\",]*)")
"""An absolute path in a sentence; an address like http://x/y is none."""
QUOTED = re.compile(r"(?<=[\"'])[~/][^\"']*/([^/\"']+)")
"""The same between quotes, with blanks in it."""
_WORD = re.compile(r"(?:(?<=^)|(?<==))(?:~?/)([^,]*)")
"""The same in one word of a command, where a path may have blanks."""
STAND_IN = "path/to/"
"""Before the name of a file or folder that lies somewhere else for everybody."""


def pathless(text: str, home: Home) -> str:
    """A sentence with paths below the home or the project made relative, and of others the last part only."""
    for folder in sorted({str(home.path), str(PROJECT), str(Path.home())}, key=len, reverse=True):
        if folder != "/":
            text = text.replace(folder + "/", "").replace(folder, ".")
    text = QUOTED.sub(r"…/\1", text)
    return ABSOLUTE.sub(lambda found: f"…/{found[1]}" if "/" in found[0] and found[1] else found[0], text)


def pathless_word(word: str) -> str:
    """A word of a command with `path/to/NAME` in place of an absolute path."""
    return _WORD.sub(lambda found: STAND_IN + found[1].rstrip("/").rpartition("/")[2], word)
