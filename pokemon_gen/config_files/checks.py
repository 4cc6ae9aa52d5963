"""Checks of the names and values in `training:` and `model:` sections.

`fields.py` supplies the known fields where torch must not be loaded; `training/arguments.py` and
`models/build.py` run the same checks with the fields of the classes themselves.
"""

import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from enum import Enum
from typing import Any

from pydantic import TypeAdapter, ValidationError

from pokemon_gen.errors import SettingError, closest

TRAINING_REFUSED = {
    "output_dir": "follows from `name`",
    "seed": "is the top-level `seed`",
    "label_names": "is always `labels`",
    "remove_unused_columns": "does not apply, because batches consist of tokens only",
    "resume_from_checkpoint": "is not needed: a run resumes from its last checkpoint",
    "eval_do_concat_batches": "is always true, because metrics are means over all of dev",
    "batch_eval_metrics": "is always false, because metrics are means over all of dev",
    "prediction_loss_only": "is always false, because the NLL is measured from the predictions",
}
"""Fields of `TrainingArguments` that cannot be set, and why. The reason follows the word "it"."""
MODEL_REFUSED = {
    "vocab_size": "comes from the palette",
    "bos_token_id": "does not exist, because every token is a colour",
    "eos_token_id": "does not exist, because every token is a colour",
    "pad_token_id": "does not exist, because every token is a colour",
}
"""Fields of a model's config that cannot be set, and why. The reason follows the word "it"."""
_NO_SPECIAL_TOKEN = "does not exist, because every token is a piece of text"
TEXT_MODEL_REFUSED = {
    "vocab_size": "comes from the tokenizer",
    "bos_token_id": _NO_SPECIAL_TOKEN,
    "eos_token_id": _NO_SPECIAL_TOKEN,
    "pad_token_id": _NO_SPECIAL_TOKEN,
}
"""The same for a model of text."""
CLASSIFIER_REFUSED = {
    "num_labels": "is always two: real or not",
    "num_channels": "is always four: red, green, blue and a mask of the completion",
}
"""The same for the image classifier of a detector or judge."""
_BATCH_RULE = "at least 1 (a batch has at least one sprite)"
_NUMBER_RULES: dict[str, tuple[Callable[[float], bool], str]] = {
    "per_device_train_batch_size": (lambda number: number >= 1, _BATCH_RULE),
    "per_device_eval_batch_size": (lambda number: number >= 1, _BATCH_RULE),
    "gradient_accumulation_steps": (lambda number: number >= 1, "at least 1"),
    "max_steps": (
        lambda number: number >= 1 or number == -1,
        "at least 1, or -1 to train for num_train_epochs",
    ),
    "num_train_epochs": (lambda number: number > 0, "greater than 0"),
    "muon_learning_rate": (lambda number: number >= 0, "at least 0 (0 trains without Muon)"),
    "muon_weight_decay": (lambda number: number >= 0, "at least 0 (0 applies no weight decay)"),
}
"""Field of `training` → whether a number is possible, and what is possible in words."""


def check_training(
    training: Mapping[str, Any], types: Mapping[str, Any], measured: Sequence[str]
) -> dict[str, Any]:
    """Check the names and values of a `training:` section.

    Args:
        training: field → value.
        types: field → type for every known field; `Any` where the type is not known.
        measured: the names of the metrics of dev.

    Returns:
        The values, converted to the types of their fields.

    Raises:
        SettingError: for an unknown field, naming the nearest known one, or an impossible value.
    """
    names = [f"training.{name}" for name in types if name not in TRAINING_REFUSED]
    checked = {}
    for field, value in training.items():
        setting = f"training.{field}"
        if field in TRAINING_REFUSED:
            raise SettingError(setting, f"{setting} cannot be set: it {TRAINING_REFUSED[field]}")
        if field not in types:
            raise SettingError(setting, f"unknown setting {setting!r}{closest(setting, names)}")
        checked[field] = _convert(setting, value, types[field])
        _check_value(field, value, measured)
    return checked


def _check_value(field: str, value: Any, measured: Sequence[str]) -> None:
    """Refuse values that would otherwise fail only during the training or after it.

    Raises:
        SettingError: naming the possible values.
    """
    setting = f"training.{field}"
    if field in _NUMBER_RULES:
        is_possible, rule = _NUMBER_RULES[field]
        if not is_possible(value):
            raise SettingError(setting, f"{setting}: must be {rule}, not {value}")
    if field == "metric_for_best_model" and str(value or measured[0]).removeprefix("eval_") not in measured:
        near = closest(value, measured) or "."
        raise SettingError(
            setting, f"{setting}: {value!r} is not measured{near} Use one of {', '.join(measured)}."
        )
    if field == "greater_is_better" and value:
        raise SettingError(
            setting, f"{setting}: must be false, because lower values of {', '.join(measured)} are better"
        )
    if field == "save_strategy" and value == "no":
        raise SettingError(setting, f"{setting}: 'no' would discard the trained model. Use steps or epoch.")
    if field == "save_strategy" and value == "best":
        raise SettingError(
            setting,
            f"{setting}: 'best' is not supported, because `select` chooses the best checkpoint. "
            "Use steps or epoch.",
        )


def _convert(setting: str, value: Any, expected: Any) -> Any:
    """Return a value as the field's own type. `true` is not a number, and `"yes"` is not a truth value."""
    kinds = (expected, *typing.get_args(expected))
    allowed = [
        member.value for kind in kinds if isinstance(kind, type) and issubclass(kind, Enum) for member in kind
    ]
    if allowed and isinstance(value, str) and value not in allowed:
        raise SettingError(setting, f"{setting}: unknown value {value!r}. Use one of {', '.join(allowed)}.")
    try:
        return TypeAdapter(expected).validate_python(value, strict=True)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Input ")
        raise SettingError(setting, f"{setting}: {reason}, not {value!r}") from None


def check_model(
    fields: Collection[str], known: Collection[str], model_type: str, section: str, refused: Mapping[str, str]
) -> None:
    """Check the names of a model's fields, because a config of `transformers` ignores a misspelt one.

    Args:
        fields: names in a config's section, without `model_type`.
        known: names of all fields of the type.
        model_type: the type.
        section: dotted name of the section, for error messages.
        refused: fields that cannot be set, and why. The reason follows the word "it".

    Raises:
        SettingError: for an unknown field, naming the nearest known one, or a refused field.
    """
    for field in fields:
        setting = f"{section}.{field}"
        if field in refused:
            raise SettingError(setting, f"{setting} cannot be set: it {refused[field]}")
        if field not in known:
            near = closest(setting, (f"{section}.{name}" for name in known if name not in refused))
            raise SettingError(setting, f"unknown setting {setting!r} for {model_type}{near}")


def same_model(fields: Mapping[str, Any], config: Any) -> str | None:
    """Return the first field of a `model:` section that differs from a model's config; None if none does."""
    for field, value in fields.items():
        if getattr(config, field, None) != value:
            return field
    return None


def check_family(model_type: str, known: Collection[str], section: str) -> None:
    """Check a model's type.

    Raises:
        SettingError: for an unknown type, naming the nearest known one.
    """
    if model_type not in known:
        raise SettingError(
            f"{section}.model_type",
            f"{section}.model_type: {model_type!r} is not a causal language model of transformers"
            f"{closest(model_type, known)}",
        )
