"""Checks of a run's settings that need no torch: names of fields, sources of sprites, files of own code.

A misspelt setting or a missing folder is answered within a second, before anything heavy is loaded.
"""

from collections.abc import Mapping

from pokemon_gen.config_files.checks import MODEL_REFUSED, check_family, check_model, check_training
from pokemon_gen.config_files.fields import causal_types, model_fields, training_types
from pokemon_gen.config_files.overrides import shipped_types
from pokemon_gen.errors import PokemonGenError, SettingError
from pokemon_gen.settings import JudgeSettings, Settings, SpriteSettings
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


def check_fields(settings: Settings | JudgeSettings) -> None:
    """Check the fields of the sections `training` and `model`, and of the detector's models.

    Raises:
        PokemonGenError: for an unknown field or a value that does not fit, with the place of the setting.
    """
    with settings.placing_errors():
        for section, model in _language_models(settings).items():
            types = causal_types()
            if types is not None:
                check_family(str(model["model_type"]), types, section)
            _check_model(settings, section, model, MODEL_REFUSED)
        for section, model in _classifiers(settings).items():
            _check_model(settings, section, model, {"num_labels": "is always two: real or not"})
        types = training_types()
        if isinstance(settings, Settings) and types is not None:
            check_training(settings.training, types)


def check_sprites(sprites: SpriteSettings) -> None:
    """Check that sprites and palette exist where the settings say, as far as they are on this machine.

    Raises:
        PokemonGenError: naming what is missing.
    """
    parse_source(sprites.source)
    if sprites.palette is not None:
        check_palette(sprites.palette)


def _language_models(settings: Settings | JudgeSettings) -> dict[str, dict[str, object]]:
    """Return the sections of language models: the run's own, and that of its generators."""
    if isinstance(settings, JudgeSettings):
        return {"judge.generator.model": settings.judge.generator.model}
    return {"model": settings.model, "detector.generator.model": settings.detector.generator.model}


def _classifiers(settings: Settings | JudgeSettings) -> dict[str, dict[str, object]]:
    """Return the sections of image classifiers."""
    if isinstance(settings, JudgeSettings):
        return {"judge.classifier.model": settings.judge.classifier.model}
    return {"detector.classifier.model": settings.detector.classifier.model}


def _check_model(
    settings: Settings | JudgeSettings, section: str, model: dict[str, object], refused: Mapping[str, str]
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
