"""Body plans of animals: balls, bipeds, quadrupeds, birds, dragons and serpents.

Every plan fills an empty sketch from back to front with a creature that faces left.
"""

from pokemon_gen.sprites.procedural.dice import Dice
from pokemon_gen.sprites.procedural.heads import ears, face, head
from pokemon_gen.sprites.procedural.limbs import FAR, arm, feathers, folded_wing, leg, membrane, tail
from pokemon_gen.sprites.procedural.markings import coat, plates
from pokemon_gen.sprites.procedural.shapes import Ellipse, chain
from pokemon_gen.sprites.procedural.sketch import Paint, Seam, Sketch, Tag

SOCKS = (Paint.SKIN, Paint.TRIM, Paint.ALT, Paint.PALE)
"""The possible paints of feet and hands."""


def ball(sketch: Sketch, dice: Dice) -> None:
    """Draw a creature that is all head, with stubs for hands and feet."""
    rx, ry, frontal = dice.between(6.0, 7.5), dice.between(5.6, 6.8), dice.chance(0.3)
    if dice.chance(0.75):
        tail(sketch, dice, 14.0, 12.5, dice.between(4.0, 6.5))
    ears(sketch, dice, 9.0, 9.0, 5.2)
    feet = dice.pick(SOCKS)
    for x in (6.0, 12.5):
        sketch.add(Ellipse(x, 10.2 + ry, 2.3, 1.4), feet, Tag.LIMB)
        sketch.note("foot")
    sketch.add_torso(Ellipse(9.5, 10.0, rx, ry))
    coat(sketch, dice)
    if dice.chance(0.7):
        hand = dice.pick(SOCKS)
        for x in (9.0 - 0.75 * rx, 10.5 + 0.7 * rx):
            sketch.add(Ellipse(x, 12.0, 1.7, 1.4), hand, Tag.LIMB)
            sketch.note("paw")
    face(sketch, dice, 9.0, 8.8, 5.4, frontal)


def biped(sketch: Sketch, dice: Dice) -> None:
    """Draw a creature that stands upright on two legs, with a large head."""
    wide, sock, skull = dice.between(2.8, 4.2), dice.pick(SOCKS), dice.between(3.2, 4.6)
    if dice.chance(0.75):
        tail(sketch, dice, 12.0, 14.5, dice.between(4.5, 7.0))
    arm(sketch, dice, 10.0 + 0.7 * wide, 10.3, dice.between(1.5, 3.5), 1.15, FAR)
    leg(sketch, (12.0, 14.0), (12.6 + 0.2 * wide, 18.5), 1.7, sock, FAR)
    sketch.add_torso(Ellipse(10.0, 12.4, wide, 4.0))
    coat(sketch, dice)
    leg(sketch, (8.6, 14.5), (8.2 - 0.3 * wide, 19.0), 1.8, sock)
    arm(sketch, dice, 9.6 - 0.7 * wide, 10.6, -dice.between(1.5, 3.5), 1.2)
    muzzle = dice.pick(("", "", "snout", "beak"))
    head(sketch, dice, 8.8, 9.6 - skull, skull, muzzle, dice.chance(0.2))


def quadruped(sketch: Sketch, dice: Dice) -> None:
    """Draw a creature on four legs that holds its head high."""
    long, deep, skull = dice.between(4.4, 6.0), dice.between(2.7, 3.7), dice.between(2.9, 4.0)
    sock, r, ground = dice.pick(SOCKS), dice.between(1.15, 1.75), dice.between(16.5, 18.5)
    sketch.torso = Ellipse(11.0, 11.3, long, deep)
    tail(sketch, dice, 10.2 + long, 10.5, dice.between(4.5, 7.5))
    leg(sketch, (9.0, 12.5), (8.6, ground - 0.7), r, sock, FAR)
    leg(sketch, (10.4 + 0.5 * long, 12.5), (10.8 + 0.5 * long, ground - 0.7), r, sock, FAR)
    if dice.chance(0.3):
        plates(sketch, dice)
    sketch.add_torso(sketch.torso)
    coat(sketch, dice, front=False)
    leg(sketch, (7.6, 12.5), (6.6, ground), r * 1.1, sock)
    leg(sketch, (10.8 + 0.7 * long, 11.8), (11.8 + 0.75 * long, ground), r * 1.25, sock)
    x, y = dice.between(4.6, 6.2), dice.between(5.6, 7.6)
    sketch.add(chain((8.6, 10.6, 2.6), (x + 0.5, y + 1.0, 2.0)), Paint.SKIN, Tag.BODY, Seam.SOFT)
    if dice.chance(0.35):
        _mane(sketch, dice, x, y, skull)
    head(sketch, dice, x, y, skull, dice.pick(("snout", "snout", "")))


def _mane(sketch: Sketch, dice: Dice, x: float, y: float, r: float) -> None:
    """Draw a collar of fur behind and below the head."""
    paint = dice.pick((Paint.ALT, Paint.PALE))
    for dx, dy, size in ((1.1, -0.2, 0.8), (1.0, 0.6, 0.85), (0.3, 1.1, 0.85)):
        sketch.add(Ellipse(x + dx * r, y + dy * r, size * r, size * r), paint, Tag.CROWN, Seam.SOFT)
    sketch.note("collar", parts=3)


def bird(sketch: Sketch, dice: Dice) -> None:
    """Draw a bird, perched or with its wings raised."""
    rx, ry, skull = dice.between(4.0, 5.2), dice.between(3.8, 5.0), dice.between(2.7, 3.6)
    raised = dice.chance(0.5)
    if raised:
        feathers(sketch, dice, 8.5, 9.0, dice.between(7.0, 9.0), FAR)
    for spread in (-0.5, 0.6, 1.6):
        end = (12.0 + rx, 12.0 + 1.5 * spread)
        sketch.add(chain((11.5, 12.0, 1.5), (*end, 0.9)), Paint.ALT, Tag.TAIL, Seam.SOFT)
    sketch.note("tail", "feathered", 3)
    for x in (9.2, 11.8):
        shin = chain((x, 13.0, 0.9), (x, 10.8 + ry + 1.6, 0.5), (x - 1.6, 10.8 + ry + 2.0, 0.55))
        sketch.add(shin, Paint.TRIM, Tag.LIMB, Seam.SOFT)
        sketch.note("leg")
    sketch.add_torso(Ellipse(10.0, 11.0, rx, ry, 0.35))
    coat(sketch, dice)
    x, y = dice.between(5.8, 7.0), dice.between(5.2, 6.6)
    sketch.add(chain((8.4, 9.6, 2.6), (x + 0.3, y + 0.5, 2.0)), Paint.SKIN, Tag.BODY, Seam.NONE)
    head(sketch, dice, x, y, skull, "beak")
    if raised:
        feathers(sketch, dice, 11.5, 9.5, dice.between(7.0, 9.5))
    else:
        folded_wing(sketch, dice, 11.2, 10.6, dice.between(5.0, 6.6))


def dragon(sketch: Sketch, dice: Dice) -> None:
    """Draw an upright winged creature with a neck, a belly and a long tail."""
    wing, size = dice.pick((membrane, membrane, feathers)), dice.between(7.5, 10.0)
    wing(sketch, dice, 8.5, 9.5, 0.85 * size, FAR)
    end = (19.0, dice.between(13.0, 18.0))
    sketch.add(chain((11.5, 14.5, 2.3), (15.5, 17.0, 1.5), (*end, 0.5)), Paint.SKIN, Tag.TAIL, Seam.SOFT)
    sketch.note("tail", "long")
    wing(sketch, dice, 12.0, 10.0, size)
    leg(sketch, (12.0, 14.5), (13.0, 18.7), 1.7, Paint.SKIN, FAR)
    sketch.add_torso(Ellipse(10.3, 12.5, dice.between(3.0, 4.0), 4.0, 0.2))
    neck = chain((9.4, 10.5, 2.4), (7.2, 6.5, 1.7))
    sketch.add(neck, Paint.SKIN, Tag.BODY, Seam.NONE)
    coat(sketch, dice)
    leg(sketch, (9.6, 15.0), (8.6, 19.0), 1.9, dice.pick(SOCKS))
    arm(sketch, dice, 7.8, 11.0, -dice.between(1.5, 3.0), 0.9)
    head(sketch, dice, 6.2, 4.8, dice.between(2.7, 3.5), dice.pick(("snout", "snout", "")))


def serpent(sketch: Sketch, dice: Dice) -> None:
    """Draw a snake that rises from its coils."""
    thick, x = dice.between(1.7, 2.5), dice.between(5.5, 7.5)
    tip = (18.5, dice.between(8.5, 12.5))
    sketch.add(chain((11.0, 16.0, thick), (16.5, 15.0, 1.4), (*tip, 0.5)), Paint.SKIN, Tag.TAIL, Seam.SOFT)
    sketch.note("tail", "thin")
    sketch.add(Ellipse(10.5, 13.5, 5.0, 2.2), Paint.SKIN, Tag.TAIL)
    sketch.add_torso(Ellipse(9.8, 16.0, 6.2, 2.5), seam=Seam.HARD)
    coat(sketch, dice, front=False)
    neck = chain((10.5, 14.5, thick), (11.5, 11.0, thick), (x + 1.0, 6.5, 0.9 * thick))
    sketch.add(neck, Paint.SKIN, Tag.LIMB)
    throat = chain((9.4, 14.8, 0.8), (10.2, 11.0, 0.9), (x + 0.2, 7.0, 0.8))
    sketch.mark(throat, Paint.PALE, Tag.LIMB)
    sketch.note("throat")
    if dice.chance(0.4):
        hood = Ellipse(x + 1.2, 7.2, dice.between(3.6, 4.6), 3.4)
        sketch.add(hood, Paint.ALT, Tag.CROWN)
        sketch.note("hood")
    head(sketch, dice, x, 5.4, dice.between(2.8, 3.7), dice.pick(("", "snout")))
