"""Numbers as a person says them, for the command line; the page's ui/static/format.js says them the same way."""

import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime

SCALES = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k"))


def count(value: float | None) -> str:
    """3_212_000 as "3.2 M", 512 as "512"."""
    if value is None:
        return "–"
    for scale, letter in SCALES:
        if value >= scale * 0.9995:
            scaled = value / scale
            return f"{scaled:.0f} {letter}" if scaled >= 100 else f"{scaled:.1f}".removesuffix(".0") + f" {letter}"
    return f"{value:.0f}"


def exact(value: float) -> str:
    """Every digit, as a command takes it: 4005888.0 as "4005888", 0.035 as "0.035"."""
    return str(int(value)) if value == int(value) else repr(value)


def age(tokens: int) -> str:
    """How much a model has read."""
    return f"{count(tokens)} tokens old" if tokens else "not born yet"


def duration(seconds: float | None) -> str:
    """157.0 as "3 min", 9420 as "2 h 37 min"."""
    if seconds is None:
        return "–"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    return (f"{hours} h {rest} min" if rest else f"{hours} h") if hours < 48 else f"{round(hours / 24)} days"


def day(seconds: float) -> str:
    """A date in UTC, as "30 November 2026"."""
    when = datetime.fromtimestamp(seconds, UTC)
    return f"{when.day} {when:%B} {when.year}"


def moment(seconds: float) -> str:
    """The same with the time: "30 November 2026, 07:31 UTC"."""
    return f"{day(seconds)}, {datetime.fromtimestamp(seconds, UTC):%H:%M} UTC"


def size(value: int) -> str:
    """Bytes as MB or GB."""
    return f"{value / 1e9:.1f} GB" if value >= 1e9 else f"{max(1, round(value / 1e6))} MB"


def loss(value: float | None) -> str:
    """A loss in nats with three digits."""
    return "–" if value is None else f"{value:.3f}"


def money(value: float | None, currency: str) -> str:
    """0.94 as "$0.94", 0.0042 as "$0.0042", with a word behind it: "0.94 EUR"."""
    if value is None:
        return "–"
    if 0 < value < 0.0001:
        return f"under {_with_currency('0.0001', currency)}"
    digits = f"{value:,.0f}" if value >= 1000 else f"{value:.2f}" if value >= 0.1 or not value else f"{value:.2g}"
    return _with_currency(digits, currency)


def energy(joules: float | None) -> str:
    """3_600_000 joules as "1.00 kWh", less than a hundredth of that in Wh."""
    if joules is None:
        return "–"
    hours = joules / 3600
    if hours < 0.01:
        return "under 0.01 Wh" if hours else "0 Wh"
    return f"{hours / 1000:,.2f} kWh" if hours >= 100 else f"{hours:.2g} Wh"


def _with_currency(digits: str, currency: str) -> str:
    return f"{digits} {currency}" if currency[-1:].isalpha() else f"{currency}{digits}"


def plain(text: str) -> str:
    """Text of a model or a stranger without what a terminal would obey."""
    return "".join(letter if harmless(letter) or letter in "\n\t" else "\ufffd" for letter in text)


def harmless(letter: str) -> bool:
    """Whether a letter only shows itself; every blank does, though Python calls all but one of them unprintable."""
    return letter.isprintable() or unicodedata.category(letter) == "Zs"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()) -> str:
    """Aligned columns under their names; those named in `right` are flush right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [
        [
            cell.rjust(width) if name in right else cell.ljust(width)
            for name, cell, width in zip(head, row, widths, strict=True)
        ]
        for row in (head, *rows)
    ]
    return "\n".join("  ".join(line).rstrip() for line in lines)
