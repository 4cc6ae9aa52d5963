"""`precision.py`: chosen by hardware, or by a measurement that changes nothing."""

import pytest
import torch

from pokemon_gen.models.build import build_model
from pokemon_gen.training import precision
from tests.conftest import TINY_MODEL


@pytest.fixture
def cpu_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda *_: False)


@pytest.mark.usefixtures("cpu_only")
@pytest.mark.parametrize(("speedup", "bf16"), [(0.5, False), (1.05, False), (1.3, True)])
def test_a_cpu_takes_what_is_clearly_faster(
    monkeypatch: pytest.MonkeyPatch, speedup: float, bf16: bool
) -> None:
    monkeypatch.setattr(precision, "bf16_speedup", lambda *_: speedup)
    chosen = precision.choose_precision(build_model(TINY_MODEL, 7, 0))
    assert chosen == {"bf16": bf16, "fp16": False}


@pytest.mark.parametrize(("native", "expected"), [(True, "bf16"), (False, "fp16")])
def test_a_gpu_takes_bf16_only_where_it_is_native(
    monkeypatch: pytest.MonkeyPatch, native: bool, expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)

    def is_bf16_supported(including_emulation: bool = True) -> bool:
        return native or including_emulation  # a T4 answers so

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_bf16_supported)
    chosen = precision.choose_precision(build_model(TINY_MODEL, 7, 0))
    assert [name for name, on in chosen.items() if on] == [expected]


def test_the_measurement_leaves_weights_gradients_and_random_state_alone() -> None:
    model = build_model(TINY_MODEL, 7, 0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.random.get_rng_state()
    assert precision.bf16_speedup(model) > 0
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
