"""`pokemon-gen inspect`: a trained run → one HTML page that shows the inside of its model.

The parts are computed in `inside_sprites.py` and `inside_text.py`, and written together into one folder: the
page, every picture, every array, the ablation as CSV, and the autoencoder.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from pokemon_gen import __version__
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.files import atomic_folder, write_text
from pokemon_gen.interpret.ablation import AblationRow
from pokemon_gen.interpret.activations import decoder_layers
from pokemon_gen.models.choice import read_choice
from pokemon_gen.models.ensemble import members_of
from pokemon_gen.models.environment import environment
from pokemon_gen.models.loading import load_checkpoint
from pokemon_gen.progress import RunProgress
from pokemon_gen.report.html import HtmlPage
from pokemon_gen.report.inside import InsideContent, Section, write_inside
from pokemon_gen.sprites.loading import load_sprites_of
from pokemon_gen.stages import inside_sprites, inside_text
from pokemon_gen.stages.inside_parts import Features, ablation_csv, chosen_layer, require_number
from pokemon_gen.stages.plans import InspectionOptions, InspectionPlan, plan_inspection
from pokemon_gen.text.blocks import read_tokens, require_block
from pokemon_gen.text.corpus import Corpus, open_corpus
from pokemon_gen.text.loading import load_text_model
from pokemon_gen.text.tokenizers import encode

ABLATION_NAME = "ablation.csv"
"""The rows of the ablation, in the folder of the page."""
AUTOENCODER_NAME = "autoencoder"
"""The folder of the autoencoder, in the folder of the page."""
SECONDS = {"attention": 4.0, "embeddings": 12.0, "lens": 2.0, "features": 40.0, "ablation": 40.0}
"""About the CPU seconds of each part for `strong`: its two runs took 116 in all, imports included."""


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
    look_inside = _inside_text if plan.learned == "text" else _inside_sprites
    content, features, rows = look_inside(plan)
    plan.folder.parent.mkdir(parents=True, exist_ok=True)
    with atomic_folder(plan.folder) as folder:
        folder.mkdir()
        features.autoencoder.save(folder / AUTOENCODER_NAME)
        write_text(folder / ABLATION_NAME, ablation_csv(rows))
        page = write_inside(content, folder)
    return HtmlPage(plan.folder / page.file.name)


def _inside_sprites(plan: InspectionPlan) -> tuple[InsideContent, Features, Sequence[AblationRow]]:
    """Inspect a model of sprites."""
    checkpoint = load_checkpoint(read_choice(plan.choice))
    sprites = load_sprites_of(checkpoint.settings.sprites)
    checkpoint.require_palette_of(sprites)
    members = members_of(checkpoint.model)
    dev = sprites.tokens("dev")
    options = plan.options
    number = require_number("--sprite", options.sprite or 1, 1, len(dev))
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
    sections, features, rows, seconds = _sections(inside_sprites, view)
    about = [_about(members[0], f"{len(dev)} dev sprites of {sprites.source}")]
    if len(members) > 1:
        about.append(f"The run is an ensemble of {len(members)} models. This page is about its first member.")
    if view.skip:
        about.append(
            f"{view.skip} conditioning tokens precede the pixels. They say that a sprite is neither flipped "
            "nor recoloured."
        )
    facts = _facts(checkpoint.provenance["folder"], str(checkpoint.provenance["chosen_for"]), seconds)
    return _content(plan, about, sections, facts), features, rows


def _inside_text(plan: InspectionPlan) -> tuple[InsideContent, Features, Sequence[AblationRow]]:
    """Inspect a model of text."""
    options, text_model = plan.options, load_text_model(plan.choice.folder)
    assert text_model.settings is not None
    settings = text_model.settings.corpus
    corpus = open_corpus(settings)
    train, dev = (read_tokens(corpus, split, text_model.tokenizer) for split in ("train", "dev"))
    for split, stream in (("train", train), ("dev", dev)):
        require_block(stream, settings.block_size, f"{settings.source}: {split}")
    lines = _lines(corpus)
    prompt = lines[0] if options.prompt is None else options.prompt
    tokens, other = (
        encode(text_model.tokenizer, text, "--prompt")[: settings.block_size]
        for text in (prompt, lines[1 % len(lines)])
    )
    if len(tokens) < 2:
        raise PokemonGenError(f"--prompt: it has {len(tokens)} tokens. Give at least 2.")
    view = inside_text.TextView(
        text_model=text_model,
        train=train,
        dev=dev,
        tokens=tokens,
        other=other,
        word=options.word or "",
        contexts=inside_text.occurrences(lines, options.word) if options.word else [],
        layer=chosen_layer(text_model.model, options.layer),
        steps=options.feature_steps,
        shown=options.features,
    )
    sections, features, rows, seconds = _sections(inside_text, view)
    about = [_about(text_model.model, f"the text of {settings.source}"), f"The prompt is “{prompt}”."]
    facts = _facts(str(plan.choice.folder), plan.choice.reason, seconds)
    return _content(plan, about, sections, facts), features, rows


def _lines(corpus: Corpus) -> list[str]:
    """Return the lines of dev; the first is left out, which may begin inside a line of the text.

    Raises:
        PokemonGenError: if all lines are empty.
    """
    lines = [line for line in "".join(corpus.split("dev")).split("\n") if line.strip()]
    if not lines:
        raise PokemonGenError(f"{corpus.settings.source}: dev has only empty lines. Use a longer text.")
    return lines[1:] or lines


def _sections(
    parts: Any, view: Any
) -> tuple[list[Section], Features, Sequence[AblationRow], dict[str, float]]:
    """Compute all parts of the page one after another, with the seconds that each has taken."""
    progress = RunProgress(SECONDS)
    sections = []
    makers: dict[str, Callable[[Any], Section]] = {
        "attention": parts.attention_section,
        "embeddings": parts.embedding_section,
        "lens": parts.lens_section,
    }
    for title, make in makers.items():
        progress.begin(title)
        sections.append(make(view))
    progress.begin("features")
    section, features = parts.feature_section(view)
    sections.append(section)
    progress.begin("ablation")
    section, rows = parts.ablation_section(view)
    sections.append(section)
    seconds = {**progress.taken, "ablation": progress.clock() - progress.begun}
    return sections, features, rows, seconds


def _content(
    plan: InspectionPlan, about: Sequence[str], sections: Sequence[Section], facts: dict[str, dict[str, str]]
) -> InsideContent:
    return InsideContent(plan.name, about, sections, facts, plan.command)


def _about(model: PreTrainedModel, data: str) -> str:
    """Return what the model is and what it was shown, in a sentence."""
    parameters = sum(parameter.numel() for parameter in model.parameters())
    heads = model.config.num_attention_heads
    return (
        f"{model.config.model_type}, {len(decoder_layers(model))} layers with {heads} heads each, "
        f"{parameters:,} parameters, on {data}."
    )


def _facts(folder: str, reason: str, seconds: dict[str, float]) -> dict[str, dict[str, str]]:
    """Return what was used, and the seconds of each part."""
    return {
        "Checkpoint": {"folder": folder, "chosen": reason},
        "Seconds of each part": {name: f"{taken:.1f}" for name, taken in seconds.items()},
        "This page with": {"pokemon_gen": __version__, **environment()},
    }
