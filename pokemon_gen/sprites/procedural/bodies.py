"""The list of body plans, the random choice of one, and the creature of a seed and an index."""

from typing import NamedTuple

import numpy as np

from pokemon_gen.sprites.procedural import beasts, oddities
from pokemon_gen.sprites.procedural.dice import Dice
from pokemon_gen.sprites.procedural.schemes import Scheme, choose_scheme
from pokemon_gen.sprites.procedural.sketch import Sketch, pose

PLANS = (
    beasts.ball,
    beasts.biped,
    beasts.biped,
    beasts.biped,
    beasts.quadruped,
    beasts.quadruped,
    beasts.quadruped,
    beasts.quadruped,
    beasts.bird,
    beasts.bird,
    beasts.dragon,
    beasts.dragon,
    beasts.serpent,
    beasts.serpent,
    oddities.fish,
    oddities.fish,
    oddities.insect,
    oddities.insect,
    oddities.bulb,
    oddities.mushroom,
    oddities.ghost,
    oddities.rock,
    oddities.tortoise,
    oddities.fairy,
)
"""The body plans. A plan that is listed twice is drawn twice as often."""


def draw_body(dice: Dice) -> Sketch:
    """Draw a creature of a random plan, in coordinates that are not yet fitted to the frame."""
    plan = dice.pick(PLANS)
    sketch = Sketch(plan=plan.__name__)
    plan(sketch, dice)
    return sketch


class Creature(NamedTuple):
    """A posed sketch, its colours, and the dice for the random choices that remain: light and texture."""

    sketch: Sketch
    scheme: Scheme
    dice: Dice


def create(seed: int, index: int, attempt: int = 0) -> Creature:
    """Return the creature of one sprite, before it becomes pixels. Each attempt gives a different one."""
    dice = Dice(np.random.default_rng([seed, index, attempt]))
    sketch = pose(draw_body(dice), dice)
    return Creature(sketch, choose_scheme(dice), dice)
