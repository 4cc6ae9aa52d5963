"""The words for the features of a sprite: from a `Feature` to a phrase such as "two long red horns".

`WORDS` is the dictionary. Captions and riddles share it, so that the two languages overlap in their nouns and
adjectives and differ in the rest. A phrase is kept in pieces, because captions say "a bushy red tail" where
riddles may say "my tail is bushy and red".
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pokemon_gen.sprites.procedural.dice import Dice
from pokemon_gen.sprites.procedural.facts import Facts, Feature

NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}


@dataclass(frozen=True)
class Word:
    """How to name a thing.

    Attributes:
        nouns: the nouns to choose from, each as "singular|plural".
        adjectives: the adjectives to choose from; all of them are true. An empty one stands for none.
        place: where the thing is, with "{owner}" for "its" or "my", and "{body}" and "{back}" for what
            markings are on; empty if the noun says it.
        verbs: what a riddle does with the thing: "i wear two horns".
        counted: whether several things are counted, as two horns are and feet are not.
    """

    nouns: tuple[str, ...]
    adjectives: tuple[str, ...] = ()
    place: str = ""
    verbs: tuple[str, ...] = ("have", "own")
    counted: bool = False


WORN = ("wear", "carry", "have")
SHOWN = ("show", "wear", "bear")
SWUNG = ("swing", "trail", "wave", "have")
RAISED = ("spread", "have")

WORDS = {
    ("antenna", ""): Word(("antenna|antennae", "feeler|feelers"), ("knobbed",), "", WORN, True),
    ("band", ""): Word(("band|bands",), (), "around {owner} body", SHOWN),
    ("beak", ""): Word(("beak|beaks", "bill|bills")),
    ("belly", ""): Word(("belly|bellies",)),
    ("belly", "banded"): Word(("belly|bellies",), ("banded", "ridged")),
    ("blush", ""): Word(("cheek|cheeks",), ("rosy",)),
    ("claw", ""): Word(("claw|claws",)),
    ("collar", ""): Word(("collar|collars", "ruff|ruffs"), (), "", WORN),
    ("crest", ""): Word(("crest|crests",), ("spiky", "jagged"), "", WORN),
    ("ear", "drooping"): Word(("ear|ears",), ("drooping", "hanging"), "", WORN, True),
    ("ear", "long"): Word(("ear|ears",), ("long", "tall"), "", WORN, True),
    ("ear", "pointed"): Word(("ear|ears",), ("pointed",), "", WORN, True),
    ("ear", "round"): Word(("ear|ears",), ("round",), "", WORN, True),
    ("eye", ""): Word(("eye|eyes",), ("glowing", "bright")),
    ("fin", ""): Word(("fin|fins",), ("pointed", ""), counted=True),
    ("fist", ""): Word(("fist|fists",), ("rough", "stony"), counted=True),
    ("foot", ""): Word(("foot|feet",)),
    ("gem", ""): Word(("gem|gems", "jewel|jewels"), (), "on {owner} forehead", WORN),
    ("hem", ""): Word(("hem|hems",), (), "on {owner} robe"),
    ("hood", ""): Word(("hood|hoods",), (), "behind {owner} head", WORN),
    ("horn", ""): Word(("horn|horns",), (), "", WORN, True),
    ("horn", "long"): Word(("horn|horns",), ("long",), "", WORN, True),
    ("horn", "short"): Word(("horn|horns",), ("short",), "", WORN, True),
    ("leaf", ""): Word(("leaf|leaves",), (), "on {owner} head", WORN, True),
    ("leg", ""): Word(("leg|legs",), ("thin", "slender"), counted=True),
    ("lock", ""): Word(("lock of hair|locks of hair",), (), "", WORN, True),
    ("lure", ""): Word(("lure|lures",), (), "over {owner} face", WORN),
    ("mask", "band"): Word(("band|bands", "stripe|stripes"), (), "over {owner} eyes", SHOWN),
    ("mask", "blaze"): Word(("blaze|blazes",), (), "down {owner} face", SHOWN),
    ("mask", "cap"): Word(("patch|patches",), (), "on {owner} head", SHOWN),
    ("mask", "jaw"): Word(("jaw|jaws", "chin|chins")),
    ("paw", ""): Word(("hand|hands", "paw|paws")),
    ("petal", ""): Word(("petal|petals",), (), "around {owner} face", WORN, True),
    ("plate", ""): Word(("spike|spikes",), (), "on {owner} {back}", WORN),
    ("rim", ""): Word(("rim|rims",), (), "around {owner} shell", SHOWN),
    ("robe", ""): Word(("robe|robes",), ("flowing", "wide"), "", ("wear",)),
    ("saddle", ""): Word(("patch|patches", "saddle|saddles"), (), "on {owner} {back}", SHOWN),
    ("shard", ""): Word(("crystal|crystals", "shard|shards"), ("pointed", ""), "on {owner} head", WORN, True),
    ("shell", ""): Word(("shell|shells",), ("domed", "ribbed"), "", ("carry", "wear")),
    ("snout", ""): Word(("snout|snouts", "muzzle|muzzles")),
    ("spot", ""): Word(("spot|spots",), ("round", ""), "on {owner} {body}", SHOWN),
    ("stalk", ""): Word(("stalk|stalks",), (), "", ("stand on",)),
    ("strand", ""): Word(
        ("tentacle|tentacles", "wisp|wisps"), (), "below {owner} body", ("trail", "wave"), True
    ),
    ("stripe", ""): Word(("stripe|stripes",), (), "on {owner} {body}", SHOWN),
    ("tail", "bushy"): Word(("tail|tails",), ("bushy", "fluffy"), "", SWUNG),
    ("tail", "feathered"): Word(("tail|tails",), ("feathered", "fanned"), "", SWUNG),
    ("tail", "forked"): Word(("tail|tails",), ("forked",), "", SWUNG),
    ("tail", "long"): Word(("tail|tails",), ("long", "tapering"), "", SWUNG),
    ("tail", "stub"): Word(("tail|tails",), ("stubby", "short"), "", SWUNG),
    ("tail", "thick"): Word(("tail|tails",), ("thick", "heavy"), "", SWUNG),
    ("tail", "thin"): Word(("tail|tails",), ("thin", "slender"), "", SWUNG),
    ("tail", "zigzag"): Word(("tail|tails",), ("crooked", "jagged"), "", SWUNG),
    ("tail end", "ball"): Word(("ball|balls", "knob|knobs"), (), "at the tip of {owner} tail", WORN),
    ("tail end", "flame"): Word(("flame|flames",), (), "at the tip of {owner} tail", WORN),
    ("tail end", "leaf"): Word(("tuft|tufts",), ("leafy",), "at the tip of {owner} tail", WORN),
    ("throat", ""): Word(("throat|throats",)),
    ("wing", "bat-like"): Word(("wing|wings",), ("raised", "bat-like"), "", RAISED, True),
    ("wing", "feathered"): Word(("wing|wings",), ("raised", "feathered"), "", RAISED, True),
    ("wing", "folded"): Word(("wing|wings",), ("folded", "closed"), counted=True),
    ("wing", "oval"): Word(("wing|wings",), ("oval", "rounded"), "", RAISED, True),
}
"""The words for each thing and kind that the drawing code notes."""

COATS = {"tortoise": "shell", "mushroom": "cap", "fairy": "robe"}
"""The part of a creature that markings of the body are on, where it is not the skin."""

NEEDS_COLOUR = {"belly", "foot", "mask", "paw", "rim", "saddle", "stalk", "tail end", "throat"}
"""Things that are worth a phrase only in a colour that differs from the main colour."""

NOUNS = {
    "ball": ("critter", "creature"),
    "biped": ("imp", "goblin"),
    "quadruped": ("beast", "four-legged beast"),
    "bird": ("bird", "fowl"),
    "dragon": ("dragon", "drake"),
    "serpent": ("serpent", "snake"),
    "fish": ("fish", "swimmer"),
    "insect": ("insect", "bug"),
    "bulb": ("sprout", "plant"),
    "mushroom": ("mushroom", "toadstool"),
    "ghost": ("ghost", "spirit"),
    "rock": ("rock", "boulder"),
    "tortoise": ("tortoise", "turtle"),
    "fairy": ("fairy", "pixie"),
}
"""The nouns for each body plan."""


@dataclass(frozen=True)
class Phrase:
    """One feature in words.

    Attributes:
        owner: "its" in captions, "my" in riddles.
        determiner: the article or the number; empty for several things that are not counted.
        adjectives: the adjectives, the colour last.
        noun: the noun in its number.
        place: where the thing is, or an empty string.
        plural: whether the verb must be plural.
        verb: what the owner does with the thing.
    """

    owner: str
    determiner: str
    adjectives: tuple[str, ...]
    noun: str
    place: str
    plural: bool
    verb: str

    def indefinite(self) -> str:
        """Return the phrase with its number or article: "two long red horns"."""
        return " ".join(filter(None, (self.determiner, *self.adjectives, self.noun, self.place)))

    def definite(self) -> str:
        """Return the phrase of a known thing: "my long red horns" or "the red spots on my body"."""
        article = "the" if self.place else self.owner
        return " ".join(filter(None, (article, *self.adjectives, self.noun, self.place)))

    def predicate(self) -> str:
        """Return the phrase as a statement: "my horns are long and red"."""
        bare = replace(self, adjectives=())
        return f"{bare.definite()} {'are' if self.plural else 'is'} {join(self.adjectives)}"


def choose_phrases(facts: Facts, count: int, owner: str, dice: Dice) -> list[Phrase]:
    """Return phrases for `count` random features of a sprite, or for all of them if there are fewer."""
    features = [feature for feature in facts.features if _is_worth_saying(feature, facts)]
    order = sorted((dice.between(0.0, 1.0), place) for place in range(len(features)))
    return [_phrase(features[place], facts, owner, dice) for _, place in order[:count]]


def _is_worth_saying(feature: Feature, facts: Facts) -> bool:
    """Return whether a feature says something beyond the plan, the main colour and the other features."""
    if feature.thing == "tail":  # "a flame at the tip of its tail" says that there is a tail
        return not any(
            other.thing == "tail end" and _is_worth_saying(other, facts) for other in facts.features
        )
    return feature.thing not in NEEDS_COLOUR or feature.colour not in ("", facts.colours[0])


def _phrase(feature: Feature, facts: Facts, owner: str, dice: Dice) -> Phrase:
    """Return a feature in words, with random synonyms."""
    word = WORDS[feature.thing, feature.kind]
    singular, plural = dice.pick(word.nouns).split("|")
    adjectives = [dice.pick(word.adjectives)] if word.adjectives else []
    if feature.colour != facts.colours[0]:
        adjectives.append(feature.colour)
    coat = COATS.get(facts.plan)
    return Phrase(
        owner,
        _determiner(feature.count, word.counted, dice),
        tuple(filter(None, adjectives)),
        plural if feature.count > 1 else singular,
        word.place.format(owner=owner, body=coat or "body", back=coat or "back"),
        feature.count > 1,
        dice.pick(word.verbs),
    )


def _determiner(count: int, counted: bool, dice: Dice) -> str:
    """Return the article or the number of things; several things may also stand without a number."""
    if count == 1:
        return "a"
    if not counted or dice.chance(0.25):
        return ""
    return dice.pick(("two", "two", "a pair of")) if count == 2 else NUMBERS[count]


def join(items: Sequence[str]) -> str:
    """Return a list in words: "a, b and c"."""
    return " and ".join([*([", ".join(items[:-1])] if items[:-1] else []), *items[-1:]])


def with_articles(text: str) -> str:
    """Return a text in which each "a" before a vowel is "an"."""
    return re.sub(r"\ba (?=[aeio])", "an ", text)
