"""A creature as a sketch: its parts from back to front, before they become pixels.

Bodies and features add shapes to a `Sketch` in approximate coordinates of about 20 by 20, and `pose` then
places the creature on the frame. Faces are drawn with glyphs instead, which are small patterns of pixels
that are not scaled, because an eye 1.3 pixels wide would not be recognisable.

A sketch also records what its parts show, such as an ear or a bushy tail, for the captions. These notes draw
no random numbers, so they change no pixel.
"""

from dataclasses import dataclass, field, replace
from enum import IntEnum

from pokemon_gen.sprites.procedural.dice import Dice
from pokemon_gen.sprites.procedural.shapes import SIZE, Box, Ellipse, Fit, Shape

EDGE = SIZE - 1
"""Coordinate of the last pixel's centre."""

SPANS = (0.7, 0.82, 0.92, 0.97, 1.0, 1.0, 1.03, 1.05, 1.1, 1.2)
"""Ratios of a creature's longer side to the frame's side. The frame cuts off creatures with the last few."""

LIFT = 0.45
"""Pixels by which a creature is above the middle, which leaves space for the outline below it."""


class Paint(IntEnum):
    """The paint of a part. A scheme gives each paint a ramp.

    Most of a creature is SKIN and ALT. PALE is its belly, TRIM its horns and claws, and SPARK its accents:
    spots, ear linings and flames.
    """

    SKIN = 0
    ALT = 1
    PALE = 2
    TRIM = 3
    SPARK = 4


class Tag(IntEnum):
    """The part of the body that a pixel belongs to, so that markings stay on it."""

    BODY = 1
    HEAD = 2
    LIMB = 3
    TAIL = 4
    WING = 5
    CROWN = 6


class Seam(IntEnum):
    """How a part is set off from the parts behind it: not at all, by a shadow, or by an ink line."""

    NONE = 0
    SOFT = 1
    HARD = 2


@dataclass(frozen=True)
class Part:
    """One painted shape; `lift` raises its tone, and `on` restricts a marking to a part of the body."""

    shape: Shape
    paint: Paint
    tag: Tag
    seam: Seam = Seam.HARD
    lift: float = 0.0
    on: Tag | None = None


@dataclass(frozen=True)
class Glyph:
    """A pattern of pixels centred on (x, y), one string per row; `shading` explains the signs.

    `thing` is what the glyph shows, such as a claw; empty for what captions do not mention.
    """

    x: float
    y: float
    rows: tuple[str, ...]
    thing: str = ""


@dataclass(frozen=True)
class Note:
    """One thing of a creature, such as one ear of the kind "round": parts `first` to `end` - 1 show it."""

    thing: str
    kind: str
    first: int
    end: int


@dataclass
class Sketch:
    """The parts of a creature from back to front, and the glyphs of its face.

    The name of its body plan, the direction of its gaze ("left", "right" or "viewer") and the notes serve
    the captions only.
    """

    parts: list[Part] = field(default_factory=list)
    glyphs: list[Glyph] = field(default_factory=list)
    torso: Ellipse = field(default_factory=lambda: Ellipse(9.5, 11.0, 4.0, 4.0))
    plan: str = ""
    gaze: str = "left"
    notes: list[Note] = field(default_factory=list)

    def add(self, shape: Shape, paint: Paint, tag: Tag, seam: Seam = Seam.HARD, lift: float = 0.0) -> None:
        """Add a part in front of the existing ones."""
        self.parts.append(Part(shape, paint, tag, seam, lift))

    def add_torso(self, shape: Ellipse, paint: Paint = Paint.SKIN, seam: Seam = Seam.SOFT) -> None:
        """Add the trunk in front, and remember its ellipse for the markings."""
        self.torso = shape
        self.add(shape, paint, Tag.BODY, seam)

    def mark(self, shape: Shape, paint: Paint, on: Tag, lift: float = 0.0) -> None:
        """Recolour the visible pixels of the body part `on` inside a shape."""
        self.parts.append(Part(shape, paint, on, Seam.NONE, lift, on))

    def glyph(self, x: float, y: float, *rows: str, thing: str = "") -> None:
        """Add a pattern of pixels centred on (x, y)."""
        self.glyphs.append(Glyph(x, y, rows, thing))

    def note(self, thing: str, kind: str = "", parts: int = 1) -> None:
        """Record that the last `parts` parts show one thing."""
        end = len(self.parts)
        self.notes.append(Note(thing, kind, end - parts, end))

    def box(self) -> Box:
        """Return the box around all parts except markings."""
        boxes = [part.shape.box() for part in self.parts if part.on is None]
        return Box(
            min(box.left for box in boxes),
            min(box.top for box in boxes),
            max(box.right for box in boxes),
            max(box.bottom for box in boxes),
        )

    def placed(self, fit: Fit) -> "Sketch":
        """Return the sketch after the placement `fit`, which may also mirror the glyphs and the gaze."""
        parts = [
            Part(part.shape.placed(fit), part.paint, part.tag, part.seam, part.lift, part.on)
            for part in self.parts
        ]
        glyphs = []
        for glyph in self.glyphs:
            rows = glyph.rows if fit.scale_x > 0 else tuple(row[::-1] for row in glyph.rows)
            glyphs.append(Glyph(*fit.point(glyph.x, glyph.y), rows, glyph.thing))
        gaze = "right" if fit.scale_x < 0 and self.gaze == "left" else self.gaze
        return replace(self, parts=parts, glyphs=glyphs, torso=self.torso.placed(fit), gaze=gaze)


def pose(sketch: Sketch, dice: Dice) -> Sketch:
    """Place a sketch on the frame with a random size and direction; large ones are cut off by the frame.

    The head of a sketch is at its top left. A creature that is too large for the frame is aligned with that
    corner, so that it loses tail and feet rather than its face.
    """
    box = sketch.box()
    wide, high = box.right - box.left, box.bottom - box.top
    span = EDGE * dice.pick(SPANS) + dice.between(-0.8, 0.8)  # pixels of the longer side
    scale = span / max(wide, high)
    widen = min(max(span / (scale * wide), 1.0), dice.between(1.15, 1.7))
    heighten = min(max(span / (scale * high), 1.0), dice.between(1.0, 1.3))
    scale_x, scale_y = scale * widen, scale * heighten
    left, top = _start(scale_x * wide, dice), _start(scale_y * high, dice) - LIFT
    if dice.chance(0.18):
        mirrored = Fit(-scale_x, scale_y, EDGE - left + scale_x * box.left, top - scale_y * box.top)
        return sketch.placed(mirrored)
    return sketch.placed(Fit(scale_x, scale_y, left - scale_x * box.left, top - scale_y * box.top))


def _start(length: float, dice: Dice) -> float:
    """Return the first coordinate of a side of some length: about centred, or near the start if too long."""
    spare = EDGE - length
    if spare >= 0.0:
        return spare * dice.between(0.35, 0.65)
    return spare * dice.between(0.1, 0.4)
