"""`models/likelihood.py`: nats per predicted token, of every token and of the completion."""

import torch

from pokemon_gen.models.build import build_model
from pokemon_gen.models.likelihood import completion_nll, token_nll, true_completion_nll
from tests.model_builders import MODEL_TYPES


def test_the_nll_is_that_of_the_next_token_in_nats() -> None:
    tokens = torch.tensor([[3, 1, 2]])
    logits = torch.zeros(1, 3, 4)
    logits[0, 0, 1] = 100  # certain of token 1 after the first; after the second, all four are equally likely
    nll = token_nll(logits, tokens)  # (1, 2)
    torch.testing.assert_close(nll, torch.tensor([[0.0, torch.tensor(4.0).log().item()]]))


def test_the_completion_is_the_last_160_tokens() -> None:
    nll = torch.arange(399)[None]  # entry t belongs to token t + 1
    assert completion_nll(nll)[0, 0] + 1 == 240
    assert completion_nll(nll).shape == (1, 160)


def test_the_nll_of_true_completions_does_not_depend_on_the_batches() -> None:
    """More sprites than one batch holds (80)."""
    model = build_model(MODEL_TYPES["gpt2"], 9, seed=0).eval()
    sprites = torch.randint(9, (90, 400), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = completion_nll(token_nll(model(sprites).logits, sprites)).mean().item()
    assert abs(true_completion_nll(model, sprites.numpy()) - expected) < 1e-5
