"""Checks of a run's settings that need no torch: names of fields, sources of sprites, files of own code.

A misspelt setting or a missing folder is answered within a second, before anything heavy is loaded.
"""

from collections.abc import Mapping
from pathlib import Path

from pokemon_gen.config_files.checks import (
    CLASSIFIER_REFUSED,
    MODEL_REFUSED,
    TEXT_MODEL_REFUSED,
    check_family,
    check_model,
    check_training,
)
from pokemon_gen.config_files.fields import causal_types, model_fields, training_types
from pokemon_gen.config_files.overrides import shipped_types
from pokemon_gen.constants import CHECKPOINTS, SETTINGS_NAME
from pokemon_gen.errors import PokemonGenError, SettingError
from pokemon_gen.settings import DetectorSettings, JudgeSettings, RunSettings, Settings, SpriteSettings
from pokemon_gen.sprites.sources import check_palette, parse_source


def check_settings(settings: Settings | JudgeSettings) -> None:
    """Check everything in a run's settings that needs no torch.

    Raises:
        PokemonGenError: for the first mistake, with the place of the setting.
    """
    check_fields(settings)
    check_sprites(settings.sprites)
    if isinstance(settings, Settings) and settings.selection.on == "fold" and not settings.sprites.fold_size:
        raise PokemonGenError(
            "selection.on: there is no fold to choose on. Set sprites.fold_size=80, or choose on dev."
        )


def check_fields(settings: RunSettings | JudgeSettings) -> None:
    """Check the fields of the sections `training` and `model`, and of the detector's models.

    Raises:
        PokemonGenError: for an unknown field or a value that does not fit, with the place of the setting.
    """
    with settings.placing_errors():
        for section, model in _language_models(settings).items():
            types = causal_types()
            if types is not None:
                check_family(str(model["model_type"]), types, section)
            learns_text = isinstance(settings, RunSettings) and settings.learns == "text"
            _check_model(settings, section, model, TEXT_MODEL_REFUSED if learns_text else MODEL_REFUSED)
        for section, model in _classifiers(settings).items():
            _check_model(settings, section, model, CLASSIFIER_REFUSED)
        types = training_types()
        if isinstance(settings, RunSettings) and types is not None:
            check_training(settings.training, types, settings.measured)
        if isinstance(settings, RunSettings):
            check_functions(settings)


def check_functions(settings: RunSettings) -> None:
    """Check the files of a person's own code that the settings name, without importing them.

    Raises:
        SettingError: for another form than `FILE.py:NAME`, a missing file, or a file that may not be run.
    """
    for setting, place in settings.named_functions().items():
        check_place(setting, place)


def check_place(setting: str, place: str) -> tuple[Path, str]:
    """Return the file and the name that `FILE.py:NAME` means, without importing the file.

    Raises:
        SettingError: for another form, a missing file, or a file that may not be run.
    """
    text, _, name = place.rpartition(":")
    if not text.endswith(".py") or not name.isidentifier():
        raise SettingError(
            setting, f"{setting}: write FILE.py:NAME, such as my_ideas.py:jitter, not {place!r}"
        )
    file, here = Path(text).resolve(), Path.cwd().resolve()
    if here not in file.parents or _is_shared(file, here):
        raise SettingError(
            setting,
            f"{setting}: {text} is not run. Put the file in the working directory, outside {CHECKPOINTS}/ "
            "and the folders of runs.",
        )
    if not file.is_file():
        raise SettingError(setting, f"{setting}: {text}: no such file. Check its path.")
    return file, name


def _is_shared(file: Path, here: Path) -> bool:
    """Tell whether a file is in a run's folder, which may come from somebody else."""
    folders = [parent for parent in file.parents if here in parent.parents]
    named = any(folder.name.casefold() == CHECKPOINTS.name for folder in folders)
    return named or any((folder / SETTINGS_NAME).exists() for folder in folders)


def check_sprites(sprites: SpriteSettings) -> None:
    """Check that sprites and palette exist where the settings say, as far as they are on this machine.

    Raises:
        PokemonGenError: naming what is missing.
    """
    parse_source(sprites.source)
    if sprites.palette is not None:
        check_palette(sprites.palette)


def _language_models(settings: RunSettings | JudgeSettings) -> dict[str, dict[str, object]]:
    """Return the sections of language models: the run's own, and those of its generators."""
    if isinstance(settings, JudgeSettings):
        return generator_models("judge", settings.judge)
    own: dict[str, dict[str, object]] = {"model": settings.model} if settings.model else {}
    return own | (generator_models("detector", settings.detector) if isinstance(settings, Settings) else {})


def generator_models(role: str, section: DetectorSettings) -> dict[str, dict[str, object]]:
    """Return the sections of the generators' language models of a `detector` or `judge` section."""
    more = (f"{role}.more_generators.{number}.model" for number in range(len(section.more_generators)))
    names = (f"{role}.generator.model", *more)
    return {name: kind.model for name, kind in zip(names, section.generators, strict=True)}


def _classifiers(settings: RunSettings | JudgeSettings) -> dict[str, dict[str, object]]:
    """Return the sections of image classifiers."""
    if isinstance(settings, JudgeSettings):
        return {"judge.classifier.model": settings.judge.classifier.model}
    if isinstance(settings, Settings):
        return {"detector.classifier.model": settings.detector.classifier.model}
    return {}


def _check_model(
    settings: RunSettings | JudgeSettings, section: str, model: dict[str, object], refused: Mapping[str, str]
) -> None:
    """Check the fields of one model section, as far as its type's fields can be read without torch."""
    model_type = str(model["model_type"])
    known = model_fields(model_type)
    if known is None:
        return
    given = [field for field in model if field != "model_type"]
    overridden = settings.overridden()
    before = overridden.get(f"{section}.model_type")
    unknown = [field for field in given if field not in known and f"{section}.{field}" not in overridden]
    if unknown and before not in (None, model_type):
        raise _other_type(section, model_type, str(before), unknown)
    check_model(given, known, model_type, section, refused)


def _other_type(section: str, model_type: str, before: str, unknown: list[str]) -> SettingError:
    """Return the error of an override that changes a model's type but not its fields."""
    advice = f"Name all fields of {model_type} in a config"
    if section == "model" and model_type in shipped_types():
        advice = f"`model={model_type}` takes the shipped settings of {model_type}; or name them in a config"
    return SettingError(
        f"{section}.model_type",
        f"{section}.model_type={model_type}: the config describes a {before}, whose "
        f"{', '.join(f'{section}.{field}' for field in unknown)} are not fields of {model_type}. {advice}",
    )
