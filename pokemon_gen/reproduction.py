"""`pokemon-gen reproduce`: a submission is made again from its sidecar alone, and the bytes are compared.

The sidecar holds the settings with the seed and names the source of the sprites, and everything random in a
run follows from these. What is left are the last bits of sums, which depend on versions, processor and number
of threads. So where the bytes differ, what differs of these is named first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pokemon_gen import __version__
from pokemon_gen.constants import CHECKPOINTS, LENGTH
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.files import read_object
from pokemon_gen.models.choice import resolve_checkpoint
from pokemon_gen.models.environment import environment
from pokemon_gen.models.runs import BEST_NAME
from pokemon_gen.pipeline import run_to_submission
from pokemon_gen.sprites.collection import Sprites
from pokemon_gen.sprites.loading import load_sprites_of
from pokemon_gen.stages.plans import ReproductionPlan, plan_reproduction
from pokemon_gen.stages.submit import Submission, run_submission
from pokemon_gen.submission import exact_requirements, git_commit

SUFFIX = "-reproduced"
"""The end of the name of a run that makes a submission again."""


@dataclass(frozen=True)
class Reproduction:
    """A submission that was made again.

    Attributes:
        file: the new submission.
        equal: whether it has the SHA-256 that the sidecar of the old one records.
        sha256: of the new one.
        difference: where it first differs, in words; empty if it is equal.
        causes: what is not as it was when the old one was made; empty if everything is.
    """

    file: Path
    equal: bool
    sha256: str
    difference: str
    causes: list[str]


def reproduce(sidecar: str | Path, overwrite: bool = False) -> Reproduction:
    """Make a submission again, as the run `<name>-reproduced`, and compare it with the old one.

    Like any run, it resumes if it was stopped.

    Args:
        sidecar: the `.json` of a submission, or its `.txt`.
        overwrite: start again, if the submission was reproduced before.

    Raises:
        PokemonGenError: for a file that is no sidecar, or sprites that are missing or not those of then.
    """
    return run_reproduction(plan_reproduction(sidecar), overwrite)


def run_reproduction(plan: ReproductionPlan, overwrite: bool) -> Reproduction:
    """Do what a plan says; see `reproduce`."""
    sprites = load_sprites_of(plan.settings.sprites)
    known = plan.metadata["sprites"]["fingerprint"]
    if known != sprites.fingerprint:
        raise PokemonGenError(
            f"{plan.sidecar}: its sprites had the fingerprint {known}, but those of {sprites.source} have "
            f"{sprites.fingerprint}. Provide the same sprites (sprites.source in the sidecar)."
        )
    submission = _make_again(plan, sprites, overwrite)
    sha256 = str(read_object(submission.sidecar)["sha256"])
    equal = sha256 == plan.metadata["sha256"]
    difference = "" if equal else _first_difference(plan.sidecar.with_suffix(".txt"), submission.file)
    return Reproduction(submission.file, equal, sha256, difference, changes(plan.metadata))


def _make_again(plan: ReproductionPlan, sprites: Sprites, overwrite: bool) -> Submission:
    """Do the run again up to its submission."""
    settings = plan.settings.model_copy(update={"name": f"{plan.settings.name}{SUFFIX}"})
    submission = run_to_submission(settings, sprites, overwrite)
    if submission is None:
        raise PokemonGenError("the run was interrupted; the same command resumes it")
    chosen = Path(plan.metadata["checkpoint"]["folder"]).name
    if chosen == BEST_NAME:
        return submission
    files = resolve_checkpoint(CHECKPOINTS / settings.name / chosen)  # a checkpoint that was named by hand
    return run_submission(files, sprites, overwrite=True)


def _first_difference(old: Path, new: Path) -> str:
    """Return in words where two submissions first differ, and by how much."""
    if not old.is_file():
        return f"{old} is missing, so it is not known where they differ"
    rows, again = (file.read_text(encoding="ascii").splitlines() for file in (old, new))
    if len(rows) != len(again):
        return f"{old} has {len(rows)} lines, the new one has {len(again)}"
    pairs = [(a.split(), b.split()) for a, b in zip(rows, again, strict=True)]
    differing = [[i for i in range(LENGTH) if a[i : i + 1] != b[i : i + 1]] for a, b in pairs]
    lines = [number for number, places in enumerate(differing, start=1) if places]
    if not lines:
        return f"{old} has equal tokens, so it is not the file that its sidecar describes"
    first = differing[lines[0] - 1][0] + 1
    tokens = sum(map(len, differing))
    return f"first in line {lines[0]}, token {first}; {tokens:,} tokens in {len(lines)} of {len(rows)} lines"


def changes(metadata: Mapping[str, Any]) -> list[str]:
    """Return what is not as it was when a submission was made: name, then and now.

    Args:
        metadata: the content of its sidecar.
    """
    now = environment()
    found = []
    for when, then in (
        ("training", (metadata.get("checkpoint") or {}).get("trained_with")),
        ("completing", metadata.get("completed_with")),
    ):
        if not then:
            found.append(f"{when}: processor, threads and versions were not recorded by that version")
            continue
        found += [
            f"{when}, {name}: {then[name]}, now {now.get(name)}"
            for name in then
            if then[name] != now.get(name)
        ]
    commit = git_commit()
    if metadata.get("git_commit") not in (None, commit):
        found.append(f"code: {metadata['git_commit']}, now {commit or __version__}")
    return found + _changed_requirements(metadata.get("requirements") or [])


def _changed_requirements(then: Sequence[str]) -> list[str]:
    """Return the packages of other versions, without those that `environment` names."""
    installed = dict(line.split("==") for line in exact_requirements())
    named = set(environment())
    old = (line.partition("==") for line in then)
    return [
        f"package {name}: {version}, now {installed.get(name, 'not installed')}"
        for name, _, version in old
        if name not in named and installed.get(name) != version
    ]
