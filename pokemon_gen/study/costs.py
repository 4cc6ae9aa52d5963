"""How many steps fit into a plan's seconds: costs of steps, measured in alternating rounds.

The costs are kept with the settings that they were measured for, so that a variant that is added does not
change the lengths of the others.
"""

import hashlib
import json
import logging
from collections.abc import Iterator, MutableMapping, Sequence
from typing import Any

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.settings import RunSettings, Settings
from pokemon_gen.sprites.loading import load_sprites_of
from pokemon_gen.study.plan import settings_of
from pokemon_gen.study_settings import StudyPlan
from pokemon_gen.text.training import load_text_data
from pokemon_gen.text_settings import TextSettings
from pokemon_gen.training.probe import probe_steps
from pokemon_gen.training.sprites import SpriteData

_log = logging.getLogger(__name__)
PROBE_SECONDS, PROBE_ROUNDS = 3.0, 2
"""How long the steps of a variant are measured in each round, and the rounds."""
SAME_COST = 0.1
"""Relative difference below which the costs of two steps count as equal."""


def steps_by_time(plan: StudyPlan, costs: MutableMapping[str, float]) -> dict[str, int]:
    """Return the steps of each variant that fill the plan's seconds.

    Variants whose steps cost about as much as the first one's get as many steps. A variant that starts from
    another one costs what its own settings cost from random weights. An optional variant that cannot be
    prepared here has no steps.

    Args:
        plan: a study by time.
        costs: what was measured before, in seconds a step; what is missing is measured and added.
    """
    settings = {
        f"{group}/{name}": _probed(plan, group, name)
        for group, members in plan.variants.items()
        for name in members
    }
    keys = {path: _key(of_variant) for path, of_variant in settings.items()}
    missing = [path for path in settings if keys[path] not in costs]
    found: dict[str, float] = {}
    for path in _alternating(missing):
        try:
            seconds = probe_steps(settings[path], _data_of(settings[path]), PROBE_SECONDS).seconds
        except PokemonGenError as error:
            group, name = path.split("/", 1)
            if not plan.variants[group][name].optional:
                raise
            _log.info("%s: its steps are not measured: %s", path, error)
            continue
        found[path] = min(seconds, found.get(path, seconds))
    costs.update({keys[path]: seconds for path, seconds in found.items()})
    known = {path: costs[key] for path, key in keys.items() if key in costs}
    first = next(iter(known.values()))
    equal = {path: first if abs(cost / first - 1) < SAME_COST else cost for path, cost in known.items()}
    return {path: max(1, round(float(plan.seconds or 0) / equal[path])) for path in known}


def _probed(plan: StudyPlan, group: str, name: str) -> RunSettings:
    """Return the settings whose steps are measured: those of the variant, from random weights."""
    settings = settings_of(plan, group, name, plan.seeds[0])
    base = plan.variants[group][name].start_from
    if base is None:
        return settings
    model = settings.model or _probed(plan, *base.split("/", 1)).model
    return settings.model_copy(update={"start_from": None, "model": model})


def _key(settings: RunSettings) -> str:
    """Return what identifies the costs of a variant: its settings without its name and its length."""
    fields = settings.model_dump(mode="json", exclude={"name"})
    fields["training"] = {name: value for name, value in settings.training.items() if name != "max_steps"}
    return hashlib.sha256(json.dumps(fields, sort_keys=True, default=str).encode()).hexdigest()[:16]


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
