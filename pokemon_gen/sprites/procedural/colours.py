"""The palette of the procedural sprites: 167 colours computed from a formula.

Every colour is defined in OKLCH (perceptual lightness, chroma, hue) and converted to sRGB, so that the
tones of a ramp look evenly spaced and sprites of any hue shade smoothly. The order of the tokens is white
(the background), twenty ramps of seven tones, then the inks of the outlines.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

TONES = 7
"""Number of tones in a ramp, from the darkest (0) to the highlight (6)."""

VIVID_HUES = {
    "red": 25.0,
    "orange": 50.0,
    "amber": 74.0,
    "yellow": 98.0,
    "lime": 124.0,
    "green": 148.0,
    "teal": 182.0,
    "sky": 226.0,
    "blue": 258.0,
    "indigo": 284.0,
    "purple": 312.0,
    "pink": 356.0,
}
"""OKLCH hue in degrees of each saturated ramp."""

MUTED_HUES = {"brown": 52.0, "tan": 82.0, "olive": 116.0, "slate": 248.0, "mauve": 338.0}
"""OKLCH hue in degrees of each earthy ramp."""

GREY_HUES = {"stone": 120.0, "ash": 262.0, "bone": 84.0}
"""OKLCH hue in degrees of the slight tint of each grey ramp."""

RAMP_NAMES = (*VIVID_HUES, *MUTED_HUES, *GREY_HUES)
RAMP_IDS = {name: index for index, name in enumerate(RAMP_NAMES)}
INK_HUES = (*VIVID_HUES.values(), None)
"""Hues of the outline inks. None is the neutral pair, which most outlines use."""

INK_LEVELS = 2
WHITE_EDGE = 0.98
"""Largest lightness of a grey ramp's highlight, so that it stays darker than the white background."""


@dataclass(frozen=True)
class RampShape:
    """The course of one ramp.

    Attributes:
        darkest: lightness of the darkest tone.
        middle: lightness in the middle of the ramp.
        lightest: lightness of the highlight.
        chroma: the largest chroma.
        turn: the largest shift of the hue from end to end, in degrees.
    """

    darkest: float
    middle: float
    lightest: float
    chroma: float
    turn: float


def _vivid_shape(hue: float) -> RampShape:
    """Return the shape of a saturated ramp: yellows are bright and blues are darker, as the eye expects."""
    warmth = np.cos(np.radians(hue - 98.0))
    chroma = 0.178 - 0.012 * warmth
    return RampShape(0.4 + 0.03 * warmth, 0.68 + 0.085 * warmth, 0.93 + 0.035 * warmth, chroma, 26.0)


def _ramp(hue: float, shape: RampShape) -> npt.NDArray[np.float64]:
    """Return the OKLCH rows of one ramp, (TONES, 3), with violet shadows and yellow highlights."""
    step = np.linspace(0.0, 1.0, TONES)  # (TONES,)
    bow = shape.middle - 0.5 * (shape.darkest + shape.lightest)
    lightness = shape.darkest + (shape.lightest - shape.darkest) * step + 4 * bow * step * (1 - step)
    chroma = shape.chroma * (0.42 + 0.58 * np.sin(np.pi * (0.12 + 0.76 * step)))
    to_yellow = np.sin(np.radians(98.0 - hue))  # the sign gives the shorter direction to yellow
    return np.stack([lightness, chroma, hue + shape.turn * to_yellow * (step - 0.5)], axis=1)


def _ramps() -> npt.NDArray[np.float64]:
    """Return the OKLCH rows of all ramps in token order, (20 * TONES, 3)."""
    vivid = [_ramp(hue, _vivid_shape(hue)) for hue in VIVID_HUES.values()]
    muted = [_ramp(hue, RampShape(0.38, 0.63, 0.89, 0.07, 18.0)) for hue in MUTED_HUES.values()]
    grey = [_ramp(hue, RampShape(0.39, 0.69, WHITE_EDGE, 0.014, 0.0)) for hue in GREY_HUES.values()]
    return np.concatenate(vivid + muted + grey)


def _inks() -> npt.NDArray[np.float64]:
    """Return the OKLCH rows of the outline inks, (13 * INK_LEVELS, 3)."""
    levels = ((0.235, 0.032), (0.30, 0.05))  # lightness and chroma of an ink's two tones
    rows = [
        (lightness, 0.004 if hue is None else chroma, 0.0 if hue is None else hue)
        for hue in INK_HUES
        for lightness, chroma in levels
    ]
    return np.array(rows)


def _to_rgb(oklch: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    """Convert OKLCH rows (n, 3) to sRGB bytes (n, 3), clipped to the gamut."""
    lightness, chroma, hue = oklch.T
    a, b = chroma * np.cos(np.radians(hue)), chroma * np.sin(np.radians(hue))
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = np.stack(
        [
            4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
            -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
            -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
        ],
        axis=1,
    ).clip(0.0, 1.0)  # (n, 3)
    curve = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(255.0 * curve).astype(np.uint8)


PALETTE: npt.NDArray[np.uint8] = np.concatenate(
    [np.full((1, 3), 255, np.uint8), _to_rgb(_ramps()), _to_rgb(_inks())]
)
"""The 167 colours as RGB, (167, 3); row 0 is the white background."""

RAMP_TOKENS: npt.NDArray[np.uint8] = np.arange(1, 1 + len(RAMP_NAMES) * TONES, dtype=np.uint8).reshape(
    -1, TONES
)
"""The tokens of each ramp's tones, (20, TONES)."""

_INK_PAIRS: npt.NDArray[np.uint8] = np.arange(RAMP_TOKENS[-1, -1] + 1, len(PALETTE), dtype=np.uint8).reshape(
    -1, INK_LEVELS
)
NEUTRAL_INKS: npt.NDArray[np.uint8] = _INK_PAIRS[-1]
"""The tokens of the neutral outline inks, (INK_LEVELS,)."""


def _ink_of_ramp(name: str) -> npt.NDArray[np.uint8]:
    """Return the tokens of the outline inks for a ramp, (INK_LEVELS,): those of the nearest saturated hue."""
    if name in GREY_HUES:
        return NEUTRAL_INKS
    hue = {**VIVID_HUES, **MUTED_HUES}[name]
    distances = [abs((hue - vivid + 180.0) % 360.0 - 180.0) for vivid in VIVID_HUES.values()]
    return _INK_PAIRS[int(np.argmin(distances))]


INK_TOKENS: npt.NDArray[np.uint8] = np.stack([_ink_of_ramp(name) for name in RAMP_NAMES])
"""The tokens of each ramp's outline inks, (20, INK_LEVELS)."""
