"""Our features and distances beside the two libraries' own, run their own way on images on disk.

    uv run python eval/benchmarks/fid_parity.py text:../shared/sprites/text

80 dev sprites against 80 of train. The weights are seeded and calibrated (see `seeded_inception.py`), or the
true ones with --inception-weights. Bars: features agree to 1e-4 relative; the distance to 1e-3, since a
library may add an epsilon of its own to the covariances.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch_fidelity
from machine import describe_machine
from numpy.typing import NDArray
from PIL import Image
from pytorch_fid import fid_score
from pytorch_fid import inception as theirs
from seeded_inception import seeded_weights
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from pokemon_gen.evaluation.frechet import frechet_distance
from pokemon_gen.evaluation.inception import PROTOCOLS, Inception, read_weights
from pokemon_gen.palette import to_picture
from pokemon_gen.sprites.loading import load_sprites

COUNT = 80


def save_images(pictures: NDArray[np.uint8], folder: Path) -> list[Path]:
    """Write pictures as PNGs, in order."""
    folder.mkdir()
    files = [folder / f"{number:03}.png" for number in range(len(pictures))]
    for file, picture in zip(files, pictures, strict=True):
        Image.fromarray(picture).save(file)
    return files


def pytorch_fid_own(files: list[list[Path]], state: dict[str, Any]) -> tuple[NDArray[Any], float]:
    """Return pytorch-fid's features of the first set, and its distance."""
    with mock.patch.object(theirs, "load_state_dict_from_url", lambda *_, **__: state):
        network = theirs.InceptionV3([3])
    features = fid_score.get_activations(files[0], network, batch_size=20, num_workers=0)
    statistics = [
        fid_score.calculate_activation_statistics(f, network, batch_size=20, num_workers=0) for f in files
    ]
    (m1, s1), (m2, s2) = statistics
    return features, float(fid_score.calculate_frechet_distance(m1, s1, m2, s2))


def torch_fidelity_own(
    folders: list[Path], pictures: NDArray[np.uint8], weights: Path
) -> tuple[NDArray[Any], float]:
    """Return torch-fidelity's features of the first set, and its distance."""
    network = FeatureExtractorInceptionV3("benchmark", ["2048"], str(weights))
    batches = torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous().split(20)
    features = torch.cat([network(batch)[0] for batch in batches]).numpy()
    metrics = torch_fidelity.calculate_metrics(
        input1=str(folders[0]),
        input2=str(folders[1]),
        fid=True,
        cuda=False,
        verbose=False,
        cache=False,
        save_cpu_ram=True,
        feature_extractor_weights_path=str(weights),
    )
    return features, float(metrics["frechet_inception_distance"])


def relative(one: Any, other: Any) -> float:
    """Return the largest difference, relative to the size of the other's values."""
    return float(np.abs(np.asarray(one) - np.asarray(other)).max() / np.abs(np.asarray(other)).max())


def main() -> None:
    """Compute everything and print the differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--inception-weights", type=Path)
    options = parser.parse_args()
    print(describe_machine())
    sprites = load_sprites(options.source)
    sets = [to_picture(sprites.tokens(split)[:COUNT], sprites.palette) for split in ("dev", "train")]
    state = read_weights(options.inception_weights) if options.inception_weights else seeded_weights(sets[1])
    ours = {p: [Inception(state, "benchmark", p).features(x, "") for x in sets] for p in PROTOCOLS}
    spread = np.median(ours["pytorch-fid"][0].std(0))
    print(f"{COUNT} + {COUNT} sprites; features differ between sprites by {spread:.3f} (median deviation)")
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        files = [save_images(p, root / name) for p, name in zip(sets, ("dev", "train"), strict=True)]
        torch.save(state, root / "weights.pth")
        own = {
            "pytorch-fid": pytorch_fid_own(files, state),
            "torch-fidelity": torch_fidelity_own(
                [root / "dev", root / "train"], sets[0], root / "weights.pth"
            ),
        }
    for protocol in PROTOCOLS:
        features, distance = own[protocol]
        mine = frechet_distance(*ours[protocol])
        off, far = relative(ours[protocol][0], features), relative(mine, distance)
        passed = off <= 1e-4 and far <= 1e-3 and spread > 0.01
        print(
            f"{protocol}: features differ by {off:.1e}; distance {distance:.6f}, ours {mine:.6f}, "
            f"{far:.1e} relative; bars: {'passed' if passed else 'MISSED'}"
        )


if __name__ == "__main__":
    main()
