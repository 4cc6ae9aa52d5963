"""`pokemon-gen detector`: train the detector of a run, which chooses its checkpoint and ranks candidates."""

from pokemon_gen.constants import CHECKPOINTS
from pokemon_gen.discriminator.training import TrainedClassifier, train_once
from pokemon_gen.models.runs import DETECTOR_NAME
from pokemon_gen.settings import Settings
from pokemon_gen.sprites.collection import Sprites
from pokemon_gen.sprites.loading import load_sprites_of


def detector(
    settings: Settings, sprites: Sprites | None = None, overwrite: bool = False
) -> TrainedClassifier:
    """Train the detector of a run, once: `checkpoints/<name>/detector/`.

    Args:
        settings: of the run; its `detector` section is read.
        sprites: to learn from; None loads those of `settings.sprites`.
        overwrite: replace a detector of other settings or sprites.

    Raises:
        PokemonGenError: for settings that do not fit, or a detector of other settings in the folder.
    """
    sprites = sprites or load_sprites_of(settings.sprites)
    folder = CHECKPOINTS / settings.name / DETECTOR_NAME
    return train_once(settings, sprites, folder, DETECTOR_NAME, overwrite)
