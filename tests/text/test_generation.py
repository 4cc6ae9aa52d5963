"""`text/generation.py`: greedy decoding by hand, samples that do not depend on their number, streaming."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from pokemon_gen.text.generation import generate
from pokemon_gen.text.loading import TextModel
from pokemon_gen.text.tokenizers import decode, encode
from pokemon_gen.text_settings import GenerationSettings
from tests.builders import error_with
from tests.model_builders import MODEL_TYPES, TIE
from tests.text.builders import BLOCK, SCRATCH_MODEL, UNLIMITED, fresh_text_model

MODELS = {**MODEL_TYPES, "scratch": SCRATCH_MODEL}
del MODELS["stablelm"]  # its norms hide the sharpness
BYTES = {"kind": "bpe", "size": 257}


def greedy(new_tokens: int) -> GenerationSettings:
    return GenerationSettings(do_sample=False, max_new_tokens=new_tokens)


def by_hand(text_model: TextModel, prompt: str, new_tokens: int) -> str:
    """Return the greedy continuation of a loop that reads the last tokens again for each new one."""
    tokens = encode(text_model.tokenizer, prompt, "prompt").tolist()
    given = len(tokens)
    for _ in range(new_tokens):
        with torch.no_grad():
            logits = text_model.model(torch.tensor([tokens[-BLOCK:]])).logits[0, -1]
        first, second = logits.topk(2).values
        assert first - second > TIE, "a tie: choose another seed"
        tokens.append(int(logits.argmax()))
    return decode(text_model.tokenizer, tokens[given:])


@pytest.mark.parametrize("model_type", MODELS)
@pytest.mark.parametrize("prompt", ["a", "abcdeabc", "a prompt that is longer than a block"])
def test_greedy_decoding_takes_the_likeliest_token_also_past_the_block(model_type: str, prompt: str) -> None:
    """Up to the block size with a cache, where the type has one, and then without."""
    text_model = fresh_text_model(model=MODELS[model_type], tokenizer=BYTES)
    expected = by_hand(text_model, prompt, 3 * BLOCK)
    assert generate(text_model, prompt, greedy(3 * BLOCK)) == [expected]
    assert len(set(expected)) > 1


def test_keys_and_values_are_cached_up_to_the_block_size() -> None:
    text_model = fresh_text_model()
    lengths: list[int] = []
    text_model.model.register_forward_pre_hook(lambda module, args: lengths.append(args[0].shape[1]))
    generate(text_model, "abc", greedy(BLOCK))
    assert lengths == [3, 1, 1, 1, 1, 1, BLOCK, BLOCK]


def test_a_model_without_a_limit_reads_everything() -> None:
    limited = fresh_text_model(model=UNLIMITED, corpus={"block_size": 50})
    free = TextModel(limited.model, limited.tokenizer, None, "free", "")
    assert free.context is None
    assert generate(free, "abc", greedy(40)) == generate(limited, "abc", greedy(40))


@pytest.mark.parametrize("model_type", ["gpt2", "scratch"])
def test_a_sample_depends_on_its_number_and_not_on_how_many_there_are(model_type: str) -> None:
    text_model = fresh_text_model(3.0, model=MODELS[model_type])
    settings = GenerationSettings(max_new_tokens=20, seed=4)
    five = generate(text_model, "ab", settings, samples=5)
    assert generate(text_model, "ab", settings) == five[:1]
    assert generate(text_model, "ab", settings, samples=3) == five[:3]
    assert len(set(five)) == 5
    other = GenerationSettings(max_new_tokens=20, seed=5)
    assert not set(five) & set(generate(text_model, "ab", other, samples=5))


@pytest.mark.parametrize("narrow", [{"top_k": 1}, {"top_p": 1e-6}, {"temperature": 1e-4}])
def test_the_narrowest_sampling_is_greedy(narrow: dict[str, Any]) -> None:
    text_model = fresh_text_model()
    settings = GenerationSettings(max_new_tokens=20, **narrow)
    assert generate(text_model, "ab", settings) == generate(text_model, "ab", greedy(20))


def test_samples_have_the_probabilities_of_the_model() -> None:
    text_model = fresh_text_model(3.0)
    with torch.no_grad():
        logits = text_model.model(
            torch.from_numpy(encode(text_model.tokenizer, "ab", "prompt"))[None]
        ).logits[0, -1]
    settings = GenerationSettings(max_new_tokens=1, temperature=0.5)
    drawn = encode(text_model.tokenizer, "".join(generate(text_model, "ab", settings, 4000)), "samples")
    found = np.bincount(drawn, minlength=len(logits)) / 4000
    np.testing.assert_allclose(found, (logits / 0.5).softmax(-1), atol=4 * 0.5 / 4000**0.5)


class Parrot(torch.nn.Module):
    """Stands in for a model: says the tokens of a text one after another, whatever it reads."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, text: str) -> None:
        super().__init__()
        self.tokens = encode(tokenizer, text, "text").tolist()
        self.size, self.said = len(tokenizer), 0
        self.device, self.config = torch.device("cpu"), SimpleNamespace()

    def forward(self, input_ids: torch.Tensor) -> Any:
        logits = torch.zeros(*input_ids.shape, self.size)
        logits[:, -1, self.tokens[self.said]] = 1
        self.said += 1
        return SimpleNamespace(logits=logits)


def say(monkeypatch: pytest.MonkeyPatch, text: str, new_tokens: int, **options: Any) -> tuple[str, list[str]]:
    """Generate this text, byte by byte; return it and its parts as they are shown."""
    monkeypatch.setattr("pokemon_gen.text.generation.can_decode", lambda model: False)
    tokenizer = fresh_text_model(tokenizer=BYTES).tokenizer
    model: Any = Parrot(tokenizer, text)
    shown: list[str] = []
    settings = GenerationSettings(do_sample=False, max_new_tokens=new_tokens, **options.pop("settings", {}))
    parrot = TextModel(model, tokenizer, None, "parrot", "")
    (found,) = generate(parrot, "x", settings, show=shown.append, **options)
    return found, shown


STOP = {"stop_at_separator": True}


@pytest.mark.parametrize(
    ("text", "separator", "expected"),
    [
        ("ab\ncd", "\n", "ab"),
        ("\nab", "\n", ""),
        ("abENcENDx", "END", "abENc"),
        ("aababb", "abb", "aab"),
        ("漢🙂é漢", "é", "漢🙂"),
        ("abcdef", "END", "abcdef"),
        ("abcdEN", "END", "abcdEN"),
    ],
)
def test_a_sample_ends_before_the_separator(
    monkeypatch: pytest.MonkeyPatch, text: str, separator: str, expected: str
) -> None:
    length = len(text.encode())
    found, shown = say(monkeypatch, text, length, separator=separator, settings=STOP)
    assert found == "".join(shown) == expected
    assert all(shown)


@pytest.mark.parametrize("new_tokens", range(1, 12))
def test_what_is_shown_is_what_is_returned(monkeypatch: pytest.MonkeyPatch, new_tokens: int) -> None:
    """Also where the last character is cut off in the middle of its bytes."""
    found, shown = say(monkeypatch, "a漢🙂ü\n!", new_tokens)
    assert found == "".join(shown)
    assert found == "a漢🙂ü\n!".encode()[:new_tokens].decode(errors="replace")
    assert "\ufffd" not in "".join(shown[:-1])


def test_text_is_shown_character_by_character(monkeypatch: pytest.MonkeyPatch) -> None:
    assert say(monkeypatch, "a漢\n🙂", 9)[1] == ["a", "漢", "\n", "🙂"]


def test_samples_end_at_their_own_separators() -> None:
    text_model = fresh_text_model(1.0)
    free = generate(text_model, "ab", GenerationSettings(max_new_tokens=60), samples=6)
    settings = GenerationSettings(max_new_tokens=60, stop_at_separator=True)
    assert generate(text_model, "ab", settings, samples=6) == [text.partition("\n")[0] for text in free]
    assert len({len(text.partition("\n")[0]) for text in free}) > 2


def test_a_space_between_prompt_and_continuation_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tokenizer as Llama's decodes a text without the space before its first word."""
    monkeypatch.setattr("pokemon_gen.text.generation.can_decode", lambda model: False)
    words = Tokenizer(models.WordLevel({"▁a": 0, "▁cat": 1, "▁sat": 2}, unk_token="▁a"))
    words.pre_tokenizer, words.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words)
    model: Any = Parrot(tokenizer, "cat sat")
    parrot = TextModel(model, tokenizer, None, "parrot", "")
    assert generate(parrot, "a", greedy(2)) == [" cat sat"]


def test_a_prompt_must_be_text_that_the_tokenizer_knows() -> None:
    text_model = fresh_text_model()
    with error_with("prompt: ", "empty"):
        generate(text_model, "", greedy(1))
    with error_with("prompt: line 2, column 3", "'€'"):
        generate(text_model, "a\nab€", greedy(1))
