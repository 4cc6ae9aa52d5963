"""The fields of `training:` and `model:` sections, read from the source code of `transformers`.

Importing the classes of `transformers` loads torch, which takes up to 14 seconds and 700 MB before a
misspelt name is reported. The source files name the same fields and are read in a tenth of a second.
What they do not show is left to the checks in `training/arguments.py` and `models/build.py`, which ask
the classes themselves.
"""

import ast
import functools
import importlib.util
import inspect
import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pokemon_gen.constants import SCRATCH

ARGUMENTS = Path(__file__).parent.parent / "training" / "arguments.py"
"""Source file of this package's own fields of `training:`."""
SCRATCH_MODEL = ARGUMENTS.parent.parent / "models" / "scratch.py"
"""Source file of this package's own type of model."""


class Field(NamedTuple):
    """A field of `training:` that this package adds to those of `transformers`.

    Attributes:
        name: its name.
        type: its type, or `Any`.
        default: its default value.
        docstring: the docstring below it, or an empty string.
    """

    name: str
    type: Any
    default: Any
    docstring: str


@functools.cache
def training_types() -> Mapping[str, Any] | None:
    """Return the fields of `training:` and their types, or None if the source files do not show them."""
    theirs = _classes(_transformers("training_args.py")).get("TrainingArguments")
    ours = _own_arguments()
    if theirs is None or ours is None:
        return None
    fields = [*_annotated(theirs), *_annotated(ours)]
    return {name: _simple_type(node.annotation) for name, node in fields}


def own_training_fields() -> list[Field]:
    """Return the fields of `training:` that this package adds to those of `transformers`."""
    node = _own_arguments()
    if node is None:
        return []
    docstrings = {
        statement: following.value.value
        for statement, following in itertools.pairwise(node.body)
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
    }
    return [
        Field(
            name,
            _simple_type(field.annotation),
            _literal(node, name),
            inspect.cleandoc(str(docstrings.get(field, ""))),
        )
        for name, field in _annotated(node)
    ]


@functools.cache
def causal_types() -> Collection[str] | None:
    """Return the types of `AutoModelForCausalLM`, or None if the source files do not show them."""
    for node in _parse(_transformers("models/auto/modeling_auto.py")).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value = getattr(node, "value", None)
        if isinstance(target, ast.Name) and target.id == "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES":
            pairs = value.args[0] if isinstance(value, ast.Call) and value.args else value
            try:
                return frozenset({*dict(ast.literal_eval(pairs)), SCRATCH})  # type: ignore[arg-type]
            except (ValueError, TypeError):
                return None
    return None


@functools.cache
def model_fields(model_type: str) -> Collection[str] | None:
    """Return the fields of a type's config, or None if the source files do not show them."""
    folder = _transformers(f"models/{model_type.replace('-', '_')}")
    files = sorted(folder.glob("configuration_*.py")) if folder else []
    for file in [SCRATCH_MODEL] if model_type == SCRATCH else files:
        classes = _classes(file)
        for node in classes.values():
            if _literal(node, "model_type") == model_type:
                return _config_fields(node, classes)
    return None


def _config_fields(node: ast.ClassDef, classes: Mapping[str, ast.ClassDef]) -> Collection[str] | None:
    """Return the fields of a config class and of its base classes, or None if a base class is not found."""
    fields = {name for name, _ in _annotated(node)} | set(_literal(node, "attribute_map") or ())
    for method in node.body:
        if isinstance(method, ast.FunctionDef) and method.name == "__init__":
            fields |= {argument.arg for argument in (*method.args.args, *method.args.kwonlyargs)}
    for base in node.bases:
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
    enumerations = {}
    for name, node in classes.items():
        if any(isinstance(base, ast.Name) and base.id == "ExplicitEnum" for base in node.bases):
            members = [line.targets[0].id for line in node.body if _is_assignment(line)]  # type: ignore[attr-defined]
            values = {member: _literal(node, member) for member in members}
            if all(isinstance(value, str) for value in values.values()) and values:
                enumerations[name] = Enum(name, values)
    return enumerations


def _own_arguments() -> ast.ClassDef | None:
    return _classes(ARGUMENTS).get("RunTrainingArguments")


def _transformers(path: str) -> Path | None:
    """Return a source file or folder of `transformers`, which is located but not imported."""
    spec = importlib.util.find_spec("transformers")
    folders = spec.submodule_search_locations if spec else None
    return Path(folders[0]) / path if folders else None


def _parse(file: Path | None) -> ast.Module:
    try:
        return ast.parse(file.read_text(encoding="utf-8")) if file else ast.Module([], [])
    except (OSError, SyntaxError):
        return ast.Module([], [])


def _classes(file: Path | None) -> dict[str, ast.ClassDef]:
    return {node.name: node for node in _parse(file).body if isinstance(node, ast.ClassDef)}


def _is_assignment(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)


def _annotated(node: ast.ClassDef) -> Iterator[tuple[str, ast.AnnAssign]]:
    """Yield the name and the statement of each field of a dataclass."""
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            name = statement.target.id
            if not name.startswith("_") and "ClassVar" not in ast.unparse(statement.annotation):
                yield name, statement


def _literal(node: ast.ClassDef, name: str) -> Any:
    """Return the plain value of a class attribute, or None if there is no such attribute or value."""
    for statement in node.body:
        targets: Sequence[ast.expr] = statement.targets if isinstance(statement, ast.Assign) else ()
        if isinstance(statement, ast.AnnAssign):
            targets = [statement.target]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            try:
                return ast.literal_eval(statement.value)  # type: ignore[attr-defined]
            except ValueError:
                return None
    return None


def _simple_type(annotation: ast.expr) -> Any:
    """Return the type that an annotation of built-in types names, or `Any` for any other annotation."""
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
