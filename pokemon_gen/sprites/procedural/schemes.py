"""Colour schemes: which ramps a creature wears, and how light or dark it wears them.

Colours are chosen per creature and not per part. A scheme starts at one hue and reaches the
others by the rules painters use (neighbours, opposites, a neutral beside a strong colour), so
that a sprite looks designed.
"""

from dataclasses import dataclass

from pokemon_gen.sprites.procedural.colours import GREY_HUES, MUTED_HUES, RAMP_IDS, VIVID_HUES
from pokemon_gen.sprites.procedural.dice import Dice

VIVID = tuple(VIVID_HUES)
MUTED = tuple(MUTED_HUES)
GREY = tuple(GREY_HUES)


@dataclass(frozen=True)
class Scheme:
    """Ramp and key (tones up or down) of each paint in `Paint` order, and the ramp of the eyes."""

    ramps: tuple[int, ...]
    keys: tuple[float, ...]
    iris: int


def _turned(name: str, steps: int) -> str:
    """Return the saturated ramp some steps round the hue circle; earthy ramps count as orange."""
    start = VIVID.index(name) if name in VIVID else 1
    return VIVID[(start + steps) % len(VIVID)]


def _second(skin: str, dice: Dice) -> str:
    """Return the ramp that goes with the skin."""
    rule = dice.pick(("near", "near", "opposite", "earthy", "grey"))
    if rule == "near":
        return _turned(skin, dice.pick((-2, -1, 1, 2)))
    if rule == "opposite":
        return _turned(skin, dice.pick((5, 6, 7)))
    return dice.pick(MUTED if rule == "earthy" else GREY)


def choose_scheme(dice: Dice) -> Scheme:
    """Return a scheme for one creature."""
    skin = dice.pick(dice.pick((VIVID, VIVID, VIVID, VIVID, MUTED, GREY)))
    second = _second(skin, dice)
    pale = dice.pick(("bone", "bone", "tan", "amber", "yellow", "ash", skin, _turned(skin, 1)))
    trim = dice.pick(("bone", "yellow", "red", "pink", "ash", _turned(skin, 6), _turned(second, 5)))
    spark = dice.pick(("red", "pink", "amber", "sky", "lime", "purple", _turned(skin, 4)))
    ramps = tuple(RAMP_IDS[name] for name in (skin, second, pale, trim, spark))
    dark = dice.chance(0.2)
    skin_key = dice.between(-1.5, -0.7) if dark else dice.between(-0.5, 0.9)
    second_key = dice.between(-1.2, 0.2) if skin_key > 0 else dice.between(-0.2, 0.9)
    keys = (skin_key, second_key, dice.between(0.8, 1.5), dice.between(-0.2, 0.6), 0.3)
    iris = dice.pick(("red", "amber", "green", "sky", "pink", _turned(skin, 6)))
    return Scheme(ramps, keys, RAMP_IDS[iris])
