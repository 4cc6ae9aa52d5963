"""The provenance of completions, with which they can be reproduced: settings, checkpoint and detector."""

from typing import Any

from pokemon_gen.models.environment import environment
from pokemon_gen.models.loading import Checkpoint
from pokemon_gen.settings import Settings


def provenance_of(checkpoint: Checkpoint, settings: Settings, detector: str | None) -> dict[str, Any]:
    """Return the provenance of completions, for the JSON file next to them.

    Args:
        checkpoint: the checkpoint that completed the prompts.
        settings: the settings of the run, including how it completed.
        detector: the fingerprint of the detector that ranked the candidates; None for a single candidate.
    """
    return {
        "settings": settings.model_dump(mode="json"),
        "seed": settings.seed,
        "palette": checkpoint.palette.fingerprint,
        "checkpoint": checkpoint.provenance,
        "ranked_by_detector": detector,
        "completed_with": environment(),
    }
