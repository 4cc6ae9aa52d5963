"""`interpret/lens.py`: the lens says what the model itself predicts without its later layers."""

from contextlib import ExitStack

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from pokemon_gen.interpret.activations import BATCH, without_layer
from pokemon_gen.interpret.lens import decision_layer, final_norm, logit_lens
from tests.builders import error_with
from tests.interpret.builders import LAYERS, MODEL_TYPES, logits_of, random_tokens, tiny_model

TOKENS = random_tokens()


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_each_layer_predicts_what_the_model_does_without_later_layers(model_type: str) -> None:
    model = tiny_model(model_type)
    found = logit_lens(model, TOKENS)
    final = logits_of(model, TOKENS).argmax(-1, keepdim=True)
    for layer in range(LAYERS + 1):
        with ExitStack() as stack:
            for later in range(layer, LAYERS):
                stack.enter_context(without_layer(model, later, "layer"))
            logarithms = logits_of(model, TOKENS).log_softmax(-1)
        assert found.predicted[layer].tolist() == logarithms.argmax(-1).tolist()
        true = logarithms[:, :-1].gather(-1, TOKENS[:, 1:, None]).squeeze(-1)
        np.testing.assert_allclose(found.nll[layer], -true, atol=1e-4)
        chances = logarithms.exp().gather(-1, final).squeeze(-1)
        np.testing.assert_allclose(found.final_probability[layer], chances, atol=1e-5)


def test_the_predictions_do_not_depend_on_the_batches() -> None:
    model, tokens = tiny_model("mistral"), random_tokens(2 * BATCH + 1)
    together, alone = logit_lens(model, tokens.numpy()), logit_lens(model, tokens[-1:])
    assert together.predicted.shape == (LAYERS + 1, 2 * BATCH + 1, 9)
    assert together.predicted[:, -1:].tolist() == alone.predicted.tolist()
    np.testing.assert_allclose(together.nll[:, -1:], alone.nll, atol=1e-4)


def test_the_final_norm_is_found_beside_the_layers() -> None:
    opt, gpt2 = tiny_model("opt"), tiny_model("gpt2")
    assert final_norm(opt) is opt.model.decoder.final_layer_norm  # listed before its layers
    assert final_norm(gpt2) is gpt2.transformer.ln_f
    bloom = AutoModelForCausalLM.from_config(
        AutoConfig.for_model("bloom", n_layer=2, n_head=2, hidden_size=8, vocab_size=9)
    )
    assert final_norm(bloom) is bloom.transformer.ln_f  # another norm follows its embeddings
    assert isinstance(final_norm(tiny_model("custom")), nn.Identity)


def test_a_projection_before_the_output_embeddings_is_refused() -> None:
    with error_with("opt", "logit lens"):
        logit_lens(tiny_model("opt", word_embed_proj_dim=8), TOKENS)


def test_a_cap_of_the_logits_is_refused() -> None:
    model = tiny_model("llama")
    model.register_forward_hook(_cap)
    with error_with("llama", "logit lens"):
        logit_lens(model, TOKENS)


def _cap(module: nn.Module, args: object, output: dict[str, torch.Tensor]) -> None:
    output["logits"] = output["logits"].tanh()


def test_the_decision_is_the_first_layer_after_which_nothing_changes() -> None:
    predicted = np.array([[5, 1, 5, 5], [5, 5, 1, 5], [5, 5, 5, 1], [5, 5, 5, 6]])[:, None]
    assert decision_layer(predicted).tolist() == [[0, 1, 2, 3]]
