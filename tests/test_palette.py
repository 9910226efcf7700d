"""ui/static/palette.js: curves that colour-blind eyes can tell apart, and that stand out from the page."""

import itertools
import re

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.home import PROJECT

Values = NDArray[np.float64]
SIGHT = {
    "all colours": np.eye(3),
    "no red": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "no green": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]
    ),
    "no blue": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]]
    ),
}
"""What an eye without one kind of cone sees, in linear sRGB: Machado, Oliveira, Fernandes 2009, severity 1."""
TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
TO_OKLAB = np.array(
    [
        [0.2104542553, 0.793617785, -0.0040720468],
        [1.9779984951, -2.428592205, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.808675766],
    ]
)
"""Ottosson 2020, a perceptual colour space: distances of 0.02 are just seen."""
APART = 0.12
PAGE = {"LIGHT": "#ffffff", "DARK": "#11121a"}


def linear(colour: str) -> Values:
    """Linear sRGB of a colour like #4547c9."""
    values = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def oklab(values: Values) -> Values:
    return TO_OKLAB @ np.cbrt(TO_CONES @ np.clip(values, 0, 1))


def luminance(colour: str) -> float:
    return float(linear(colour) @ [0.2126, 0.7152, 0.0722])


def palette(name: str) -> list[str]:
    source = (PROJECT / "ui/static/palette.js").read_text()
    found = re.search(rf"const {name} = \[(.*?)\]", source)
    assert found
    return re.findall("#[0-9a-f]{6}", found[1])


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("theme", PAGE)
def test_no_two_curves_look_alike(theme: str, sight: str) -> None:
    seen = {colour: oklab(SIGHT[sight] @ linear(colour)) for colour in palette(theme)}

    assert len(seen) == 7
    for one, other in itertools.combinations(seen, 2):
        assert np.linalg.norm(seen[one] - seen[other]) > APART, (one, other)


@pytest.mark.parametrize("theme", PAGE)
def test_every_curve_stands_out_from_the_page(theme: str) -> None:
    """Three to one, as WCAG 2.2 asks of graphics."""
    for colour in palette(theme):
        low, high = sorted([luminance(colour), luminance(PAGE[theme])])
        assert (high + 0.05) / (low + 0.05) >= 3, colour
