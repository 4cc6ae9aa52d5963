"""`pokemon-gen submit`: complete the test prompts with a checkpoint and write the submission."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pokemon_gen import submission
from pokemon_gen.completion.reranking import rank_completions
from pokemon_gen.completion.sidecar import provenance_of
from pokemon_gen.constants import CHECKPOINTS, PROMPT_LENGTH
from pokemon_gen.discriminator.detector import ranking
from pokemon_gen.files import require_absent
from pokemon_gen.models.choice import CheckpointFiles
from pokemon_gen.models.loading import load_checkpoint
from pokemon_gen.models.locks import writing_for
from pokemon_gen.report.sheets import draw_completions, save_picture
from pokemon_gen.sprites.collection import Sprites
from pokemon_gen.sprites.loading import load_sprites_of
from pokemon_gen.stages.kept import submission_files
from pokemon_gen.stages.plans import plan_submission


@dataclass(frozen=True)
class Submission:
    """A checked submission: its files, its checkpoint, and the reason why that one was chosen."""

    file: Path
    sidecar: Path
    picture: Path
    checkpoint: Path
    reason: str
    report: submission.Report


def submit(checkpoint: str | Path, *, overrides: Sequence[str] = (), overwrite: bool = False) -> Submission:
    """Complete the test prompts with a checkpoint and write the submission, its sidecar and a picture.

    Args:
        checkpoint: its folder, or the folder or the name of a run, whose best checkpoint is used.
        overrides: `completion.temperature=0.9` and the like.
        overwrite: replace files that exist.

    Raises:
        PokemonGenError: as `complete`, and if a file of the submission exists.
    """
    files = plan_submission(checkpoint, overrides, overwrite)
    return run_submission(files, load_sprites_of(files.settings.sprites), overwrite)


def run_submission(files: CheckpointFiles, sprites: Sprites, overwrite: bool) -> Submission:
    """Write the submission of a checkpoint that was chosen; see `submit`.

    Raises:
        PokemonGenError: as `submit`, and if another process writes to the run or its submission.
    """
    with writing_for(CHECKPOINTS / files.settings.name):
        return _write(files, sprites, overwrite)


def _write(files: CheckpointFiles, sprites: Sprites, overwrite: bool) -> Submission:
    """Do what `run_submission` does, while the run is locked."""
    checkpoint = load_checkpoint(files)
    settings = checkpoint.settings
    file, sidecar, picture = submission_files(settings.name)
    require_absent(file, overwrite)  # a sidecar or picture without the file was left by a kill
    checkpoint.require_palette_of(sprites)
    prompts = sprites.prompts("test")
    completion, detector = ranking(checkpoint, settings.completion)
    settings = settings.model_copy(update={"completion": completion})
    ranked = rank_completions(checkpoint.model, prompts, completion, detector, progress="complete test")
    best = ranked.best(1)
    completed = best.sprites[:, 0]
    metadata = provenance_of(checkpoint, settings, detector.fingerprint if detector else None) | {
        "sprites": sprites.origin
    }
    lengths = [PROMPT_LENGTH] * len(completed)
    save_picture(draw_completions(completed, checkpoint.palette, lengths, best.captions), picture)
    report = submission.write(file, completed, prompts, len(checkpoint.palette), metadata, overwrite)
    return Submission(file, sidecar, picture, files.folder, files.reason, report)
