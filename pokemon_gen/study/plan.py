"""A study: one base, and named variants of it that are trained alike, with several seeds.

A plan is a YAML file. `variants` has groups (what is varied) and in each group names with overrides of the
base. The first variant of a group is what the others of the group are compared with.
"""

from pathlib import Path

from pokemon_gen.config_files.loading import load_config, load_settings, load_text_settings
from pokemon_gen.config_files.reading import STUDIES
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.settings import RunSettings
from pokemon_gen.study_settings import StudyPlan, slug
from pokemon_gen.validation import check_fields

SEPARATOR = "."
"""Between the parts of a run's name: study, group, variant and seed."""


def load_plan(path: str | Path, overrides: tuple[str, ...] = ()) -> StudyPlan:
    """Read a plan: a YAML file, or the name of a shipped study.

    Raises:
        PokemonGenError: for a plan that is missing or mistaken, with the place of each mistake.
    """
    return load_config(StudyPlan, path, overrides, STUDIES)


def run_name(plan: StudyPlan, group: str, name: str, seed: int) -> str:
    """Return the name of a run of a study."""
    return SEPARATOR.join((plan.name, slug(group), slug(name), str(seed)))


def settings_of(plan: StudyPlan, group: str, name: str, seed: int, more: tuple[str, ...] = ()) -> RunSettings:
    """Return the settings of one run of a study.

    Args:
        plan: the study.
        group: of the variant.
        name: of the variant.
        seed: of the run.
        more: further overrides.

    Raises:
        PokemonGenError: for a mistaken override, naming the variant.
    """
    variant = plan.variants[group][name]
    overrides = [*plan.of_source(), *plan.always, *variant.overrides, *more]
    overrides += [f"name={run_name(plan, group, name, seed)}", f"seed={seed}"]
    if variant.start_from:
        base_group, base_name = variant.start_from.split("/", 1)
        overrides += [f"start_from={run_name(plan, base_group, base_name, seed)}"]
    load = load_text_settings if plan.learns == "text" else load_settings
    try:
        settings = load(plan.base, overrides)
        check_fields(settings)
        return settings
    except PokemonGenError as error:
        raise PokemonGenError(f"{plan.name}: variant {group}/{name}: {error}") from error
