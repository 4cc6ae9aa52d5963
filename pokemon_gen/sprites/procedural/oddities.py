"""Body plans of stranger creatures: fish, insects, plants, ghosts, rocks, tortoises and fairies.

Every plan fills an empty sketch from back to front. Most creatures face left, and some face the viewer.
"""

from pokemon_gen.sprites.procedural.dice import Dice
from pokemon_gen.sprites.procedural.heads import ears, face, head
from pokemon_gen.sprites.procedural.limbs import FAR, arm, fin, leg, tail
from pokemon_gen.sprites.procedural.markings import belly, coat, saddle, spots, stripes
from pokemon_gen.sprites.procedural.shapes import Ellipse, chain, polygon
from pokemon_gen.sprites.procedural.sketch import Paint, Seam, Sketch, Tag


def fish(sketch: Sketch, dice: Dice) -> None:
    """Draw a fish with a forked tail and three fins."""
    rx, ry = dice.between(5.5, 7.0), dice.between(3.6, 5.4)
    end = 8.5 + rx
    for rise in (-1.0, 1.0):
        lobe = chain((end - 1.0, 10.0, 1.3), (end + 3.2, 10.0 + rise * dice.between(3.0, 4.8), 1.0))
        sketch.add(lobe, Paint.ALT, Tag.TAIL, Seam.SOFT)
    sketch.note("tail", "forked", 2)
    fin(sketch, dice, 10.0, 10.8 - ry, dice.between(0.5, 3.0), -dice.between(3.2, 5.0))
    fin(sketch, dice, 10.5, 9.2 + ry, dice.between(1.0, 2.5), dice.between(2.0, 3.5))
    sketch.add_torso(Ellipse(8.8, 10.0, rx, ry))
    coat(sketch, dice)
    fin(sketch, dice, 9.5, 11.5, dice.between(2.6, 3.8), dice.between(0.5, 2.0))
    if dice.chance(0.4):
        lure = chain((6.0, 10.0 - ry, 0.5), (3.5, 7.0 - ry, 0.5), (1.5, 8.5 - ry, 0.9))
        sketch.add(lure, Paint.TRIM, Tag.CROWN)
        sketch.note("lure")
    face(sketch, dice, 9.6 - 0.65 * rx, 9.2, 3.2)


def insect(sketch: Sketch, dice: Dice) -> None:
    """Draw a six-legged creature with a banded abdomen, with or without wings."""
    rx, ry, skull = dice.between(4.0, 5.4), dice.between(3.2, 4.4), dice.between(2.6, 3.6)
    if dice.chance(0.55):
        for lift, lean, long in ((FAR, -1.1, 4.2), (0.0, -0.6, 4.8)):
            wing = Ellipse(11.0 - 3.5 * lean * lean + 3.0, 6.0, long, 2.1, lean)
            sketch.add(wing, Paint.PALE, Tag.WING, Seam.HARD, lift)
            sketch.note("wing", "oval")
    sketch.add_torso(Ellipse(13.0, 11.5, rx, ry, 0.15), dice.pick((Paint.SKIN, Paint.ALT)))
    bands = Paint.ALT if sketch.parts[-1].paint is Paint.SKIN else Paint.SKIN
    for band in (-0.25, 0.3, 0.8):
        x = 13.0 + band * rx
        sketch.mark(chain((x, 6.0, 0.6), (x + 0.8, 17.0, 0.6)), bands, Tag.BODY)
        sketch.note("band")
    sketch.add(Ellipse(8.8, 11.5, 2.8, 2.6), Paint.SKIN, Tag.BODY)
    for root, spread in ((7.6, -2.6), (9.4, -0.4), (11.4, 2.0)):
        knee = (root + 0.8 * spread, 14.0)
        foot = (root + 1.3 * spread - 0.4, 17.8)
        sketch.add(chain((root, 12.5, 0.8), (*knee, 0.7), (*foot, 0.55)), Paint.TRIM, Tag.LIMB)
        sketch.note("leg")
    head(sketch, dice, 6.0, 9.8, skull)


def bulb(sketch: Sketch, dice: Dice) -> None:
    """Draw a bulb or bud with leaves or petals on its head and feet below."""
    rx, ry, frontal = dice.between(4.2, 5.6), dice.between(4.2, 5.4), dice.chance(0.4)
    top = 12.0 - ry
    flower = dice.chance(0.5)
    if flower:
        for dx, dy in ((-4.6, 1.0), (-3.4, -2.2), (0.0, -3.6), (3.4, -2.2), (4.6, 1.0)):
            petal = Ellipse(9.5 + dx, 10.0 + dy, 3.0, 2.6)
            sketch.add(petal, Paint.ALT, Tag.CROWN, Seam.HARD)
            sketch.note("petal")
    else:
        for side in (-1.0, 0.9):
            tip = (9.5 + side * dice.between(3.5, 6.5), top - dice.between(1.0, 4.5))
            middle = (9.5 + 0.5 * (tip[0] - 9.5), top - 2.6)
            sketch.add(chain((9.5, top + 1.0, 0.9), (*middle, 1.9), (*tip, 0.5)), Paint.ALT, Tag.CROWN)
            sketch.note("leaf")
    for x in (-0.5, 0.55):
        foot = Ellipse(9.5 + x * rx, 12.2 + ry, 1.9, 1.2)
        sketch.add(foot, dice.pick((Paint.SKIN, Paint.ALT)), Tag.LIMB)
        sketch.note("foot")
    sketch.add_torso(Ellipse(9.5, 12.0, rx, ry))
    coat(sketch, dice)
    for side in (-1.0, 1.0):
        hand = (9.5 + side * (rx + 2.2), 12.5 + dice.between(-2.0, 1.5))
        sketch.add(chain((9.5 + side * 0.8 * rx, 13.0, 0.8), (*hand, 1.3)), Paint.ALT, Tag.LIMB, Seam.HARD)
    face(sketch, dice, 9.2, 11.4, 4.4, frontal)


def mushroom(sketch: Sketch, dice: Dice) -> None:
    """Draw a stalk with a face under a broad cap."""
    cap, rise = dice.between(6.5, 8.5), dice.between(4.0, 5.8)
    stalk = dice.between(3.2, 4.4)
    for x in (7.4, 11.6):
        sketch.add(Ellipse(x, 18.0, 1.9, 1.2), Paint.ALT, Tag.LIMB)
        sketch.note("foot")
    sketch.add(Ellipse(9.5, 14.0, stalk, 4.4), Paint.PALE, Tag.LIMB, lift=-0.6)
    sketch.note("stalk")
    for side in (-1.0, 1.0):
        hand = (9.5 + side * (stalk + 1.6), dice.between(13.0, 16.0))
        sketch.add(chain((9.5 + side * stalk, 13.8, 0.8), (*hand, 1.1)), Paint.PALE, Tag.LIMB)
    slant = dice.between(-0.3, 0.3)
    sketch.add_torso(Ellipse(9.5 + 2.0 * slant, 7.0, cap, rise, slant), seam=Seam.HARD)
    dice.pick((spots, spots, stripes, saddle))(sketch, dice)
    left, right = 9.6 - slant * cap, 9.6 + slant * cap
    brim = chain((9.5 - 0.85 * cap, left, 0.8), (9.5, 10.8, 0.9), (9.5 + 0.85 * cap, right, 0.8))
    sketch.mark(brim, Paint.ALT, Tag.BODY, -0.5)
    face(sketch, dice, 9.3, 13.4, 3.6, dice.chance(0.5))


def ghost(sketch: Sketch, dice: Dice) -> None:
    """Draw a floating dome that ends in wisps or tentacles."""
    rx, ry = dice.between(5.2, 6.6), dice.between(5.0, 6.2)
    strands, length = dice.count(3, 5), dice.between(3.0, 6.0)
    if dice.chance(0.6):
        ears(sketch, dice, 9.5, 7.6, 4.6)
    drift = dice.between(-1.0, 5.0)
    paint = dice.pick((Paint.SKIN, Paint.ALT))
    for strand in range(strands):
        share = strand / (strands - 1)
        x, long = 9.5 + (1.5 * share - 0.75) * rx, length * (1.0 if strand % 2 else 0.7)
        sketch.add(
            chain((x, 9.5, 1.9), (x, 8.5 + ry, 1.5), (x + drift, 8.5 + ry + long, 0.5)),
            paint,
            Tag.LIMB,
            Seam.SOFT,
        )
        sketch.note("strand")
    sketch.add_torso(Ellipse(9.5, 8.5, rx, ry, dice.between(-0.2, 0.5)))
    coat(sketch, dice, front=dice.chance(0.5))
    if dice.chance(0.6):
        for x in (8.8 - rx, 10.2 + rx):
            sketch.add(Ellipse(x, 11.0, 1.6, 2.0), Paint.ALT, Tag.LIMB)
    face(sketch, dice, 9.0, 8.2, 5.0, dice.chance(0.6))


def rock(sketch: Sketch, dice: Dice) -> None:
    """Draw a boulder or crystal with facets, fists and a face."""
    if dice.chance(0.5):
        for x, tip in ((5.5, 3.0), (9.5, 10.5), (13.5, 16.5)):
            shard = ((x - 2.2, 9.0), (tip, dice.between(0.0, 3.0)), (x + 2.2, 9.0))
            sketch.add(polygon(*shard), Paint.ALT, Tag.CROWN)
            sketch.note("shard")
    for x in (6.6, 12.6):
        block = ((x - 2.0, 14.0), (x + 2.0, 14.0), (x + 2.4, 18.6), (x - 2.6, 18.6))
        sketch.add(polygon(*block), dice.pick((Paint.SKIN, Paint.ALT)), Tag.LIMB)
    corners = (
        (3.4, 9.0),
        (6.0, 4.6),
        (11.5, 3.8),
        (15.6, 7.0),
        (16.0, 12.0),
        (12.8, 16.0),
        (6.4, 16.2),
        (3.0, 13.0),
    )
    jagged = [(x + dice.between(-1.0, 1.0), y + dice.between(-1.0, 1.0)) for x, y in corners]
    sketch.torso = Ellipse(9.5, 10.0, 6.2, 6.0)
    sketch.add(polygon(*jagged), Paint.SKIN, Tag.BODY)
    top = polygon(jagged[0], jagged[1], jagged[2], (9.5, 8.0), (6.0, 9.5))
    sketch.mark(top, Paint.SKIN, Tag.BODY, 1.0)
    side = polygon(jagged[3], jagged[4], jagged[5], (11.0, 13.0), (12.0, 8.5))
    sketch.mark(side, Paint.SKIN, Tag.BODY, -0.9)
    if dice.chance(0.6):
        dice.pick((spots, stripes, belly))(sketch, dice)
    for x, y in ((2.6, dice.between(9.0, 14.0)), (17.0, dice.between(9.0, 14.0))):
        fist = (
            (x - 2.2, y),
            (x - 0.5, y - 2.4),
            (x + 2.0, y - 1.2),
            (x + 2.0, y + 1.8),
            (x - 1.0, y + 2.4),
        )
        sketch.add(polygon(*fist), Paint.SKIN, Tag.LIMB)
        sketch.note("fist")
    face(sketch, dice, 8.8, 9.0, 4.6, dice.chance(0.5))


def tortoise(sketch: Sketch, dice: Dice) -> None:
    """Draw a creature with a domed shell of plates and its head in front of it."""
    rx, ry, sock = (
        dice.between(5.4, 6.8),
        dice.between(4.2, 5.6),
        dice.pick((Paint.SKIN, Paint.PALE)),
    )
    tail(sketch, dice, 10.5 + rx, 13.5, 3.8)
    for x in (8.0, 15.0):
        leg(sketch, (x, 13.0), (x, 17.0), 1.6, sock, FAR)
    sketch.add_torso(Ellipse(11.5, 10.5, rx, ry), Paint.ALT)
    sketch.note("shell")
    dice.pick((spots, stripes, saddle))(sketch, dice)
    for x in (-0.45, 0.35):
        groove = chain((11.5 + x * rx, 4.0, 0.5), (11.5 + 1.3 * x * rx, 13.0, 0.5))
        sketch.mark(groove, Paint.ALT, Tag.BODY, -1.5)
    rim = chain((11.5 - 0.95 * rx, 12.6, 0.9), (11.5, 13.9, 1.0), (11.5 + 0.95 * rx, 12.6, 0.9))
    sketch.add(rim, Paint.PALE, Tag.LIMB, Seam.SOFT)
    sketch.note("rim")
    for x in (7.0, 14.6):
        leg(sketch, (x, 14.0), (x - 0.6, 18.0), 1.8, sock)
    head(sketch, dice, 4.8, 9.2, dice.between(2.8, 3.6), dice.pick(("", "snout", "beak")))


def fairy(sketch: Sketch, dice: Dice) -> None:
    """Draw a slender figure in a robe, with hair and hands."""
    hem, skull = dice.between(4.0, 6.5), dice.between(3.0, 3.8)
    robe = polygon((8.4, 9.0), (11.2, 9.0), (10.0 + hem, 18.5), (9.8, 19.5), (9.6 - hem, 18.5))
    arm(sketch, dice, 11.2, 10.3, dice.between(2.5, 4.5), 0.9, FAR)
    sketch.torso = Ellipse(9.8, 14.5, 0.8 * hem, 5.0)
    sketch.add(robe, Paint.ALT, Tag.BODY)
    sketch.note("robe")
    trim = chain((9.6 - hem, 18.2, 0.9), (9.8, 19.0, 0.9), (10.0 + hem, 18.2, 0.9))
    sketch.mark(trim, Paint.TRIM, Tag.BODY)
    sketch.note("hem")
    dice.pick((belly, spots, belly))(sketch, dice)
    arm(sketch, dice, 8.4, 10.5, -dice.between(2.5, 4.5), 0.9)
    for side in (-1.0, 1.0):
        lock = (9.5 + side * (skull + 0.4), dice.between(8.0, 12.0))
        sketch.add(chain((9.5 + side * 2.0, 4.5, 1.7), (*lock, 1.0)), Paint.TRIM, Tag.CROWN, Seam.SOFT)
        sketch.note("lock")
    head(sketch, dice, 9.4, 5.8, skull, frontal=dice.chance(0.5))
