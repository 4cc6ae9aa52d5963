"""Chat templates: the exact prompt, the first tokens, and where an answer ends."""

from pathlib import Path

import pytest
import torch
from tokenizers import AddedToken
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.text.chat import answer, end_tokens, first_tokens, templated
from pokemon_gen.text.loading import TextModel, load_text_model
from pokemon_gen.text.tokenizers import make_tokenizer
from pokemon_gen.text_settings import GenerationSettings, TokenizerSettings
from tests.text.builders import corpus_of

TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
GREEDY = GenerationSettings(do_sample=False, max_new_tokens=4)
TURNS = [
    {"role": "user", "content": "hello"},
    {"role": "assistant", "content": "hi"},
    {"role": "user", "content": "who?"},
]


@pytest.fixture
def instructed() -> TextModel:
    """An untrained model with a tokenizer of bytes, four marks and a chat template, saved and loaded."""
    tokenizer = make_tokenizer(TokenizerSettings(kind="bpe", size=260), corpus_of("hello who is it " * 40))
    marks = ["<|user|>", "<|assistant|>", "<|system|>", "<|end|>"]
    tokenizer.add_tokens([AddedToken(mark, special=True) for mark in marks], special_tokens=True)
    tokenizer.eos_token = "<|end|>"
    tokenizer.chat_template = TEMPLATE
    torch.manual_seed(0)
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(tokenizer), n_layer=1, n_head=2, n_embd=16, n_positions=64, eos_token_id=None
        )
    )
    model.save_pretrained("chat")
    tokenizer.save_pretrained("chat")
    return load_text_model("chat")


def test_the_prompt_is_the_templates_own(instructed: TextModel) -> None:
    expected = "<|user|>hello<|end|><|assistant|>hi<|end|><|user|>who?<|end|><|assistant|>"
    assert templated(instructed, TURNS) == expected
    assert answer(instructed, TURNS, GREEDY).prompt == expected
    assert answer(instructed, TURNS, GREEDY, template=False).prompt == "hello\nhi\nwho?\n"


def test_a_mark_of_the_template_is_one_token(instructed: TextModel) -> None:
    assert isinstance(instructed.tokenizer, PreTrainedTokenizerFast)
    tokens = instructed.tokenizer.encode("<|user|>hello<|end|>", add_special_tokens=False)
    assert tokens[0] == instructed.tokenizer.convert_tokens_to_ids("<|user|>")
    assert tokens[-1] == instructed.tokenizer.eos_token_id


def test_the_first_tokens_are_the_likeliest_with_their_probabilities(instructed: TextModel) -> None:
    found = first_tokens(instructed, "hello", 3)
    tokens = torch.tensor([instructed.tokenizer.encode("hello")])
    probabilities = instructed.model(tokens).logits[0, -1].softmax(-1)
    likeliest = probabilities.topk(3)
    assert [probability for _, probability in found] == pytest.approx(likeliest.values.tolist())
    assert [text for text, _ in found] == [
        instructed.tokenizer.decode([t]) for t in likeliest.indices.tolist()
    ]


def test_an_answer_ends_at_the_models_end_token_without_it(instructed: TextModel) -> None:
    assert end_tokens(instructed) == {instructed.tokenizer.eos_token_id}
    head = torch.nn.Linear(16, len(instructed.tokenizer)).requires_grad_(False)  # always predicts the end
    head.weight.zero_()
    head.bias.zero_()[instructed.tokenizer.eos_token_id] = 1.0
    instructed.model.lm_head = head
    assert answer(instructed, TURNS, GREEDY).text == ""


def test_a_model_without_a_template_is_named(instructed: TextModel) -> None:
    instructed.tokenizer.chat_template = None
    with pytest.raises(PokemonGenError, match="chat"):
        answer(instructed, TURNS, GREEDY)
    assert answer(instructed, TURNS, GREEDY, template=False).prompt


def test_a_conversation_that_the_template_refuses_is_an_error_with_its_reason(instructed: TextModel) -> None:
    instructed.tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(PokemonGenError, match="roles must alternate"):
        templated(instructed, TURNS)


def test_the_command_shows_both_prompts(instructed: TextModel, capsys: pytest.CaptureFixture[str]) -> None:
    from click.testing import CliRunner

    from pokemon_gen.cli import cli

    asked = ["text", "chat", "chat", "--ask", "hello", "--ask", "who?", "generation.max_new_tokens=3"]
    result = CliRunner().invoke(cli, asked)
    assert result.exit_code == 0, result.output
    assert "'hello\\n'" in result.output
    assert "<|user|>hello<|end|><|assistant|>" in result.output
    assert result.output.count("with the template") == 2
    assert Path("chat").is_dir()


def test_a_model_without_a_template_is_refused_before_it_answers(
    instructed: TextModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    from click.testing import CliRunner

    from pokemon_gen.cli import cli

    instructed.tokenizer.chat_template = None
    instructed.tokenizer.save_pretrained("chat")
    Path("chat/chat_template.jinja").unlink(missing_ok=True)
    monkeypatch.setattr("pokemon_gen.text.chat.generate", lambda *_, **__: pytest.fail("it answered"))
    result = CliRunner().invoke(cli, ["text", "chat", "chat", "--ask", "hello"])
    assert isinstance(result.exception, SystemExit | PokemonGenError)
    assert "chat template" in result.output + str(result.exception)
