"""`averaging.py`: the mean of the weights, kept beside them, and both found again."""

from pathlib import Path

import pytest
import torch

from pokemon_gen.training.averaging import WeightAverage


def linear(value: float) -> torch.nn.Linear:
    model = torch.nn.Linear(2, 2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(value)
    return model


def test_the_mean_remembers_by_its_decay_and_soon_forgets_the_beginning() -> None:
    model = linear(0.0)
    average = WeightAverage(model, 0.9)
    with torch.no_grad():
        model.weight.fill_(1.0)
    average.update(1)  # remains: min(0.9, 2/11)
    with average.in_place():
        assert model.weight[0, 0].item() == pytest.approx(9 / 11)
    average.update(1000)  # remains: 0.9
    with average.in_place():
        assert model.weight[0, 0].item() == pytest.approx(0.9 * 9 / 11 + 0.1)
    assert model.weight[0, 0].item() == 1.0


def test_weights_come_back_after_a_mistake() -> None:
    model = linear(2.0)
    average = WeightAverage(model, 0.5)
    with torch.no_grad():
        model.weight.fill_(7.0)
    with pytest.raises(KeyboardInterrupt), average.in_place():
        raise KeyboardInterrupt
    assert (model.weight == 7.0).all()


def test_mean_and_weights_are_taken_up_again(tmp_path: Path) -> None:
    model = linear(3.0)
    WeightAverage(model, 0.5).save_weights(tmp_path)
    loaded = linear(5.0)  # as `Trainer` loads a checkpoint, whose own weights are the mean
    average = WeightAverage(linear(0.0), 0.5)
    average.model = loaded
    average.take_up(tmp_path)
    assert (loaded.weight == 3.0).all()
    with average.in_place():
        assert (loaded.weight == 5.0).all()
