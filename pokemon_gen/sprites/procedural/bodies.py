"""The list of body plans, and the random choice of one."""

from pokemon_gen.sprites.procedural import beasts, oddities
from pokemon_gen.sprites.procedural.dice import Dice
from pokemon_gen.sprites.procedural.sketch import Sketch

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
    sketch = Sketch()
    dice.pick(PLANS)(sketch, dice)
    return sketch
