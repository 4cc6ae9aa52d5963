"""`training/precision.py`: the hardware alone decides on the precision, always in the same way."""

from typing import Any

import pytest
import torch

from pokemon_gen.training.precision import choose_precision


@pytest.fixture
def cpu_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda *_: False)


@pytest.mark.usefixtures("cpu_only")
@pytest.mark.parametrize(
    ("flags", "bf16"),
    [
        ({"avx2": True, "avx512_bf16": False, "amx_bf16": False}, False),
        ({"avx2": True, "avx512_bf16": True, "amx_bf16": False}, True),
        ({"avx2": True, "avx512_bf16": False, "amx_bf16": True}, True),
    ],
)
def test_a_cpu_uses_bf16_if_it_has_instructions_for_it(
    monkeypatch: pytest.MonkeyPatch, flags: dict[str, Any], bf16: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flags, raising=False)
    assert choose_precision() == {"bf16": bf16, "fp16": False}


@pytest.mark.usefixtures("cpu_only")
@pytest.mark.parametrize("bf16", [False, True])
def test_a_torch_without_get_capabilities_is_asked_by_its_older_function(
    monkeypatch: pytest.MonkeyPatch, bf16: bool
) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bf16)
    assert choose_precision() == {"bf16": bf16, "fp16": False}


@pytest.mark.usefixtures("cpu_only")
def test_this_machine_always_gets_the_same_precision() -> None:
    assert choose_precision() == choose_precision()


@pytest.mark.parametrize("native", [True, False])
def test_a_gpu_uses_bf16_only_where_it_is_native(monkeypatch: pytest.MonkeyPatch, native: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)

    def is_bf16_supported(including_emulation: bool = True) -> bool:
        return native or including_emulation  # a T4 answers so

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_bf16_supported)
    assert choose_precision() == {"bf16": native, "fp16": False}
