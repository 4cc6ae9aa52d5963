"""The submission: what the grading server takes, written safely, read back and checked.

One `.txt`, a sprite a line, 400 integers between single spaces (homework). Beside it a sidecar,
`<name>.json`, holds what another person needs to make the same file again, and a hash of each prompt, so
that a file can be checked without the prompts at hand. Loads no torch: a check answers at once.
"""

import hashlib
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from packaging.requirements import Requirement
from packaging.version import Version

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.files import read_json, refuse_existing, write_json, write_text
from pokemon_gen.palette import LENGTH, PROMPT_LENGTH
from pokemon_gen.rows import Fault, parse_rows, read_rows, row_text, show_faults

SUBMISSIONS = Path("submissions")
"""The folder of all submissions, in the working directory."""
HOMEWORK_SPRITES = 80
HOMEWORK_COLOURS = 167
SCHEMA = 1
"""The sidecar's version; it changes when a field changes its meaning."""


@dataclass(frozen=True)
class Report:
    """What `check` found.

    Attributes:
        sprites: lines read.
        prompts_checked: whether there were prompts, or hashes of them, to compare with.
        faults: everything wrong, in reading order; empty for a good file.
    """

    path: Path
    sprites: int
    prompts_checked: bool
    faults: list[Fault]

    def __str__(self) -> str:
        """Say `ok: ...`, or list every fault with its line and column."""
        if self.faults:
            return show_faults(self.path, self.faults)
        prompts = "prompts kept" if self.prompts_checked else "prompts not checked"
        return f"ok: {self.sprites} sprites x {LENGTH} tokens, {prompts}"


def write(
    path: Path,
    sprites: NDArray[Any],
    prompts: NDArray[Any],
    palette_size: int,
    made_by: dict[str, Any],
    overwrite: bool = False,
) -> Path:
    """Write a submission and its sidecar, then read the file back and check it.

    Args:
        path: the `.txt`; the sidecar is beside it.
        sprites: (N, 400) tokens.
        prompts: (N, L) tokens the sprites were completed from.
        palette_size: tokens must be below this.
        made_by: goes into the sidecar: settings, fingerprints.
        overwrite: replace files that are there.

    Returns:
        The sidecar's path.

    Raises:
        PokemonGenError: if a file exists, or what was written is no good submission.
    """
    sidecar = path.with_suffix(".json")
    for file in (path, sidecar):
        refuse_existing(file, overwrite)
    text = "".join(f"{row_text(sprite)}\n" for sprite in sprites)
    write_text(path, text)
    facts = {
        "schema": SCHEMA,
        "sprites": len(sprites),
        "palette_size": palette_size,
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "prompt_length": prompts.shape[1],
        "prompt_hashes": [hash_prompt(prompt) for prompt in prompts],
        **made_by,
        "git_commit": git_commit(),
        "requirements": exact_requirements(),
    }
    write_json(sidecar, facts)
    report = check(path)
    if report.faults:
        raise PokemonGenError(f"the submission has faults; this is a bug of ours:\n{report}")
    return sidecar


def check(path: Path, prompts: Path | None = None) -> Report:
    """Read a submission back and find everything wrong with it.

    Args:
        path: the `.txt`.
        prompts: a text file of the prompts, one a line (whole sprites will do: their first 240 tokens
            count); none: the hashes in the sidecar, where there is one.

    Raises:
        PokemonGenError: if a file cannot be read, or the prompts have faults of their own.
    """
    sidecar = path.with_suffix(".json")
    facts = read_json(sidecar) if sidecar.is_file() else {}
    if not isinstance(facts, dict):
        raise PokemonGenError(f"{sidecar}: not a sidecar of a submission")
    palette_size = facts.get("palette_size", HOMEWORK_COLOURS)
    rows, faults = parse_rows(path, palette_size, (LENGTH,))
    if prompts is not None:
        given = read_rows(prompts, palette_size, range(1, LENGTH + 1))
        given = [row[:PROMPT_LENGTH] for row in given]
        expected = len(given)
        faults += _compare_prompts(rows, given)
    elif "prompt_hashes" in facts:
        expected = len(facts["prompt_hashes"])
        faults += _compare_hashes(rows, facts["prompt_hashes"], facts["prompt_length"])
    else:
        expected = HOMEWORK_SPRITES
    if len(rows) != expected:
        faults.append(Fault(len(rows) + (len(rows) < expected), 1, f"{len(rows)} lines, not {expected}"))
    faults.sort(key=lambda fault: (fault.line, fault.column))
    return Report(path, len(rows), prompts is not None or "prompt_hashes" in facts, faults)


def hash_prompt(prompt: Sequence[int] | NDArray[Any]) -> str:
    """Return 16 hexadecimal digits of the SHA-256 of a prompt's text form."""
    return hashlib.sha256(row_text(prompt).encode()).hexdigest()[:16]


def git_commit() -> str | None:
    """Return the commit of this code, with `+changes` if files differ from it; none outside git."""
    here = Path(__file__).parent
    try:
        head = _git(here, "rev-parse", "HEAD").strip()
        return head + ("+changes" if _git(here, "status", "--porcelain", "--", ".").strip() else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def exact_requirements() -> list[str]:
    """Return `name==version` of all that this package needs here, as `pip install -r` takes it.

    A local part such as torch's `+cpu` is left out: no package index would find it.
    """
    exact: dict[str, str] = {}
    waiting = ["pokemon-gen"]
    while waiting:
        name = waiting.pop()
        for line in metadata.requires(name) or []:
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
