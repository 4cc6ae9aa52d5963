"""`training/muon.py`: Muon trains the hidden matrices, AdamW trains the rest, and both states are saved."""

import copy

import pytest
import torch

from pokemon_gen.models.build import build_model
from pokemon_gen.training.muon import HiddenWeight, Muon, MuonWithAux, hidden_weights

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
        "rms_norm_eps": 1e-6,  # as in Llama
    },
}


ROUNDING = 0.02
"""The share of a move that rounding in bf16 may change."""


def take_steps(model: torch.nn.Module, optimizers: list[torch.optim.Optimizer], steps: int) -> None:
    """Train on the same two rows of tokens, without dropout."""
    for _ in range(steps):
        tokens = torch.arange(40).reshape(2, 20)
        model.eval()(input_ids=tokens, labels=tokens).loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="Muon came with torch 2.9")
def test_one_pair_of_optimizers_takes_the_steps_of_two_separate_ones() -> None:
    paired = build_model({"model_type": "llama", **TINY["llama"]}, 50, 0)
    separate, before = copy.deepcopy(paired), copy.deepcopy(paired)
    adamw = torch.optim.AdamW(paired.parameters(), lr=1e-3)
    pair = MuonWithAux(adamw, Muon(hidden_weights(paired), 0.02, 0.3, torch.bfloat16))
    matrices = [hidden.weight for hidden in hidden_weights(separate)]
    rest = [p for p in separate.parameters() if not any(p is matrix for matrix in matrices)]
    muon = torch.optim.Muon(matrices, lr=0.02, weight_decay=0.3)
    take_steps(paired, [pair], 3)
    take_steps(separate, [muon, torch.optim.AdamW(rest, lr=1e-3)], 3)
    for weight, expected, start in zip(
        paired.parameters(), separate.parameters(), before.parameters(), strict=True
    ):
        # Both orthogonalise in bf16, whose products some CPUs sum in another order for a stack of matrices.
        assert (weight - expected).norm() < ROUNDING * (expected - start).norm()


@pytest.mark.parametrize("model_type", TINY)
def test_all_matrices_at_once_are_moved_as_each_one_alone(model_type: str) -> None:
    """Wide and tall ones, several in a weight, and a learning rate that is a tensor, as in a CUDA graph."""
    together = build_model({"model_type": model_type, **TINY[model_type]}, 50, 0).double()
    alone = copy.deepcopy(together)
    rate = torch.tensor(0.1, dtype=torch.float64)
    each = [Muon([hidden], 0.1, 0.2, torch.float64) for hidden in hidden_weights(alone)]
    all_at_once = Muon(hidden_weights(together), 0.1, 0.2, torch.float64)
    all_at_once.param_groups[0]["lr"] = rate
    take_steps(together, [all_at_once], 3)
    take_steps(alone, list(each), 3)
    for weight, expected in zip(together.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(weight, expected)


@pytest.mark.parametrize(("model_type", "count"), [("gpt2", 4), ("llama", 7), ("phi3", 4)])
def test_muon_trains_neither_embeddings_nor_norms_nor_biases(model_type: str, count: int) -> None:
    model = build_model({"model_type": model_type, **TINY[model_type]}, 50, 0)
    weights = {id(hidden.weight) for hidden in hidden_weights(model)}
    names = [name for name, parameter in model.named_parameters() if id(parameter) in weights]
    assert len(names) == len(weights) == count
    assert not any(word in name for name in names for word in ("wte", "wpe", "embed", "lm_head"))


def test_matrices_that_share_a_weight_are_trained_as_separate_ones() -> None:
    # In fp64, because both optimizers enlarge small gradients and their rounding errors.
    separate = build_model({"model_type": "llama", **TINY["phi3"]}, 50, 0).double()
    fused = build_model({"model_type": "phi3", **TINY["phi3"]}, 50, 0).double()

    def as_fused(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Rename the weights of a Llama, and concatenate those that Phi-3 keeps in one."""
        layer = "model.layers.0"
        names = {
            f"{layer}.self_attn.qkv_proj.weight": [f"{layer}.self_attn.{x}_proj.weight" for x in "qkv"],
            f"{layer}.mlp.gate_up_proj.weight": [f"{layer}.mlp.{x}_proj.weight" for x in ("gate", "up")],
        }
        joined = {name: torch.cat([state.pop(part) for part in parts]) for name, parts in names.items()}
        return {**state, **joined}

    fused.load_state_dict(as_fused(separate.state_dict()))
    assert sorted(len(hidden.parts) for hidden in hidden_weights(fused)) == [1, 1, 2, 3]
    for model in (separate, fused):
        muon = Muon(hidden_weights(model), 0.1, 0.2, torch.float64)
        take_steps(model, [MuonWithAux(torch.optim.AdamW(model.parameters(), lr=1e-3), muon)], 3)
    expected = as_fused(separate.state_dict())
    for name, weight in fused.state_dict().items():
        torch.testing.assert_close(weight, expected[name])


def test_the_transposed_weights_of_gpt2_are_trained_as_those_of_linear_layers() -> None:
    model = build_model({"model_type": "gpt2", **TINY["gpt2"]}, 50, 0)
    generator = torch.Generator().manual_seed(0)
    parts = []
    for hidden in hidden_weights(model):
        weight = hidden.weight
        weight.grad = torch.randn(weight.shape, generator=generator)
        linear = weight.detach().T.clone()  # (outputs, inputs), as in `nn.Linear`
        linear.grad = weight.grad.T.clone()
        parts.append(hidden.parts)
        Muon([hidden], 0.1, 0.2, torch.float32).step()
        Muon([HiddenWeight(linear, hidden.parts, outputs_last=False)], 0.1, 0.2, torch.float32).step()
        torch.testing.assert_close(weight.detach(), linear.T)
    assert parts == [(16, 16, 16), (16,), (64,), (16,)]


def test_a_saved_state_is_resumed_exactly() -> None:
    model = build_model({"model_type": "gpt2", **TINY["gpt2"]}, 50, 0)

    def pair_for(model: torch.nn.Module) -> MuonWithAux:
        adamw = torch.optim.AdamW(model.parameters(), lr=1e-3)
        return MuonWithAux(adamw, Muon(hidden_weights(model), 0.02, 0.3, torch.float32))

    optimizer = pair_for(model)
    take_steps(model, [optimizer], 2)
    resumed = copy.deepcopy(model)
    resumed_optimizer = pair_for(resumed)
    resumed_optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for group in (*optimizer.param_groups, *resumed_optimizer.param_groups):  # as a schedule does
        group["lr"] *= 0.5
    take_steps(model, [optimizer], 2)
    take_steps(resumed, [resumed_optimizer], 2)
    for expected, weight in zip(model.parameters(), resumed.parameters(), strict=True):
        torch.testing.assert_close(weight, expected, rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(12, 30), (30, 12)])
def test_a_step_has_about_the_same_size_in_every_direction(shape: tuple[int, int]) -> None:
    matrix = torch.nn.Parameter(torch.zeros(shape))
    generator = torch.Generator().manual_seed(0)
    gradient = torch.randn(shape, generator=generator)
    u, _, v = torch.linalg.svd(gradient, full_matrices=False)
    spectrum = torch.logspace(-2, 0, 12)  # the largest singular value is a hundred times the smallest
    matrix.grad = u @ torch.diag(spectrum) @ v
    Muon([HiddenWeight(matrix, (shape[0],), False)], 1.0, 0.0, torch.float32).step()
    values = torch.linalg.svdvals(matrix) / max(1, shape[0] / shape[1]) ** 0.5
    assert values.min() > 0.3
    assert values.max() < 1.3
