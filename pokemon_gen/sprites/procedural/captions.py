"""Captions of the procedural sprites: an embedded corpus of text that anybody may share.

The procedure that draws a sprite also describes it, so the text needs no labels: `facts` finds what is
visible, `phrases` puts features into words, and this module makes a sentence of them. Each caption leaves out
some facts and chooses among frames and synonyms with dice of its own, which never touch those of the picture.

There are two styles. A caption is one descriptive sentence. A riddle says facts of the same kinds in the
first person, which gives a second language with overlapping words for studies of transfer.

"True" means: true of the picture that `draw_sprites` draws at the first attempt, within the limits that
`facts` lists. `draw_sprites` redraws a sprite only if all 400 pixels equal those of an earlier one. Each
pixel's random texture makes that so unlikely that no caption checks for it.
"""

from collections.abc import Iterator
from typing import Literal, get_args

import numpy as np

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.sprites.procedural.bodies import create
from pokemon_gen.sprites.procedural.dice import Dice
from pokemon_gen.sprites.procedural.facts import Facts, find_facts
from pokemon_gen.sprites.procedural.phrases import NOUNS, Phrase, choose_phrases, join, with_articles

Style = Literal["captions", "riddles"]

STREAMS = {"captions": 1_000_003, "riddles": 1_000_033}
"""The last number of each style's seed, where pictures have the attempt: the dice must never be the same."""

ALPHABET = "abcdefghijklmnopqrstuvwxyz ,-.?"
"""The characters of both styles."""
SIZES = {"small": ("small", "little"), "cut off": ("big", "large"), "": ("",)}
SHAPES = {"ball": "round"}
"""The adjective of a body plan whose noun does not say its shape."""

GAZES = {
    "left": (("looking to the left", "looks to the left"), ("facing left", "faces left")),
    "right": (("looking to the right", "looks to the right"), ("facing right", "faces right")),
    "viewer": (
        ("looking straight at you", "looks straight at you"),
        ("facing the viewer", "faces the viewer"),
    ),
}
"""The ways to say a gaze: as a participle, and as a verb with "it"."""

FRAMES = (
    "{a_subject} with {features}",
    "this {subject} has {features}",
    "here is {a_subject} with {features}",
    "this {noun} is {colours} and has {features}",
    "the picture shows {a_subject} that has {features}",
    "{a_noun} in {colours}, with {features}",
)
FRAMES_WITH_GAZE = (
    "{a_subject} with {features}, {looking}",
    "{looking}, {a_subject} shows {features}",
    "{a_subject} {looks} and has {features}",
    "with {features}, this {subject} {looks}",
    "this {noun} is {colours}, {looks} and has {features}",
    "here is {a_subject} {looking}, with {features}",
)
FRAMES_OF_FEW = ("the picture shows {a_subject} that {looks}", "here you can see {a_subject} {looking}")
"""The frames of a creature without features."""

GAZE_OF_RIDDLES = {
    "left": ("i look to the left", "i face left", "my eyes turn left"),
    "right": ("i look to the right", "i face right", "my eyes turn right"),
    "viewer": ("i look straight at you", "i face you", "my eyes meet yours"),
}
QUESTIONS = ("what am i?", "who am i?", "can you name me?", "do you know me?")


def describe_sprites(count: int = 792, seed: int = 0, style: Style = "captions") -> list[str]:
    """Return one caption for each sprite of `draw_sprites(count, seed)`, in its order.

    Args:
        count: the number of sprites.
        seed: the seed of the sprites. Caption i depends only on it, i and the style.
        style: "captions" or "riddles".

    Raises:
        PokemonGenError: the style is unknown.
    """
    return list(iterate_captions(count, seed, style))


def iterate_captions(count: int = 792, seed: int = 0, style: Style = "captions") -> Iterator[str]:
    """Yield the captions of `describe_sprites` one by one, for corpora that are too large for a list.

    Raises:
        PokemonGenError: the style is unknown.
    """
    if style not in get_args(Style):
        raise PokemonGenError(f"style: {style!r} is unknown. Use one of {', '.join(get_args(Style))}.")
    write = _caption if style == "captions" else _riddle
    return (
        with_articles(
            write(find_facts(create(seed, index)), Dice(np.random.default_rng([seed, index, STREAMS[style]])))
        )
        for index in range(count)
    )


def _size_and_shape(facts: Facts, dice: Dice) -> list[str]:
    """Return the adjectives of a creature before its colour, such as "small" and "round"."""
    return [word for word in (dice.pick(SIZES[facts.size]), SHAPES.get(facts.plan, facts.shape)) if word]


def _colours(facts: Facts, dice: Dice) -> tuple[str, ...]:
    """Return the main colour, and often the second colour."""
    return facts.colours if dice.chance(0.6) else facts.colours[:1]


def _caption(facts: Facts, dice: Dice) -> str:
    """Return one descriptive sentence."""
    phrases = [phrase.indefinite() for phrase in choose_phrases(facts, dice.count(2, 4), "its", dice)]
    looking, looks = dice.pick(GAZES[facts.gaze])
    noun, colours = dice.pick(NOUNS[facts.plan]), join(_colours(facts, dice))
    subject = " ".join([*_size_and_shape(facts, dice), colours, noun])
    if phrases:
        frame = dice.pick(FRAMES_WITH_GAZE if len(phrases) < 2 or dice.chance(0.5) else FRAMES)
    else:
        frame = dice.pick(FRAMES_OF_FEW)
    return frame.format(
        a_subject=f"a {subject}",
        a_noun=f"a {noun}",
        subject=subject,
        noun=noun,
        colours=colours,
        features=join(phrases),
        looking=looking,
        looks=looks,
    )


def _riddle(facts: Facts, dice: Dice) -> str:
    """Return a few statements in the first person, a question and its answer."""
    clauses = [_clause(phrase, dice) for phrase in choose_phrases(facts, dice.count(1, 3), "my", dice)]
    if dice.chance(0.6) or len(clauses) < 2:
        clauses.append(dice.pick(GAZE_OF_RIDDLES[facts.gaze]))
    if facts.size == "cut off" and dice.chance(0.4):
        clauses.append("the frame is too small for me")
    clauses.insert(0, f"i am {join([*_size_and_shape(facts, dice), *_colours(facts, dice)])}")
    if dice.chance(0.3):
        clauses.reverse()
    text = clauses[0]
    for clause in clauses[1:]:
        text += dice.pick((", ", ", ", ". ")) + clause
    return f"{text}. {dice.pick(QUESTIONS)} a {dice.pick(NOUNS[facts.plan])}"


def _clause(phrase: Phrase, dice: Dice) -> str:
    """Return what a riddle says about one feature."""
    if phrase.adjectives and dice.chance(0.4):
        return phrase.predicate()
    if dice.chance(0.1):
        return f"you know me by {phrase.definite()}"
    return f"i {phrase.verb} {phrase.indefinite()}"
