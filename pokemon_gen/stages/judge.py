"""`pokemon-gen judge`: train the frozen judge of a source of sprites, which only reports."""

from collections.abc import Sequence

from pokemon_gen.config_files.loading import load_judge_settings
from pokemon_gen.discriminator.classifier import JUDGE
from pokemon_gen.discriminator.judge import judge_folder
from pokemon_gen.discriminator.training import TrainedClassifier, train_once
from pokemon_gen.sprites.collection import Sprites
from pokemon_gen.sprites.loading import load_sprites_of
from pokemon_gen.validation import check_settings


def judge(
    source: str,
    overrides: Sequence[str] = (),
    overwrite: bool = False,
    sprites: Sprites | None = None,
    *,
    sharp: bool = False,
) -> TrainedClassifier:
    """Train a judge of a source of sprites, once: `checkpoints/judge-<fingerprint>/`.

    Args:
        source: as `load_sprites` takes it.
        overrides: `judge.classifier.steps=100`, `sprites.palette=...`.
        overwrite: replace a judge of other settings; detection rates are then no longer comparable.
        sprites: to learn from; None loads those of the source.
        sharp: train the sharp judge, which takes up to an hour on two CPU cores, in a folder of its own. The
            scorecards use it from then on.

    Raises:
        PokemonGenError: for settings that do not fit, or a judge of other settings in the folder.
    """
    settings = load_judge_settings(source, overrides, sharp)
    check_settings(settings)
    sprites = sprites or load_sprites_of(settings.sprites)
    return train_once(settings, sprites, judge_folder(sprites.fingerprint, sharp), JUDGE, overwrite)
