"""Rendering of a posed sketch to tokens: layers, light, outline and texture.

Parts are drawn on a `Canvas` from back to front, and each sets the paint of its pixels and how they face
the light, which comes from the upper left. Then each pixel gets a tone from the ramp of its paint. The
outline is selective: near-black on the shaded side, and a dark tone of the adjacent colour where light
reaches it.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from pokemon_gen.sprites.procedural.colours import INK_TOKENS, NEUTRAL_INKS, RAMP_IDS, RAMP_TOKENS, TONES
from pokemon_gen.sprites.procedural.dice import Dice
from pokemon_gen.sprites.procedural.schemes import Scheme
from pokemon_gen.sprites.procedural.shapes import SIZE, Floats, Mask, covers
from pokemon_gen.sprites.procedural.sketch import Glyph, Paint, Part, Seam, Sketch

Tokens = npt.NDArray[np.uint8]
Pixels = npt.NDArray[np.integer]

LIGHT = (-0.62, -0.92)
"""The change in tones of a surface that tilts fully to the right, and of one that tilts fully down."""

DARK_KEY = -0.7
"""The key of the skin below which a dark eye would be invisible."""

SEAM_SHADE = 1.3
"""The tones by which a part darkens the pixels next to it that are behind it."""

MIDDLE = 3.1
"""The tone of a surface that faces the viewer."""

SIGNS = "kpwics"
"""The signs of a glyph, which `_sign_tokens` explains."""

BAYER = np.tile(np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]), (5, 5))
"""The ordered dither pattern, (20, 20), with values from 0 to 15."""


def grown(mask: Mask) -> Mask:
    """Return masks (..., 20, 20) with the four neighbours of each of their pixels added."""
    wide = mask.copy()
    wide[..., 1:, :] |= mask[..., :-1, :]
    wide[..., :-1, :] |= mask[..., 1:, :]
    wide[..., 1:] |= mask[..., :-1]
    wide[..., :-1] |= mask[..., 1:]
    return wide


class Canvas:
    """The parts drawn on the frame so far.

    Attributes:
        paint: (20, 20) the paint of each pixel, -1 where nothing is drawn.
        tag: (20, 20) the part of the body that each pixel belongs to, 0 where nothing is drawn.
        tone: (20, 20) how many tones the light adds to each pixel.
        line: (20, 20) the pixels of ink lines between parts.
        part: (20, 20) the number of the part that each pixel shows, from 1; 0 where nothing is drawn.
    """

    def __init__(self) -> None:
        """Create an empty frame."""
        self.paint = np.full((SIZE, SIZE), -1, np.int8)
        self.tag = np.zeros((SIZE, SIZE), np.int8)
        self.tone: Floats = np.zeros((SIZE, SIZE))
        self.line: Mask = np.zeros((SIZE, SIZE), np.bool_)
        self.part = np.zeros((SIZE, SIZE), np.int16)

    def add_parts(self, parts: list[Part]) -> None:
        """Draw parts from back to front."""
        cover = covers([part.shape for part in parts])
        lifts = np.array([part.lift for part in parts])[:, None, None]
        tones = LIGHT[0] * cover.tilt_x + LIGHT[1] * cover.tilt_y + lifts  # (parts, 20, 20)
        rims = grown(cover.inside) & ~cover.inside
        drawn = zip(parts, cover.inside, tones, rims, strict=True)
        for number, (part, inside, tone, rim) in enumerate(drawn, start=1):
            if part.on is not None:
                inside = inside & (self.tag == part.on)
                self._mark(part, inside)
            else:
                self._draw(part, inside, tone, rim)
            np.putmask(self.part, inside, number)

    def _mark(self, part: Part, inside: Mask) -> None:
        """Recolour the pixels `inside` and keep their light."""
        np.putmask(self.paint, inside, part.paint)
        self.tone += part.lift * inside

    def _draw(self, part: Part, inside: Mask, tone: Floats, rim: Mask) -> None:
        """Draw a part over the pixels `inside`, and its seam on `rim`, the pixels around them."""
        np.putmask(self.line, inside, False)
        if part.seam is Seam.HARD:
            self.line |= rim
        elif part.seam is Seam.SOFT:
            self.tone -= SEAM_SHADE * rim
        np.copyto(self.tone, tone, where=inside)
        np.putmask(self.paint, inside, part.paint)
        np.putmask(self.tag, inside, part.tag)

    def outline(self) -> Mask:
        """Return the pixels just outside the creature, with single holes filled, (20, 20)."""
        body = self.tag > 0
        around = grown(body)
        open_sides = np.full((SIZE, SIZE), 4, np.int8)
        open_sides[1:] -= around[:-1]
        open_sides[:-1] -= around[1:]
        open_sides[:, 1:] -= around[:, :-1]
        open_sides[:, :-1] -= around[:, 1:]
        return (around | (open_sides <= 0)) & ~body

    def ink(self) -> Mask:
        """Return the pixels of the lines between parts and of the outline, (20, 20)."""
        return (self.line & (self.tag > 0)) | self.outline()


def _spread(paint: npt.NDArray[np.int8]) -> tuple[npt.NDArray[np.int8], Mask]:
    """Give each empty pixel the paint of a neighbour, and return the paints and where light reaches them.

    The neighbours below and to the right take precedence. Pixels that they paint are lit, because the light
    comes from the upper left.
    """
    spread, lit = paint.copy(), np.zeros(paint.shape, np.bool_)
    padded = np.full((SIZE + 2, SIZE + 2), -1, np.int8)
    padded[1:-1, 1:-1] = paint
    for rows, columns, light in ((2, 1, True), (1, 2, True), (1, 0, False), (0, 1, False)):
        neighbour = padded[rows : rows + SIZE, columns : columns + SIZE]
        fill = (spread < 0) & (neighbour >= 0)
        spread[fill] = neighbour[fill]
        lit |= fill & light
    return spread, lit


def _texture(dice: Dice) -> Floats:
    """Return the unevenness of the tones of one sprite, (20, 20), about -1 to 1, as if drawn by hand."""
    grain = dice.grid(SIZE) - 0.5
    weave = (BAYER - 7.5) / 15.0
    return dice.between(0.4, 1.3) * grain + dice.between(0.2, 1.0) * weave


def _fill(canvas: Canvas, scheme: Scheme, dice: Dice) -> Tokens:
    """Return the token of each painted pixel, (20, 20)."""
    keys = np.array(scheme.keys)[canvas.paint]  # (20, 20)
    tone = MIDDLE + dice.between(1.2, 1.9) * canvas.tone + keys + _texture(dice)
    steps = np.rint(tone).clip(1, TONES - 1).astype(np.intp)
    return RAMP_TOKENS[np.array(scheme.ramps)[canvas.paint], steps]


def _ink(canvas: Canvas, scheme: Scheme, dice: Dice) -> Tokens:
    """Return the token of each pixel if it is part of a line, (20, 20)."""
    ramps = np.array(scheme.ramps)  # (paints,)
    grey = RAMP_TOKENS[RAMP_IDS[dice.pick(("stone", "ash"))], :1]
    plain = np.tile(np.concatenate([NEUTRAL_INKS, grey]), (len(ramps), 1))
    tinted = INK_TOKENS[ramps]
    inks = np.concatenate(  # (paints, 8), the darkest first
        [tinted[:, :1], plain, tinted[:, 1:], RAMP_TOKENS[ramps, :3]], axis=1
    )
    paint, lit = _spread(canvas.paint)
    depth = dice.between(0.5, 2.1) + (lit | canvas.line) * dice.between(0.8, 3.0)
    level = depth + dice.between(1.4, 3.2) * (dice.grid(SIZE) - 0.4)
    return inks[paint, level.clip(0, inks.shape[1] - 1).astype(np.intp)]


def _sign_tokens(scheme: Scheme) -> dict[str, np.uint8]:
    """Return the token of each sign of a glyph.

    The signs are k for ink, p for a pupil (which glows in a dark face), w for white, i for the iris, c for
    a blush or a tongue, and s for the shade of the skin. The sign "." leaves its pixel unchanged.
    """
    dark = scheme.keys[Paint.SKIN] < DARK_KEY
    return {
        "k": NEUTRAL_INKS[0],
        "p": RAMP_TOKENS[scheme.iris, 5] if dark else NEUTRAL_INKS[0],
        "w": RAMP_TOKENS[RAMP_IDS["bone"], -1],
        "i": RAMP_TOKENS[scheme.iris, 3],
        "c": RAMP_TOKENS[RAMP_IDS["red"], 4],
        "s": RAMP_TOKENS[scheme.ramps[Paint.SKIN], 1],
    }


def _stamp(tokens: Pixels, glyph: Glyph, signs: Mapping[str, int | np.uint8]) -> None:
    """Draw a glyph into tokens (20, 20), but only on pixels of the creature."""
    top = round(glyph.y - (len(glyph.rows) - 1) / 2)
    left = round(glyph.x - (len(glyph.rows[0]) - 1) / 2)
    for y, row in enumerate(glyph.rows, top):
        for x, sign in enumerate(row, left):
            if sign != "." and 0 <= x < SIZE and 0 <= y < SIZE and tokens[y, x]:
                tokens[y, x] = signs[sign]


def render(sketch: Sketch, scheme: Scheme, dice: Dice) -> Tokens:
    """Return the tokens (20, 20) of a posed sketch in the colours of a scheme."""
    canvas = Canvas()
    canvas.add_parts(sketch.parts)
    tokens = np.zeros((SIZE, SIZE), np.uint8)
    body = canvas.tag > 0
    tokens[body] = _fill(canvas, scheme, dice)[body]
    lines = canvas.ink()
    tokens[lines] = _ink(canvas, scheme, dice)[lines]
    signs = _sign_tokens(scheme)
    for glyph in sketch.glyphs:
        _stamp(tokens, glyph, signs)
    return tokens


def visible_parts(sketch: Sketch) -> npt.NDArray[np.int16]:
    """Return what each pixel of a posed sketch shows, (20, 20).

    With P parts, 0 is the background, i + 1 is part i, P + 1 + j is glyph j, and -1 is an ink line.
    """
    canvas = Canvas()
    canvas.add_parts(sketch.parts)
    shown = canvas.part.copy()
    shown[canvas.ink()] = -1
    for number, glyph in enumerate(sketch.glyphs, start=len(sketch.parts) + 1):
        _stamp(shown, glyph, dict.fromkeys(SIGNS, number))
    return shown
