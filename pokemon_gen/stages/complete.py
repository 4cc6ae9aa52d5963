"""`pokemon-gen complete`: complete prompts with a checkpoint, and draw them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pokemon_gen.completion.reranking import complete_best
from pokemon_gen.completion.sidecar import provenance_of
from pokemon_gen.constants import PROMPT_LENGTH
from pokemon_gen.discriminator.detector import ranking
from pokemon_gen.files import write_json, write_text
from pokemon_gen.models.loading import Checkpoint, load_checkpoint
from pokemon_gen.palette import from_picture
from pokemon_gen.report.sheets import draw_completions, save_picture
from pokemon_gen.sprites.loading import load_sprites_of
from pokemon_gen.sprites.pictures import find_images, log_notes, read_pictures
from pokemon_gen.stages.plans import CompletionPlan, plan_completion
from pokemon_gen.text_rows import read_prompts, rows_text


@dataclass(frozen=True)
class Completions:
    """Completed sprites, and the files that hold them.

    Attributes:
        sprites: (N, 400) tokens.
        picture: of all of them.
        rows: their text form; the sidecar next to it (`.json`) records their provenance.
    """

    sprites: NDArray[np.int64] = field(repr=False)
    picture: Path
    rows: Path


def complete(
    checkpoint: str | Path,
    prompts: str | Path | NDArray[Any] | None = None,
    *,
    split: str | None = None,
    overrides: Sequence[str] = (),
    output: str | Path | None = None,
    overwrite: bool = False,
) -> Completions:
    """Complete prompts with a checkpoint, and draw them.

    Args:
        checkpoint: its folder, or the folder or the name of a run, whose best checkpoint is used.
        prompts: a text file of prompts (1 to 399 tokens a line; of a whole sprite, the first 240), a
            picture or a folder of pictures (their top 12 rows), or an array (N, L). None: those of `split`.
        split: `dev` or `test`, of the run's own sprites; None: `test`.
        overrides: `completion.temperature=0.9` and the like.
        output: the PNG; the rows are written next to it as `.txt`. None: in `eval/results/<name>/`, numbered.
        overwrite: replace files that exist.

    Raises:
        PokemonGenError: for a bad checkpoint or bad prompts, palettes that differ, or prompts and a split
            at once.
    """
    return run_completion(plan_completion(checkpoint, prompts, split, overrides, output, overwrite), prompts)


def run_completion(plan: CompletionPlan, prompts: str | Path | NDArray[Any] | None) -> Completions:
    """Do what a plan says; see `complete`."""
    checkpoint = load_checkpoint(plan.checkpoint)
    settings = checkpoint.settings
    if prompts is None:
        sprites = load_sprites_of(settings.sprites)
        checkpoint.require_palette_of(sprites)
        given: Any = sprites.prompts(str(plan.split))
    else:
        given = _given_prompts(prompts, checkpoint)
    completion, detector = ranking(checkpoint, settings.completion)
    settings = settings.model_copy(update={"completion": completion})
    title = f"complete {plan.split or 'prompts'}"
    completed = complete_best(checkpoint.model, given, completion, detector, progress=title)
    drawn = draw_completions(completed, checkpoint.palette, [len(row) for row in given])
    save_picture(drawn, plan.picture)
    text = rows_text(completed)
    sidecar = {
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "palette_size": len(checkpoint.palette),
        **provenance_of(checkpoint, settings, detector.fingerprint if detector else None),
    }
    write_json(plan.sidecar, sidecar)
    write_text(plan.rows, text)
    return Completions(completed, plan.picture, plan.rows)


def _given_prompts(prompts: str | Path | NDArray[Any], checkpoint: Checkpoint) -> Any:
    """Return prompts as rows of tokens in the checkpoint's palette."""
    if isinstance(prompts, np.ndarray):
        return prompts
    path = Path(prompts)
    if path.suffix == ".txt":
        return read_prompts(path, len(checkpoint.palette))
    skip_bad_images = checkpoint.settings.sprites.skip_bad_images
    read = read_pictures(find_images(path), skip_bad_images, of_prompts=True)
    log_notes(path, read)
    return from_picture(read.rgb, checkpoint.palette)[:, :PROMPT_LENGTH]
