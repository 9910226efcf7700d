"""The training plot of a report as a PNG: loss, accuracy, perplexity, learning rate over the tokens seen.

Everything written in it is our own and plain ASCII: names, which may be in any script, stand beside the picture.
"""

import io
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from engine.phrases import count
from engine.report_curves import Curve, Curves
from engine.store import Refused

WIDTH, HEIGHT, DOTS = 9.6, 6.0, 150
"""Inches, and dots of each: 1440 by 900, sharp at the width of a page."""
FONT = "DejaVu Sans"
"""Comes with matplotlib, so that no machine lacks it."""
_drawing = threading.Lock()  # matplotlib's caches of fonts and styles are not made for several threads


@dataclass(frozen=True)
class Look:
    """Colours of a picture."""

    ground: str
    ink: str
    muted: str
    line: str
    first: str
    second: str


LOOKS = {
    "light": Look("#ffffff", "#1a1b2c", "#5a5c74", "#e4e5ee", "#4547c9", "#d55e00"),
    "dark": Look("#1a1b26", "#e9e9f3", "#a6a8bf", "#2c2e3e", "#a3a8ff", "#ffa25f"),
}
"""As the page's; both pairs of lines are told apart without colours too, one is dotted with marks."""
Drawn = tuple[Curve, str]
"""A curve and what it is called, "" where its panel says so."""


def plot(curves: Curves, look: str = "light") -> bytes:
    """The picture as a PNG with a panel for whatever was measured; b"" where nothing was. Raises Refused."""
    panels = _panels(curves)
    if not panels:
        return b""
    try:
        from matplotlib import rc_context  # a second and 60 MB: only for who asks for a report
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ImportError as error:
        raise Refused("A training plot needs matplotlib: pip install -r requirements.txt brings it.") from error
    paint, written = LOOKS[look], io.BytesIO()
    ends = [float(curve.tokens[at]) for _, lines, _ in panels for curve, _ in lines for at in (0, -1)]
    with _drawing, rc_context({"font.family": FONT, "font.size": 10, "text.usetex": False}):
        rows = -(-len(panels) // 2)
        room = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12)
        figure = Figure(figsize=(WIDTH, HEIGHT * rows / 2), dpi=DOTS, facecolor=paint.ground, layout=room)
        FigureCanvasAgg(figure)
        for place, (title, lines, percent) in enumerate(panels):
            wide = len(panels) % 2 and place == len(panels) - 1
            spot = (rows, 1, rows) if wide else (rows, 2, place + 1)
            axes = figure.add_subplot(*spot)
            _panel(axes, title, lines, percent, paint)
            axes.set_xlim(min(ends), max(ends))
        figure.savefig(written, format="png", facecolor=paint.ground, metadata={"Software": None})
    return written.getvalue()


def size_of(curves: Sequence[str]) -> tuple[int, int]:
    """How many dots wide and high the picture of these curves (engine/report_facts.py) is."""
    panels = {"loss" if "loss" in name else name for name in curves}
    return round(WIDTH * DOTS), round(HEIGHT * DOTS * -(-len(panels) // 2) / 2)


def _panels(curves: Curves) -> list[tuple[str, list[Drawn], bool]]:
    """Title, curves, and whether the values are shares."""
    both = [(curves.train_loss, "training"), (curves.val_loss, "unseen text")]
    wanted: list[tuple[str, list[tuple[Curve | None, str]], bool]] = [
        ("Loss", both, False),
        ("Accuracy on unseen text", [(curves.accuracy, "")], True),
        ("Perplexity on unseen text", [(curves.perplexity, "")], False),
        ("Learning rate", [(curves.rate, "")], False),
    ]
    found = [(title, [(one, name) for one, name in lines if one], percent) for title, lines, percent in wanted]
    return [(title, lines, percent) for title, lines, percent in found if lines]


def _panel(axes: Any, title: str, lines: list[Drawn], percent: bool, paint: Look) -> None:
    """One curve or two over the tokens seen."""
    axes.set_facecolor(paint.ground)
    axes.set_title(title, loc="left", color=paint.ink, fontsize=11, fontweight="bold", pad=10)
    for curve, name in lines:
        marked = name == "unseen text"
        axes.plot(
            curve.tokens,
            curve.values,
            color=paint.second if marked else paint.first,
            linewidth=1.6,
            marker="o" if marked and len(curve.values) <= 60 else None,
            markersize=3,
            linestyle="--" if marked else "-",
            label=name,
        )
    if title.startswith("Perplexity") and _spread(lines[0][0]) > 20:
        axes.set_yscale("log")
    axes.grid(True, color=paint.line, linewidth=0.8)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(paint.line)
    axes.tick_params(colors=paint.muted, length=0, labelsize=9, which="both")
    axes.xaxis.set_major_formatter(_words(count))
    axes.set_xlabel("tokens seen", color=paint.muted, fontsize=9)
    if percent:
        from matplotlib.ticker import PercentFormatter

        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    elif title.startswith("Perplexity"):
        axes.yaxis.set_major_formatter(_words(lambda value: f"{value:,.0f}" if value >= 10 else f"{value:.1f}"))
    if len(lines) > 1:
        axes.legend(frameon=False, labelcolor=paint.muted, fontsize=9)


def _spread(curve: Curve) -> float:
    """How many times the greatest value is the least, where a logarithm is possible; else 1."""
    least = float(curve.values.min())
    return float(curve.values.max()) / least if least > 0 else 1.0


def _words(say: Callable[[float], str]) -> Callable[[float, int], str]:
    """A way to write numbers as matplotlib asks for it."""
    return lambda value, place: say(value)
