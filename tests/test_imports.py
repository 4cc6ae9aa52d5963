"""The house plan's import table, and what must not wait for torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "pokemon_gen"
# Rooms from the ground up. A room may import those on lower floors, and its own parts.
FLOORS = [
    {"errors", "geometry"},
    {"files"},
    {"palette", "settings"},
    {"advice", "rows", "augment", "ensemble", "fields", "muon", "plain_yaml", "progress", "runs"},
    {"averaging", "config_files", "locks", "members", "sources"},
    {"models", "resuming", "submission"},
    {"plans"},
    {"sprites", "precision", "report", "tables", "watching"},
    {"compiling", "decoding", "divergence"},
    {"arguments"},
    {"completion", "trainer"},
    {"evaluation"},
    {"training", "selection", "reranking"},
    {"generators"},
    {"stages"},
    {"pipeline"},
    {"cli"},
]
# What the plan forbids although the floors would allow it.
FORBIDDEN = {
    "settings": {"palette"},
    "sprites": {"settings"},
    "submission": {"settings"},
    "completion": {"arguments"},
    "evaluation": {"trainer"},
    "selection": {"trainer", "generators"},
    "reranking": {"trainer"},
}
FLOOR = {room: number for number, floor in enumerate(FLOORS) for room in floor}


def imported_names(source: str) -> list[str]:
    """Return all that a source imports, in full; only absolute forms are allowed, so that none escapes."""
    modules = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            modules += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
    return modules


def imported_rooms(source: str) -> set[str]:
    """Return the rooms a source imports."""
    names = (name.split(".") for name in imported_names(source))
    return {parts[1] for parts in names if parts[0] == "pokemon_gen"}


def test_every_form_of_import_is_seen() -> None:
    assert imported_rooms("import pokemon_gen.cli\nfrom pokemon_gen import pipeline") == {"cli", "pipeline"}
    assert imported_rooms("def f():\n    from pokemon_gen.training import train") == {"training"}
    with pytest.raises(AssertionError, match="relative"):
        imported_rooms("from ..training import train")


def test_every_room_has_a_floor() -> None:
    rooms = {
        path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert rooms - {"__init__", "__main__"} == set(FLOOR)


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda f: str(f.relative_to(PACKAGE)))
def test_imports_go_one_way(file: Path) -> None:
    room = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if room in ("__init__", "__main__"):
        return
    for other in imported_rooms(file.read_text()) - {room}:
        assert FLOOR[other] < FLOOR[room], f"{room} imports {other}"
        assert other not in FORBIDDEN.get(room, set()), f"{room} imports {other}"


def test_nothing_is_chosen_by_the_judge() -> None:
    """The room of selection imports neither the judge nor the scorecard, and no room below it does."""
    for file in [PACKAGE / "selection.py", *(PACKAGE / "evaluation").glob("*.py")]:
        if file.stem not in ("judge", "scorecard"):
            parts = {part for name in imported_names(file.read_text()) for part in name.split(".")}
            assert not parts & {"judge", "scorecard"}, file


LIGHT = [
    "rows",
    "submission",
    "cli",
    "settings",
    "palette",
    "plans",
    "resuming",
    "locks",
    "evaluation.frechet",
    "evaluation.kid",
]


@pytest.mark.parametrize("module", LIGHT)
def test_light_rooms_load_nothing_heavy(module: str) -> None:
    heavy = {"torch", "transformers", "datasets", "pyarrow", "PIL", "scipy", "matplotlib"}
    if module not in ("plans", "resuming", "locks", "palette", "evaluation.frechet", "evaluation.kid"):
        heavy |= {"numpy"}
    if module in ("submission", "cli"):  # what `pokemon-gen check` loads
        heavy |= {"pydantic", "packaging"}
    code = f"import sys, pokemon_gen.{module}; sys.exit(', '.join({heavy} & set(sys.modules)) or 0)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_look_at_sprites_needs_no_torch() -> None:
    code = "import sys, pokemon_gen.stages.sprites; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
