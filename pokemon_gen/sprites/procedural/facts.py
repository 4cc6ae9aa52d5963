"""The facts of a procedural sprite: what a viewer can see in it, for captions.

The drawing code notes what its parts show. `find_facts` keeps a note only if enough of its pixels are visible
and the frame does not cut it off, and finds colours by counting visible pixels. A fact is therefore true of
the picture, not only of the plan behind it: a horn that the frame cuts off and a spot below a belly are
missing. Three limits remain. "Dark" and "pale" are tones that the scheme gives to a paint, before the light
falls on it. A kind, such as "bushy", is the kind that was drawn, however few of its pixels are visible beyond
the threshold. Colour words are the names of the ramps, and the three grey ramps share one name.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pokemon_gen.sprites.procedural.bodies import Creature
from pokemon_gen.sprites.procedural.colours import GREY_HUES, RAMP_NAMES
from pokemon_gen.sprites.procedural.schemes import Scheme
from pokemon_gen.sprites.procedural.shading import DARK_KEY, visible_parts
from pokemon_gen.sprites.procedural.shapes import Box
from pokemon_gen.sprites.procedural.sketch import EDGE, Note, Paint, Sketch, Tag

COLOUR_WORDS = {
    **{name: name for name in RAMP_NAMES},
    **dict.fromkeys(GREY_HUES, "grey"),
    "sky": "azure",
}
"""The word for each ramp: a name that can follow "dark" and "pale"."""

PALE_KEY = 0.7
"""The key from which a paint is called pale; below `shading.DARK_KEY` it is called dark."""

KEY_CONTRAST = 0.8
"""Two paints whose colours have the same word look different from this difference of their keys."""

LEAST_PIXELS = 4
"""The visible pixels from which a thing counts as seen."""

LEAST_PIXELS_OF_SMALL = {"spot": 2, "band": 2, "foot": 2, "leg": 2, "plate": 2}
"""The same for things that are smaller than that."""

OVERHANG = 1.0
"""Pixels by which a thing may reach over the frame's edge and still count as seen."""

COLOUR_SHARE = 0.6
"""The share of a thing's visible pixels from which a colour is the colour of the thing."""

SECOND_SHARE = 0.15
"""The share of a creature's visible pixels from which its second colour is a fact."""

SMALL = 15
"""The largest side in pixels of a creature that is called small."""

STRETCH = 1.35
"""The ratio of the sides from which a creature is called tall or long."""


@dataclass(frozen=True)
class Feature:
    """Things of one kind, such as two long horns; `colour` is empty where no colour dominates."""

    thing: str
    kind: str
    count: int
    colour: str


@dataclass(frozen=True)
class Facts:
    """What a viewer can see in one sprite.

    Attributes:
        plan: the body plan, such as "dragon".
        colours: the main colour, and the second colour if it covers enough pixels.
        size: "small", "" or "cut off" (by the frame).
        shape: "tall", "long" or "".
        gaze: the direction of the face: "left", "right" or "viewer".
        features: the visible features, in the order in which they were drawn.
    """

    plan: str
    colours: tuple[str, ...]
    size: str
    shape: str
    gaze: str
    features: tuple[Feature, ...]


def find_facts(creature: Creature) -> Facts:
    """Return the facts of a creature that is not yet drawn. The random texture does not matter to them."""
    sketch, scheme = creature.sketch, creature.scheme
    shown = visible_parts(sketch)
    pixels = np.bincount(shown[shown > 0], minlength=1 + len(sketch.parts) + len(sketch.glyphs))
    of_parts = dict(enumerate(pixels[1 : 1 + len(sketch.parts)].tolist()))
    features = _features_of_parts(sketch, scheme, of_parts) + _features_of_glyphs(sketch, scheme, pixels)
    size, shape = _size_and_shape(sketch, shown)
    colours = _main_colours(_paint_pixels(sketch, of_parts), scheme)
    return Facts(sketch.plan, colours, size, shape, sketch.gaze, tuple(features))


def _colour(scheme: Scheme, paint: int) -> str:
    """Return the words for a paint's colour, such as "dark blue"."""
    key, word = scheme.keys[paint], COLOUR_WORDS[RAMP_NAMES[scheme.ramps[paint]]]
    return f"dark {word}" if key < DARK_KEY else f"pale {word}" if key >= PALE_KEY else word


def _look_alike(scheme: Scheme, first: int, second: int) -> bool:
    """Return whether a viewer can hardly tell two paints apart."""
    words = [COLOUR_WORDS[RAMP_NAMES[scheme.ramps[paint]]] for paint in (first, second)]
    return words[0] == words[1] and abs(scheme.keys[first] - scheme.keys[second]) < KEY_CONTRAST


def _paint_pixels(sketch: Sketch, pixels: dict[int, int]) -> Counter[Paint]:
    """Count the visible pixels of each paint, given those of some parts."""
    found: Counter[Paint] = Counter()
    for part, count in pixels.items():
        found[sketch.parts[part].paint] += count
    return found


def _main_colours(paints: Counter[Paint], scheme: Scheme) -> tuple[str, ...]:
    """Return the colour of the most pixels, and the second colour if it covers enough pixels."""
    shades: dict[str, str] = {}  # the words for the most frequent paint of each colour
    counts: Counter[str] = Counter()
    for paint, count in paints.most_common():
        counts[COLOUR_WORDS[RAMP_NAMES[scheme.ramps[paint]]]] += count
        shades.setdefault(COLOUR_WORDS[RAMP_NAMES[scheme.ramps[paint]]], _colour(scheme, paint))
    (main, _), *others = counts.most_common(2)
    least = SECOND_SHARE * counts.total()
    return (shades[main], *(shades[word] for word, count in others if count >= least))


def _is_cut_off(box: Box) -> bool:
    """Return whether the frame cuts off what is inside a box."""
    return min(box.left, box.top) < -OVERHANG or max(box.right, box.bottom) > EDGE + OVERHANG


def _seen_pixels(note: Note, sketch: Sketch, pixels: dict[int, int]) -> dict[int, int]:
    """Return the visible pixels of each part of a thing; empty if too few are visible or it is cut off."""
    own = {part: pixels[part] for part in range(note.first, note.end)}
    for part in own:
        if sketch.parts[part].on is None and _is_cut_off(sketch.parts[part].shape.box()):
            return {}
    least = LEAST_PIXELS_OF_SMALL.get(note.thing, LEAST_PIXELS)
    return own if sum(own.values()) >= least else {}


def _features_of_parts(sketch: Sketch, scheme: Scheme, pixels: dict[int, int]) -> list[Feature]:
    """Return the features that the notes of a sketch show, with equal things counted together."""
    counts: Counter[tuple[str, str]] = Counter()
    paints: dict[tuple[str, str], Counter[Paint]] = {}
    for note in sketch.notes:
        seen = _seen_pixels(note, sketch, pixels)
        found = _paint_pixels(sketch, seen)
        if seen and not _is_invisible_mark(note, sketch, scheme, found):
            counts[note.thing, note.kind] += 1
            paints.setdefault((note.thing, note.kind), Counter()).update(found)
    return [
        Feature(thing, kind, count, _dominant_colour(paints[thing, kind], scheme))
        for (thing, kind), count in counts.items()
    ]


def _is_invisible_mark(note: Note, sketch: Sketch, scheme: Scheme, paints: Counter[Paint]) -> bool:
    """Return whether a thing is a marking in nearly the same colour as the part of the body below it."""
    tag: Tag | None = sketch.parts[note.first].on
    if tag is None:
        return False
    base = next(part.paint for part in sketch.parts if part.tag is tag and part.on is None)
    return _look_alike(scheme, base, paints.most_common(1)[0][0])


def _dominant_colour(paints: Counter[Paint], scheme: Scheme) -> str:
    """Return the colour of a thing, or an empty string if none covers enough of it."""
    paint, count = paints.most_common(1)[0]
    return _colour(scheme, paint) if count >= COLOUR_SHARE * paints.total() else ""


def _features_of_glyphs(sketch: Sketch, scheme: Scheme, pixels: npt.NDArray[np.int64]) -> list[Feature]:
    """Return the features that small patterns show: claws, a blush, a gem, and eyes that glow."""
    counts: Counter[str] = Counter()
    for glyph, count in zip(sketch.glyphs, pixels[1 + len(sketch.parts) :].tolist(), strict=True):
        whole = sum(len(row) - row.count(".") for row in glyph.rows)
        if glyph.thing and count == whole:
            counts[glyph.thing] += 1
    iris = COLOUR_WORDS[RAMP_NAMES[scheme.iris]]
    glows = scheme.keys[Paint.SKIN] < DARK_KEY
    colours = {"claw": "white", "blush": "", "gem": iris, "eye": iris}
    return [
        Feature(thing, "", count, colours[thing])
        for thing, count in counts.items()
        if thing != "eye" or (glows and count == 2)
    ]


def _size_and_shape(sketch: Sketch, shown: npt.NDArray[np.int16]) -> tuple[str, str]:
    """Return the size and the shape of a creature, as the attributes of `Facts` explain."""
    if _is_cut_off(sketch.box()):
        return "cut off", ""
    rows, columns = np.nonzero(shown)
    high, wide = int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1
    shape = "tall" if high >= STRETCH * wide else "long" if wide >= STRETCH * high else ""
    return "small" if max(high, wide) <= SMALL else "", shape
