"""Training a run with the Hugging Face `Trainer`, or going on with it.

What is learned and measured is `trainer.py`'s; here is a run's life: mistakes are told before anything is
lost, Ctrl-C leaves a checkpoint, and training again goes on from the last whole one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from transformers import PreTrainedModel, TrainerCallback

from pokemon_gen.config_files.loading import load_settings
from pokemon_gen.constants import CHECKPOINTS, SETTINGS_NAME
from pokemon_gen.errors import PokemonGenError, SettingError
from pokemon_gen.files import read_json, remove
from pokemon_gen.models.build import build_model
from pokemon_gen.models.checkpoints import (
    OPTIMIZER_NAME,
    SPRITES_NAME,
    can_resume_from,
    has_state,
    is_checkpoint,
    log_history,
    step_of,
)
from pokemon_gen.models.hf_compat import quiet
from pokemon_gen.models.locks import writing_to
from pokemon_gen.models.runs import DETECTOR_NAME, contents, last_checkpoint, member_runs, valid_checkpoints
from pokemon_gen.palette import Palette
from pokemon_gen.settings import PRECISION, Settings
from pokemon_gen.sprites.loading import Sprites, load_sprites
from pokemon_gen.stages.plans import check_fields
from pokemon_gen.training.arguments import (
    SpriteTrainingArguments,
    compile_if_possible,
    count_steps,
    fit_schedule,
    set_attention,
    training_arguments,
)
from pokemon_gen.training.callbacks import stop_on_signal
from pokemon_gen.training.divergence import DivergedError
from pokemon_gen.training.precision import can_fp16, choose_precision
from pokemon_gen.training.resuming import changed_settings, refuse_changes, with_precision
from pokemon_gen.training.trainer import SpriteTrainer, augmentation_of, make_trainer

Status = Literal["finished", "interrupted", "nothing left to do"]


@dataclass(frozen=True)
class TrainingResult:
    """What a call of `train` did.

    Attributes:
        folder: the run's folder.
        settings: of the run, with the precision that was chosen.
        status: `finished`, `interrupted` (a checkpoint was left) or `nothing left to do`.
        step: optimizer steps taken since the run began.
        max_steps: optimizer steps of the whole run.
        dev_nll: nats per token over the 399 predicted tokens, at the last evaluation.
        dev_completion_nll: the same over the completion's 160 tokens.
    """

    folder: Path
    settings: Settings
    status: Status
    step: int
    max_steps: int
    dev_nll: float | None
    dev_completion_nll: float | None


def train(
    settings: Settings,
    sprites: Sprites | None = None,
    callbacks: Sequence[TrainerCallback] = (),
    overwrite: bool = False,
) -> TrainingResult:
    """Train a run, or go on with it from its last whole checkpoint.

    Args:
        settings: the run.
        sprites: those of `settings.sprites`, if they are loaded already.
        callbacks: watch the training.
        overwrite: begin anew, throwing away what the run's folder holds.

    Returns:
        What was done; checkpoints are in `checkpoints/<name>/checkpoint-<step>/`.

    Raises:
        PokemonGenError: for settings that do not fit, or a run of other settings under this name.
    """
    sprites = sprites or load_sprites(**settings.sprites.model_dump())
    with writing_to(CHECKPOINTS / settings.name):
        return _train(settings, sprites, callbacks, overwrite)


def _train(
    settings: Settings, sprites: Sprites, callbacks: Sequence[TrainerCallback], overwrite: bool
) -> TrainingResult:
    """Do what `train` does, in a run's folder that is locked."""
    folder = CHECKPOINTS / settings.name
    checkpoint, settings = _beginning(settings, sprites, overwrite)
    model, arguments, settings = prepare(settings, sprites.palette, folder)
    max_steps = count_steps(arguments, len(sprites.splits["train"]))
    if checkpoint and step_of(checkpoint) >= max_steps:
        trained = load_settings(checkpoint / SETTINGS_NAME)  # in fp16, perhaps, and elsewhere
        settings = in_precision_of(trained, settings)
        return _result(folder, settings, "nothing left to do", checkpoint, max_steps)
    if checkpoint:
        checkpoint = _undamaged(folder, arguments)
    trainer = _trainer_of(model, arguments, sprites, settings, callbacks)
    # First of all, so that no other writes there before.
    trainer.callback_handler.callbacks.insert(0, _FolderAtBegin(folder, settings, anew=checkpoint is None))
    try:
        with quiet(), stop_on_signal(trainer):
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except ImportError as error:  # some packages are asked for only now
        raise PokemonGenError(f"training: {error}") from error
    except DivergedError as error:
        raise _diverged(error, folder, arguments) from error
    saved = {step_of(checkpoint): checkpoint for checkpoint in valid_checkpoints(folder)}
    if not saved:
        raise PokemonGenError(f"{folder}: the training was stopped before a checkpoint was saved")
    # One of a later step may be there that could not be gone on from.
    reached = saved.get(trainer.state.global_step, saved[max(saved)])
    finished = step_of(reached) >= max_steps
    return _result(folder, settings, "finished" if finished else "interrupted", reached, max_steps)


class _FolderAtBegin(TrainerCallback):
    """Readies a run's folder once the training begins: whatever was mistaken has been said by then."""

    def __init__(self, folder: Path, settings: Settings, anew: bool) -> None:
        self.folder, self.settings, self.anew = folder, settings, anew

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        if self.anew:
            remove(replaced_by_training(self.folder))
        self.settings.save(self.folder)


def _trainer_of(
    model: PreTrainedModel,
    arguments: SpriteTrainingArguments,
    sprites: Sprites,
    settings: Settings,
    callbacks: Sequence[TrainerCallback],
) -> SpriteTrainer:
    """Make a `Trainer` that is ready to begin, with its optimizer.

    Raises:
        PokemonGenError: for a schedule that does not fit, or a package that is not installed.
    """
    fit_schedule(arguments, count_steps(arguments, len(sprites.splits["train"])))
    compile_if_possible(arguments)
    try:
        trainer = make_trainer(model, arguments, sprites, settings, callbacks)
        trainer.get_train_dataloader()  # made anew by `train`, which keeps the optimizer
        trainer.create_optimizer()
    except (ValueError, TypeError, RuntimeError, ImportError) as error:
        raise PokemonGenError(f"training: {error}") from error
    except Exception as error:  # of the hub's client and of what it is built on, which have nothing in common
        if not arguments.push_to_hub:
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise PokemonGenError(
            f"training.push_to_hub: the hub cannot be used: {reason} Log in with `hf auth login`, or leave "
            "push_to_hub out and upload the finished checkpoint"
        ) from error
    return trainer


def prepare(
    settings: Settings, palette: Palette, folder: Path
) -> tuple[PreTrainedModel, SpriteTrainingArguments, Settings]:
    """Make a run's model and arguments; settings come back with the precision that was chosen.

    Raises:
        PokemonGenError: for a mistaken field, with its place in the config's file.
    """
    model, arguments = _model_and_arguments(settings, palette, folder)
    settings = _with_precision(settings, model, arguments.use_cpu)
    return model, training_arguments(settings, folder), settings


def _model_and_arguments(
    settings: Settings, palette: Palette, folder: Path
) -> tuple[PreTrainedModel, SpriteTrainingArguments]:
    check_fields(settings)
    try:
        told = augmentation_of(settings, palette).conditioning
        model = build_model(settings.model, len(palette), settings.seed, conditioning=told)
        arguments = training_arguments(settings, folder)
        set_attention(model, arguments)  # precision is measured with the attention that will be used
        return model, arguments
    except SettingError as error:
        place = settings.where(error.setting)
        raise PokemonGenError(f"{place}: {error}" if place else str(error)) from error


def _beginning(settings: Settings, sprites: Sprites, overwrite: bool) -> tuple[Path | None, Settings]:
    """Return the checkpoint that a run goes on from, if it does, and its settings then."""
    folder = CHECKPOINTS / settings.name
    checkpoint = None if overwrite else last_checkpoint(folder)
    if checkpoint:
        return checkpoint, _continued_settings(settings, checkpoint, sprites)
    if not overwrite:
        _refuse_what_is_no_leftover(folder)
    return None, settings


def _diverged(error: DivergedError, folder: Path, arguments: SpriteTrainingArguments) -> PokemonGenError:
    """Return the error of a training that has diverged, with what there is to do."""
    good = last_checkpoint(folder)
    left = f"The last good checkpoint is {good}" if good else "No checkpoint was saved before it"
    rates = {"learning_rate": arguments.learning_rate, "muon_learning_rate": arguments.muon_learning_rate}
    tried = " and ".join(f"training.{name} (is {rate:g})" for name, rate in rates.items() if rate)
    return PokemonGenError(
        f"{folder}: {error}. {left}. Lower {tried} and begin anew (--overwrite, or another name=...)"
    )


def _undamaged(folder: Path, arguments: SpriteTrainingArguments) -> Path:
    """Return the latest checkpoint that a run can go on from."""
    checkpoints = valid_checkpoints(folder)[::-1]
    for checkpoint in checkpoints:
        was_scaled = load_settings(checkpoint / SETTINGS_NAME).training.get("fp16", False)
        if can_resume_from(checkpoint, arguments.fp16 and was_scaled):
            return checkpoint
    last = checkpoints[0]
    what = "is damaged, as are all before it"
    if not any((checkpoint / OPTIMIZER_NAME).exists() for checkpoint in checkpoints):
        what = "was saved without its optimizer (training.save_only_model)"
    raise PokemonGenError(f"{last} {what}, so the run cannot go on from it; --overwrite begins anew")


def replaced_by_training(folder: Path) -> list[Path]:
    """Return what a run's folder holds of a training; its detector outlasts one."""
    return [path for path in contents(folder) if path.name != DETECTOR_NAME]


def _refuse_what_is_no_leftover(folder: Path) -> None:
    """Let a run begin in a folder only if all it holds was left by a kill before the first checkpoint."""
    if member_runs(folder):
        raise PokemonGenError(
            f"{folder} holds an ensemble, and is kept: members={len(member_runs(folder))} goes on with it. "
            "Choose another name (name=...), or --overwrite to begin anew"
        )
    kept = [
        path
        for path in replaced_by_training(folder)
        if path.name not in (SETTINGS_NAME, "runs")
        and not (path.is_file() and path.name.startswith(".settings-"))  # was being written
        and not (is_checkpoint(path) and not has_state(path))
    ]
    if kept:
        raise PokemonGenError(
            f"{folder} exists and is kept: {kept[0].name} is nothing a run could go on from. "
            "Choose another name (name=...), or --overwrite to begin anew"
        )


def _continued_settings(settings: Settings, checkpoint: Path, sprites: Sprites) -> Settings:
    """Return the settings to go on with: the same run, perhaps longer, if possible as precise as it began."""
    before = load_settings(checkpoint / SETTINGS_NAME)
    chosen = {k: before.training[k] for k in PRECISION if k not in settings.training}
    if chosen.get("fp16") and not can_fp16():  # begun on a GPU: what this machine does best is chosen anew
        kept = {k: v for k, v in before.training.items() if k not in chosen}
        before = before.model_copy(update={"training": kept})
    else:
        settings = with_precision(settings, chosen)
    changed = changed_settings(before, settings)
    trained_on = read_json(checkpoint / SPRITES_NAME)["fingerprint"]
    if trained_on != sprites.fingerprint:
        changed.append(f"the sprites themselves (fingerprint was {trained_on}, is {sprites.fingerprint})")
    refuse_changes(settings.name, changed)
    return settings


def _with_precision(settings: Settings, model: PreTrainedModel, on_cpu: bool) -> Settings:
    """Write the precision into the settings, so that the run is the same wherever it goes on."""
    given = settings.training
    if any(k in given for k in PRECISION):
        return with_precision(settings, {k: given.get(k, False) for k in PRECISION})
    return with_precision(settings, choose_precision(model, on_cpu))


def in_precision_of(trained: Settings, settings: Settings) -> Settings:
    """Return settings in the precision that another run was trained in."""
    return with_precision(settings, {k: trained.training[k] for k in PRECISION})


def _result(
    folder: Path, settings: Settings, status: Status, checkpoint: Path, max_steps: int
) -> TrainingResult:
    dev: dict[str, float] = {}
    for entry in log_history(checkpoint):
        dev.update({key: value for key, value in entry.items() if key.startswith("eval_")})
    return TrainingResult(
        folder,
        settings,
        status,
        step_of(checkpoint),
        max_steps,
        dev.get("eval_nll"),
        dev.get("eval_completion_nll"),
    )
