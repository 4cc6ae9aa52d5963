"""Limbs: legs, arms, tails, wings and fins.

All limbs are drawn for a creature that faces left. A limb on the far side is drawn before the trunk and
darker, with `lift=FAR`; a limb on the near side is drawn after the trunk.
"""

from math import cos, sin

from pokemon_gen.sprites.procedural.dice import Dice
from pokemon_gen.sprites.procedural.shapes import Ellipse, chain, polygon
from pokemon_gen.sprites.procedural.sketch import Paint, Seam, Sketch, Tag

FAR = -1.1
"""The lift, in tones, of a limb on the far side."""


def leg(
    sketch: Sketch,
    top: tuple[float, float],
    foot: tuple[float, float],
    r: float,
    sock: Paint,
    lift: float = 0.0,
) -> None:
    """Draw a leg from hip to sole, with a foot that points left. A `sock` of TRIM gives the foot a claw."""
    knee = (0.5 * (top[0] + foot[0]) + 0.3 * r, 0.5 * (top[1] + foot[1]))
    sketch.add(
        chain((*top, r), (*knee, 0.85 * r), (foot[0], foot[1] - 0.5 * r, 0.72 * r)),
        Paint.SKIN,
        Tag.LIMB,
        Seam.SOFT,
        lift,
    )
    sketch.add(
        Ellipse(foot[0] - 0.3 * r, foot[1] - 0.3 * r, 1.05 * r, 0.62 * r),
        Paint.SKIN if sock is Paint.TRIM else sock,
        Tag.LIMB,
        Seam.SOFT,
        lift,
    )
    sketch.note("foot")
    if sock is Paint.TRIM:
        sketch.glyph(foot[0] - 1.1 * r, foot[1] - 0.2 * r, "w", thing="claw")


def arm(sketch: Sketch, dice: Dice, x: float, y: float, reach: float, r: float, lift: float = 0.0) -> None:
    """Draw an arm that reaches sideways from the shoulder (x, y) and often ends in a paw."""
    drop = dice.between(-1.5, 3.0)
    hand = (x + reach, y + drop)
    elbow = (x + 0.6 * reach, y + 0.5 * drop + 1.0)
    sketch.add(chain((x, y, r), (*elbow, 0.85 * r), (*hand, 0.75 * r)), Paint.SKIN, Tag.LIMB, lift=lift)
    if dice.chance(0.6):
        paw = dice.pick((Paint.ALT, Paint.SPARK, Paint.PALE))
        sketch.add(Ellipse(*hand, 1.1 * r, 1.1 * r), paw, Tag.LIMB, Seam.SOFT, lift)
        sketch.note("paw")


def tail(sketch: Sketch, dice: Dice, x: float, y: float, size: float) -> None:
    """Draw a tail from (x, y) to the right, `size` pixels long."""
    kind = dice.pick(("bushy", "whip", "flame", "leaf", "thick", "stub", "zigzag"))
    rise = dice.between(0.5, 1.1) * size
    tip = (x + 0.8 * size, y - rise)
    if kind == "bushy":
        fur = Ellipse(x + 0.55 * size, y - 0.5 * rise, 0.62 * size, 0.36 * size, -0.9)
        sketch.add(chain((x, y, 0.9), (fur.x, fur.y, 0.9)), Paint.SKIN, Tag.TAIL)
        sketch.add(fur, dice.pick((Paint.SKIN, Paint.ALT)), Tag.TAIL, Seam.SOFT)
        sketch.mark(Ellipse(*tip, 0.4 * size, 0.42 * size), Paint.PALE, Tag.TAIL)
        sketch.note("tail", kind, 3)
    elif kind in ("whip", "flame", "leaf"):
        bend = (x + 0.75 * size, y + 0.1 * size)
        sketch.add(chain((x, y, 1.2), (*bend, 0.9), (*tip, 0.6)), Paint.SKIN, Tag.TAIL)
        sketch.note("tail", "thin")
        _tail_end(sketch, kind, tip, 0.3 * size)
    elif kind == "thick":
        end = (x + size, y + dice.between(-0.3, 0.25) * size)
        sketch.add(chain((x - 1.0, y, 2.1), (*end, 0.5)), Paint.SKIN, Tag.TAIL, Seam.SOFT)
        sketch.note("tail", kind)
    elif kind == "stub":
        puff = Ellipse(x + 0.25 * size, y - 0.2 * size, 0.3 * size, 0.3 * size)
        sketch.add(puff, dice.pick((Paint.PALE, Paint.ALT)), Tag.TAIL)
        sketch.note("tail", kind)
    else:
        zig = (
            (x, y, 0.8),
            (x + 0.5 * size, y - 0.1 * size, 0.9),
            (x + 0.35 * size, y - 0.55 * size, 1.0),
        )
        sketch.add(chain(*zig, (x + 0.9 * size, y - 0.9 * size, 1.4)), Paint.ALT, Tag.TAIL)
        sketch.note("tail", kind)


def _tail_end(sketch: Sketch, kind: str, tip: tuple[float, float], r: float) -> None:
    """Draw a flame, leaf or tuft at the tip of a tail."""
    x, y = tip
    if kind == "flame":
        sketch.add(chain((x, y, r), (x + 0.3 * r, y - 2.4 * r, 0.3)), Paint.TRIM, Tag.TAIL)
        sketch.add(chain((x - 0.7 * r, y, 0.5 * r), (x - r, y - 1.4 * r, 0.3)), Paint.TRIM, Tag.TAIL)
        sketch.mark(Ellipse(x, y, 0.5 * r, 0.8 * r), Paint.SPARK, Tag.TAIL, 1.0)
        sketch.note("tail end", kind, 3)
    elif kind == "leaf":
        for side in (-1.0, 1.0):
            lobe = Ellipse(x + 0.8 * side * r, y - 0.5 * r, 1.1 * r, 0.6 * r, 0.6 * side)
            sketch.add(lobe, Paint.ALT, Tag.TAIL, Seam.SOFT)
        sketch.note("tail end", kind, 2)
    else:
        sketch.add(Ellipse(x, y, 0.8 * r, 0.8 * r), Paint.SPARK, Tag.TAIL)
        sketch.note("tail end", "ball")


def feathers(sketch: Sketch, dice: Dice, x: float, y: float, size: float, lift: float = 0.0) -> None:
    """Draw a raised wing whose feathers fan out from the shoulder (x, y) to the upper right."""
    count, paint = dice.count(3, 4), dice.pick((Paint.SKIN, Paint.ALT, Paint.ALT, Paint.PALE))
    start, fan = dice.between(-1.7, -1.1), dice.between(0.9, 1.5)
    for feather in reversed(range(count)):
        share = feather / (count - 1)
        dx, dy = _heading(start + fan * share, size * (1.0 - 0.25 * share))
        sketch.add(
            chain((x, y, 1.6), (x + 0.6 * dx, y + 0.6 * dy, 1.5), (x + dx, y + dy, 0.7)),
            paint,
            Tag.WING,
            Seam.SOFT,
            lift,
        )
    sketch.mark(Ellipse(x, y, 0.36 * size, 0.34 * size), Paint.SKIN, Tag.WING)
    sketch.note("wing", "feathered", count + 1)


def membrane(sketch: Sketch, dice: Dice, x: float, y: float, size: float, lift: float = 0.0) -> None:
    """Draw a raised bat-like wing at the shoulder (x, y), with skin stretched between three fingers."""
    start = dice.between(-1.9, -1.3)
    tips = [_heading(start + 0.62 * finger, size * (1.05 - 0.14 * finger)) for finger in range(3)]
    webs = [_heading(start + 0.31 + 0.62 * finger, 0.68 * size) for finger in range(2)]
    ring = (tips[0], webs[0], tips[1], webs[1], tips[2])
    skin = polygon((x, y), *((x + dx, y + dy) for dx, dy in ring))
    sketch.add(skin, dice.pick((Paint.ALT, Paint.PALE, Paint.SPARK)), Tag.WING, lift=lift)
    for dx, dy in tips[:2]:
        bone = chain((x, y, 0.9), (x + dx, y + dy, 0.5))
        sketch.add(bone, Paint.SKIN, Tag.WING, Seam.NONE, lift)
    sketch.note("wing", "bat-like", 3)


def _heading(angle: float, length: float) -> tuple[float, float]:
    """Return the step (dx, dy) of a given length and angle in radians; 0 points right, negative points up."""
    return length * cos(angle), length * sin(angle)


def folded_wing(sketch: Sketch, dice: Dice, x: float, y: float, size: float) -> None:
    """Draw a wing folded along the flank, with its tips to the lower right."""
    paint = dice.pick((Paint.ALT, Paint.ALT, Paint.SKIN))
    sketch.add(Ellipse(x, y, 0.62 * size, 0.42 * size, 0.5), paint, Tag.WING)
    rows = dice.count(2, 3)
    for row in range(rows):
        root = (x + 0.1 * size, y + (0.22 * row - 0.1) * size)
        end = (x + (0.95 - 0.2 * row) * size, y + (0.42 + 0.16 * row) * size)
        sketch.add(chain((*root, 1.0), (*end, 0.6)), paint, Tag.WING, Seam.SOFT)
    sketch.note("wing", "folded", rows + 1)


def fin(sketch: Sketch, dice: Dice, x: float, y: float, dx: float, dy: float) -> None:
    """Draw a fin with a lighter ray that starts at (x, y) and points along (dx, dy)."""
    half = dice.between(0.35, 0.55)
    corners = (
        (x - half * dy, y + half * dx),
        (x + dx, y + dy),
        (x + half * dy, y - half * dx),
    )
    sketch.add(polygon(*corners), Paint.ALT, Tag.WING)
    ray = chain((x, y, 0.5), (x + 0.7 * dx, y + 0.7 * dy, 0.4))
    sketch.add(ray, Paint.TRIM, Tag.WING, Seam.NONE)
    sketch.note("fin", parts=2)
