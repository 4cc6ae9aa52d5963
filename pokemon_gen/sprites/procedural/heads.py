"""Heads: skull, ears, horns, crests, snout, eyes and mouth.

A head is in three-quarter view and faces left, unless it is frontal. Its ears are drawn before the skull,
its face after it. In every function, `r` is the radius of the skull in pixels.
"""

from pokemon_gen.sprites.procedural.dice import Dice
from pokemon_gen.sprites.procedural.shapes import Ellipse, chain, polygon
from pokemon_gen.sprites.procedural.sketch import Paint, Seam, Sketch, Tag

SMALL_EYES = (
    (("w", "p"), ("w", "p")),
    (("p", "p"), ("p", "p")),
    (("wp", "pp"), ("w", "p")),
    (("pw", "pp"), ("w", "p")),
    (("pp", "pw"), ("p", "w")),
)
"""Pairs of glyphs: the near eye, and the far eye of a head that faces left."""

LARGE_EYES = (
    (("wp", "pp"), ("w", "p")),
    (("pw", "pp"), ("w", "p")),
    (("pw", "pp", "pi"), ("w", "p", "i")),
    (("pp", "wi", "ww"), ("p", "i", "w")),
    (("kk.", "piw"), ("k", "p")),
    (("ww", "pw", "ww"), ("w", "p", "w")),
    (("kkk", "wpw"), ("k", "p")),
    (("wp", "ip"), ("p", "p")),
)
"""Pairs of glyphs for larger heads."""

LARGE_HEAD = 3.5
"""The smallest radius of a head with large eyes, in pixels."""

MOUTHS = (("kk",), ("kck", ".k."), ("k.", ".k"), ("kkk",), ("kwk",), ("ss",), ("kk.", "cck"))
"""Glyphs of mouths."""


def face(sketch: Sketch, dice: Dice, x: float, y: float, r: float, frontal: bool = False) -> None:
    """Draw eyes and mouth on a head, or on a body that has no separate head."""
    near, far = dice.pick(SMALL_EYES if r < LARGE_HEAD else LARGE_EYES)
    height = y + dice.between(-0.12, 0.12) * r
    if frontal:
        apart = dice.between(0.42, 0.55) * r
        sketch.gaze = "viewer"
        sketch.glyph(x + apart, height, *near, thing="eye")
        sketch.glyph(x - apart, height, *(row[::-1] for row in near), thing="eye")
    else:
        sketch.glyph(x - dice.between(0.0, 0.15) * r, height, *near, thing="eye")
        sketch.glyph(x - dice.between(0.74, 0.84) * r, height, *far, thing="eye")
    middle = x if frontal else x - 0.5 * r
    if dice.chance(0.65):
        sketch.glyph(middle, y + 0.6 * r, *dice.pick(MOUTHS))
    if dice.chance(0.12):
        sketch.glyph(x + 0.45 * r, y + 0.45 * r, "cc", thing="blush")
    if dice.chance(0.12):
        sketch.glyph(middle, y - 0.6 * r, *dice.pick((("i",), ("ww", "ii"))), thing="gem")


def ears(sketch: Sketch, dice: Dice, x: float, y: float, r: float) -> None:
    """Draw ears, horns, a crest or antlers for a head that is drawn afterwards."""
    kinds = (
        _pointed_ears,
        _pointed_ears,
        _round_ears,
        _long_ears,
        _drooping_ears,
        _horns,
        _crest,
        _antlers,
    )
    dice.pick(kinds)(sketch, dice, x, y, r)


def _pointed_ears(sketch: Sketch, dice: Dice, x: float, y: float, r: float) -> None:
    """Draw two triangles with an inner ear; the near one is larger."""
    height, tip = dice.between(1.2, 1.9) * r, dice.pick((Paint.SKIN, Paint.ALT))
    for side, size in ((-0.55, 0.85), (0.6, 1.0)):
        base, top = x + side * r, y - height * size
        lean = base + dice.between(-0.1, 0.35) * r
        ear = (
            (base - 0.45 * r, y - 0.5 * r),
            (lean, top - 0.3 * r),
            (base + 0.45 * r, y - 0.2 * r),
        )
        sketch.add(polygon(*ear), tip, Tag.CROWN)
        sketch.add(
            chain((base, y - 0.5 * r, 0.25 * r), (lean, top + 0.3 * r, 0.3)),
            Paint.SPARK if tip is Paint.SKIN else Paint.PALE,
            Tag.CROWN,
            Seam.NONE,
            -0.6,
        )
        sketch.note("ear", "pointed", 2)


def _round_ears(sketch: Sketch, dice: Dice, x: float, y: float, r: float) -> None:
    """Draw two discs, each with an inner disc."""
    size, paint = dice.between(0.42, 0.62) * r, dice.pick((Paint.SKIN, Paint.SKIN, Paint.ALT))
    for side in (-0.7, 0.85):
        cx, cy = x + side * r, y - 0.75 * r
        sketch.add(Ellipse(cx, cy, size, size), paint, Tag.CROWN)
        sketch.add(Ellipse(cx, cy, 0.5 * size, 0.5 * size), Paint.SPARK, Tag.CROWN, Seam.NONE, -1.0)
        sketch.note("ear", "round", 2)


def _long_ears(sketch: Sketch, dice: Dice, x: float, y: float, r: float) -> None:
    """Draw two tall ears that sweep back, often with coloured tips."""
    rise, sweep, tip = dice.between(1.7, 2.4), dice.between(0.2, 1.2), dice.chance(0.5)
    for side in (-0.35, 0.45):
        base, top = x + side * r, (x + (side * 1.6 + sweep) * r, y - rise * r)
        bend = (base + 0.3 * side * r, y - 1.2 * r)
        sketch.add(
            chain((base, y - 0.6 * r, 0.3 * r), (*bend, 0.34 * r), (*top, 0.2 * r)),
            Paint.SKIN,
            Tag.CROWN,
        )
        if tip:
            sketch.add(Ellipse(*top, 0.4 * r, 0.4 * r), Paint.ALT, Tag.CROWN, Seam.NONE)
        sketch.note("ear", "long", 2 if tip else 1)


def _drooping_ears(sketch: Sketch, dice: Dice, x: float, y: float, r: float) -> None:
    """Draw two ears that hang down at the sides of the head."""
    drop, paint = dice.between(0.3, 1.0), dice.pick((Paint.ALT, Paint.SKIN))
    for side in (-0.9, 0.95):
        sketch.add(
            chain(
                (x + 0.6 * side * r, y - 0.8 * r, 0.3 * r),
                (x + 1.25 * side * r, y - 0.5 * r, 0.34 * r),
                (x + 1.35 * side * r, y + drop * r, 0.32 * r),
            ),
            paint,
            Tag.CROWN,
        )
        sketch.note("ear", "drooping")


def _horns(sketch: Sketch, dice: Dice, x: float, y: float, r: float) -> None:
    """Draw one horn on the forehead or two on the temples."""
    length, bend = dice.between(0.9, 1.6) * r, dice.between(-0.5, 0.9) * r
    kind = "long" if length > 1.35 * r else "short" if length < 1.15 * r else ""
    for side in dice.pick(((-0.35,), (-0.6, 0.6), (-0.5, 0.7))):
        base = x + side * r
        sketch.add(
            chain(
                (base, y - 0.6 * r, 0.34 * r),
                (base + (0.5 * side) * r, y - 0.7 * r - 0.5 * length, 0.24 * r),
                (base + bend, y - 0.7 * r - length, 0.1 * r),
            ),
            Paint.TRIM,
            Tag.CROWN,
        )
        sketch.note("horn", kind)


def _crest(sketch: Sketch, dice: Dice, x: float, y: float, r: float) -> None:
    """Draw a row of spikes from the forehead to the back of the head."""
    spikes, length = dice.count(3, 5), dice.between(0.7, 1.3)
    for spike in range(spikes):
        turn = spike / (spikes - 1)
        root = (x + (-0.3 + 0.9 * turn) * r, y + (-0.8 + 0.6 * turn) * r)
        reach = length * r * (1.0 if spike % 2 == 0 else 0.75)
        tip = (root[0] + (0.1 + 0.9 * turn) * reach, root[1] - (1.0 - 0.6 * turn) * reach)
        sketch.add(chain((*root, 0.38 * r), (*tip, 0.12 * r)), Paint.ALT, Tag.CROWN, Seam.SOFT)
    sketch.note("crest", parts=spikes)


def _antlers(sketch: Sketch, dice: Dice, x: float, y: float, r: float) -> None:
    """Draw two antlers or antennae that end in knobs."""
    rise, knob = dice.between(1.3, 1.9), dice.between(0.2, 0.34) * r
    for side in (-0.4, 0.5):
        tip = (x + 1.9 * side * r, y - rise * r)
        bend = (x + 1.1 * side * r, y - 1.1 * r)
        sketch.add(
            chain((x + side * r, y - 0.6 * r, 0.2 * r), (*bend, 0.16 * r), (*tip, 0.12 * r)),
            Paint.ALT,
            Tag.CROWN,
        )
        sketch.add(Ellipse(*tip, knob, knob), Paint.SPARK, Tag.CROWN)
        sketch.note("antenna", parts=2)


def _snout(sketch: Sketch, dice: Dice, x: float, y: float, r: float) -> None:
    """Draw a muzzle that points left, with a nose."""
    paint, reach = dice.pick((Paint.SKIN, Paint.PALE)), dice.between(0.65, 1.0)
    sketch.add(Ellipse(x - reach * r, y + 0.4 * r, 0.52 * r, 0.42 * r), paint, Tag.HEAD, Seam.NONE, 0.2)
    sketch.note("snout")
    sketch.glyph(x - (reach + 0.35) * r, y + 0.2 * r, dice.pick(("k", "kk", "s")))


def _beak(sketch: Sketch, dice: Dice, x: float, y: float, r: float) -> None:
    """Draw a beak that points left."""
    reach, hook = dice.between(1.4, 1.9), dice.between(0.1, 0.7)
    sketch.add(
        polygon((x - 0.55 * r, y - 0.3 * r), (x - reach * r, y + hook * r), (x - 0.4 * r, y + 0.65 * r)),
        Paint.TRIM,
        Tag.CROWN,
        Seam.HARD,
        0.3,
    )
    sketch.note("beak")


def _mask(sketch: Sketch, dice: Dice, x: float, y: float, r: float) -> None:
    """Draw a marking of the face: the lower face, a band over the eyes, a cap or a blaze."""
    kind = dice.pick(("jaw", "jaw", "band", "cap", "blaze"))
    if kind == "jaw":
        sketch.mark(Ellipse(x - 0.4 * r, y + 0.75 * r, 0.95 * r, 0.6 * r), Paint.PALE, Tag.HEAD)
    elif kind == "band":
        sketch.mark(Ellipse(x - 0.3 * r, y, 1.1 * r, 0.36 * r), Paint.ALT, Tag.HEAD)
    elif kind == "cap":
        sketch.mark(Ellipse(x + 0.1 * r, y - 0.85 * r, 1.1 * r, 0.6 * r), Paint.ALT, Tag.HEAD)
    else:
        sketch.mark(chain((x - 0.35 * r, y - r, 0.2 * r), (x - 0.5 * r, y, 0.3 * r)), Paint.PALE, Tag.HEAD)
    sketch.note("mask", kind)


def head(
    sketch: Sketch,
    dice: Dice,
    x: float,
    y: float,
    r: float,
    muzzle: str = "",
    frontal: bool = False,
) -> None:
    """Draw a head with ears and face; `muzzle` is "snout", "beak" or empty."""
    seam = dice.pick((Seam.SOFT, Seam.SOFT, Seam.HARD))
    if dice.chance(0.9):
        ears(sketch, dice, x, y, r)
    broad = dice.between(0.95, 1.15)
    sketch.add(Ellipse(x, y, broad * r, r), Paint.SKIN, Tag.HEAD, seam)
    if muzzle == "snout":
        _snout(sketch, dice, x, y, r)
    if dice.chance(0.6):
        _mask(sketch, dice, x, y, r)
    if muzzle == "beak":
        _beak(sketch, dice, x, y, r)
    face(sketch, dice, x, y, r, frontal)
