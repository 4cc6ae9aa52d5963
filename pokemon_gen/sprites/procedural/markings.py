"""Markings of the coat: bellies, spots, stripes, saddles and back plates.

A marking recolours the visible pixels of one part of the body and keeps their light, so that it never
crosses the outline.
"""

from pokemon_gen.sprites.procedural.dice import Dice
from pokemon_gen.sprites.procedural.shapes import Ellipse, chain, polygon
from pokemon_gen.sprites.procedural.sketch import Paint, Seam, Sketch, Tag


def belly(sketch: Sketch, dice: Dice) -> None:
    """Draw a lighter front, sometimes with bands across it."""
    body = sketch.torso
    x, y = body.x - 0.25 * body.rx, body.y + 0.3 * body.ry
    rx, ry = dice.between(0.5, 0.72) * body.rx, dice.between(0.6, 0.8) * body.ry
    sketch.mark(Ellipse(x, y, rx, ry), Paint.PALE, Tag.BODY)
    banded = dice.chance(0.35)
    if banded:
        for band in (-0.35, 0.15, 0.65):
            line = chain((x - rx, y + band * ry, 0.5), (x + rx, y + band * ry, 0.5))
            sketch.mark(line, Paint.PALE, Tag.BODY, -1.3)
    sketch.note("belly", "banded" if banded else "", 4 if banded else 1)


def spots(sketch: Sketch, dice: Dice) -> None:
    """Draw a few round spots on the back."""
    body = sketch.torso
    size = dice.between(0.16, 0.3) * min(body.rx, body.ry) + 0.3
    paint = dice.pick((Paint.ALT, Paint.SPARK, Paint.PALE, Paint.TRIM))
    for _ in range(dice.count(3, 6)):
        x = body.x + dice.between(-0.6, 0.9) * body.rx
        y = body.y + dice.between(-0.85, 0.5) * body.ry
        sketch.mark(Ellipse(x, y, size, size), paint, Tag.BODY)
        sketch.note("spot")


def stripes(sketch: Sketch, dice: Dice) -> None:
    """Draw stripes over the back that all lean the same way."""
    body = sketch.torso
    lean, width = dice.between(-0.4, 0.4) * body.ry, dice.between(0.45, 0.85)
    count = dice.count(2, 4)
    depth = dice.between(-0.1, 0.9) * body.ry
    for stripe in range(count):
        x = body.x + ((stripe + 0.7) / count * 1.8 - 0.9) * body.rx
        line = chain((x, body.y - body.ry, width), (x + lean, body.y + depth, 0.4))
        sketch.mark(line, Paint.ALT, Tag.BODY)
        sketch.note("stripe")


def saddle(sketch: Sketch, dice: Dice) -> None:
    """Draw a back of a different colour, sometimes with a patch on it."""
    body = sketch.torso
    patch = Ellipse(body.x + 0.25 * body.rx, body.y - 0.7 * body.ry, 0.95 * body.rx, 0.8 * body.ry, 0.2)
    sketch.mark(patch, Paint.ALT, Tag.BODY)
    sketch.note("saddle")
    if dice.chance(0.4):
        sketch.mark(Ellipse(patch.x, patch.y, 0.5 * patch.rx, 0.4 * patch.ry), Paint.SPARK, Tag.BODY)


def plates(sketch: Sketch, dice: Dice) -> None:
    """Draw spikes or plates on the back. Call this before the trunk is drawn."""
    body, count = sketch.torso, dice.count(3, 4)
    height, paint = dice.between(1.4, 2.6), dice.pick((Paint.SPARK, Paint.TRIM))
    for plate in range(count):
        share = plate / (count - 1)
        x = body.x + (-0.5 + 1.3 * share) * body.rx
        y = body.y - body.ry * (0.75 - 0.3 * share)
        spike = polygon((x - 1.3, y + 0.8), (x + 0.9, y - height), (x + 1.5, y + 0.8))
        sketch.add(spike, paint, Tag.CROWN, Seam.SOFT)
        sketch.note("plate")


def coat(sketch: Sketch, dice: Dice, front: bool = True) -> None:
    """Draw the markings of a trunk: often a pattern, and usually a belly if the front is visible."""
    pattern = dice.pick((None, spots, stripes, saddle))
    if pattern is not None:
        pattern(sketch, dice)
    if front and dice.chance(0.7):
        belly(sketch, dice)
