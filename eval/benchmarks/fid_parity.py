"""Agreement of our features and FID with those of the two libraries, run their own way on images on disk.

    uv run python eval/benchmarks/fid_parity.py text:FOLDER

The script compares 80 dev sprites with 80 training sprites. The weights are seeded and calibrated (see
`seeded_inception.py`), or the original ones with --inception-weights. Bars: the features agree to 1e-4
relative, and the distance to 1e-3 relative, because a library may add an epsilon to the covariances.
"""

import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import scipy
import torch
import torch_fidelity
from common import argument_parser, outcome
from machine import describe_machine
from numpy.typing import NDArray
from PIL import Image
from pytorch_fid import fid_score
from pytorch_fid import inception as pytorch_fid_inception
from seeded_inception import seeded_weights
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from pokemon_gen.evaluation.frechet import frechet_distance
from pokemon_gen.evaluation.inception import PROTOCOLS, Inception, read_weights
from pokemon_gen.palette import to_picture
from pokemon_gen.sprites.loading import load_sprites

COUNT = 80
"""Number of sprites in each of the two sets."""


def save_images(pictures: NDArray[np.uint8], folder: Path) -> list[Path]:
    """Write (N, 20, 20, 3) pictures as numbered PNGs."""
    folder.mkdir()
    files = [folder / f"{number:03}.png" for number in range(len(pictures))]
    for file, picture in zip(files, pictures, strict=True):
        Image.fromarray(picture).save(file)
    return files


def by_pytorch_fid(files: list[list[Path]], state: dict[str, Any]) -> tuple[NDArray[Any], float]:
    """Return pytorch-fid's features of the first set, (N, 2048), and its distance between the two sets."""
    with mock.patch.object(pytorch_fid_inception, "load_state_dict_from_url", return_value=state):
        network = pytorch_fid_inception.InceptionV3([3])
    fid_score.linalg = SimpleNamespace(sqrtm=_sqrtm)  # it calls SciPy's in a way that 1.18 refuses
    features = fid_score.get_activations(files[0], network, batch_size=20, num_workers=0)
    (m1, s1), (m2, s2) = (
        fid_score.calculate_activation_statistics(paths, network, batch_size=20, num_workers=0)
        for paths in files
    )
    return features, float(fid_score.calculate_frechet_distance(m1, s1, m2, s2))


def _sqrtm(matrix: NDArray[Any], disp: bool = True) -> tuple[NDArray[Any], float]:
    """Return the square root of a matrix, and no estimate of its error, which pytorch-fid does not use."""
    return scipy.linalg.sqrtm(matrix), float("nan")


def by_torch_fidelity(
    folders: list[Path], pictures: NDArray[np.uint8], weights: Path
) -> tuple[NDArray[Any], float]:
    """Return torch-fidelity's features of the first set, (N, 2048), and its distance between the two sets."""
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


def relative_difference(ours: Any, theirs: Any) -> float:
    """Return the largest difference, relative to the largest absolute value of theirs."""
    return float(np.abs(np.asarray(ours) - np.asarray(theirs)).max() / np.abs(np.asarray(theirs)).max())


def main() -> None:
    """Compute the features and distances of both sides, print the differences, and compare with the bars."""
    parser = argument_parser(__doc__)
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
        folders, weights = [root / "dev", root / "train"], root / "weights.pth"
        files = [save_images(pictures, folder) for pictures, folder in zip(sets, folders, strict=True)]
        torch.save(state, weights)
        theirs = {
            "pytorch-fid": by_pytorch_fid(files, state),
            "torch-fidelity": by_torch_fidelity(folders, sets[0], weights),
        }
    for protocol in PROTOCOLS:
        their_features, their_distance = theirs[protocol]
        our_distance = frechet_distance(*ours[protocol])
        features_off = relative_difference(ours[protocol][0], their_features)
        distance_off = relative_difference(our_distance, their_distance)
        passed = features_off <= 1e-4 and distance_off <= 1e-3 and spread > 0.01
        print(
            f"{protocol}: features differ by {features_off:.1e}; distance {their_distance:.6f}, ours "
            f"{our_distance:.6f}, {distance_off:.1e} relative; bars: {outcome(passed)}"
        )


if __name__ == "__main__":
    main()
