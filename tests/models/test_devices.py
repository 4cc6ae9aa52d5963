"""`models/devices.py`: full single precision, whatever the process has set."""

import pytest
import torch
from transformers import PreTrainedModel

from pokemon_gen.models.build import build_model
from pokemon_gen.models.devices import full_fp32, to_best_device
from tests.builders import TINY_MODEL, error_with

CPU = torch.device("cpu")


def newer_precisions() -> list[str | None]:
    """Return the precision of each kind of operation, by the functions of torch 2.9 and later."""
    operations = (
        torch.backends.cuda.matmul,
        getattr(torch.backends.cudnn, "conv", None),
        getattr(torch.backends.mkldnn, "matmul", None),
        getattr(torch.backends.mkldnn, "conv", None),
    )
    return [getattr(operation, "fp32_precision", None) for operation in operations]


def precisions() -> tuple[object, ...]:
    """Return what the process has set, by the older and the newer functions of torch."""
    return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32, *newer_precisions()


@pytest.mark.parametrize("process", ["highest", "high", "medium"])
def test_full_precision_is_set_and_what_the_process_had_comes_back(process: str) -> None:
    torch.set_float32_matmul_precision(process)
    try:
        before = precisions()
        with full_fp32(CPU):
            inside = newer_precisions()
            older = torch.get_float32_matmul_precision() if not any(inside) else "highest"
        assert set(inside) <= {"ieee", None}
        assert older == "highest"
        assert precisions() == before
    finally:
        torch.set_float32_matmul_precision("highest")


def test_an_autocast_around_it_has_no_effect() -> None:
    matrix = torch.rand(8, 8, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        assert (matrix @ matrix).dtype == torch.bfloat16
        with full_fp32(CPU):
            product = matrix @ matrix
    assert torch.equal(product, matrix @ matrix)


def test_a_model_that_does_not_fit_in_memory_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(PreTrainedModel, "to", full)
    with error_with("checkpoints/mine", "memory", "CUDA_VISIBLE_DEVICES"):
        to_best_device(build_model(TINY_MODEL, 9, 0), "checkpoints/mine")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="TF32 needs an NVIDIA GPU")
def test_a_convolution_on_a_gpu_gives_what_a_cpu_gives() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(4, 64, 20, 20, generator=generator)
    kernel = torch.randn(64, 64, 3, 3, generator=generator)
    with full_fp32(torch.device("cuda")):
        ours = torch.nn.functional.conv2d(images.cuda(), kernel.cuda()).cpu()
    expected = torch.nn.functional.conv2d(images.double(), kernel.double()).float()
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)  # TF32 differs by 1e-2
