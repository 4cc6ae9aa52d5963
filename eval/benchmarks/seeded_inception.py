"""Weights for the Inception network that need no download, and whose features mean something.

The true weights cannot be had everywhere. Plainly initialised ones give features of 1e-7, where every
comparison passes; these are He-initialised convolutions with batch-norm statistics calibrated on the
sprites themselves, so that features differ from sprite to sprite. They measure that two programs compute
the same, never how good a picture is.
"""

from typing import Any
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_fid import inception


def seeded_weights(pictures: NDArray[np.uint8], seed: int = 0) -> dict[str, Any]:
    """Return parameters by name, as the weights' file holds them; calibrated on (N, 20, 20, 3) bytes."""
    torch.manual_seed(seed)
    with (
        mock.patch.object(inception, "load_state_dict_from_url", lambda *_, **__: {}),
        mock.patch.object(torch.nn.Module, "load_state_dict", lambda *_, **__: None),
    ):
        network = inception.fid_inception_v3()
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # averages over all that is seen
    images = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
    images = torch.nn.functional.interpolate(images, (299, 299), mode="bilinear", align_corners=False)
    with torch.no_grad():
        for batch in images.split(16):
            network.train()(batch)
    state: dict[str, Any] = network.eval().state_dict()
    return state
