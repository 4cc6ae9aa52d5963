"""The layers of docs/architecture.md: imports point down, and light modules load no torch.

Also: the judge chooses nothing, and the public names of `pokemon_gen` itself.
"""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

import pokemon_gen
from tests.builders import ROOT

PACKAGE = ROOT / "pokemon_gen"
# From the bottom up. A module or folder may import lower layers, and modules of its own folder.
LAYERS = [
    {"errors", "constants"},
    {"files", "bars", "hub_log"},
    {"palette", "settings", "text_rows"},
    {"text_settings", "study_settings"},
    {"config_files", "submission", "progress", "report", "augmentation"},
    {"sprites"},
    {"models", "validation"},
    {"training"},
    {"completion"},
    {"discriminator"},
    {"evaluation"},
    {"interpret"},
    {"text"},
    {"study"},
    {"selection"},
    {"page"},
    {"stages"},
    {"pipeline"},
    {"reproduction"},
    {"cli_parts"},
    {"cli_text", "cli_study"},
    {"cli"},
]
LAYER = {name: number for number, names in enumerate(LAYERS) for name in names}
SHARED_BY_STAGES = {"plans", "kept", "scored", "inside_parts", "inside_sprites", "inside_text"}
JUDGES = {"discriminator.judge", "evaluation.scorecard"}


def imported_names(source: str) -> list[str]:
    """Return the full name of everything that a source imports.

    A relative import fails the test: it would be missed here.
    """
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return names


def module_of(file: Path) -> str:
    return ".".join(file.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


MODULES = {
    module_of(file): file
    for file in sorted(PACKAGE.rglob("*.py"))
    if file.parent != PACKAGE or file.stem != "__init__"
}


def imported_modules(source: str) -> set[str]:
    """Return the modules of this package that a source imports, such as `sprites.hub`."""
    modules = set()
    for name in imported_names(source):
        parts = name.split(".")
        if parts[0] == "pokemon_gen":
            candidates = (".".join(parts[1:end]) for end in range(len(parts), 1, -1))
            modules.add(next((module for module in candidates if module in MODULES), ""))
    return modules - {""}


GRAPH = {module: imported_modules(file.read_text()) - {module} for module, file in MODULES.items()}


def reachable(module: str) -> set[str]:
    """Return every module that a module imports, directly or through other modules."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        for imported in GRAPH[waiting.pop()] - seen:
            seen.add(imported)
            waiting.append(imported)
    return seen


def test_every_form_of_import_is_seen() -> None:
    lines = [
        "import pokemon_gen.cli",
        "from pokemon_gen import pipeline",
        "from pokemon_gen.sprites.hub import load_hub",
    ]
    assert imported_modules("\n".join(lines)) == {"cli", "pipeline", "sprites.hub"}
    assert imported_modules("def f():\n    from pokemon_gen.training.run import train") == {"training.run"}
    with pytest.raises(AssertionError, match="relative"):
        imported_modules("from ..training import train")


def test_every_module_has_a_layer() -> None:
    first = {module.split(".")[0] for module in MODULES}
    assert first - {"__main__"} == set(LAYER)
    assert len(first) < 36


@pytest.mark.parametrize("module", [module for module in MODULES if module != "__main__"])
def test_imports_point_down(module: str) -> None:
    folder = module.split(".")[0]
    for imported in GRAPH[module]:
        other = imported.split(".")[0]
        assert other == folder or LAYER[other] < LAYER[folder], f"{module} imports {imported}"


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    TopologicalSorter(GRAPH).prepare()  # raises CycleError, naming the circle


def test_no_stage_imports_another_stage() -> None:
    for module, imported in GRAPH.items():
        if module.startswith("stages."):
            stages = {other.removeprefix("stages.") for other in imported if other.startswith("stages.")}
            assert stages <= SHARED_BY_STAGES, module


@pytest.mark.parametrize(
    "module", ["selection", "completion.reranking", "discriminator.detector", "stages.select", "training.run"]
)
def test_the_judge_chooses_nothing(module: str) -> None:
    """A module that chooses or ranks imports neither the judge nor the scorecard, not even indirectly."""
    assert not reachable(module) & JUDGES


def test_only_one_module_uses_private_attributes_of_libraries() -> None:
    """They may change in any release; `models/hf_compat.py` names the attribute that did."""
    for module, file in MODULES.items():
        if module in ("models.hf_compat", "training.hooks"):
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if (
                isinstance(node, ast.Attribute)
                and node.attr.startswith("_")
                and not node.attr.startswith("__")
            ):
                owner = ast.unparse(node.value)
                allowed = owner in ("self", "cls", "settings") or owner.startswith(("torch", "self."))
                assert allowed, f"{module}: {owner}.{node.attr}"


LIGHT = [
    "text_rows",
    "submission",
    "cli",
    "settings",
    "config_files.loading",
    "palette",
    "validation",
    "stages.plans",
    "stages.kept",
    "models.choice",
    "models.locks",
    "training.resuming",
    "evaluation.frechet",
    "evaluation.kid",
]


@pytest.mark.parametrize("module", LIGHT)
def test_light_modules_import_no_heavy_package(module: str) -> None:
    heavy = {"torch", "transformers", "datasets", "pyarrow", "PIL", "scipy", "matplotlib"}
    if module in ("text_rows", "submission", "cli", "settings"):
        heavy |= {"numpy"}
    if module in ("submission", "cli"):  # `pokemon-gen check` imports these
        heavy |= {"pydantic", "packaging"}
    code = f"import sys, pokemon_gen.{module}; sys.exit(', '.join({heavy} & set(sys.modules)) or 0)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_command_sprites_imports_neither_torch_nor_datasets() -> None:
    code = "import sys, pokemon_gen.stages.sprites; sys.exit(bool({'torch', 'datasets'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_public_names_are_those_that_type_checkers_see() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    typed = {
        alias.asname: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    code = "import json, pokemon_gen; print(json.dumps(pokemon_gen._MODULES))"
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert {name: f"pokemon_gen.{module}" for name, module in ast.literal_eval(printed).items()} == typed


def test_the_version_is_that_of_the_installed_package() -> None:
    try:
        installed = version("pokemon-gen")
    except PackageNotFoundError:
        pytest.skip("the package is run from its folder and not installed")
    assert pokemon_gen.__version__ == installed
    assert re.match(r"\d+\.\d+", pokemon_gen.__version__)


def test_dir_lists_the_public_names() -> None:
    assert set(pokemon_gen.__all__) <= set(dir(pokemon_gen))
    for name in pokemon_gen.__all__:
        assert getattr(pokemon_gen, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = pokemon_gen.nonsense
