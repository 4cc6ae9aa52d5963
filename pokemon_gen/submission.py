"""The submission: what the grading server takes, written safely, read back and checked.

One `.txt`, a sprite a line (homework). Its form is the one that any reader takes, and `check` holds a file
to it exactly: ASCII; 400 tokens a line, each in decimal digits without sign or leading zeros; one space
between two tokens, none at a line's ends; every line ended by a line feed (a carriage return may stand before
it, and the last line may end without). Beside it a sidecar,
`<name>.json`, holds what another person needs to make the same file again, and a hash of each prompt, so
that a file can be checked without the prompts at hand. The `.txt` is written last: where it stands, all of
it stands. Loads no torch and no NumPy: a check answers at once.
"""

from __future__ import annotations

import codecs
import hashlib
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pokemon_gen.constants import LENGTH, PROMPT_LENGTH
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.files import atomic_file, read_json, require_absent, write_json
from pokemon_gen.text_rows import Fault, parse_rows, read_prompts, row_text, rows_text, show_faults

if TYPE_CHECKING:  # a check needs neither, and must answer at once
    from numpy.typing import NDArray

HOMEWORK_SPRITES = 80
HOMEWORK_COLOURS = 167
FAULTS_LISTED = 200
"""Faults that a report lists; all that follow are only counted."""
SCHEMA = 1
"""The sidecar's version; it changes when a field changes its meaning."""


@dataclass(frozen=True)
class Report:
    """What `check` found.

    Attributes:
        sprites: lines read.
        prompts_checked: whether there were prompts, or hashes of them, to compare with.
        faults: everything wrong, in reading order; empty for a good file.
        changed: whether the file is another than the sidecar beside it was written for.
    """

    path: Path
    sprites: int
    prompts_checked: bool
    faults: list[Fault]
    changed: bool = False

    def __str__(self) -> str:
        """Say `ok: ...`, or list every fault with its line and column."""
        if self.faults:
            return show_faults(self.path, self.faults, FAULTS_LISTED)
        prompts = "prompts kept" if self.prompts_checked else "prompts not checked"
        changed = "; not the file that its sidecar describes (another SHA-256)" if self.changed else ""
        return f"ok: {self.sprites} sprites x {LENGTH} tokens, {prompts}{changed}"


def write(
    path: Path,
    sprites: NDArray[Any],
    prompts: NDArray[Any],
    palette_size: int,
    made_by: dict[str, Any],
    overwrite: bool = False,
) -> Report:
    """Write a submission and its sidecar, reading back and checking the file before it takes its place.

    Args:
        path: the `.txt`; the sidecar is beside it.
        sprites: (N, 400) tokens.
        prompts: (N, L) tokens the sprites were completed from.
        palette_size: tokens must be below this.
        made_by: goes into the sidecar: settings, fingerprints.
        overwrite: replace a submission that is there.

    Returns:
        What the check of the written file found: no faults.

    Raises:
        PokemonGenError: if the file exists, or what would be written is no good submission.
    """
    require_absent(path, overwrite)
    text = rows_text(sprites)
    hashes = [hash_prompt(prompt) for prompt in prompts]
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    expected = _Expected(palette_size, hashes, prompts.shape[1], sha256)
    facts = {
        "schema": SCHEMA,
        "sha256": sha256,
        **made_by,
        "palette_size": palette_size,
        "git_commit": git_commit(),
        "python": platform.python_version(),
        "requirements": exact_requirements(),
        "prompt_length": expected.prompt_length,
        "prompt_hashes": expected.prompt_hashes,  # last: one for each sprite, and for no one to read
    }
    with atomic_file(path) as aside:
        aside.write_text(text, encoding="utf-8", newline="\n")
        report = _check(aside, expected, None)
        if report.faults:
            raise PokemonGenError(f"the submission has faults; this is a bug of ours:\n{report}")
        write_json(path.with_suffix(".json"), facts)
    return replace(report, path=path)


def check(path: Path, prompts: Path | None = None) -> Report:
    """Read a submission back and find everything wrong with it.

    Args:
        path: the `.txt`.
        prompts: a text file of the prompts, one a line (whole sprites will do: their first 240 tokens
            count); none: the hashes in the sidecar, where there is one.

    Raises:
        PokemonGenError: if a file cannot be read, or the prompts or the sidecar have faults of their own.
    """
    if not path.is_file():
        raise PokemonGenError(
            f"{path}: cannot be read: {'it is a folder' if path.is_dir() else 'no such file'}"
        )
    expected = _read_sidecar(path.with_suffix(".json"))
    return _check(path, expected, read_prompts(prompts, expected.palette_size) if prompts else None)


@dataclass(frozen=True)
class _Expected:
    """What a submission must agree with; without a sidecar, the homework's palette alone."""

    palette_size: int = HOMEWORK_COLOURS
    prompt_hashes: list[str] | None = None
    prompt_length: int = PROMPT_LENGTH
    sha256: str | None = None


def _read_sidecar(sidecar: Path) -> _Expected:
    if not sidecar.is_file():
        return _Expected()
    facts = read_json(sidecar)
    try:
        expected = _Expected(
            facts["palette_size"],
            facts.get("prompt_hashes"),  # of completions, whose prompts may have any lengths, there are none
            facts.get("prompt_length", PROMPT_LENGTH),
            facts["sha256"],
        )
    except (KeyError, TypeError) as error:
        raise PokemonGenError(
            f"{sidecar}: not a sidecar of a submission, though called like one; move it to check the file"
        ) from error
    numbers = isinstance(expected.palette_size, int) and isinstance(expected.prompt_length, int)
    if not numbers or not isinstance(expected.prompt_hashes, list | None):
        raise PokemonGenError(f"{sidecar}: not a sidecar of a submission")
    return expected


def _check(path: Path, expected: _Expected, prompts: list[list[int]] | None) -> Report:
    rows, faults = parse_rows(path, expected.palette_size, (LENGTH,), exact=True)
    written = path.read_bytes()
    if written.startswith(codecs.BOM_UTF8):
        faults.append(Fault(1, 1, "begins with a byte order mark, which is no integer to a plain reader"))
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
    """Return 16 hexadecimal digits of the SHA-256 of a prompt's text form."""
    return hashlib.sha256(row_text(prompt).encode()).hexdigest()[:16]


def git_commit() -> str | None:
    """Return the commit of this code, with `+changes` if files differ from it; none outside its git."""
    here = Path(__file__).parent
    try:
        _git(here, "ls-files", "--error-unmatch", Path(__file__).name)  # not a repository around it
        head = _git(here, "rev-parse", "HEAD").strip()
        return head + ("+changes" if _git(here, "status", "--porcelain", "--", ".").strip() else "")
    except (OSError, subprocess.SubprocessError):
        return None


def exact_requirements() -> list[str]:
    """Return `name==version` of all that this package needs here, as `pip install -r` takes it.

    A local part such as torch's `+cpu` is left out: no package index would find it. Run from a folder without
    being installed, the package names no requirements.
    """
    from importlib import metadata  # these take longer to load than a check takes in all

    from packaging.requirements import Requirement
    from packaging.version import Version

    exact: dict[str, str] = {}
    waiting = ["pokemon-gen"]
    while waiting:
        name = waiting.pop()
        try:
            lines = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        for line in lines:
            needed = Requirement(line)
            key = needed.name.lower().replace("_", "-")
            if key in exact or (needed.marker and not needed.marker.evaluate({"extra": ""})):
                continue
            try:
                exact[key] = Version(metadata.version(key)).public
            except metadata.PackageNotFoundError:
                continue  # an optional part that is not installed here
            waiting.append(key)
    return sorted(f"{name}=={version}" for name, version in exact.items())


def _git(folder: Path, *words: str) -> str:
    return subprocess.run(
        ["git", *words], cwd=folder, check=True, capture_output=True, text=True, timeout=10
    ).stdout


def _compare_prompts(rows: list[list[int]], prompts: list[list[int]]) -> list[Fault]:
    """Point at the first token of each line that differs from its prompt."""
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
