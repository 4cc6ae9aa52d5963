"""`sprites/procedural/captions.py` and its facts: what a caption says is visible in the picture."""

import re

import numpy as np
import pytest

from pokemon_gen.sprites.procedural import draw_sprites
from pokemon_gen.sprites.procedural.bodies import Creature, create
from pokemon_gen.sprites.procedural.captions import ALPHABET, Style, describe_sprites, iterate_captions
from pokemon_gen.sprites.procedural.colours import RAMP_IDS, RAMP_TOKENS
from pokemon_gen.sprites.procedural.dice import Dice
from pokemon_gen.sprites.procedural.facts import Facts, Feature, find_facts
from pokemon_gen.sprites.procedural.phrases import NOUNS, WORDS, Phrase, choose_phrases, join, with_articles
from pokemon_gen.sprites.procedural.schemes import Scheme
from pokemon_gen.sprites.procedural.shading import render, visible_parts
from pokemon_gen.sprites.procedural.shapes import Ellipse, Fit, chain
from pokemon_gen.sprites.procedural.sketch import Paint, Sketch, Tag
from tests.builders import error_with

STYLES: tuple[Style, ...] = ("captions", "riddles")


def some_dice() -> Dice:
    return Dice(np.random.default_rng(0))


def creature(sketch: Sketch, *ramps: str, keys: tuple[float, ...] = (0.0, 0.0, 1.0, 0.0, 0.3)) -> Creature:
    """Return a creature in the ramps of skin, second, pale, trim and spark."""
    return Creature(
        sketch, Scheme(tuple(RAMP_IDS[name] for name in ramps), keys, RAMP_IDS["sky"]), some_dice()
    )


def disc() -> Sketch:
    """Return a sketch of a disc of 7 pixels' radius in the middle of the frame."""
    sketch = Sketch(plan="ball")
    sketch.add_torso(Ellipse(9.5, 10.0, 7.0, 7.0))
    return sketch


def facts_of(sketch: Sketch, skin: str = "blue", second: str = "green", key: float = 0.0) -> Facts:
    return find_facts(creature(sketch, skin, second, "yellow", "red", "pink", keys=(key, 0.0, 1.0, 0.0, 0.3)))


@pytest.mark.parametrize("seed", range(3))
def test_visible_parts_agree_with_the_picture(seed: int) -> None:
    """Each pixel that shows a part has a token of the ramp of its paint."""
    for index in range(20):
        sketch, scheme, dice = create(seed, index)
        shown = visible_parts(sketch)
        tokens = render(sketch, scheme, dice)
        np.testing.assert_array_equal(shown == 0, tokens == 0)
        for number, part in enumerate(sketch.parts, start=1):
            assert np.isin(tokens[shown == number], RAMP_TOKENS[scheme.ramps[part.paint]]).all()


def test_captions_describe_the_sprites_that_are_drawn() -> None:
    drawn = [render(*create(4, index)).ravel() for index in range(60)]
    np.testing.assert_array_equal(drawn, draw_sprites(60, seed=4))


def test_a_thing_is_a_fact_only_if_it_is_visible() -> None:
    sketch = disc()
    for x, top in ((5.0, 1.5), (13.0, 1.5), (9.0, -6.0)):  # the frame cuts off the third horn
        sketch.add(chain((x, 4.0, 1.0), (x, top, 0.6)), Paint.TRIM, Tag.CROWN)
        sketch.note("horn", "short")
    sketch.mark(Ellipse(9.5, 12.0, 1.0, 1.0), Paint.ALT, Tag.BODY)
    sketch.note("spot")
    assert facts_of(sketch).features == (
        Feature("horn", "short", 2, "red"),
        Feature("spot", "", 1, "green"),
    )
    sketch.mark(Ellipse(9.5, 12.0, 3.0, 3.0), Paint.PALE, Tag.BODY)
    sketch.note("belly")
    assert facts_of(sketch).features[1:] == (Feature("belly", "", 1, "pale yellow"),)


def test_a_marking_in_the_colour_of_the_skin_is_no_fact() -> None:
    sketch = disc()
    sketch.mark(Ellipse(9.5, 12.0, 3.0, 3.0), Paint.ALT, Tag.BODY)
    sketch.note("saddle")
    assert facts_of(sketch, "stone", "ash").features == ()
    assert facts_of(sketch, "stone", "ash", key=-1.0).features == (Feature("saddle", "", 1, "grey"),)


def test_colours_are_those_of_the_most_pixels() -> None:
    sketch = disc()
    assert facts_of(sketch).colours == ("blue",)
    assert facts_of(sketch, key=-1.0).colours == ("dark blue",)
    assert facts_of(sketch, key=0.8).colours == ("pale blue",)
    sketch.mark(Ellipse(9.5, 12.0, 3.0, 3.0), Paint.ALT, Tag.BODY)  # 28 of 154 pixels, or 18 %
    assert facts_of(sketch).colours == ("blue", "green")
    sketch.mark(Ellipse(9.5, 10.0, 6.0, 6.0), Paint.ALT, Tag.BODY)  # 113 of 154 pixels
    assert facts_of(sketch).colours == ("green", "blue")


def test_a_thing_of_two_colours_has_none() -> None:
    sketch = disc()
    sketch.add(Ellipse(6.0, 10.0, 2.0, 2.0), Paint.ALT, Tag.WING)
    sketch.add(Ellipse(13.0, 10.0, 2.0, 2.0), Paint.TRIM, Tag.WING)
    sketch.note("wing", "folded", parts=2)
    assert facts_of(sketch).features == (Feature("wing", "folded", 1, ""),)


def test_glyphs_are_facts_if_they_are_complete() -> None:
    sketch = disc()
    sketch.glyph(12.0, 12.0, "w", thing="claw")
    sketch.glyph(0.0, 0.0, "w", thing="claw")  # on the background
    for x in (7.0, 12.0):
        sketch.glyph(x, 8.0, "p", thing="eye")
    assert facts_of(sketch).features == (Feature("claw", "", 1, "white"),)
    assert facts_of(sketch, key=-1.0).features[1:] == (Feature("eye", "", 2, "azure"),)  # a dark face glows


def test_size_and_shape_are_those_of_the_silhouette() -> None:
    def measures(rx: float, ry: float) -> tuple[str, str]:
        sketch = Sketch(plan="ball")
        sketch.add_torso(Ellipse(9.5, 9.5, rx, ry))
        return facts_of(sketch).size, facts_of(sketch).shape

    assert measures(8.0, 8.0) == ("", "")
    assert measures(5.0, 5.0) == ("small", "")
    assert measures(5.0, 8.5) == ("", "tall")
    assert measures(8.5, 5.0) == ("", "long")
    assert measures(11.0, 8.0) == ("cut off", "")


def test_a_mirrored_creature_looks_to_the_right_unless_it_faces_the_viewer() -> None:
    mirror = Fit(-1.0, 1.0, 19.0, 0.0)
    assert disc().gaze == "left"
    assert disc().placed(mirror).gaze == "right"
    assert Sketch(gaze="viewer").placed(mirror).gaze == "viewer"


def test_everything_that_is_drawn_has_words() -> None:
    """A note without words would be a KeyError in one of many captions."""
    sketches = [create(6, index).sketch for index in range(1200)]
    assert {(note.thing, note.kind) for sketch in sketches for note in sketch.notes} == {
        key for key in WORDS if key[0] not in ("blush", "claw", "eye", "gem")
    }
    assert {glyph.thing for sketch in sketches for glyph in sketch.glyphs} == {
        "",
        "blush",
        "claw",
        "eye",
        "gem",
    }
    assert {sketch.plan for sketch in sketches} == set(NOUNS)


def test_phrases_agree_in_number() -> None:
    features = (Feature("horn", "long", 2, "red"), Feature("spot", "", 1, "green"))
    facts = Facts("tortoise", ("blue",), "", "", "left", features)
    phrases = {phrase.noun: phrase for phrase in choose_phrases(facts, 4, "my", some_dice())}
    assert set(phrases) == {"horns", "spot"}
    assert phrases["horns"].predicate() == "my horns are long and red"
    assert phrases["horns"].definite() == "my long red horns"
    assert phrases["spot"].indefinite() in ("a green spot on my shell", "a round green spot on my shell")
    assert re.fullmatch(r"the spot on my shell is (round and )?green", phrases["spot"].predicate())


def test_the_colour_of_the_whole_creature_is_not_repeated() -> None:
    features = (Feature("belly", "", 1, "blue"), Feature("horn", "", 1, "blue"))
    facts = Facts("ball", ("blue",), "", "", "left", features)
    (phrase,) = choose_phrases(facts, 4, "its", some_dice())
    assert phrase == Phrase("its", "a", (), "horn", "", False, phrase.verb)


def test_lists_and_articles() -> None:
    assert [join(["a"]), join(["a", "b"]), join(["a", "b", "c"])] == ["a", "a and b", "a, b and c"]
    assert (
        with_articles("a orange fish and a ash tree, a red one")
        == "an orange fish and an ash tree, a red one"
    )


def test_a_caption_depends_on_seed_index_and_style_only() -> None:
    assert describe_sprites(6, seed=3) == describe_sprites(9, seed=3)[:6] == list(iterate_captions(6, seed=3))
    assert not set(describe_sprites(6, seed=3)) & set(describe_sprites(6, seed=4))
    assert not set(describe_sprites(6, seed=3)) & set(describe_sprites(6, seed=3, style="riddles"))


def test_captions_are_written_one_by_one() -> None:
    assert next(iterate_captions(10**12)) == describe_sprites(1)[0]


@pytest.mark.parametrize("style", STYLES)
def test_captions_are_varied_plain_sentences(style: Style) -> None:
    texts = describe_sprites(300, seed=1, style=style)
    assert len(set(texts)) > 0.98 * len(texts)
    for text in texts:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*([,.?]? [a-z]+(-[a-z]+)*)*", text), text
        assert 6 <= len(text.split()) <= 60, text
        assert not re.search(r"\ba [aeiou]|\ban [^aeiou]|\b(\w+) \1\b", text), text


def test_captions_say_the_gaze_and_the_plan_of_their_sprite() -> None:
    for index, text in enumerate(describe_sprites(100, seed=2)):
        sketch = create(2, index).sketch
        assert any(noun in text for noun in NOUNS[sketch.plan])
        wrong = {"left": "right", "right": "left", "viewer": "left"}[sketch.gaze]
        assert not re.search(rf"(look|fac)\w+ (to the )?{wrong}", text)


def test_an_unknown_style_is_refused_at_once() -> None:
    with error_with("style", "'poems'", "captions", "riddles"):
        iterate_captions(1, style="poems")  # type: ignore[arg-type]


@pytest.mark.parametrize("style", ["captions", "riddles"])
def test_all_texts_are_written_in_one_alphabet(style: Style) -> None:
    assert set("".join(describe_sprites(150, seed=8, style=style))) <= set(ALPHABET)
