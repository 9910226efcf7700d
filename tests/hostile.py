"""What a broken script or an attacker sends, and what must not be in any answer."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from engine.home import PROJECT

BRIEF = {"derandomize": True, "deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}
"""The same examples every time: a failure in CI is one on every machine. More of them: the drills."""
TEXTS = [
    "",
    " ",
    "../../../etc/passwd",
    "/etc/passwd",
    "..\\..\\windows\\win.ini",
    "file:///etc/passwd",
    "a; touch /tmp/owned",
    "$(touch /tmp/owned)",
    "`id`",
    "a\nb\r\nSet-Cookie: c=d",
    "--home=/",
    "-rf",
    "' OR 1=1 --",
    '"; DROP TABLE runs; --',
    '" OR *',
    "NEAR(a b",
    "%s%s%n{0}{__class__}",
    "{{7*7}}${7*7}",
    "<script>window.hurt = 1</script>",
    "<img src=x onerror='window.hurt = 1'>",
    "javascript:alert(1)",
    "\x00",
    "a\x00b",
    "\ud800",
    "\u202egpj.exe",
    "\ufeff",
    "CON",
    "NUL.txt",
    ".",
    "..",
    "=1+1",
    "nan",
    "null",
    "1e999",
    "9" * 400,
    "x" * 5000,
    "\U0001f980" * 300,
    "a\u0301" * 200,
]
NUMBERS = [0, -1, 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 10**400, 0.5, -0.0, 1e308, -1e308]
VALUES: list[Any] = [*TEXTS, *NUMBERS, None, True, False, [], {}, [[]], {"a": {"b": [None]}}, [1] * 500]

texts = st.sampled_from(TEXTS) | st.text(max_size=80)
numbers = st.sampled_from(NUMBERS) | st.integers() | st.floats()
plain = st.none() | st.booleans() | numbers | texts
values = st.sampled_from(VALUES) | st.recursive(
    plain, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=8
)

TRACES = re.compile(
    r"Traceback|site-packages|\bFile \"|\.py\b.{0,3}line \d|Error\(|sqlite3?\.|OverflowError|TypeError|KeyError|"
    r"Something went wrong|cannot be used right now|ValueError|AttributeError|UnicodeEncodeError|OperationalError"
)
drill = pytest.mark.drill


def fuzz(examples: int) -> Any:
    """Hypothesis settings with so many examples."""
    return settings(max_examples=examples, **BRIEF)


def assert_clean(answer: str, *folders: Path) -> None:
    """No trace, no absolute path of this machine."""
    found = TRACES.search(answer)
    assert not found, answer[max(0, found.start() - 200) : found.end() + 200]
    for folder in (*folders, PROJECT, Path.home()):
        assert str(folder) == "/" or f"{folder}/" not in answer, answer[:500]
