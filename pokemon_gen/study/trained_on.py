"""Whether the data are still those that a model learned from; otherwise dev may hold what it learned.

`select` asks the same of a run on sprites (`models/loading.py`). Here the data can be sprites or a text.
"""

from collections.abc import Mapping
from pathlib import Path

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.models.checkpoints import trained_on


def require_same_data(checkpoint: Path, origin: Mapping[str, str]) -> None:
    """Check that data are those that a checkpoint was trained on.

    Args:
        checkpoint: its folder.
        origin: source and fingerprint of the data, `Sprites.origin` or `Corpus.origin`.

    Raises:
        PokemonGenError: naming both fingerprints.
    """
    known = trained_on(checkpoint)
    if known.get("fingerprint") != origin["fingerprint"]:
        raise PokemonGenError(
            f"{checkpoint}: it was trained on other data ({known.get('source')}, fingerprint "
            f"{known.get('fingerprint')}) than {origin['source']} holds now ({origin['fingerprint']}), so "
            "dev may hold what it learned. Restore the data, or train the run again."
        )
