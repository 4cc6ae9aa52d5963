"""`pokemon-gen select`: rank every checkpoint of a run and copy the best one to `best/`."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pokemon_gen.bars import progress_bar
from pokemon_gen.config_files.loading import load_settings
from pokemon_gen.constants import CHECKPOINTS, SETTINGS_NAME
from pokemon_gen.discriminator.detector import detector_for
from pokemon_gen.discriminator.training import check_trainable
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.evaluation.inception import Inception
from pokemon_gen.models.checkpoints import require_trained_on
from pokemon_gen.models.locks import writing_to
from pokemon_gen.models.runs import (
    BEST_NAME,
    DETECTOR_NAME,
    SELECTION_NAME,
    require_checkpoints,
)
from pokemon_gen.report.plots import save_selection_plot
from pokemon_gen.selection import (
    Selection,
    needed_completion,
    needs_detector,
    rank_checkpoints,
    save_selection,
    sprites_to_choose_on,
)
from pokemon_gen.settings import CompletionSettings, Criterion, Settings
from pokemon_gen.sprites.collection import Sprites
from pokemon_gen.sprites.loading import load_sprites_of
from pokemon_gen.stages.plans import plan_selection, settings_to_select

PLOT_NAME = "selection.png"


@dataclass(frozen=True)
class Selected:
    """A run's best checkpoint.

    Attributes:
        selection: the metrics of every checkpoint, best first.
        best: the copy of the chosen one.
        file: `selection.json`.
        picture: the metrics over the steps; None for a single checkpoint.
    """

    selection: Selection = field(repr=False)
    best: Path
    file: Path
    picture: Path | None


def select(
    run: str | Path,
    sprites: Sprites | None = None,
    *,
    by: Criterion | None = None,
    on: str | None = None,
    overrides: Sequence[str] = (),
    inception_weights: str | Path | None = None,
    completion: CompletionSettings | None = None,
) -> Selected:
    """Rank every checkpoint of a run and copy the best one to `checkpoints/<name>/best/`.

    Args:
        run: its folder, or its name.
        sprites: the run's; None loads them.
        by: the criterion; None: `selection.by` of the run's settings.
        on: `dev`, or `fold` (sprites held out of train, if the run held some out); None: as the settings say.
        overrides: where the run's sprites are now (`sprites.source=...`), `completion.temperature=0.9`.
        inception_weights: for `by="fid"`; see `Inception.load`.
        completion: how checkpoints complete, once for each prompt. None: as the best checkpoint that was
            chosen before, or as the last one's settings say. For `nll` nothing is completed.

    Returns:
        The selection; `selection.json` and a plot are in the run's folder.

    Raises:
        PokemonGenError: for a run without checkpoints or without what the criterion needs, or sprites that
            it was not trained on.
    """
    folder = plan_selection(run, overrides)  # before the lock, so that nothing is written to another folder
    with writing_to(folder):
        return _select(folder, sprites, by, on, overrides, inception_weights, completion)


def _select(
    folder: Path,
    sprites: Sprites | None,
    by: Criterion | None,
    on: str | None,
    overrides: Sequence[str],
    inception_weights: str | Path | None,
    completion: CompletionSettings | None,
) -> Selected:
    """Do what `select` does, while the run's folder is locked."""
    last = require_checkpoints(folder)[-1]
    chosen_before = folder / BEST_NAME  # it may complete in another way than it was trained to
    known = chosen_before if (chosen_before / SETTINGS_NAME).is_file() else last
    settings = settings_to_select(known, overrides)
    by, on = by or settings.selection.by, on or settings.selection.on
    needed = needed_completion(by, completion or settings.completion)
    if needed is None and any(override.startswith("completion.") for override in overrides):
        raise PokemonGenError(f"completion.*: no effect, since choosing by {by} completes nothing")
    sprites = sprites or load_sprites_of(settings.sprites)
    moved = "If the sprites moved, name their new location with sprites.source=..."
    require_trained_on(last, sprites.origin, moved)
    truth = sprites_to_choose_on(sprites, on)
    detector = detector_for(folder, sprites) if needed else None
    if detector is None and by == "detector":
        raise PokemonGenError(
            f"{folder}: this run has no detector to choose by. Train it with `pokemon-gen detector CONFIG`, "
            "or choose by another criterion (--by nll)."
        )
    inception = Inception.load(inception_weights) if by == "fid" else None
    with progress_bar(len(require_checkpoints(folder)), "select", "checkpoint") as bar:
        selection = rank_checkpoints(folder, truth, by, on, needed, detector, inception, bar.update)
    metadata = {
        "sprites": sprites.origin,
        "n": len(truth),
        "completion": needed.model_dump(mode="json") if needed else None,
        "detector": detector.fingerprint if detector else None,
        "protocol": inception.protocol if inception else None,
        "weights_sha256": inception.weights_sha256 if inception else None,
    }
    best = save_selection(folder, selection, metadata)
    now = {
        "completion": completion or settings.completion,
        "sprites": settings.sprites,
        "selection": settings.selection,
    }
    load_settings(best / SETTINGS_NAME).model_copy(update=now).save(best)
    return Selected(selection, best, folder / SELECTION_NAME, _draw_selection(folder, selection))


def _draw_selection(folder: Path, selection: Selection) -> Path | None:
    """Draw the metrics over the steps; a single checkpoint needs no plot."""
    picture = folder / PLOT_NAME
    if len(selection.ranked) == 1:
        picture.unlink(missing_ok=True)
        return None
    save_selection_plot([asdict(metrics) for metrics in selection.ranked], selection.by, picture)
    return picture


def check_selection(settings: Settings, sprites: Sprites, overwrite: bool) -> None:
    """Validate the selection settings before training.

    Raises:
        PokemonGenError: for a fold that is not held out, a detector that cannot be trained, or FID without
            weights.
    """
    sprites_to_choose_on(sprites, settings.selection.on)
    if needs_detector(settings):
        folder = CHECKPOINTS / settings.name / DETECTOR_NAME
        check_trainable(settings, sprites, folder, DETECTOR_NAME, overwrite)
    if settings.selection.by == "fid":
        Inception.load()
