"""`muon.py`: the matrices take Muon's steps, all else the other's, and the state of both is kept."""

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
        "rms_norm_eps": 1e-6,  # Llama's own
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
    pair = MuonWithAux(adamw, Muon(hidden_weights(together), 0.02, 0.3, torch.bfloat16))
    matrices = [hidden.weight for hidden in hidden_weights(apart)]
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
    weights = {id(hidden.weight) for hidden in hidden_weights(model)}
    names = [name for name, parameter in model.named_parameters() if id(parameter) in weights]
    assert len(names) == len(weights) == count
    assert not any(word in name for name in names for word in ("wte", "wpe", "embed", "lm_head"))


def test_matrices_that_share_a_weight_learn_as_if_they_were_apart() -> None:
    # In fp64: both optimizers make small gradients large, and their rounding with them.
    apart = build_model({"model_type": "llama", **TINY["phi3"]}, 50, 0).double()
    fused = build_model({"model_type": "phi3", **TINY["phi3"]}, 50, 0).double()

    def as_fused(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Rename a Llama's weights, and lay those together that a Phi-3 keeps in one."""
        layer = "model.layers.0"
        names = {
            f"{layer}.self_attn.qkv_proj.weight": [f"{layer}.self_attn.{x}_proj.weight" for x in "qkv"],
            f"{layer}.mlp.gate_up_proj.weight": [f"{layer}.mlp.{x}_proj.weight" for x in ("gate", "up")],
        }
        joined = {name: torch.cat([state.pop(part) for part in parts]) for name, parts in names.items()}
        return {**state, **joined}

    fused.load_state_dict(as_fused(apart.state_dict()))
    assert sorted(len(one.parts) for one in hidden_weights(fused)) == [1, 1, 2, 3]
    for model in (apart, fused):
        muon = Muon(hidden_weights(model), 0.1, 0.2, torch.float64)
        learn(model, [MuonWithAux(torch.optim.AdamW(model.parameters(), lr=1e-3), muon)], 3)
    learned = as_fused(apart.state_dict())
    for name, weight in fused.state_dict().items():
        torch.testing.assert_close(weight, learned[name])


def test_gpt2s_weights_learn_as_those_of_linear_layers() -> None:
    model = build_model({"model_type": "gpt2", **TINY["gpt2"]}, 50, 0)
    generator = torch.Generator().manual_seed(0)
    parts = []
    for hidden in hidden_weights(model):
        weight = hidden.weight
        weight.grad = torch.randn(weight.shape, generator=generator)
        other = weight.detach().T.clone()  # (outputs, inputs), as `nn.Linear` has it
        other.grad = weight.grad.T.clone()
        parts.append(hidden.parts)
        Muon([hidden], 0.1, 0.2, torch.float32).step()
        Muon([HiddenWeight(other, hidden.parts, outputs_last=False)], 0.1, 0.2, torch.float32).step()
        torch.testing.assert_close(weight.detach(), other.T)
    assert parts == [(16, 16, 16), (16,), (64,), (16,)]


def test_a_saved_state_goes_on() -> None:
    model = build_model({"model_type": "gpt2", **TINY["gpt2"]}, 50, 0)

    def pair(of: torch.nn.Module) -> MuonWithAux:
        adamw = torch.optim.AdamW(of.parameters(), lr=1e-3)
        return MuonWithAux(adamw, Muon(hidden_weights(of), 0.02, 0.3, torch.float32))

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
    Muon([HiddenWeight(matrix, (shape[0],), False)], 1.0, 0.0, torch.float32).step()
    values = torch.linalg.svdvals(matrix) / max(1, shape[0] / shape[1]) ** 0.5
    assert values.min() > 0.3
    assert values.max() < 1.3
