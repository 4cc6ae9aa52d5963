"""Colour schemes: the ramps of a creature, and how light or dark each is.

Colours are chosen per creature and not per part. A scheme starts with one hue and finds the rest by the
rules that painters use (neighbouring hues, opposite hues, a neutral next to a strong colour), so that a
sprite looks designed.
"""

from dataclasses import dataclass

from pokemon_gen.sprites.procedural.colours import GREY_HUES, MUTED_HUES, RAMP_IDS, VIVID_HUES
from pokemon_gen.sprites.procedural.dice import Dice

VIVID = tuple(VIVID_HUES)
MUTED = tuple(MUTED_HUES)
GREY = tuple(GREY_HUES)


@dataclass(frozen=True)
class Scheme:
    """The colours of one creature.

    Attributes:
        ramps: the ramp of each paint, in the order of `Paint`.
        keys: the tones by which each paint is lighter or darker, in the same order.
        iris: the ramp of the eyes.
    """

    ramps: tuple[int, ...]
    keys: tuple[float, ...]
    iris: int


def _turned(name: str, steps: int) -> str:
    """Return the saturated ramp `steps` further on the hue circle. Earthy and grey ramps count as orange."""
    start = VIVID.index(name) if name in VIVID else 1
    return VIVID[(start + steps) % len(VIVID)]


def _second(skin: str, dice: Dice) -> str:
    """Return a ramp that suits the ramp of the skin."""
    rule = dice.pick(("near", "near", "opposite", "earthy", "grey"))
    if rule == "near":
        return _turned(skin, dice.pick((-2, -1, 1, 2)))
    if rule == "opposite":
        return _turned(skin, dice.pick((5, 6, 7)))
    return dice.pick(MUTED if rule == "earthy" else GREY)


def choose_scheme(dice: Dice) -> Scheme:
    """Return a random scheme for one creature."""
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
