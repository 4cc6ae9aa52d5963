"""What is measured of each run of a study, and from what a result was made.

Runs on sprites are measured at their end, so that all have equal steps; runs on text at their best
checkpoint, as `text score` does. Sprites of another palette than the model's are measured as a training would
start on them: each colour of theirs has the weights of the nearest one in OKLab (`models/starting.py`).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from pokemon_gen.completion.sampling import complete_prompts
from pokemon_gen.config_files.overrides import override_corpus, override_sprites
from pokemon_gen.constants import CHECKPOINTS, PROMPT_LENGTH
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.models.choice import choose_checkpoint
from pokemon_gen.models.ensemble import CompletionModel
from pokemon_gen.models.likelihood import true_completion_nll
from pokemon_gen.models.loading import Checkpoint, load_checkpoint
from pokemon_gen.models.runs import valid_checkpoints
from pokemon_gen.models.starting import start_from_sprites
from pokemon_gen.settings import RunSettings, Settings
from pokemon_gen.sprites.collection import FOLD, Sprites
from pokemon_gen.sprites.folds import random_folds
from pokemon_gen.sprites.loading import load_sprites_of
from pokemon_gen.study_settings import StudyPlan
from pokemon_gen.text.blocks import read_tokens
from pokemon_gen.text.corpus import open_corpus
from pokemon_gen.text.generation import generate
from pokemon_gen.text.loading import load_text_model
from pokemon_gen.text.scores import score_corpus
from pokemon_gen.text.tokenizers import encode
from pokemon_gen.text_settings import CorpusSettings, TextSettings
from pokemon_gen.training.sprites import augmentation_of

TWO_FOLDS = ("sprites.fold_size=160", "sprites.fold_seed=1")
"""Overrides that hold out two folds of 80 sprites at once, apart from the last 80 sprites of train, on which
many earlier choices were made."""


class Fingerprints:
    """The fingerprints of the data of a study's runs, each of which is read once."""

    def __init__(self, plan: StudyPlan) -> None:
        """Remember the plan, whose `measure` names more data."""
        self.plan = plan
        self._known: dict[str, str] = {}

    def of(self, settings: RunSettings) -> dict[str, str]:
        """Return the fingerprint of a run's own data, and of all data that it is measured on."""
        section = _data_section(settings)
        found = {"": self._of_section(section)}
        for name, overrides in self.plan.measure.items():
            found[name] = self._of_section(_overridden(settings, overrides))
        return found

    def _of_section(self, section: Any) -> str:
        key = section.model_dump_json()
        if key not in self._known:
            self._known[key] = (
                open_corpus(section).survey.fingerprint
                if isinstance(section, CorpusSettings)
                else load_sprites_of(section).fingerprint
            )
        return self._known[key]


def _data_section(settings: RunSettings) -> Any:
    """Return the section that names a run's data."""
    if isinstance(settings, TextSettings):
        return settings.corpus
    assert isinstance(settings, Settings)
    return settings.sprites


def _overridden(settings: RunSettings, overrides: list[str]) -> Any:
    """Return the section of data that a run is measured on."""
    if isinstance(settings, TextSettings):
        return override_corpus(settings.corpus, overrides)
    assert isinstance(settings, Settings)
    return override_sprites(settings.sprites, overrides)


def measure(plan: StudyPlan, settings: RunSettings) -> dict[str, Any]:
    """Return what is measured of a run that has ended.

    Returns:
        `parameters`: the number of weights. On sprites: `folds` (NLL of the completion, one for each fold),
        `scores` (data → `nll`) and `completions` (rows of 400 tokens) with the colours of their `palette`. On
        text: `checkpoint` (why it was chosen), `scores` (text → `nll`, `perplexity`, `bits_per_character`)
        and `samples` (prompt → continuation). NLLs are in nats/token.
    """
    if isinstance(settings, TextSettings):
        return _measure_text(plan, settings)
    assert isinstance(settings, Settings)
    return _measure_sprites(plan, settings)


def _measure_sprites(plan: StudyPlan, settings: Settings) -> dict[str, Any]:
    loaded = load_checkpoint(valid_checkpoints(CHECKPOINTS / settings.name)[-1])
    found: dict[str, Any] = {"parameters": sum(weight.numel() for weight in loaded.model.parameters())}
    if plan.folds:
        folds = two_folds(load_sprites_of(settings.sprites))
        return {**found, "folds": [true_completion_nll(loaded.model, fold) for fold in folds]}
    measured = {
        name: load_sprites_of(override_sprites(settings.sprites, overrides))
        for name, overrides in plan.all_measured().items()
    }
    if measured:
        found["scores"] = {
            name: {"nll": true_completion_nll(_fitted(loaded, settings, sprites), sprites.tokens("dev"))}
            for name, sprites in measured.items()
        }
    if plan.completions:
        shown = next(iter(measured.values()), None) or load_sprites_of(settings.sprites)
        prompts = shown.tokens("dev")[: plan.completions, :PROMPT_LENGTH]
        completed = complete_prompts(_fitted(loaded, settings, shown), prompts, settings.completion)
        found |= {"completions": completed.tolist(), "palette": shown.palette.rgb.tolist()}
    return found


def _fitted(loaded: Checkpoint, settings: Settings, sprites: Sprites) -> CompletionModel:
    """Return a model for the palette of some sprites."""
    if loaded.palette == sprites.palette:
        return loaded.model
    conditioning = augmentation_of(settings, sprites.palette).conditioning
    return start_from_sprites(str(loaded.folder), {}, sprites.palette, conditioning).eval()


def two_folds(sprites: Sprites) -> list[NDArray[np.int64]]:
    """Return the two folds of sprites that were loaded with `TWO_FOLDS`, about (80, 400) each.

    Copies of a sprite are in one fold.

    Raises:
        PokemonGenError: if the sprites have no fold.
    """
    if FOLD not in sprites.splits:
        raise PokemonGenError(f"{sprites.source}: no sprites are held out. Load them with {TWO_FOLDS}.")
    held_out = sprites.tokens(FOLD)
    return [held_out[rows] for rows in random_folds(held_out, [0.5, 0.5], seed=0)]


def require_readable(plan: StudyPlan, settings: TextSettings, tokenizer: PreTrainedTokenizerFast) -> None:
    """Check before a training that its tokenizer can read all that the run will be measured on.

    Raises:
        PokemonGenError: for a character that it lacks.
    """
    for prompt in plan.prompts:
        encode(tokenizer, settings.corpus.cased(prompt), f"{plan.name}: prompts")
    for overrides in plan.all_measured().values():
        read_tokens(open_corpus(override_corpus(settings.corpus, overrides)), "dev", tokenizer)


def _measure_text(plan: StudyPlan, settings: TextSettings) -> dict[str, Any]:
    loaded = load_text_model(settings.name)
    scores = {}
    for name, overrides in (plan.all_measured() or {"dev": []}).items():
        score = score_corpus(loaded, override_corpus(settings.corpus, overrides))
        scores[name] = {
            "nll": score.nll,
            "perplexity": score.perplexity,
            "bits_per_character": score.bits_per_character,
        }
    cased = settings.corpus.cased  # a model of capitals knows no other letters
    separator = cased(settings.corpus.separator)
    samples = {
        prompt: generate(loaded, cased(prompt), settings.generation, separator=separator)[0]
        for prompt in plan.prompts
    }
    return {
        "parameters": loaded.model.num_parameters(),
        "checkpoint": choose_checkpoint(settings.name).reason,
        "scores": scores,
        "samples": samples,
    }
