"""The trainings of a study: each run is an ordinary one, and its result is one entry of a JSON.

A run is trained, or resumed, or only read if its result exists and was made from the same settings, data and
base. So a study that was stopped continues where it stopped, and a plan to which variants or seeds are added
trains only these. Variants with the same settings, such as the first ones of all groups, share one run. A
training that diverges is a result too.
"""

import logging
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pokemon_gen.constants import CHECKPOINTS, RESULTS, SETTINGS_NAME
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.files import read_json, write_json
from pokemon_gen.models.checkpoints import fingerprint_checkpoint, is_of_others, log_history
from pokemon_gen.models.choice import choose_checkpoint
from pokemon_gen.models.runs import find_run, last_checkpoint, valid_checkpoints
from pokemon_gen.settings import RunSettings, Settings
from pokemon_gen.study.costs import steps_by_time
from pokemon_gen.study.measures import TWO_FOLDS, Fingerprints, measure, require_readable
from pokemon_gen.study.plan import settings_of
from pokemon_gen.study_settings import StudyPlan
from pokemon_gen.text.training import load_text_data, train_text
from pokemon_gen.text_settings import TextSettings
from pokemon_gen.training.divergence import DivergedError
from pokemon_gen.training.resuming import check_same_run
from pokemon_gen.training.run import TrainingResult, train

_log = logging.getLogger(__name__)
STUDY_NAME = "study.json"
"""Name of the file of a study's results, in `eval/results/<name>/`."""
SCHEMA = 2


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
        `runs`: the key of a run → its result, and `plan`, `missing` (variants that were left out, with the
        reason) and, for a study by time, `costs` in seconds a step. The file also keeps results of seeds and
        variants that the plan does not have now.

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
    steps = steps_by_time(plan, results["costs"]) if plan.seconds else {}
    fingerprints = Fingerprints(plan)
    for number, member in enumerate(members, start=1):
        settings = _settings(plan, member, steps)
        try:
            origin = _origin(fingerprints, settings)
            old = kept.get(member.key)
            found = _kept(plan, settings, origin, old) or _twin(
                plan, member, settings, results["runs"].values()
            )
            if not found:
                _log.info("%s: run %d of %d: %s", plan.name, number, len(members), settings.name)
                other = "made of other data or from another base" if old and _differs(origin, old) else None
                found = _trained(plan, member, settings, origin, _replaces(settings, other, overwrite))
            results["runs"][member.key] = found
        except PokemonGenError as error:
            if (
                isinstance(error, InterruptedStudyError)
                or not plan.variants[member.group][member.variant].optional
            ):
                raise
            results["missing"][f"{member.group}/{member.variant}"] = str(error)
            _log.warning("%s is left out: %s", member.key, error)
        write_json(file, {**results, "runs": {**kept, **results["runs"]}})
    return results


def _origin(fingerprints: Fingerprints, settings: RunSettings) -> dict[str, Any]:
    """Return what a run is made from besides its settings: fingerprints of its data and of its base.

    A base of others, on the hub or in a folder, has none: its place is in the settings.
    """
    base, folder = None, find_run(settings.start_from) if settings.start_from else None
    if folder is not None and folder.is_dir() and not is_of_others(folder):
        base = fingerprint_checkpoint(choose_checkpoint(folder).folder)
    return {"data": fingerprints.of(settings), "base": base}


def _differs(origin: dict[str, Any], old: dict[str, Any]) -> bool:
    """Tell whether a run was trained on other data, or from another base."""
    made: dict[str, Any] = old["origin"]
    return bool(made["data"][""] != origin["data"][""] or made["base"] != origin["base"])


def _kept(
    plan: StudyPlan, settings: RunSettings, origin: dict[str, Any], old: dict[str, Any] | None
) -> dict[str, Any] | None:
    """Return the result of an earlier call if nothing that it depends on has changed."""
    now = {"settings": settings.model_dump(mode="json"), "measured": _asked(plan), "origin": origin}
    return old if old and all(old[name] == value for name, value in now.items()) else None


def _replaces(settings: RunSettings, other: str | None, overwrite: bool) -> bool:
    """Tell whether the run of this name is another one, which must be trained again.

    A study compares whole trainings, so a run of another length is another one too: its learning rate has
    followed another schedule.

    Args:
        settings: of the run.
        other: why it is another one, if that is known.
        overwrite: whether it may be replaced.

    Raises:
        PokemonGenError: if it must be replaced and may not.
    """
    other = other or _other_length(settings)
    if other is None and overwrite:
        try:
            check_same_run(settings)
        except PokemonGenError as error:
            other = str(error)
    if other and not overwrite:
        raise PokemonGenError(
            f"{CHECKPOINTS / settings.name} holds a run that is {other}. Give the study another name "
            "(name=...), or train the runs that differ again with --overwrite."
        )
    if other:
        _log.info("%s is trained again: %s", settings.name, other)
    return other is not None


def _other_length(settings: RunSettings) -> str | None:
    """Return in words that the run of this name was trained with another number of steps or epochs."""
    saved = last_checkpoint(CHECKPOINTS / settings.name)
    if saved is None:
        return None
    before = read_json(saved / SETTINGS_NAME)["training"]
    for name in ("max_steps", "num_train_epochs"):
        if before.get(name) != settings.training.get(name):
            return f"of training.{name}={before.get(name)}, not {settings.training.get(name)}"
    return None


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
    return plan.model_dump(mode="json", include={"folds", "measure", "prompts", "completions"})


def _trained(
    plan: StudyPlan, member: Member, settings: RunSettings, origin: dict[str, Any], again: bool
) -> dict[str, Any]:
    """Train a run, `again` if it was trained as another one, and return its result."""
    begin = time.monotonic()
    result: dict[str, Any] = {
        "group": member.group,
        "variant": member.variant,
        "seed": member.seed,
        "run": settings.name,
        "settings": settings.model_dump(mode="json"),
        "measured": _asked(plan),
        "origin": origin,
        "diverged": None,
    }
    try:
        done = _train(plan, settings, again)
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
    return {**result, **measure(plan, settings)}


def _since(begin: float) -> float:
    return round(time.monotonic() - begin, 1)


def _train(plan: StudyPlan, settings: RunSettings, overwrite: bool) -> TrainingResult[Any]:
    """Train a run of either kind, resume it, or replace it."""
    if isinstance(settings, TextSettings):
        data = load_text_data(settings, overwrite)
        require_readable(plan, settings, data.tokenizer)
        return train_text(settings, data, overwrite)
    assert isinstance(settings, Settings)
    return train(settings, overwrite=overwrite)


def _history_of(folder: Path) -> list[dict[str, Any]]:
    """Return the log of a run that diverged, up to its last checkpoint."""
    saved = valid_checkpoints(folder)
    return log_history(saved[-1]) if saved else []


def _curves(history: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the curves of train and dev, [step, nats/token] over all tokens, and their last values."""
    train = [[entry["step"], entry["loss"]] for entry in history if "loss" in entry]
    dev = [[entry["step"], entry["eval_nll"]] for entry in history if "eval_nll" in entry]
    completion = [entry["eval_completion_nll"] for entry in history if "eval_completion_nll" in entry]
    last = [loss for _, loss in train[-max(1, len(train) // 10) :]]
    return {
        "curves": {"train": train, "dev": dev},
        "train": statistics.mean(last) if last else None,
        "dev": dev[-1][1] if dev else None,
        "dev_completion": completion[-1] if completion else None,
    }
