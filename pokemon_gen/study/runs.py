"""The trainings of a study: each run is an ordinary one, and its result is one entry of a JSON.

A run is trained, or resumed, or only read if its result exists and its settings are still those of the plan.
So a study that was stopped continues where it stopped, and a plan to which variants or seeds are added trains
only these. Variants with the same settings, such as the first ones of all groups, share one run. A training
that diverges is a result too.
"""

import logging
import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pokemon_gen.config_files.overrides import override_corpus
from pokemon_gen.constants import CHECKPOINTS, RESULTS
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.files import read_json, write_json
from pokemon_gen.models.checkpoints import log_history
from pokemon_gen.models.choice import choose_checkpoint
from pokemon_gen.models.likelihood import true_completion_nll
from pokemon_gen.models.loading import load_checkpoint
from pokemon_gen.models.runs import valid_checkpoints
from pokemon_gen.settings import RunSettings, Settings
from pokemon_gen.sprites.collection import FOLD, Sprites
from pokemon_gen.sprites.folds import random_folds
from pokemon_gen.sprites.loading import load_sprites_of
from pokemon_gen.study.plan import settings_of
from pokemon_gen.study_settings import StudyPlan
from pokemon_gen.text.generation import generate
from pokemon_gen.text.loading import load_text_model
from pokemon_gen.text.scores import score_corpus
from pokemon_gen.text.training import load_text_data, train_text
from pokemon_gen.text_settings import TextSettings
from pokemon_gen.training.divergence import DivergedError
from pokemon_gen.training.probe import probe_steps
from pokemon_gen.training.resuming import check_same_run
from pokemon_gen.training.run import TrainingResult, train
from pokemon_gen.training.sprites import SpriteData

_log = logging.getLogger(__name__)
STUDY_NAME = "study.json"
"""Name of the file of a study's results, in `eval/results/<name>/`."""
SCHEMA = 1
TWO_FOLDS = ("sprites.fold_size=160", "sprites.fold_seed=1")
"""Overrides that hold out two folds of 80 sprites at once, apart from the last 80 sprites of train, on which
many earlier choices were made."""
PROBE_SECONDS, PROBE_ROUNDS = 3.0, 2
"""How long the steps of a variant are measured in each round, and the rounds, for a study by time."""
SAME_COST = 0.1
"""Relative difference below which the costs of two steps count as equal."""


@dataclass(frozen=True)
class Member:
    """One run of a study: its group, variant and seed."""

    group: str
    variant: str
    seed: int

    @property
    def key(self) -> str:
        """The key of its result."""
        return f"{self.group}/{self.variant}/{self.seed}"


class InterruptedStudyError(PokemonGenError):
    """A training of a study was interrupted by a signal; its results so far are kept."""


def members_of_plan(plan: StudyPlan) -> list[Member]:
    """Return the runs of a study, seed by seed, those that others start from before these."""
    pairs = [(group, name) for group, members in plan.variants.items() for name in members]
    pairs.sort(key=lambda pair: _depth(plan, f"{pair[0]}/{pair[1]}"))
    return [Member(group, name, seed) for seed in plan.seeds for group, name in pairs]


def _depth(plan: StudyPlan, path: str, seen: tuple[str, ...] = ()) -> int:
    """Return how many trainings must come before that of a variant.

    Raises:
        PokemonGenError: if variants start from each other in a circle.
    """
    if path in seen:
        raise PokemonGenError(f"{plan.name}: variants start from each other in a circle: {', '.join(seen)}.")
    group, name = path.split("/", 1)
    start = plan.variants[group][name].start_from
    return 0 if start is None else 1 + _depth(plan, start, (*seen, path))


def study_file(plan: StudyPlan) -> Path:
    """Return the file of a study's results."""
    return RESULTS / plan.name / STUDY_NAME


def run_plan(plan: StudyPlan, overwrite: bool = False) -> dict[str, Any]:
    """Train what a study lacks, and return all its results.

    Args:
        plan: the study.
        overwrite: train runs again whose settings were others; by default, that is an error.

    Returns:
        `runs`: the key of a run → its result (see `_result`), and `plan`, `missing` (variants that were left
        out, with the reason) and, for a study by time, `costs` in seconds a step.

    Raises:
        PokemonGenError: for a mistaken plan, before anything is trained.
        InterruptedStudyError: if a training was interrupted.
    """
    members = members_of_plan(plan)
    for member in members:
        settings_of(plan, member.group, member.variant, member.seed)  # reports every mistake first
    file = study_file(plan)
    before = read_json(file) if file.is_file() else {}
    kept = before.get("runs", {}) if before.get("schema") == SCHEMA else {}
    results: dict[str, Any] = {
        "schema": SCHEMA,
        "plan": plan.model_dump(mode="json"),
        "costs": before.get("costs", {}),
        "missing": {},
        "runs": {},
    }
    steps = _steps_by_time(plan, results) if plan.seconds else {}
    for number, member in enumerate(members, start=1):
        settings = _settings(plan, member, steps)
        old = kept.get(member.key)
        if old and old["settings"] == settings.model_dump(mode="json") and old["measured"] == _asked(plan):
            results["runs"][member.key] = old
            continue
        if twin := _twin(plan, member, settings, results["runs"].values()):
            results["runs"][member.key] = twin
            continue
        _log.info("%s: run %d of %d: %s", plan.name, number, len(members), settings.name)
        try:
            results["runs"][member.key] = _trained(plan, member, settings, overwrite)
        except PokemonGenError as error:
            if (
                isinstance(error, InterruptedStudyError)
                or not plan.variants[member.group][member.variant].optional
            ):
                raise
            results["missing"][f"{member.group}/{member.variant}"] = str(error)
            _log.warning("%s is left out: %s", member.key, error)
        write_json(file, {**results, "runs": {**kept, **results["runs"]}})
    write_json(file, results)
    return results


def _twin(
    plan: StudyPlan, member: Member, settings: RunSettings, done: Iterable[dict[str, Any]]
) -> dict[str, Any] | None:
    """Return the result of a run that differs in its name alone, such as the first variant of another group.

    A run that others start from is trained all the same: they look for it by its name.
    """
    if f"{member.group}/{member.variant}" in {
        variant.start_from for members in plan.variants.values() for variant in members.values()
    }:
        return None
    asked = settings.model_dump(mode="json")
    for result in done:
        if {**result["settings"], "name": settings.name} == asked:
            return {**result, "group": member.group, "variant": member.variant, "settings": asked}
    return None


def _settings(plan: StudyPlan, member: Member, steps: dict[str, int]) -> RunSettings:
    """Return the settings of a run, with the steps of its time and the folds that are held out."""
    more: tuple[str, ...] = TWO_FOLDS if plan.folds else ()
    path = f"{member.group}/{member.variant}"
    if path in steps:
        more += (f"training.max_steps={steps[path]}",)
    return settings_of(plan, member.group, member.variant, member.seed, more)


def _asked(plan: StudyPlan) -> dict[str, Any]:
    """Return what is measured of each run."""
    return {"folds": plan.folds, "measure": plan.measure, "prompts": plan.prompts}


def _trained(plan: StudyPlan, member: Member, settings: RunSettings, overwrite: bool) -> dict[str, Any]:
    """Train a run and return its result."""
    begin = time.monotonic()
    result: dict[str, Any] = {
        "group": member.group,
        "variant": member.variant,
        "seed": member.seed,
        "run": settings.name,
        "settings": settings.model_dump(mode="json"),
        "measured": _asked(plan),
        "diverged": None,
    }
    try:
        done = _train(settings, overwrite)
    except PokemonGenError as error:
        if not isinstance(error.__cause__, DivergedError):
            raise
        history = _history_of(CHECKPOINTS / settings.name)
        return {**result, "diverged": str(error.__cause__), **_curves(history), "seconds": _since(begin)}
    if done.status == "interrupted":
        raise InterruptedStudyError(
            f"{settings.name}: interrupted at step {done.step}; the same command continues."
        )
    history = log_history(valid_checkpoints(done.folder)[-1])
    result |= {"steps": done.step, **_curves(history), "seconds": _since(begin)}
    measured = (
        _measure_text(plan, settings)
        if isinstance(settings, TextSettings)
        else _measure_folds(plan, settings)
    )
    return {**result, **measured}


def _since(begin: float) -> float:
    return round(time.monotonic() - begin, 1)


def _train(settings: RunSettings, overwrite: bool) -> TrainingResult[Any]:
    """Train a run of either kind, resume it, or replace one of other settings."""
    if overwrite:
        try:
            check_same_run(settings)
            overwrite = False  # it can be resumed
        except PokemonGenError as error:
            _log.info("%s", error)
    if isinstance(settings, TextSettings):
        return train_text(settings, load_text_data(settings), overwrite)
    assert isinstance(settings, Settings)
    return train(settings, overwrite=overwrite)


def _history_of(folder: Path) -> list[dict[str, Any]]:
    """Return the log of a run that diverged, up to its last checkpoint."""
    saved = valid_checkpoints(folder)
    return log_history(saved[-1]) if saved else []


def _curves(history: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the curves of train and dev, [step, nats/token], and their last values."""
    name = "eval_completion_nll" if any("eval_completion_nll" in entry for entry in history) else "eval_nll"
    train = [[entry["step"], entry["loss"]] for entry in history if "loss" in entry]
    dev = [[entry["step"], entry[name]] for entry in history if name in entry]
    last = [loss for _, loss in train[-max(1, len(train) // 10) :]]
    return {
        "curves": {"train": train, "dev": dev},
        "train": statistics.mean(last) if last else None,
        "dev": dev[-1][1] if dev else None,
        "best_dev": min(nll for _, nll in dev) if dev else None,
    }


def _measure_folds(plan: StudyPlan, settings: RunSettings) -> dict[str, Any]:
    """Return the NLL of the true completions of each fold, in nats/token."""
    model = load_checkpoint(valid_checkpoints(CHECKPOINTS / settings.name)[-1]).model
    parameters = {"parameters": sum(weight.numel() for weight in model.parameters())}
    if not plan.folds:
        return parameters
    assert isinstance(settings, Settings)
    folds = two_folds(load_sprites_of(settings.sprites))
    return {**parameters, "folds": [true_completion_nll(model, fold) for fold in folds]}


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


def _measure_text(plan: StudyPlan, settings: TextSettings) -> dict[str, Any]:
    """Return the likelihood of each text under a run's best checkpoint, and how it continues the prompts."""
    loaded = load_text_model(settings.name)
    scores = {}
    for name, overrides in (plan.measure or {"dev": []}).items():
        score = score_corpus(loaded, override_corpus(settings, overrides))
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


def _steps_by_time(plan: StudyPlan, results: dict[str, Any]) -> dict[str, int]:
    """Return the steps of each variant that fill the plan's seconds; costs are measured once, alternating.

    Variants whose steps cost about as much as the first one's get as many steps. A variant that starts from
    another one costs what its own settings cost from random weights.
    """
    paths = [f"{group}/{name}" for group, members in plan.variants.items() for name in members]
    costs: dict[str, float] = results["costs"]
    if not set(paths) <= set(costs):
        costs.clear()
        for path in _alternating(paths):
            group, name = path.split("/", 1)
            settings = settings_of(plan, group, name, plan.seeds[0]).model_copy(update={"start_from": None})
            seconds = probe_steps(settings, _data_of(settings), PROBE_SECONDS).seconds
            costs[path] = min(seconds, costs.get(path, seconds))
        write_json(study_file(plan), results)
    first = costs[paths[0]]
    equal = {path: first if abs(cost / first - 1) < SAME_COST else cost for path, cost in costs.items()}
    return {path: max(1, round(float(plan.seconds or 0) / equal[path])) for path in paths}


def _alternating(paths: Sequence[str]) -> Iterator[str]:
    """Yield the variants in rounds, every other one reversed, so that no variant is always second."""
    for number in range(PROBE_ROUNDS):
        yield from reversed(paths) if number % 2 else paths


def _data_of(settings: RunSettings) -> Any:
    """Return the training data of either kind of run."""
    if isinstance(settings, TextSettings):
        return load_text_data(settings)
    assert isinstance(settings, Settings)
    return SpriteData(load_sprites_of(settings.sprites))
