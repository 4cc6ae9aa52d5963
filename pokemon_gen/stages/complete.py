"""`pokemon-gen complete`: complete prompts with a checkpoint, draw them, and write clean pictures of them."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pokemon_gen.completion.reranking import Ranked, rank_completions
from pokemon_gen.completion.sidecar import provenance_of
from pokemon_gen.constants import LENGTH, PROMPT_LENGTH
from pokemon_gen.discriminator.classifier import METADATA_NAME, Classifier
from pokemon_gen.discriminator.detector import ranking
from pokemon_gen.files import write_json, write_text
from pokemon_gen.models.loading import Checkpoint, load_checkpoint
from pokemon_gen.palette import Palette, to_picture
from pokemon_gen.report.sheets import draw_completions, save_picture
from pokemon_gen.settings import CompletionSettings
from pokemon_gen.sprites.loading import load_sprites_of
from pokemon_gen.sprites.pictures import find_images, log_notes
from pokemon_gen.sprites.prompts import PromptPicture, read_prompt_pictures
from pokemon_gen.stages.plans import CompletionPlan, plan_completion
from pokemon_gen.text_rows import prompt_of, read_prompts_or_sprites, rows_text

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Completions:
    """Completed sprites, and the files that hold them.

    Attributes:
        sprites: (N, 400) tokens, the best completion of each prompt.
        variants: (N, K, 400) tokens, the best K completions of each prompt, the best first.
        picture: of all of them.
        rows: the text form of `sprites`; the sidecar next to it (`.json`) records their provenance.
        pictures: a picture of each completion, for prompts that were passed.
    """

    sprites: NDArray[np.int64] = field(repr=False)
    variants: NDArray[np.int64] = field(repr=False)
    picture: Path
    rows: Path
    pictures: list[Path] = field(default_factory=list)

    def _repr_png_(self) -> bytes:
        """Show the sheet in a notebook's cell."""
        return self.picture.read_bytes()


@dataclass(frozen=True)
class _Prompts:
    """Prompts, what is known of their truth, and where they come from.

    Attributes:
        rows: N rows of 1 to 399 tokens.
        truth: the true sprite of each prompt, or None.
        origins: the picture or the name of each prompt that was passed; empty for a split.
    """

    rows: list[NDArray[np.int64]]
    truth: list[NDArray[np.int64] | None]
    origins: Sequence[PromptPicture | str] = ()


def complete(
    checkpoint: str | Path,
    prompts: str | Path | NDArray[Any] | None = None,
    *,
    split: str | None = None,
    overrides: Sequence[str] = (),
    output: str | Path | None = None,
    overwrite: bool = False,
    variants: int = 1,
) -> Completions:
    """Complete prompts with a checkpoint, and draw them.

    Prompts that are passed are also written as pictures, one for each completion: a picture keeps its canvas,
    its colours and its transparency.

    Args:
        checkpoint: its folder, or the folder or the name of a run, whose best checkpoint is used.
        prompts: a text file of prompts (1 to 399 tokens a line; of a whole sprite, the first 240), a
            picture or a folder of pictures (their top 12 rows), or an array (N, L). None: those of `split`.
        split: `dev` or `test`, of the run's own sprites; None: `test`.
        overrides: `completion.temperature=0.9` and the like.
        output: the PNG; the rows are written next to it as `.txt`, and pictures in a folder of its name.
            None: in `eval/results/<name>/`, numbered.
        overwrite: replace files that exist.
        variants: the completions of each prompt to keep, ranked by the detector, or without one by their
            likelihood. More than one needs `completion.do_sample=true`.

    Raises:
        PokemonGenError: for a bad checkpoint or bad prompts, palettes that differ, prompts and a split at
            once, or several variants of greedy completions.
    """
    plan = plan_completion(checkpoint, prompts, split, overrides, output, overwrite, variants)
    return run_completion(plan, prompts)


def run_completion(plan: CompletionPlan, prompts: str | Path | NDArray[Any] | None) -> Completions:
    """Do what a plan says; see `complete`."""
    checkpoint = load_checkpoint(plan.checkpoint)
    given = _of_split(checkpoint, str(plan.split)) if prompts is None else _passed(prompts, checkpoint)
    completion, detector = _ranking(checkpoint, plan.variants)
    title = f"complete {plan.split or 'prompts'}"
    ranked = rank_completions(checkpoint.model, given.rows, completion, detector, title).best(plan.variants)
    lengths = [len(row) for row in given.rows]
    palette, plan = checkpoint.palette, plan.numbered_again()
    save_picture(
        draw_completions(ranked.sprites, palette, lengths, ranked.captions, given.truth), plan.picture
    )
    pictures = _write_pictures(given, ranked, palette, plan.pictures) if given.origins else []
    completed = ranked.sprites[:, 0]
    text = rows_text(completed)
    settings = checkpoint.settings.model_copy(update={"completion": completion})
    sidecar = {
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "palette_size": len(palette),
        **provenance_of(checkpoint, settings, detector.fingerprint if detector else None),
    }
    write_json(plan.sidecar, sidecar)
    write_text(plan.rows, text)
    return Completions(completed, ranked.sprites, plan.picture, plan.rows, pictures)


def _ranking(checkpoint: Checkpoint, variants: int) -> tuple[CompletionSettings, Classifier | None]:
    """Return the completion settings with enough candidates for the variants, and what ranks them."""
    completion = checkpoint.settings.completion
    several = completion.model_copy(update={"candidates": max(completion.candidates, variants)})
    if variants > 1 and not (checkpoint.detector / METADATA_NAME).is_file():
        _log.warning(
            "%s has no detector, so the variants are ranked by their likelihood. Train a detector with "
            "`pokemon-gen detector CONFIG name=%s`.",
            checkpoint.detector.parent.name, checkpoint.settings.name,
        )  # fmt: skip
        return several, None
    return ranking(checkpoint, several)


def _of_split(checkpoint: Checkpoint, split: str) -> _Prompts:
    """Return the prompts of a split of the run's own sprites."""
    sprites = load_sprites_of(checkpoint.settings.sprites)
    checkpoint.require_palette_of(sprites)
    return _Prompts(list(sprites.prompts(split)), [_whole(row) for row in sprites.tokens(split)])


def _passed(prompts: str | Path | NDArray[Any], checkpoint: Checkpoint) -> _Prompts:
    """Return prompts that were passed, as rows of tokens in the checkpoint's palette."""
    if isinstance(prompts, np.ndarray):
        return _of_rows(prompts.tolist())
    path = Path(prompts)
    if path.suffix == ".txt":
        return _of_rows(read_prompts_or_sprites(path, len(checkpoint.palette)))
    skip_bad_images = checkpoint.settings.sprites.skip_bad_images
    pictures, left_out = read_prompt_pictures(find_images(path), checkpoint.palette, skip_bad_images)
    changes = [f"{picture.file.name}: {change}" for picture in pictures for change in picture.changes]
    log_notes(path, changes + left_out)
    truth = [picture.sprite if picture.has_completion else None for picture in pictures]
    return _Prompts([picture.sprite[:PROMPT_LENGTH] for picture in pictures], truth, pictures)


def _of_rows(rows: list[list[int]]) -> _Prompts:
    """Return rows of tokens as prompts."""
    names = [f"row-{number}" for number in range(1, len(rows) + 1)]
    return _Prompts(
        [np.array(prompt_of(row)) for row in rows], [_whole(np.array(row)) for row in rows], names
    )


def _whole(row: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Return a row if it is a whole sprite, and so the truth of its prompt."""
    return row if len(row) == LENGTH else None


def _write_pictures(given: _Prompts, ranked: Ranked, palette: Palette, folder: Path) -> list[Path]:
    """Write each completion as a picture of its own, and return the files."""
    names: list[str] = []
    for origin, sprites in zip(given.origins, ranked.sprites, strict=True):
        for number, sprite in enumerate(sprites, start=1):
            name = origin if isinstance(origin, str) else origin.file.stem
            names.append(_unused(f"{name}-{number}" if len(sprites) > 1 else name, names))
            save_picture(_picture_of(origin, sprite, palette), folder / f"{names[-1]}.png")
    return [folder / f"{name}.png" for name in names]


def _unused(name: str, names: Sequence[str]) -> str:
    """Return a name that is not in use: pictures of several folders may have the same name."""
    numbers = (f"{name}_{number}" for number in count(2))
    return name if name not in names else next(numbered for numbered in numbers if numbered not in names)


def _picture_of(origin: PromptPicture | str, sprite: NDArray[np.int64], palette: Palette) -> Image.Image:
    """Return a completion on the canvas of its picture, or as 20x20 pixels if it has none."""
    if isinstance(origin, str):
        return Image.fromarray(to_picture(sprite, palette))
    return origin.completed(sprite, palette)
