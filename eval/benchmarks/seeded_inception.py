"""Weights for the Inception network that need no download and give meaningful features.

The original weights cannot be downloaded everywhere. Freshly initialised weights give features of about
1e-7, with which every comparison passes. So the convolutions here are He-initialised, and the batch-norm
statistics are calibrated on the sprites, which makes the features differ from sprite to sprite. With these
weights one can check that two programs compute the same features, but not measure how good a picture is.
"""

from typing import Any
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_fid import inception


def seeded_weights(pictures: NDArray[np.uint8], seed: int = 0) -> dict[str, Any]:
    """Return the Inception parameters by name, as in the weights file.

    Args:
        pictures: (N, 20, 20, 3) RGB bytes, on which the batch-norm statistics are calibrated.
        seed: determines the convolutions.
    """
    torch.manual_seed(seed)
    with (
        mock.patch.object(inception, "load_state_dict_from_url", return_value={}),
        mock.patch.object(torch.nn.Module, "load_state_dict", return_value=None),
    ):
        network = inception.fid_inception_v3()
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the statistics become the averages over all batches
    images = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
    images = torch.nn.functional.interpolate(images, (299, 299), mode="bilinear", align_corners=False)
    with torch.no_grad():
        for batch in images.split(16):  # (B, 3, 299, 299)
            network.train()(batch)
    state: dict[str, Any] = network.eval().state_dict()
    return state
