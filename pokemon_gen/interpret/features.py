"""Sparse features of a model's activations: directions of which each activation uses only a few.

A transformer represents more things than its hidden state has dimensions, so a single dimension rarely has
one meaning. A sparse autoencoder writes each activation as a sum of at most k of many learned directions, its
features, and a feature often does have one meaning. This module trains the TopK autoencoder of Gao et al.
(2024), "Scaling and evaluating sparse autoencoders" (arXiv:2406.04093), on an array of activations.

It runs on the CPU and needs torch alone. SAELens would install dozens of packages, among them TransformerLens
and wandb, and sparsify trains only on a `transformers` model with a data set. Autoencoders that others have
published are read through SAELens where it is installed, and the functions here take them too.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from pokemon_gen.bars import progress_bar
from pokemon_gen.errors import PokemonGenError, first_line
from pokemon_gen.files import atomic_file, read_object, write_json

WEIGHTS_NAME = "autoencoder.safetensors"
"""Name of the file with an autoencoder's weights, inside its folder."""
SETTINGS_NAME = "autoencoder.json"
"""Name of the file with an autoencoder's settings, inside its folder. It is written last."""
_BLOCK = 8192
"""Vectors encoded at a time: the activations of 1024 features then take 32 MiB."""
_WARM_UP = 0.05
"""The share of the steps in which the learning rate rises."""
_DECAY = 0.2
"""The share of the steps in which the learning rate falls to zero."""


@dataclass(frozen=True)
class FeatureSettings:
    """How an autoencoder is built and trained. The defaults suit about 250,000 vectors of 192 dimensions.

    Attributes:
        features: number of features.
        active: the most features that one vector uses, Gao et al.'s k.
        steps: optimizer steps.
        batch: vectors in a step.
        learning_rate: of Adam, for vectors whose components have variance 1.
        dead_after: a feature is dead once this number of steps in a row did not use it. Too few count rare
            features as dead, and then more of them die: their activations shrink to the size of errors.
        dead_active: the most dead features that reconstruct the error of one vector, Gao et al.'s k_aux. They
            recommend about half the dimensions of a vector.
        dead_weight: the weight of that reconstruction in the loss; 1/32 in Gao et al.
        seed: of the first weights and of the batches.

    Raises:
        PokemonGenError: for a setting that is not positive, or for fewer features than active ones.
    """

    features: int = 1024
    active: int = 32
    steps: int = 1000
    batch: int = 1024
    learning_rate: float = 1e-3
    dead_after: int = 200
    dead_active: int = 96
    dead_weight: float = 1 / 32
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if name != "seed" and value <= 0:
                raise PokemonGenError(
                    f"FeatureSettings.{name}: {value} is not positive. Choose a larger value."
                )
        if self.active > self.features:
            raise PokemonGenError(
                f"FeatureSettings.active: {self.active} of {self.features} features cannot be active. Choose "
                "fewer active features, or more features."
            )


class Autoencoder(Protocol):
    """What the functions here need: a `SparseAutoencoder`, or a published one of `read_published`."""

    def encode(self, vectors: Tensor, /) -> Tensor:
        """Return the activations of the features; (M, D) → (M, F), none negative."""

    def decode(self, activations: Tensor, /) -> Tensor:
        """Return the vectors with the given activations; (M, F) → (M, D)."""


class SparseAutoencoder(nn.Module):
    """A TopK autoencoder: x ≈ centre + a @ decoder, with a = ReLU(TopK((x - centre) @ encoder.T + bias)).

    Attributes:
        settings: the settings of its training.
        centre: (D,) what is subtracted from each vector, Gao et al.'s b_pre.
        encoder: (F, D) the directions that detect each feature.
        bias: (F,) the encoder's bias.
        decoder: (F, D) the directions of the features, each of length 1, so that an activation is a length in
            the space of the vectors.
    """

    def __init__(self, dimensions: int, settings: FeatureSettings) -> None:
        """Draw random directions from the seed; each feature is detected by its own direction at first.

        Args:
            dimensions: D.
            settings: number of features, active features and seed.
        """
        super().__init__()
        self.settings = settings
        generator = torch.Generator().manual_seed(settings.seed)
        directions = torch.randn(settings.features, dimensions, generator=generator)
        self.decoder = nn.Parameter(functional.normalize(directions))
        self.encoder = nn.Parameter(self.decoder.detach().clone())
        self.bias = nn.Parameter(torch.zeros(settings.features))
        self.centre = nn.Parameter(torch.zeros(dimensions))

    def encode(self, vectors: Tensor) -> Tensor:
        """Return the activations of all features, of which at most `active` are not 0; (M, D) → (M, F)."""
        detected = self.detect(vectors)
        values, features = _largest(detected, self.settings.active)
        return torch.zeros_like(detected).scatter(1, features, values)

    def decode(self, activations: Tensor) -> Tensor:
        """Return the vectors with the given activations; (M, F) → (M, D)."""
        return activations @ self.decoder + self.centre

    def detect(self, vectors: Tensor) -> Tensor:
        """Return the activations before the largest are chosen; (M, D) → (M, F)."""
        # (x - centre) @ encoder.T + bias, without a gradient of each x: training takes a fifth less time.
        return functional.linear(vectors, self.encoder, self.bias - self.encoder @ self.centre)

    def save(self, folder: Path) -> None:
        """Write the weights and then the settings into a folder, which is made if it does not exist."""
        with atomic_file(folder / WEIGHTS_NAME) as temporary:
            save_file({name: weight.contiguous() for name, weight in self.state_dict().items()}, temporary)
        write_json(folder / SETTINGS_NAME, dataclasses.asdict(self.settings))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read an autoencoder that `save` has written.

        Raises:
            PokemonGenError: if a file is missing, damaged, or does not fit the other.
        """
        values = read_object(folder / SETTINGS_NAME)
        try:
            settings = FeatureSettings(**values)
            weights = load_file(folder / WEIGHTS_NAME)
            autoencoder = cls(len(weights["centre"]), settings)
            autoencoder.load_state_dict(weights)
        except (KeyError, OSError, RuntimeError, SafetensorError, TypeError) as error:
            raise PokemonGenError(
                f"{folder}: not a saved autoencoder: {first_line(error)}. Train and save it again."
            ) from error
        return autoencoder


def train_autoencoder(
    vectors: NDArray[Any], settings: FeatureSettings, progress: str = ""
) -> SparseAutoencoder:
    """Train an autoencoder on activations.

    The loss is the squared error, plus the error that the dead features leave when they reconstruct it
    (AuxK), which revives them. Vectors are divided by their standard deviation while it trains, so that one
    learning rate serves every model and layer.

    Args:
        vectors: (M, D) activations of any floating type. Drop those that are far larger than all others, such
            as those of the first token in many models: they would dominate the squared error.
        settings: its size and training; equal settings and vectors give equal weights on one machine.
        progress: the title of a progress bar; empty for no bar.

    Raises:
        PokemonGenError: for vectors that are not (M, D), not finite, or all equal.
    """
    mean, deviation = _moments(vectors)
    autoencoder = SparseAutoencoder(vectors.shape[1], settings)
    with torch.no_grad():
        autoencoder.centre.copy_(torch.from_numpy(mean / deviation))
    optimizer = torch.optim.Adam(autoencoder.parameters(), lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, settings.steps))
    unused = torch.zeros(settings.features, dtype=torch.long)  # steps since each feature was last active
    draws = np.random.default_rng(settings.seed)
    with progress_bar(settings.steps, progress, "step", shown=bool(progress)) as bar:
        for _ in range(settings.steps):
            rows = draws.integers(len(vectors), size=settings.batch)
            batch = _tensor(vectors[rows]) / deviation
            loss, used = _loss(autoencoder, batch, unused >= settings.dead_after)
            unused = torch.where(used, 0, unused + 1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            _normalise(autoencoder.decoder)
            bar.update()
    return _rescaled(autoencoder, deviation).requires_grad_(False)


def _loss(autoencoder: SparseAutoencoder, batch: Tensor, dead: Tensor) -> tuple[Tensor, Tensor]:
    """Return the loss of a batch, (B, D), and which features it uses, (F,)."""
    settings = autoencoder.settings
    detected = autoencoder.detect(batch)
    values, features = _largest(detected, settings.active)
    error = batch - autoencoder.centre - _combine(values, features, autoencoder.decoder)
    loss = error.square().mean()
    if dead.any():
        revived = _largest(detected[:, dead], min(settings.dead_active, int(dead.sum())))
        remaining = error.detach() - _combine(*revived, autoencoder.decoder[dead])
        loss = loss + settings.dead_weight * remaining.square().mean()
    used = torch.zeros_like(dead)
    used[features[values > 0]] = True
    return loss, used


def _largest(detected: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the largest activations, never negative, and their features; (M, F) → (M, count) twice."""
    values, features = detected.topk(count, sorted=False)
    return values.relu(), features


def _combine(values: Tensor, features: Tensor, directions: Tensor) -> Tensor:
    """Return sums of a few directions each: (M, k) values and features, (F, D) directions → (M, D).

    Training takes 60 % of the time that it takes with a product of (M, F) and (F, D).
    """
    return functional.embedding_bag(features, directions, per_sample_weights=values, mode="sum")


def _rate(step: int, steps: int) -> float:
    """Return the factor of the learning rate: a linear rise, a constant, and a linear fall to zero."""
    return min(1.0, (step + 1) / (_WARM_UP * steps), (steps - step) / (_DECAY * steps))


@torch.no_grad()
def _normalise(decoder: nn.Parameter) -> None:
    decoder.copy_(functional.normalize(decoder))


@torch.no_grad()
def _rescaled(autoencoder: SparseAutoencoder, deviation: float) -> SparseAutoencoder:
    """Turn an autoencoder of vectors / deviation into the same one of the vectors.

    TopK and ReLU scale with their argument, so scaling both biases scales every activation and the output.
    """
    autoencoder.centre.mul_(deviation)
    autoencoder.bias.mul_(deviation)
    return autoencoder


def _moments(vectors: NDArray[Any]) -> tuple[NDArray[np.float32], float]:
    """Return the mean of vectors, (D,), and the standard deviation of their components around it.

    Raises:
        PokemonGenError: for vectors that are not (M, D), not finite, or all equal.
    """
    if vectors.ndim != 2 or not vectors.size:
        raise PokemonGenError(f"activations of shape {vectors.shape}: not vectors. Pass an array (M, D).")
    mean = vectors.mean(0, dtype=np.float64)
    squares = sum(float(((block - mean) ** 2).sum()) for block in _blocks(vectors))
    deviation = float(np.sqrt(squares / vectors.size))
    if not np.isfinite(deviation) or deviation == 0:
        raise PokemonGenError(
            "activations: they are all equal, or some are not finite. Pass activations that vary, in a type "
            "that holds their largest value."
        )
    return mean.astype(np.float32), deviation


def _blocks(vectors: NDArray[Any]) -> Iterator[NDArray[np.float32]]:
    """Yield vectors in blocks that bound the memory."""
    for start in range(0, len(vectors), _BLOCK):
        yield vectors[start : start + _BLOCK].astype(np.float32)


def _tensor(vectors: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(vectors, dtype=np.float32))


@dataclass(frozen=True)
class FeatureReport:
    """How well an autoencoder describes activations that it has not been trained on.

    Attributes:
        explained: the share of the variance that it explains, 1 - sum ||x - x̂||² / sum ||x - mean||².
        active: the mean number of active features of a vector.
        density: (F,) the share of the vectors in which each feature is active.
        dead: the share of the features that are active in none of the vectors.
    """

    explained: float
    active: float
    density: NDArray[np.float64]
    dead: float


@torch.no_grad()
def measure(autoencoder: Autoencoder, vectors: NDArray[Any]) -> FeatureReport:
    """Measure an autoencoder on held-out activations, (M, D).

    Raises:
        PokemonGenError: as `train_autoencoder`.
    """
    _, deviation = _moments(vectors)
    error, counts = 0.0, torch.zeros(())
    for block in _blocks(vectors):
        activations = autoencoder.encode(_tensor(block))
        error += float((_tensor(block) - autoencoder.decode(activations)).square().sum())
        counts = counts + (activations > 0).sum(0)
    density = counts.double().numpy() / len(vectors)
    return FeatureReport(
        explained=1 - error / (deviation**2 * vectors.size),
        active=float(density.sum()),
        density=density,
        dead=float((density == 0).mean()),
    )


@dataclass(frozen=True)
class TopActivations:
    """The vectors that excite each feature most, in falling order.

    Attributes:
        rows: (F, count) rows of the vectors.
        values: (F, count) the activations in them. 0 means that no further vector excites the feature.
    """

    rows: NDArray[np.int64]
    values: NDArray[np.float32]


@torch.no_grad()
def top_activations(autoencoder: Autoencoder, vectors: NDArray[Any], count: int) -> TopActivations:
    """Return the `count` vectors of (M, D) that excite each feature most, in one pass and bounded memory."""
    kept: tuple[Tensor, Tensor] | None = None
    for number, block in enumerate(_blocks(vectors)):
        values = autoencoder.encode(_tensor(block)).T  # (F, B)
        rows = torch.arange(number * _BLOCK, number * _BLOCK + len(block)).expand_as(values)
        if kept is not None:
            values, rows = torch.cat([kept[0], values], 1), torch.cat([kept[1], rows], 1)
        best = values.topk(min(count, values.shape[1]))
        kept = best.values, rows.gather(1, best.indices)
    assert kept is not None
    return TopActivations(kept[1].numpy(), kept[0].numpy())


class FeaturePair(NamedTuple):
    """A feature's activations in two inputs."""

    feature: int
    a: float
    b: float


@torch.no_grad()
def compare(autoencoder: Autoencoder, a: NDArray[Any], b: NDArray[Any], count: int = 10) -> list[FeaturePair]:
    """Return the largest activations of two inputs side by side.

    Args:
        autoencoder: which features are compared.
        a: (D,) an activation.
        b: (D,) another one, such as that of the same place in a changed sprite.
        count: the most features; those that are active in neither are not listed.

    Returns:
        the features with the largest activation in either input, the largest first.
    """
    activations = autoencoder.encode(_tensor(np.stack([a, b])))  # (2, F)
    largest = activations.amax(0)
    order = largest.argsort(descending=True, stable=True)[:count]
    return [
        FeaturePair(int(feature), *activations[:, feature].tolist())
        for feature in order
        if largest[feature] > 0
    ]


def read_published(release: str | Path, sae_id: str | None = None) -> Autoencoder:
    """Read an autoencoder that others have published, such as one of Gemma Scope, through SAELens.

    Args:
        release: a folder as SAELens saves one (`cfg.json` and `sae_weights.safetensors`), which needs no
            network; or a release in SAELens's list, such as `gemma-scope-2b-pt-res-canonical`, or a Hub id,
            from which it is downloaded.
        sae_id: its place in the release, such as `layer_12/width_16k/canonical`; None for a folder.

    Returns:
        SAELens's own object. `cfg.metadata` says which model and layer it reads (`model_name`, `hook_name`).

    Raises:
        PokemonGenError: if SAELens is not installed, or if the autoencoder cannot be read.
    """
    if sae_id is None and not Path(release).is_dir():
        raise PokemonGenError(
            f"{release}: there is no such folder. Name the folder of an autoencoder, or a release and its id."
        )
    try:
        from sae_lens import SAE  # optional: it imports TransformerLens and wandb
    except ImportError as error:
        raise PokemonGenError(
            f"{release}: published autoencoders are read by SAELens, which is not installed. Install it with "
            "`pip install pokemon-gen[interpret]`."
        ) from error
    try:
        published: Autoencoder = (
            SAE.load_from_disk(release) if sae_id is None else SAE.from_pretrained(release, sae_id)
        )
    except (OSError, RuntimeError, ValueError, KeyError, SafetensorError) as error:
        advice = (
            "Name a folder that SAELens saved."
            if sae_id is None
            else "Check the network, and both names: "
            "https://decoderesearch.github.io/SAELens/latest/pretrained_saes/"
        )
        raise PokemonGenError(
            f"{release}{f', {sae_id}' if sae_id else ''}: SAELens cannot read this autoencoder: "
            f"{first_line(error)}. {advice}"
        ) from error
    return published
