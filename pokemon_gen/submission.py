"""The submission: the text file for the grading server, which is written, read back and checked here.

A submission is one `.txt` file with one sprite on each line (homework). `check` requires the strict form
that every reader accepts:

- ASCII; 400 tokens on each line, in decimal digits without a sign or leading zeros;
- one space between two tokens, and none at the start or the end of a line;
- a line feed after each line. A carriage return may precede it, and the last line may end without it.

The sidecar `<name>.json` in the same folder holds what another person needs to reproduce the file, and a
hash of each prompt, so that a file can be checked without its prompts. The `.txt` is written last: if it
exists, the submission is complete. This module loads neither torch nor NumPy, so that a check takes no
noticeable time.
"""

from __future__ import annotations

import codecs
import hashlib
import platform
import subprocess
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pokemon_gen.constants import LENGTH, PROMPT_LENGTH
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.files import atomic_file, read_json, require_absent, write_json
from pokemon_gen.text_rows import Fault, parse_rows, read_prompts, row_text, rows_text, show_faults

if TYPE_CHECKING:  # NumPy would slow down a check, which does not need it
    from numpy.typing import NDArray

HOMEWORK_SPRITES = 80
"""Number of sprites in the homework's submission."""
HOMEWORK_COLOURS = 167
"""Number of colours in the homework's palette."""
FAULTS_LISTED = 200
"""Largest number of faults that a report lists. Further faults are only counted."""
SCHEMA = 1
"""Version of the sidecar's format. It changes when a field changes its meaning."""


@dataclass(frozen=True)
class Report:
    """The result of `check`.

    Attributes:
        path: the `.txt`.
        sprites: the number of lines.
        prompts_checked: whether the prompts were compared, with a file of prompts or with their hashes.
        faults: all faults in reading order; empty for a valid file.
        changed: whether the file differs from the one that its sidecar was written for.
    """

    path: Path
    sprites: int
    prompts_checked: bool
    faults: list[Fault]
    changed: bool = False

    def __str__(self) -> str:
        """Return `ok: ...`, or a list of all faults with their lines and columns."""
        if self.faults:
            return show_faults(self.path, self.faults, FAULTS_LISTED)
        prompts = "prompts kept" if self.prompts_checked else "prompts not checked"
        changed = "; differs from the file that its sidecar describes (SHA-256)" if self.changed else ""
        return f"ok: {self.sprites} sprites x {LENGTH} tokens, {prompts}{changed}"


def write(
    path: Path,
    sprites: NDArray[Any],
    prompts: NDArray[Any],
    palette_size: int,
    made_by: dict[str, Any],
    overwrite: bool = False,
) -> Report:
    """Write a submission and its sidecar. The file is read back and checked before it gets its name.

    Args:
        path: the `.txt`. The sidecar goes to the same folder.
        sprites: (N, 400) tokens.
        prompts: (N, L) tokens, from which the sprites were completed.
        palette_size: the number of colours; every token is below it.
        made_by: fields for the sidecar, such as settings and fingerprints.
        overwrite: whether an existing submission is replaced.

    Returns:
        The report of the check, without faults.

    Raises:
        PokemonGenError: if the file exists, or if the submission would not be valid.
    """
    require_absent(path, overwrite)
    text = rows_text(sprites)
    hashes = [hash_prompt(prompt) for prompt in prompts]
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    expected = _Expected(palette_size, hashes, prompts.shape[1], sha256)
    metadata = {
        "schema": SCHEMA,
        "sha256": sha256,
        **made_by,
        "palette_size": palette_size,
        "git_commit": git_commit(),
        "python": platform.python_version(),
        "requirements": exact_requirements(),
        "prompt_length": expected.prompt_length,
        "prompt_hashes": expected.prompt_hashes,  # last, because it is long and nobody reads it
    }
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        report = _check(temporary, expected, None)
        if report.faults:
            raise PokemonGenError(f"the submission has faults. This is a bug in pokemon_gen.\n{report}")
        write_json(path.with_suffix(".json"), metadata)
    return replace(report, path=path)


def check(path: Path, prompts: Path | None = None) -> Report:
    """Read a submission and find all its faults.

    Args:
        path: the `.txt`.
        prompts: a text file with one prompt on each line, or with complete sprites, whose first 240
            tokens are the prompts. By default, the prompts are compared with the hashes in the sidecar,
            if it exists.

    Raises:
        PokemonGenError: if a file cannot be read, or if the prompts or the sidecar are not valid.
    """
    if not path.is_file():
        reason = "it is a folder" if path.is_dir() else "no such file"
        raise PokemonGenError(f"{path}: cannot be read: {reason}")
    expected = _read_sidecar(path.with_suffix(".json"))
    return _check(path, expected, read_prompts(prompts, expected.palette_size) if prompts else None)


@dataclass(frozen=True)
class _Expected:
    """The properties that a submission must have. The defaults are for a file without a sidecar."""

    palette_size: int = HOMEWORK_COLOURS
    prompt_hashes: list[str] | None = None
    prompt_length: int = PROMPT_LENGTH
    sha256: str | None = None


def _read_sidecar(sidecar: Path) -> _Expected:
    if not sidecar.is_file():
        return _Expected()
    metadata = read_json(sidecar)
    try:
        expected = _Expected(
            metadata["palette_size"],
            metadata.get("prompt_hashes"),  # missing for completions of prompts of different lengths
            metadata.get("prompt_length", PROMPT_LENGTH),
            metadata["sha256"],
        )
    except (KeyError, TypeError) as error:
        raise PokemonGenError(
            f"{sidecar}: not a sidecar of a submission, although it has the name of one. Move it to check "
            "the submission without it."
        ) from error
    numbers = isinstance(expected.palette_size, int) and isinstance(expected.prompt_length, int)
    if not numbers or not isinstance(expected.prompt_hashes, list | None):
        raise PokemonGenError(f"{sidecar}: not a sidecar of a submission")
    return expected


def _check(path: Path, expected: _Expected, prompts: list[list[int]] | None) -> Report:
    rows, faults = parse_rows(path, expected.palette_size, (LENGTH,), exact=True)
    written = path.read_bytes()
    if written.startswith(codecs.BOM_UTF8):
        faults.append(
            Fault(1, 1, "the file begins with a byte order mark, which a plain reader cannot parse")
        )
    count = HOMEWORK_SPRITES
    if prompts is not None:
        count = len(prompts)
        faults += _compare_prompts(rows, prompts)
    elif expected.prompt_hashes is not None:
        count = len(expected.prompt_hashes)
        faults += _compare_hashes(rows, expected.prompt_hashes, expected.prompt_length)
    if len(rows) != count:
        faults.append(Fault(len(rows) + (len(rows) < count), 1, f"{len(rows)} lines, not {count}"))
    faults.sort(key=lambda fault: (fault.line, fault.column))
    prompts_checked = prompts is not None or expected.prompt_hashes is not None
    changed = expected.sha256 is not None and hashlib.sha256(written).hexdigest() != expected.sha256
    return Report(path, len(rows), prompts_checked, faults, changed)


def hash_prompt(prompt: Sequence[int] | NDArray[Any]) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of a prompt's text form."""
    return hashlib.sha256(row_text(prompt).encode()).hexdigest()[:16]


def git_commit() -> str | None:
    """Return the commit of this code, or None outside its repository. `+changes` marks changed files."""
    here = Path(__file__).parent
    try:
        # An installed package may lie inside another repository, which does not track this file.
        _git(here, "ls-files", "--error-unmatch", Path(__file__).name)
        head = _git(here, "rev-parse", "HEAD").strip()
        return head + ("+changes" if _git(here, "status", "--porcelain", "--", ".").strip() else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _requirements_of_checkout() -> list[str]:
    """Return the requirements of this package where it runs from its repository without being installed."""
    file = Path(__file__).parent.parent / "pyproject.toml"
    if not file.is_file():
        return []
    project: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {})
    return list(project["dependencies"]) if project.get("name") == "pokemon-gen" else []


def exact_requirements() -> list[str]:
    """Return `name==version` of all installed packages that this one needs, for `pip install -r`.

    A local version such as torch's `+cpu` is omitted, because package indexes do not have it.
    """
    from importlib import metadata  # these imports take longer than a check

    from packaging.requirements import Requirement
    from packaging.version import Version

    exact: dict[str, str] = {}
    waiting = ["pokemon-gen"]
    while waiting:
        name = waiting.pop()
        try:
            lines = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            lines = _requirements_of_checkout()
        for line in lines:
            needed = Requirement(line)
            key = needed.name.lower().replace("_", "-")
            if key in exact or (needed.marker and not needed.marker.evaluate({"extra": ""})):
                continue
            try:
                exact[key] = Version(metadata.version(key)).public
            except metadata.PackageNotFoundError:
                continue  # an optional requirement that is not installed
            waiting.append(key)
    return sorted(f"{name}=={version}" for name, version in exact.items())


def _git(folder: Path, *words: str) -> str:
    return subprocess.run(
        ["git", *words], cwd=folder, check=True, capture_output=True, text=True, timeout=10
    ).stdout


def _compare_prompts(rows: list[list[int]], prompts: list[list[int]]) -> list[Fault]:
    """Return a fault for each line that differs from its prompt, at the first token that differs."""
    faults = []
    for line, (row, prompt) in enumerate(zip(rows, prompts, strict=False), start=1):
        differs = next((i for i, t in enumerate(prompt) if i < len(row) and row[i] != t), None)
        if differs is not None:
            column = len(row_text(row[:differs])) + (2 if differs else 1)
            message = f"the prompt was changed: token {differs + 1} is {row[differs]}, not {prompt[differs]}"
            faults.append(Fault(line, column, message))
    return faults


def _compare_hashes(rows: list[list[int]], hashes: list[str], prompt_length: int) -> list[Fault]:
    message = f"the prompt (the first {prompt_length} tokens) was changed"
    return [
        Fault(line, 1, message)
        for line, (row, expected) in enumerate(zip(rows, hashes, strict=False), start=1)
        if len(row) >= prompt_length and hash_prompt(row[:prompt_length]) != expected
    ]
