"""Which words two answers share, which left and which came: for reading them side by side."""

import re
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Any

WORD = re.compile(r"\s*\S+|\s+")
"""A word with the white space before it, so that the parts of a text add up to it."""
LONG = 400
"""Words from which on frequent ones alone are no anchor: comparing each with each would take seconds."""
Part = tuple[bool, str]
"""Whether these words are in the other text too, and the words."""


@lru_cache(maxsize=512)
def compared(before: str, after: str) -> dict[str, Any]:
    """Both texts in parts, with the number of words that stayed, left and came. Not to be changed: it is remembered."""
    old, new = WORD.findall(before), WORD.findall(after)
    bare_old, bare_new = [word.strip() for word in old], [word.strip() for word in new]
    matcher = SequenceMatcher(None, bare_old, bare_new, autojunk=max(len(old), len(new)) > LONG)
    left, right, stayed = [], [], 0
    for kind, a, b, c, d in matcher.get_opcodes():
        kept = kind == "equal"
        left.append((kept, "".join(old[a:b])))
        right.append((kept, "".join(new[c:d])))
        stayed += (b - a) * kept
    return {
        "before": [part for part in left if part[1]],
        "after": [part for part in right if part[1]],
        "stayed": stayed,
        "left": len(old) - stayed,
        "came": len(new) - stayed,
        "same": before == after,
    }
