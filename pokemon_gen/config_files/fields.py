"""Which fields `training:` and `model:` sections may have, read from the sources of `transformers`.

Importing the classes of `transformers` loads torch: up to 14 seconds and 700 MB before a misspelt word is
answered. Their sources name the same fields, and are read in a tenth of a second. What cannot be found there
is left to the checks in `arguments.py` and `models.py`, which ask the classes themselves.
"""

import ast
import functools
import importlib.util
import typing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from pokemon_gen.errors import SettingError, closest

ARGUMENTS = Path(__file__).parent.parent / "training" / "arguments.py"
"""Where our own fields of `training:` are defined."""
TRAINING_REFUSED = {
    "output_dir": "follows from `name`",
    "seed": "is the top-level `seed`",
    "label_names": "is always `labels`",
    "remove_unused_columns": "does not apply: batches are made of tokens alone",
    "resume_from_checkpoint": "is decided here: training again resumes from the last checkpoint",
    "eval_do_concat_batches": "is always true: figures are means over all of dev",
    "batch_eval_metrics": "is always false: figures are means over all of dev",
    "prediction_loss_only": "is always false: the NLL is measured from predictions",
}
"""Fields of `TrainingArguments` that cannot be set, and why: `it ...`."""
MEASURED = ("completion_nll", "nll", "loss")
"""What is measured on dev, all in nats/token: lower is better."""
MODEL_REFUSED = {
    "vocab_size": "comes from the palette",
    "bos_token_id": "is none: every token is a colour",
    "eos_token_id": "is none: every token is a colour",
    "pad_token_id": "is none: every token is a colour",
}
"""The same of a model's config."""


def check_training(training: Mapping[str, Any], types: Mapping[str, Any]) -> dict[str, Any]:
    """Check the names and values of a `training:` section.

    Args:
        training: field → value.
        types: field → type, of every field there is; `Any` where it is not known.

    Returns:
        The values, converted to their fields' types.

    Raises:
        SettingError: for an unknown field, naming the nearest known one, or a value that does not fit.
    """
    names = [f"training.{name}" for name in types if name not in TRAINING_REFUSED]
    checked = {}
    for field, value in training.items():
        setting = f"training.{field}"
        if field in TRAINING_REFUSED:
            raise SettingError(setting, f"{setting} cannot be set: it {TRAINING_REFUSED[field]}")
        if field not in types:
            raise SettingError(setting, f"unknown setting {setting!r}{closest(setting, names)}")
        checked[field] = _checked(setting, value, types[field])
        _check_value(field, value)
    return checked


_POSSIBLE: dict[str, tuple[Callable[[float], bool], str]] = {
    "per_device_train_batch_size": (lambda number: number >= 1, "a batch has at least one sprite"),
    "per_device_eval_batch_size": (lambda number: number >= 1, "a batch has at least one sprite"),
    "gradient_accumulation_steps": (lambda number: number >= 1, "1 or more"),
    "max_steps": (lambda number: number >= 1 or number == -1, "1 or more, or -1 for num_train_epochs"),
    "num_train_epochs": (lambda number: number > 0, "more than 0"),
    "muon_learning_rate": (lambda number: number >= 0, "0 (none) or more"),
    "muon_weight_decay": (lambda number: number >= 0, "0 (none) or more"),
}
"""What numbers make a training, and what that is in words."""


def _check_value(field: str, value: Any) -> None:
    """Refuse values that would be found out only once the training begins, or after it.

    Raises:
        SettingError: saying what is possible.
    """
    setting = f"training.{field}"
    if field in _POSSIBLE and not _POSSIBLE[field][0](value):
        raise SettingError(setting, f"{setting}: {_POSSIBLE[field][1]}, not {value}")
    if field == "metric_for_best_model" and str(value or MEASURED[0]).removeprefix("eval_") not in MEASURED:
        near = closest(value, MEASURED)
        raise SettingError(setting, f"{setting}: {value!r} is not measured{near}: {', '.join(MEASURED)} are")
    if field == "greater_is_better" and value:
        raise SettingError(setting, f"{setting}: {', '.join(MEASURED)} are better when lower; leave it out")
    if field == "save_strategy" and value == "no":
        raise SettingError(setting, f"{setting}: 'no' would throw the trained model away")
    if field == "save_strategy" and value == "best":
        raise SettingError(setting, f"{setting}: steps or epoch; the best is chosen by `select`")


def _checked(setting: str, value: Any, expected: Any) -> Any:
    """Return a value of the field's own type; `true` is no number and `"yes"` no truth."""
    kinds = (expected, *typing.get_args(expected))
    names = [one.value for kind in kinds if isinstance(kind, type) and issubclass(kind, Enum) for one in kind]
    if names and isinstance(value, str) and value not in names:
        raise SettingError(setting, f"{setting}: unknown {value!r}; one of {', '.join(names)}")
    try:
        return TypeAdapter(expected).validate_python(value, strict=True)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Input ")
        raise SettingError(setting, f"{setting}: {reason}, not {value!r}") from None


def check_model(
    fields: Collection[str], known: Collection[str], model_type: str, section: str, refused: Mapping[str, str]
) -> None:
    """Check the names of a model's fields; a config of `transformers` ignores a misspelt one.

    Args:
        fields: as in a config's section, without `model_type`.
        known: the fields that the type has.
        model_type: the type.
        section: the section's dotted name, for the error.
        refused: fields that cannot be set, and why: `it ...`.

    Raises:
        SettingError: for an unknown field, naming the nearest known one, or a refused one.
    """
    for field in fields:
        setting = f"{section}.{field}"
        if field in refused:
            raise SettingError(setting, f"{setting} cannot be set: it {refused[field]}")
        if field not in known:
            near = closest(setting, (f"{section}.{name}" for name in known if name not in refused))
            raise SettingError(setting, f"unknown setting {setting!r} for {model_type}{near}")


def check_family(model_type: str, known: Collection[str], section: str) -> None:
    """Check a model's type.

    Raises:
        SettingError: naming the nearest known one.
    """
    if model_type not in known:
        raise SettingError(
            f"{section}.model_type",
            f"{section}.model_type: {model_type!r} is no causal model of transformers"
            f"{closest(model_type, known)}",
        )


@functools.cache
def training_types() -> Mapping[str, Any] | None:
    """Return the fields of `training:` and their types; None if the sources do not tell."""
    theirs = _classes(_transformers("training_args.py")).get("TrainingArguments")
    ours = _classes(ARGUMENTS).get("SpriteTrainingArguments")
    if theirs is None or ours is None:
        return None
    return {name: _simple_type(annotation) for one in (theirs, ours) for name, annotation in _annotated(one)}


@functools.cache
def causal_types() -> Collection[str] | None:
    """Return the types of `AutoModelForCausalLM`; None if the sources do not tell."""
    for node in _parsed(_transformers("models/auto/modeling_auto.py")).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value = getattr(node, "value", None)
        if isinstance(target, ast.Name) and target.id == "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES":
            pairs = value.args[0] if isinstance(value, ast.Call) and value.args else value
            try:
                return frozenset(dict(ast.literal_eval(pairs)))  # type: ignore[arg-type]
            except (ValueError, TypeError):
                return None
    return None


@functools.cache
def model_fields(model_type: str) -> Collection[str] | None:
    """Return the fields of a type's config; None if the sources do not tell."""
    folder = _transformers(f"models/{model_type.replace('-', '_')}")
    for file in sorted(folder.glob("configuration_*.py")) if folder else ():
        classes = _classes(file)
        for one in classes.values():
            if _literal(one, "model_type") == model_type:
                return _config_fields(one, classes)
    return None


def _config_fields(one: ast.ClassDef, classes: Mapping[str, ast.ClassDef]) -> Collection[str] | None:
    """Return the fields of a config's class and of those it inherits from; None if one is not to be found."""
    fields = {name for name, _ in _annotated(one)} | set(_literal(one, "attribute_map") or ())
    for method in one.body:
        if isinstance(method, ast.FunctionDef) and method.name == "__init__":
            fields |= {argument.arg for argument in (*method.args.args, *method.args.kwonlyargs)}
    for base in one.bases:
        name = base.id if isinstance(base, ast.Name) else ""
        if name.endswith("Mixin"):
            continue
        if name not in classes:
            classes = _classes(_transformers("configuration_utils.py"))
        inherited = _config_fields(classes[name], classes) if name in classes else None
        if inherited is None:
            return None
        fields |= set(inherited)
    return fields - {"self", "kwargs"}


@functools.cache
def _enumerations() -> Mapping[str, Any]:
    """Return the enumerations that fields of `TrainingArguments` take their values from."""
    classes = _classes(_transformers("trainer_utils.py")) | _classes(_transformers("training_args.py"))
    found = {}
    for name, one in classes.items():
        if any(isinstance(base, ast.Name) and base.id == "ExplicitEnum" for base in one.bases):
            targets = [node.targets[0].id for node in one.body if _is_assignment(node)]  # type: ignore[attr-defined]
            values = {target: _literal(one, target) for target in targets}
            if all(isinstance(value, str) for value in values.values()) and values:
                found[name] = Enum(name, values)
    return found


def _is_assignment(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)


def _transformers(place: str) -> Path | None:
    """Return a file or folder of the sources of `transformers`, which is found but not imported."""
    found = importlib.util.find_spec("transformers")
    folders = found.submodule_search_locations if found else None
    return Path(folders[0]) / place if folders else None


def _parsed(file: Path | None) -> ast.Module:
    try:
        return ast.parse(file.read_text(encoding="utf-8")) if file else ast.Module([], [])
    except (OSError, SyntaxError):
        return ast.Module([], [])


def _classes(file: Path | None) -> dict[str, ast.ClassDef]:
    return {node.name: node for node in _parsed(file).body if isinstance(node, ast.ClassDef)}


def _annotated(one: ast.ClassDef) -> Iterator[tuple[str, ast.expr]]:
    """Yield the names and types of a dataclass' fields."""
    for node in one.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name = node.target.id
            if not name.startswith("_") and "ClassVar" not in ast.unparse(node.annotation):
                yield name, node.annotation


def _literal(one: ast.ClassDef, name: str) -> Any:
    """Return the plain value of a class attribute; None if there is none."""
    for node in one.body:
        targets: Sequence[ast.expr] = node.targets if isinstance(node, ast.Assign) else ()
        if isinstance(node, ast.AnnAssign):
            targets = [node.target]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            try:
                return ast.literal_eval(node.value)  # type: ignore[attr-defined]
            except ValueError:
                return None
    return None


def _simple_type(annotation: ast.expr) -> Any:
    """Return the type that an annotation of built-in types names, else `Any`."""
    names = {node.id for node in ast.walk(annotation) if isinstance(node, ast.Name)}
    built_in = {
        "int": int,
        "float": float,
        "bool": bool,
        "str": str,
        "dict": dict,
        "list": list,
        **_enumerations(),
    }
    if not names <= {*built_in, "Literal", "Any"}:
        return Any
    code = compile(ast.Expression(annotation), str(ARGUMENTS), "eval")
    return eval(code, {"__builtins__": {}}, {**built_in, "Literal": Literal, "Any": Any})
