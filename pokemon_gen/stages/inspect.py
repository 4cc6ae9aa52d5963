"""`pokemon-gen inspect`: a trained run → one HTML page that shows the inside of its model.

The parts are computed in `inside_sprites.py` and `inside_text.py`, and written together into one folder: the
page, every picture, every array, the ablation as CSV, and the autoencoder. In place of a part that does not
fit the model, such as the heads of Mamba, the page has the reason.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

from pokemon_gen import __version__
from pokemon_gen.constants import SETTINGS_NAME
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.files import atomic_folder, write_text
from pokemon_gen.interpret.ablation import AblationRow
from pokemon_gen.interpret.activations import decoder_layers
from pokemon_gen.models.checkpoints import require_trained_on
from pokemon_gen.models.choice import read_choice
from pokemon_gen.models.ensemble import members_of
from pokemon_gen.models.environment import environment
from pokemon_gen.models.loading import load_checkpoint
from pokemon_gen.progress import RunProgress
from pokemon_gen.report.html import HtmlPage
from pokemon_gen.report.inside import InsideContent, Section, write_inside
from pokemon_gen.sprites.loading import load_sprites_of
from pokemon_gen.stages import inside_sprites, inside_text
from pokemon_gen.stages.inside_parts import (
    Features,
    ablation_csv,
    chosen_layer,
    missing_section,
    require_number,
)
from pokemon_gen.stages.plans import InspectionOptions, InspectionPlan, plan_inspection
from pokemon_gen.text.blocks import read_tokens, require_block
from pokemon_gen.text.corpus import open_corpus
from pokemon_gen.text.loading import load_text_model
from pokemon_gen.text.tokenizers import decode, encode

ABLATION_NAME = "ablation.csv"
"""The rows of the ablation, in the folder of the page."""
AUTOENCODER_NAME = "autoencoder"
"""The folder of the autoencoder, in the folder of the page."""
SECONDS = {"attention": 4.0, "embeddings": 12.0, "lens": 2.0, "features": 40.0, "ablation": 40.0}
"""About the CPU seconds of each part for `strong`: its two runs took 116 in all, imports included."""
_log = logging.getLogger(__name__)


@dataclass
class _Inside:
    """What was computed.

    Attributes:
        sections: the parts of the page.
        features: the autoencoder; None if this part does not fit the model.
        rows: of the ablation; none if it does not fit.
        seconds: that each part has taken.
    """

    sections: list[Section] = field(default_factory=list)
    features: Features | None = None
    rows: Sequence[AblationRow] = ()
    seconds: dict[str, float] = field(default_factory=dict)


def inspect(
    run: str | Path,
    options: InspectionOptions | None = None,
    *,
    output: str | Path | None = None,
    overwrite: bool = False,
) -> HtmlPage:
    """Write the page of a model's inside, and everything that it shows.

    Args:
        run: a checkpoint, or the folder or the name of a run on sprites or on text.
        options: what is shown; None shows the defaults.
        output: the folder of the page and its files. None: `eval/results/<name>/inside`, which is replaced.
        overwrite: replace `output` if it holds an inspection.

    Raises:
        PokemonGenError: for a missing run or data, an option that does not fit, or an output that exists.
    """
    return run_inspection(plan_inspection(run, options or InspectionOptions(), output, overwrite))


def run_inspection(plan: InspectionPlan) -> HtmlPage:
    """Do what a plan says; see `inspect`."""
    target = _require_replaceable(plan.folder)
    look_inside = _inside_text if plan.learned == "text" else _inside_sprites
    content, inside = look_inside(plan)
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_folder(target) as folder:
        folder.mkdir()
        if inside.features is not None:
            inside.features.autoencoder.save(folder / AUTOENCODER_NAME)
        if inside.rows:
            write_text(folder / ABLATION_NAME, ablation_csv(inside.rows))
        page = write_inside(content, folder)
    return HtmlPage(plan.folder / page.file.name)


def _require_replaceable(folder: Path) -> Path:
    """Return the real path of the output.

    Raises:
        PokemonGenError: for the working directory or a folder around it, which cannot be renamed.
    """
    target, here = folder.resolve(), Path.cwd().resolve()
    if target == here or target in here.parents:
        raise PokemonGenError(
            f"--output {folder}: this is the working directory, or a folder around it, so it cannot be "
            "replaced. Name a new folder."
        )
    return target


def _inside_sprites(plan: InspectionPlan) -> tuple[InsideContent, _Inside]:
    """Inspect a model of sprites.

    Raises:
        PokemonGenError: for an option that does not fit, or for sprites that have changed since the training.
    """
    checkpoint = load_checkpoint(read_choice(plan.choice))
    sprites = load_sprites_of(checkpoint.settings.sprites)
    checkpoint.require_palette_of(sprites)
    require_trained_on(plan.choice.folder, sprites.origin)
    members = members_of(checkpoint.model)
    dev = sprites.tokens("dev")
    options = plan.options
    number = require_number("--sprite", 1 if options.sprite is None else options.sprite, 1, len(dev))
    if options.token is not None:
        require_number("--token", options.token, 0, len(checkpoint.palette) - 1)
    pixel = options.pixel_number
    view = inside_sprites.SpriteView(
        model=members[0],
        palette=checkpoint.palette,
        train=sprites.tokens("train"),
        dev=dev,
        number=number,
        pixel=inside_sprites.body_pixel(dev[number - 1]) if pixel is None else pixel,
        layer=chosen_layer(members[0], options.layer),
        token=options.token,
        steps=options.feature_steps,
        shown=options.features,
    )
    inside = _look_inside(inside_sprites, view)
    about = [_about(members[0], f"{len(dev)} dev sprites of {sprites.source}")]
    if len(members) > 1:
        about.append(f"The run is an ensemble of {len(members)} models. This page is about its first member.")
    if view.skip:
        about.append(
            f"{view.skip} conditioning tokens precede the pixels. They say that a sprite is neither flipped "
            "nor recoloured."
        )
    facts = _facts(checkpoint.provenance["folder"], str(checkpoint.provenance["chosen_for"]), inside.seconds)
    return _content(plan, about, inside.sections, facts), inside


def _inside_text(plan: InspectionPlan) -> tuple[InsideContent, _Inside]:
    """Inspect a model of text.

    Raises:
        PokemonGenError: for an option that does not fit, a model whose corpus is not known, or a corpus that
            has changed since the training.
    """
    options, checkpoint = plan.options, plan.choice.folder
    if not (checkpoint / SETTINGS_NAME).is_file():
        raise PokemonGenError(
            f"{checkpoint}: its corpus is not known, because it has no {SETTINGS_NAME}. Name a run that "
            "`pokemon-gen text train` made."
        )
    text_model = load_text_model(checkpoint)
    assert text_model.settings is not None
    settings = text_model.settings.corpus
    corpus = open_corpus(settings)
    require_trained_on(checkpoint, corpus.origin)
    train, dev = (read_tokens(corpus, split, text_model.tokenizer) for split in ("train", "dev"))
    for split, stream in (("train", train), ("dev", dev)):
        require_block(stream, settings.block_size, f"{settings.source}: {split}")
    prompt = next(corpus.lines()) if options.prompt is None else settings.cased(options.prompt)
    word = settings.cased(options.word or "")  # a model of capitals knows no other letters
    all_tokens = encode(text_model.tokenizer, prompt, "--prompt")
    tokens = all_tokens[: settings.block_size]
    if len(tokens) < 2:
        raise PokemonGenError(f"--prompt: it has {len(tokens)} tokens. Give at least 2.")
    lines = (encode(text_model.tokenizer, line, "dev")[: settings.block_size] for line in corpus.lines())
    view = inside_text.TextView(
        text_model=text_model,
        train=train,
        dev=dev,
        tokens=tokens,
        other=next((line for line in lines if not np.array_equal(line, tokens)), None),
        word=word,
        contexts=inside_text.occurrences(corpus.lines(), word) if word else [],
        layer=chosen_layer(text_model.model, options.layer),
        steps=options.feature_steps,
        shown=options.features,
    )
    inside = _look_inside(inside_text, view)
    about = [
        _about(text_model.model, f"the text of {settings.source}"),
        _about_prompt(decode(text_model.tokenizer, tokens.tolist()), tokens, all_tokens),
    ]
    facts = _facts(str(checkpoint), plan.choice.reason, inside.seconds)
    return _content(plan, about, inside.sections, facts), inside


def _about_prompt(read: str, tokens: NDArray[np.int64], all_tokens: NDArray[np.int64]) -> str:
    """Return in a sentence what the model reads; a block may hold only the first tokens of a prompt."""
    if len(tokens) == len(all_tokens):
        return f"The prompt is “{read}”."
    return f"The prompt is “{read}”: its first {len(tokens)} of {len(all_tokens)} tokens, which fill a block."


def _look_inside(parts: Any, view: Any) -> _Inside:
    """Compute all parts of the page one after another, with the seconds that each has taken."""
    progress, inside = RunProgress(SECONDS), _Inside()

    def make_features(view: Any) -> Section:
        section, inside.features = parts.feature_section(view)
        return section

    def make_ablation(view: Any) -> Section:
        section, inside.rows = parts.ablation_section(view)
        return section

    makers: dict[str, Callable[[Any], Section]] = {
        "attention": parts.attention_section,
        "embeddings": parts.embedding_section,
        "lens": parts.lens_section,
        "features": make_features,
        "ablation": make_ablation,
    }
    for name, make in makers.items():
        progress.begin(name)
        inside.sections.append(_made_or_missing(name, make, view))
    inside.seconds = {**progress.taken, name: progress.clock() - progress.begun}
    return inside


def _made_or_missing(name: str, make: Callable[[Any], Section], view: Any) -> Section:
    """Return a part of the page, or the reason why it does not fit the model, which is logged too."""
    try:
        return make(view)
    except PokemonGenError as error:
        _log.warning("%s is left out: %s", name, error)
        return missing_section(name, error)


def _content(
    plan: InspectionPlan, about: Sequence[str], sections: Sequence[Section], facts: dict[str, dict[str, str]]
) -> InsideContent:
    return InsideContent(plan.name, about, sections, facts, plan.command)


def _about(model: PreTrainedModel, data: str) -> str:
    """Return what the model is and what it was shown, in a sentence."""
    parameters = sum(parameter.numel() for parameter in model.parameters())
    heads = getattr(model.config, "num_attention_heads", None)
    with_heads = f" with {heads} heads each" if heads else ""
    return (
        f"{model.config.model_type}, {len(decoder_layers(model))} layers{with_heads}, {parameters:,} "
        f"parameters, on {data}."
    )


def _facts(folder: str, reason: str, seconds: dict[str, float]) -> dict[str, dict[str, str]]:
    """Return what was used, and the seconds of each part."""
    return {
        "Checkpoint": {"folder": folder, "chosen": reason},
        "Seconds of each part": {name: f"{taken:.1f}" for name, taken in seconds.items()},
        "This page with": {"pokemon_gen": __version__, **environment()},
    }
