"""`muon.py`: the matrices by `torch.optim.Muon`, all else by the other, and the state of both is kept."""

import copy

import pytest
import torch

from pokemon_gen.models import build_model
from pokemon_gen.muon import HiddenMatrix, MatricesByMuon, Muon, hidden_matrices

TINY: dict[str, dict[str, object]] = {
    "gpt2": {"n_layer": 1, "n_head": 2, "n_embd": 16},
    "llama": {
        "num_hidden_layers": 1,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_attention_heads": 2,
        "tie_word_embeddings": False,
    },
    "phi3": {
        "num_hidden_layers": 1,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    },
}


def learn(model: torch.nn.Module, optimizers: list[torch.optim.Optimizer], steps: int) -> None:
    for _ in range(steps):
        tokens = torch.arange(40).reshape(2, 20)
        model.eval()(input_ids=tokens, labels=tokens).loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="Muon came with torch 2.9")
def test_each_parameter_learns_by_its_own_optimizer() -> None:
    together = build_model({"model_type": "llama", **TINY["llama"]}, 50, 0)
    apart = copy.deepcopy(together)
    adamw = torch.optim.AdamW(together.parameters(), lr=1e-3)
    pair = MatricesByMuon(adamw, Muon(hidden_matrices(together), 0.02, 0.3, torch.bfloat16))
    matrices = [matrix.weight for matrix in hidden_matrices(apart)]
    names = {name for name, p in apart.named_parameters() if any(p is matrix for matrix in matrices)}
    others = [p for name, p in apart.named_parameters() if name not in names]
    muon = torch.optim.Muon(matrices, lr=0.02, weight_decay=0.3)
    learn(together, [pair], 3)
    learn(apart, [muon, torch.optim.AdamW(others, lr=1e-3)], 3)
    for one, other in zip(together.parameters(), apart.parameters(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(("model_type", "count"), [("gpt2", 4), ("llama", 7), ("phi3", 4)])
def test_neither_tables_nor_norms_nor_biases_are_muons(model_type: str, count: int) -> None:
    model = build_model({"model_type": model_type, **TINY[model_type]}, 50, 0)
    weights = {id(matrix.weight) for matrix in hidden_matrices(model)}
    names = [name for name, parameter in model.named_parameters() if id(parameter) in weights]
    assert len(names) == len(weights) == count
    assert not any(word in name for name in names for word in ("wte", "wpe", "embed", "lm_head"))


@pytest.mark.parametrize(
    ("model_type", "parts"),
    [("gpt2", {(16, 16, 16)}), ("phi3", {(16, 8, 8), (24, 24)}), ("llama", set())],
)
def test_matrices_that_share_a_weight_learn_as_if_they_were_apart(
    model_type: str, parts: set[tuple[int, ...]]
) -> None:
    model = build_model({"model_type": model_type, **TINY[model_type]}, 50, 0)
    fused = [matrix for matrix in hidden_matrices(model) if len(matrix.parts) > 1]
    assert {matrix.parts for matrix in fused} == parts
    generator = torch.Generator().manual_seed(0)
    for matrix in fused:
        weight, axis = matrix.weight, int(matrix.side_by_side)
        weight.grad = torch.randn(weight.shape, generator=generator)
        apart = [part.clone() for part in weight.detach().split(matrix.parts, axis)]
        gradients = weight.grad.split(matrix.parts, axis)
        for part, gradient in zip(apart, gradients, strict=True):
            part.grad = gradient.clone()
            Muon([HiddenMatrix(part, (len(part),), False)], 0.1, 0.2, torch.float32).step()
        Muon([matrix], 0.1, 0.2, torch.float32).step()
        torch.testing.assert_close(weight.detach(), torch.cat(apart, axis))


def test_a_saved_state_goes_on() -> None:
    model = build_model({"model_type": "gpt2", **TINY["gpt2"]}, 50, 0)

    def pair(of: torch.nn.Module) -> MatricesByMuon:
        adamw = torch.optim.AdamW(of.parameters(), lr=1e-3)
        return MatricesByMuon(adamw, Muon(hidden_matrices(of), 0.02, 0.3, torch.float32))

    optimizer = pair(model)
    learn(model, [optimizer], 2)
    other = copy.deepcopy(model)
    again = pair(other)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for group in (*optimizer.param_groups, *again.param_groups):  # as a schedule does
        group["lr"] *= 0.5
    learn(model, [optimizer], 2)
    learn(other, [again], 2)
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(12, 30), (30, 12)])
def test_a_step_is_about_equally_large_in_every_direction(shape: tuple[int, int]) -> None:
    matrix = torch.nn.Parameter(torch.zeros(shape))
    generator = torch.Generator().manual_seed(0)
    gradient = torch.randn(shape, generator=generator)
    u, _, v = torch.linalg.svd(gradient, full_matrices=False)
    matrix.grad = (
        u @ torch.diag(torch.logspace(-2, 0, 12)) @ v
    )  # a hundred times larger in one than in another
    Muon([HiddenMatrix(matrix, (shape[0],), False)], 1.0, 0.0, torch.float32).step()
    values = torch.linalg.svdvals(matrix) / max(1, shape[0] / shape[1]) ** 0.5
    assert values.min() > 0.3
    assert values.max() < 1.3
