"""`pokemon-gen doctor`: what this machine has, and how long each shipped config will take on it.

The times come from a few real training steps of each config. The stages after the training are estimated from
their times on another machine, in proportion to a step of `quick`.
"""

import platform
import shutil
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import torch

from pokemon_gen.config_files.loading import load_settings
from pokemon_gen.config_files.reading import package_configs, run_names
from pokemon_gen.constants import CHECKPOINTS
from pokemon_gen.evaluation.inception import weights_at_hand
from pokemon_gen.models.devices import best_device, cpu_name, describe_memory
from pokemon_gen.progress import SECONDS_TO_START, STEP_OF_QUICK, show_seconds, stage_seconds
from pokemon_gen.selection import needs_detector
from pokemon_gen.settings import Settings
from pokemon_gen.sprites.loading import load_sprites
from pokemon_gen.training.compiling import can_compile, pays_to_compile
from pokemon_gen.training.probe import StepProbe, probe_steps
from pokemon_gen.training.run import planned_steps
from pokemon_gen.training.sprites import SpriteData

PROBE_SECONDS = 0.6
"""Seconds to measure each config for, in addition to the steps that warm up."""
COMPILED_STEP = {"CPU": 0.8, "GPU": 0.6}
"""The share of an uncompiled step's time that a compiled one takes (`LOG.md`)."""
LEAST_SLOWNESS = 0.3
"""A fast GPU shortens the stages after the training only so far, since they also draw, load and compare."""
COMPILING_SECONDS = 20.0
"""Seconds to compile the layers of a model on two CPU cores (`LOG.md`)."""
PACKAGES = ("pokemon-gen", "torch", "transformers", "accelerate")


@dataclass(frozen=True)
class Estimate:
    """How long a shipped config will take here.

    Attributes:
        name: of the config.
        step: what a few of its steps showed.
        training: seconds of its training or, for an ensemble, of the trainings one after another.
        total: seconds of the whole run, from the sprites to the scorecard, without FID.
        together: whether its members train side by side, in less time than that.
    """

    name: str
    step: StepProbe
    training: float
    total: float
    together: bool

    @property
    def row(self) -> tuple[str, str, str, str]:
        """The cells of a table: name, step with the GPU memory it needs, training and total."""
        step = f"{self.step.seconds * 1000:.3g} ms"
        if self.step.memory:
            step += f", {self.step.memory / 2**30:.1f} GiB"
        most = "at most " if self.together else ""
        return self.name, step, most + show_seconds(self.training), most + show_seconds(self.total)


@dataclass(frozen=True)
class Diagnosis:
    """What this machine has.

    Attributes:
        facts: name → value, in the order to show them.
        estimates: one for each shipped config.
    """

    facts: dict[str, str]
    estimates: list[Estimate]


def doctor() -> Diagnosis:
    """Look at the machine, and probe a few training steps of every shipped config."""
    sprites = load_sprites("procedural")
    probes: dict[str, tuple[Settings, StepProbe]] = {}
    too_large: list[str] = []
    for name in run_names(package_configs()):
        settings = load_settings(name)
        single = settings.each_member()[0]
        known = next((probe for other, probe in probes.values() if _steps_alike(other, settings)), None)
        try:
            probes[name] = (settings, known or probe_steps(single, SpriteData(sprites), PROBE_SECONDS))
        except torch.OutOfMemoryError:
            too_large.append(name)
    sprites_to_train = len(sprites.tokens("train"))
    quick = probes.get("quick", (None, None))[1]
    slowness = max(LEAST_SLOWNESS, quick.seconds / STEP_OF_QUICK) if quick else 1.0
    estimates = [
        _estimate(settings, probe, slowness, sprites_to_train) for settings, probe in probes.values()
    ]
    facts = _facts(quick)
    if too_large:
        facts["too large for this GPU now"] = ", ".join(too_large)
    return Diagnosis(facts, sorted(estimates, key=lambda estimate: estimate.total))


def _steps_alike(one: Settings, other: Settings) -> bool:
    """Tell whether the steps of two configs are the same, as those of `record` and `strong` are."""
    return (one.model, one.training, one.augmentation) == (other.model, other.training, other.augmentation)


def _estimate(settings: Settings, probe: StepProbe, slowness: float, sprites: int) -> Estimate:
    """Return how long a run will take.

    Args:
        settings: of the run.
        probe: of its steps.
        slowness: of this machine, in relation to the one that the times of the other stages come from.
        sprites: the number of sprites to train on.
    """
    steps = planned_steps(settings, CHECKPOINTS / settings.name, sprites)
    training = steps * probe.seconds
    captured = probe.not_captured is None
    if settings.training.get("torch_compile") and can_compile() and pays_to_compile(steps, captured):
        training = COMPILING_SECONDS + training * COMPILED_STEP["GPU" if captured else "CPU"]
    training *= settings.members
    stages = stage_seconds(settings, detector=needs_detector(settings), fid=False)
    total = SECONDS_TO_START + training + slowness * sum(stages.values())
    return Estimate(settings.name, probe, training, total, together=captured and settings.members > 1)


def _facts(probe: StepProbe | None) -> dict[str, str]:
    """Return what there is to know about this machine, by name; `probe` is that of `quick`, if it fits."""
    device = best_device()
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    return {
        "CPU": f"{cpu_name()}, {torch.get_num_threads()} threads",
        "GPU": f"{gpu}, {describe_memory(device)}"
        if gpu
        else f"none that torch can use (device: {device.type})",
        "precision": probe.precision if probe else "unknown",
        "steps as one CUDA graph": _captured(probe),
        "compiler": "found" if can_compile() else "none, so configs with torch_compile train uncompiled",
        "Inception weights": "found" if weights_at_hand() else "none yet; FID downloads them (96 MB)",
        "free disk": f"{free:.1f} GiB ({Path.cwd()})",
        "versions": ", ".join([f"Python {platform.python_version()}", *map(_version, PACKAGES)]),
    }


def _captured(probe: StepProbe | None) -> str:
    """Say whether steps are captured."""
    if probe is None:
        return "unknown, since no step fits in memory"
    return f"no: {probe.not_captured}" if probe.not_captured else "yes"


def _version(package: str) -> str:
    """Return a package's name and version."""
    try:
        return f"{package} {metadata.version(package)}"
    except metadata.PackageNotFoundError:
        return f"{package} (not installed)"
