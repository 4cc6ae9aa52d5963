"""`pokemon-gen handin`: a finished run → the archive that the homework asks for, tried before it is complete.

It holds the code, the notebook with the settings of this run, the settings as a config, the sidecar of the
submission, the exact versions, and a page on how to reproduce. It holds no weights and no sprites. The
archive is unpacked into an empty folder, where the first cells of its notebook are run and its own code
trains the run's model for a step, because an archive that nobody has tried does not run.
"""

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import pokemon_gen
from pokemon_gen.config_files.reading import package_configs
from pokemon_gen.constants import BASELINES, PALETTE_NAME
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.files import MOST_PALETTE_BYTES, PACKAGE, atomic_file, read_json, shipped
from pokemon_gen.settings import Settings
from pokemon_gen.stages.plans import HandinPlan, plan_handin
from pokemon_gen.validation import check_place

NOTEBOOK = "pokemon_gen.ipynb"
PARAMETERS, SETUP = "parameters", "setup"
"""The tags of the notebook's cell that holds the settings, and of those that prepare everything else."""
KINDS = {".py", ".js", ".css", ".j2", ".yaml", ".typed"}
"""The files of the package. Everything else, such as weights, pictures and caches, stays out."""
CHECK_SECONDS = 600
"""The longest time that the trial may take."""
TRIAL = """
import json, re, sys
from pathlib import Path
cells = json.loads(Path("pokemon_gen.ipynb").read_text(encoding="utf-8"))["cells"]
names = {"__name__": "__main__"}
for cell in cells:
    tags = cell["metadata"].get("tags", [])
    if "parameters" in tags or "setup" in tags:
        source = re.sub(r"(?m)^( *)%.*$", r"\\1pass", "".join(cell["source"]))  # nothing is installed here
        exec(source, names)
    if "parameters" in tags:
        names["SOURCE"] = sys.argv[1]
import pokemon_gen
from pokemon_gen import load_settings, train
assert Path(pokemon_gen.__file__).is_relative_to(Path.cwd()), pokemon_gen.__file__
settings = load_settings(names["CONFIG"], [f"sprites.source={sys.argv[1]}", *sys.argv[2:]])
train(next(iter(settings.each_member())))
"""
"""Runs the first cells of the notebook, and trains a step with the code of the archive, which is the working
directory."""
_REPRODUCE = """\
# How to reproduce {name}

1. Install Python {python} and the versions that were used: `pip install -r requirements.txt`.
2. In this folder, run `{command}`. Or run `python -m pokemon_gen reproduce {name}.json`, which compares the
   bytes too.

The result is `submissions/{name}.txt`. Its SHA-256 was `{sha256}`.
Other hardware, other versions or another number of threads change the last bits of sums, and may so change
some pixels.

| file | what it is |
| --- | --- |
| `pokemon_gen/`, `configs/`, `eval/`, `notebooks/`, `pyproject.toml` | the code |
| `run.yaml` | every setting of this run, with seed {seed} |
| `{notebook}` | the same run as a notebook; it installs the versions itself |
| `{name}.json` | the sidecar of the submission: settings, seed, checkpoint, versions, hashes of the prompts |
| `requirements.txt` | the exact versions |

No pretrained weights and no other data were used. The sprites are not included: they come from
`{source}`.
"""


_PROJECT = """\
[build-system]
requires = ["hatchling>=1.25"]
build-backend = "hatchling.build"

[project]
name = "pokemon-gen"
version = "{version}"
requires-python = ">=3.11"
dependencies = {dependencies}

[tool.hatch.build.targets.wheel]
packages = ["pokemon_gen"]

[tool.hatch.build.targets.wheel.force-include]
"configs" = "pokemon_gen/configs"
"eval/baselines.yaml" = "pokemon_gen/eval/baselines.yaml"
"notebooks" = "pokemon_gen/notebooks"
"""
"""From it the code of the archive, which may be run without being installed, knows what it needs."""


DATA = (".parquet", ".arrow", ".json", ".jsonl", ".csv", ".txt", ".md")
"""Suffixes of the files that a data set of colours may consist of."""


@dataclass(frozen=True)
class HandedIn:
    """The archive, and the names of the files in it."""

    file: Path
    names: list[str]


def handin(run: str | Path, *, output: str | Path | None = None, overwrite: bool = False) -> HandedIn:
    """Write the archive of a finished run.

    Args:
        run: its name or folder.
        output: the `.zip`. None: `submissions/<name>.zip`.
        overwrite: replace an archive that exists.

    Raises:
        PokemonGenError: for a run without a submission, a missing notebook or file of the run's own code, an
            archive that exists, or one that does not run.
    """
    return run_handin(plan_handin(run, output, overwrite))


def run_handin(plan: HandinPlan) -> HandedIn:
    """Do what a plan says; see `handin`."""
    sidecar = read_json(plan.sidecar)
    contents = dict(_contents(plan, sidecar))
    with atomic_file(plan.file) as temporary:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in contents.items():
                archive.writestr(name, content)
        _try(temporary, plan.settings)
    return HandedIn(plan.file, list(contents))


def _contents(plan: HandinPlan, sidecar: dict[str, Any]) -> Iterator[tuple[str, str | bytes]]:
    """Yield the name and the content of each file of the archive."""
    settings = plan.settings
    for file in sorted(PACKAGE.rglob("*")):
        if file.suffix in KINDS and "__pycache__" not in file.parts:
            yield f"pokemon_gen/{file.relative_to(PACKAGE).as_posix()}", file.read_text(encoding="utf-8")
    for folder, files in (("configs", package_configs()), ("eval", [_shipped(BASELINES)])):
        for file in files:
            yield f"{folder}/{file.name}", file.read_text(encoding="utf-8")
    yield f"notebooks/{NOTEBOOK}", _shipped(f"notebooks/{NOTEBOOK}").read_text(encoding="utf-8")
    yield (
        "pyproject.toml",
        _PROJECT.format(
            version=pokemon_gen.__version__, dependencies=json.dumps(sidecar["requirements"], indent=4)
        ),
    )
    for setting, place in settings.named_functions().items():
        file, _ = check_place(setting, place)
        yield place.rpartition(":")[0], file.read_text(encoding="utf-8")
    for file in _palette_files(settings):
        yield file.as_posix(), file.read_bytes()
    yield "run.yaml", yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False)
    yield NOTEBOOK, _notebook(settings)
    yield plan.sidecar.name, plan.sidecar.read_text(encoding="utf-8")
    yield "requirements.txt", "\n".join(sidecar["requirements"]) + "\n"
    yield "REPRODUCE.md", _reproduce(settings, sidecar)


def _palette_files(settings: Settings) -> list[Path]:
    """Return the files of a palette that lies below the working directory: a file, or those of a folder."""
    place = settings.sprites.palette
    path = Path((place or "").removeprefix("hub:"))
    if place is None or path.is_absolute() or ".." in path.parts:
        return []
    if path.is_file():
        return [path]
    if (path / PALETTE_NAME).is_file():
        return [path / PALETTE_NAME]  # of all that a checkpoint holds, its palette is needed alone
    names = (file.relative_to(path) for file in path.rglob("*") if file.is_file() and not file.is_symlink())
    kept = [path / name for name in names if not any(part.startswith(".") for part in name.parts)]
    return sorted(file for file in kept if file.suffix in DATA and file.stat().st_size <= MOST_PALETTE_BYTES)


def _shipped(name: str) -> Path:
    """Return a file that comes with the package.

    Raises:
        PokemonGenError: if this installation lacks it.
    """
    file = next((place for place in shipped(name) if place.is_file()), None)
    if file is None:
        raise PokemonGenError(f"{name}: this installation lacks it. Install the package from its repository.")
    return file


def _notebook(settings: Settings) -> str:
    """Return the notebook with the settings of a run filled in."""
    file = _shipped(f"notebooks/{NOTEBOOK}")
    notebook = json.loads(file.read_text(encoding="utf-8"))
    values = {
        "CONFIG": "run.yaml",
        "SOURCE": settings.sprites.source,
        "NAME": settings.name,
        "OVERRIDES": [],
    }
    for cell in notebook["cells"]:
        if PARAMETERS in cell["metadata"].get("tags", []):
            lines = "".join(cell["source"]).splitlines()
            cell["source"] = "\n".join(_filled_in(line, values) for line in lines)
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _filled_in(line: str, values: dict[str, Any]) -> str:
    """Return a line of Python with its value replaced, if it sets one of these names."""
    name = line.partition(" = ")[0]
    return f"{name} = {values[name]!r}" if name in values else line


def _reproduce(settings: Settings, sidecar: dict[str, Any]) -> str:
    """Return the page on how to reproduce."""
    return _REPRODUCE.format(
        name=settings.name,
        command="python -m pokemon_gen run run.yaml",
        notebook=NOTEBOOK,
        seed=settings.seed,
        sha256=sidecar["sha256"],
        source=settings.sprites.source,
        python=sidecar["python"],
    )


def _try(archive: Path, settings: Settings) -> None:
    """Unpack the archive, run the first cells of its notebook, and train a step with its code.

    Raises:
        PokemonGenError: with the last line of what went wrong.
    """
    source = settings.sprites.source
    kind, _, place = source.partition(":")
    if place and kind in ("text", "images", "hub") and Path(place).exists():
        source = f"{kind}:{Path(place).resolve()}"
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(folder)
        changes = ["training.max_steps=1", "training.torch_compile=false", "training.eval_strategy=no"]
        reason = _failure([sys.executable, "-c", TRIAL, source, *changes], folder)
    if reason:
        raise PokemonGenError(f"the archive does not run in an empty folder, so it was not written: {reason}")


def _failure(command: list[str], folder: str) -> str:
    """Run a command with the code of a folder; return the last line of its error, or nothing if it worked."""
    paths = [folder, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    try:
        tried = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=CHECK_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"a step of the training took more than {CHECK_SECONDS // 60} minutes"
    lines = tried.stderr.strip().splitlines() or ["it gave no message"]
    return lines[-1] if tried.returncode else ""
