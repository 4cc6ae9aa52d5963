"""The shapes that creatures are built from, and the pixels that they cover.

Three shapes are enough for a creature: an ellipse (heads, bodies), a chain of discs joined by tapering
limbs (legs, tails, horns, feathers) and a polygon (membranes, beaks, rocks). `covers` returns the pixels
that each shape covers and how its surface tilts at every pixel, which is all that the light needs. It takes
all shapes of a sprite at once, because on so small a grid the overhead of a NumPy call per shape would
exceed the arithmetic. Coordinates are pixels, x to the right and y down; (0, 0) is the centre of the top
left pixel.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Mask = npt.NDArray[np.bool_]

SIZE = 20
"""Pixels along each side of a sprite."""

THINNEST = 0.55
"""The smallest radius of a limb in pixels. A thinner limb would fall between pixel centres."""

_YS, _XS = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)  # (20, 20) each; float32 halves the work


class Cover(NamedTuple):
    """The pixels that shapes cover, and their surface's tilt in x and y, in [-1, 1]; (..., 20, 20) each."""

    inside: Mask
    tilt_x: Floats
    tilt_y: Floats


class Piece(NamedTuple):
    """A round piece: a disc that moves and grows from (x, y, r) by its steps, squeezed by `aspect`.

    An ellipse is a piece that does not move. A limb of a chain is a piece that is not rotated.
    """

    x: float
    y: float
    r: float
    step_x: float = 0.0
    step_y: float = 0.0
    step_r: float = 0.0
    aspect: float = 1.0
    cos: float = 1.0
    sin: float = 0.0


class Box(NamedTuple):
    """An axis-aligned box in pixels."""

    left: float
    top: float
    right: float
    bottom: float


class Fit(NamedTuple):
    """A placement on the frame: x → scale_x * x + shift_x, and likewise y. A negative scale_x mirrors."""

    scale_x: float
    scale_y: float
    shift_x: float
    shift_y: float

    @property
    def thickness(self) -> float:
        """The factor by which radii grow."""
        return float(abs(self.scale_x * self.scale_y) ** 0.5)

    def point(self, x: float, y: float) -> tuple[float, float]:
        """Return the point (x, y) after the placement."""
        return self.scale_x * x + self.shift_x, self.scale_y * y + self.shift_y


@dataclass(frozen=True)
class Ellipse:
    """An ellipse around (x, y) with radii rx and ry, rotated clockwise by `angle` radians."""

    x: float
    y: float
    rx: float
    ry: float
    angle: float = 0.0

    def box(self) -> Box:
        """Return the box around the ellipse."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        half_x = float(np.hypot(self.rx * cos, self.ry * sin))
        half_y = float(np.hypot(self.rx * sin, self.ry * cos))
        return Box(self.x - half_x, self.y - half_y, self.x + half_x, self.y + half_y)

    def placed(self, fit: Fit) -> "Ellipse":
        """Return the ellipse after the placement `fit`."""
        x, y = fit.point(self.x, self.y)
        rx, ry = self.rx * abs(fit.scale_x), self.ry * fit.scale_y
        return Ellipse(x, y, rx, ry, self.angle * (1.0 if fit.scale_x > 0 else -1.0))

    def pieces(self) -> list[Piece]:
        """Return the ellipse as a round piece."""
        cos, sin = float(np.cos(self.angle)), float(np.sin(self.angle))
        return [Piece(self.x, self.y, self.rx, aspect=self.ry / self.rx, cos=cos, sin=sin)]


@dataclass(frozen=True)
class Chain:
    """At least two discs (x, y, radius), joined by tapering limbs."""

    discs: tuple[Sequence[float], ...]

    def box(self) -> Box:
        """Return the box around all discs."""
        return Box(
            min(x - r for x, _, r in self.discs),
            min(y - r for _, y, r in self.discs),
            max(x + r for x, _, r in self.discs),
            max(y + r for _, y, r in self.discs),
        )

    def placed(self, fit: Fit) -> "Chain":
        """Return the chain after the placement `fit`, with radii of at least `THINNEST`."""
        thickness = fit.thickness
        return Chain(tuple((*fit.point(x, y), max(thickness * r, THINNEST)) for x, y, r in self.discs))

    def pieces(self) -> list[Piece]:
        """Return the limbs as round pieces."""
        return [
            Piece(*start, *(b - a for a, b in zip(start, end, strict=True)))
            for start, end in pairwise(self.discs)
        ]


@dataclass(frozen=True)
class Polygon:
    """A filled polygon; `corners` (n, 2) are the x and y of its corners in order."""

    corners: Floats

    def box(self) -> Box:
        """Return the box around the corners."""
        low, high = self.corners.min(axis=0), self.corners.max(axis=0)
        return Box(float(low[0]), float(low[1]), float(high[0]), float(high[1]))

    def placed(self, fit: Fit) -> "Polygon":
        """Return the polygon after the placement `fit`."""
        return Polygon(self.corners * (fit.scale_x, fit.scale_y) + np.array((fit.shift_x, fit.shift_y)))

    def pieces(self) -> list[Piece]:
        """Return a placeholder disc, which keeps the polygon's index among the round pieces; see `covers`."""
        return [Piece(0.0, 0.0, 1.0)]

    def cover(self) -> Cover:
        """Return the covered pixels (even-odd rule). The surface tilts gently away from the middle."""
        x, y = self.corners.T[:, :, None, None]  # (n, 1, 1) each
        next_x, next_y = np.concatenate([self.corners[1:], self.corners[:1]]).T[:, :, None, None]
        slope = (next_x - x) / (next_y - y + 1e-9)  # of the edge from each corner to the next
        straddles = (y > _YS) != (next_y > _YS)  # (n, 20, 20)
        inside = np.logical_xor.reduce(straddles & (x + (_YS - y) * slope > _XS), axis=0)
        box = self.box()
        tilt_x = (2 * _XS - box.left - box.right) / (box.right - box.left + 1.0)
        tilt_y = (2 * _YS - box.top - box.bottom) / (box.bottom - box.top + 1.0)
        return Cover(inside, 0.8 * tilt_x, 0.8 * tilt_y)


Shape = Ellipse | Chain | Polygon


def chain(*discs: Sequence[float]) -> Chain:
    """Return a chain of discs, each (x, y, radius)."""
    return Chain(discs)


def polygon(*corners: Sequence[float]) -> Polygon:
    """Return a polygon of corners, each (x, y)."""
    return Polygon(np.array(corners, dtype=np.float64))


def _round_covers(pieces: list[Piece]) -> tuple[Floats, Floats, Floats]:
    """Return the squared distance of every pixel to the axis of each round piece, and the tilt in x and y.

    Each of the three is (pieces, 20, 20). A distance of 1 is the rim.
    """
    columns = np.array(pieces, dtype=np.float32).T[:, :, None, None]  # (fields, pieces, 1, 1)
    x, y, r, step_x, step_y, step_r, aspect, cos, sin = columns
    dx, dy = _XS - x, _YS - y
    share = (dx * step_x + dy * step_y) / (step_x * step_x + step_y * step_y + 1e-9)
    share = share.clip(0.0, 1.0)  # the share of its path at which the disc is nearest to the pixel
    dx, dy, scale = dx - share * step_x, dy - share * step_y, 1.0 / (r + share * step_r)
    along = (dx * cos + dy * sin) * scale
    across = (dy * cos - dx * sin) * scale / aspect
    reach = along * along + across * across
    return reach, along * cos - across * sin, along * sin + across * cos


def covers(shapes: Sequence[Shape]) -> Cover:
    """Return the covers of all shapes in one `Cover`, whose fields are (shapes, 20, 20)."""
    groups = [shape.pieces() for shape in shapes]
    reach, tilt_x, tilt_y = _round_covers([piece for group in groups for piece in group])
    ends = np.cumsum([len(group) for group in groups])
    for group, end in zip(groups, ends.tolist(), strict=True):
        for piece in range(end - len(group), end - 1):  # merge limbs: each pixel takes the nearest one
            nearer = reach[piece] < reach[end - 1]
            for field in (reach, tilt_x, tilt_y):
                np.copyto(field[end - 1], field[piece], where=nearer)
    cover = Cover(reach[ends - 1] <= 1.0, tilt_x[ends - 1], tilt_y[ends - 1])
    for index, shape in enumerate(shapes):
        if isinstance(shape, Polygon):
            cover.inside[index], cover.tilt_x[index], cover.tilt_y[index] = shape.cover()
    return cover
