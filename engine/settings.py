"""The machinery behind every setting: fields that describe themselves, checks, and values from what a person wrote.

What the settings are is said in engine/config.py. Every mistake a person can make raises `ConfigError`.
"""

import difflib
import json
import math
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, field, fields, is_dataclass
from typing import Any, Literal, TypeVar

T = TypeVar("T")
LONGEST = 4096
"""Characters of a text setting; the longest sensible one is a path."""


class ConfigError(ValueError):
    """A setting that cannot be used; the message is one sentence for the person who chose it."""


def setting(
    default: Any = MISSING,
    *,
    help: str,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> Any:
    """A config field with what the form, the checks and the documentation need to know about it.

    `low`/`high` are inclusive limits, `above`/`below` exclusive ones.
    """
    limits = {"low": low, "high": high, "above": above, "below": below}
    return field(default=default, metadata={"help": help, "unit": unit, **limits})


def build(kind: type[T], tree: Mapping[str, Any], prefix: str) -> T:
    """Make a config dataclass from plain values, checking names, types and limits."""
    hints = typing.get_type_hints(kind)
    names = {item.name: item for item in fields(kind)}  # type: ignore[arg-type]
    for key in tree:
        if key not in names:
            close = did_you_mean(prefix + key, [prefix + name for name in names])
            raise ConfigError(f"{named(prefix + key)} is not a setting{close}.")
    values: dict[str, Any] = {}
    for name, item in names.items():
        key = prefix + name
        if name not in tree:
            if item.default is MISSING and item.default_factory is MISSING:
                raise ConfigError(f"{key} is missing.")
            continue
        if is_dataclass(hints[name]):
            if not isinstance(tree[name], Mapping):
                raise ConfigError(f"{key} is a group of settings, not a value.")
            values[name] = build(typing.cast(type, hints[name]), tree[name], key + ".")
        else:
            values[name] = _check(key, tree[name], hints[name], item.metadata)
    return kind(**values)


def _check(key: str, value: Any, hint: Any, limits: Mapping[str, Any]) -> Any:
    """The value in its declared type, or ConfigError."""
    if typing.get_origin(hint) is Literal:
        choices = typing.get_args(hint)
        if value not in choices:
            raise ConfigError(f"{key} = {brief(repr(value))} must be one of {', '.join(map(str, choices))}.")
        return value
    assert not isinstance(hint, types.UnionType), "settings have one plain type"
    if isinstance(value, int) and abs(value) > 10**300:  # no float can hold it, and nobody can read it
        raise ConfigError(f"{key} must be a number of fewer than 300 digits.")
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if hint is int and isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not hint:
        expected = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}[hint]
        raise ConfigError(f"{key} = {_shown(value)} must be {expected}.")
    if isinstance(value, str) and not (len(value) <= LONGEST and value.isprintable()):
        raise ConfigError(f"{key} = {_shown(value)} must be text of at most {LONGEST:,} letters, digits and signs.")
    if isinstance(value, int | float) and not isinstance(value, bool):
        _check_limits(key, value, limits)
    return value


def _check_limits(key: str, value: float, limits: Mapping[str, Any]) -> None:
    low, high, above, below = (limits[name] for name in ("low", "high", "above", "below"))
    finite = math.isfinite(value)
    if finite and not (
        (low is not None and value < low)
        or (high is not None and value > high)
        or (above is not None and value <= above)
        or (below is not None and value >= below)
    ):
        return
    wanted = []
    if low is not None:
        wanted.append(f">= {low:g}")
    if above is not None:
        wanted.append(f"> {above:g}")
    if high is not None:
        wanted.append(f"<= {high:g}")
    if below is not None:
        wanted.append(f"< {below:g}")
    raise ConfigError(f"{key} = {value} must be a finite number {' and '.join(wanted)}".rstrip() + ".")


def brief(text: str, longest: int = 60) -> str:
    """The beginning of what is too long for a sentence."""
    return text if len(text) <= longest else f"{text[:longest]}…"


def _shown(value: Any) -> str:
    return brief(json.dumps(value) if isinstance(value, bool | str | None) else repr(value))


def named(key: str) -> str:
    """A key as it was written, unless that would break the sentence."""
    return key if key and key.isprintable() and len(key) <= 80 else brief(repr(key))


def parse_overrides(pairs: Iterable[str]) -> dict[str, Any]:
    """Turn `key=value` words of the command line into overrides; a key given twice is refused."""
    overrides: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"Give settings as key=value, for example train.tokens=1000000, not {brief(repr(pair))}.")
        if key.strip() in overrides:
            raise ConfigError(f"{named(key.strip())} is given twice; give it once.")
        overrides[key.strip()] = parse_value(text.strip())
    return overrides


def parse_value(text: str) -> Any:
    """A typed value from what a person wrote: 12, 1_000, 3e-4, 1M, true, or plain text."""
    scales = {"k": 10**3, "M": 10**6, "B": 10**9}
    number, scale = (text[:-1], scales[text[-1]]) if text[-1:] in scales else (text, 1)
    try:
        return int(number) * scale
    except ValueError:
        pass
    try:
        # Without the rounding 4.02M would be 4019999.9999999995.
        value = round(float(number) * scale, 6) if scale > 1 else float(number)
    except ValueError:
        return {"true": True, "false": False}.get(text, text)
    return int(value) if scale > 1 and value.is_integer() else value


def settings(config: Any, prefix: str = "") -> dict[str, Any]:
    """All settings of a config by dotted name."""
    flat: dict[str, Any] = {}
    for item in fields(config):
        value = getattr(config, item.name)
        if is_dataclass(value):
            flat |= settings(value, f"{prefix}{item.name}.")
        else:
            flat[prefix + item.name] = value
    return flat


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a sentence that names the known word closest to `word`, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""
