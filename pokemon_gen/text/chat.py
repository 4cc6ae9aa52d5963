"""Chat templates: what an instruction model really reads, and what changes without its template.

An instruction model was trained on conversations in one exact form, with marks for who speaks. The same
question without these marks is a text to be continued, and the model continues it. Here both prompts are
shown as they are, with the likeliest first tokens of the answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from pokemon_gen.errors import PokemonGenError, first_line
from pokemon_gen.text.generation import generate
from pokemon_gen.text.loading import TextModel
from pokemon_gen.text.tokenizers import decode, encode
from pokemon_gen.text_settings import GenerationSettings

Message = dict[str, str]
"""`role` (`system`, `user` or `assistant`) and `content`, as chat templates take them."""
LIKELIEST = 5
"""The number of likeliest first tokens."""


@dataclass(frozen=True)
class Answer:
    """What a model read, and what it answered.

    Attributes:
        prompt: the exact text that the model read.
        first: the likeliest first tokens of the answer as text, with their probabilities.
        text: the answer.
    """

    prompt: str
    first: list[tuple[str, float]]
    text: str


def answer(
    text_model: TextModel, messages: Sequence[Message], settings: GenerationSettings, template: bool = True
) -> Answer:
    """Answer the last message of a conversation.

    Args:
        text_model: the model.
        messages: the conversation so far, in turns.
        settings: how tokens are chosen.
        template: use the model's chat template. Without it, the model reads the contents of the messages, one
            a line.

    Raises:
        PokemonGenError: if the model has no chat template, or the template refuses the conversation.
    """
    plain = "".join(f"{message['content']}\n" for message in messages)
    prompt = templated(text_model, messages) if template else plain
    text = generate(text_model, prompt, settings, ends=end_tokens(text_model))[0]
    return Answer(prompt, first_tokens(text_model, prompt), text)


def templated(text_model: TextModel, messages: Sequence[Message]) -> str:
    """Return a conversation in the form of the model's chat template, up to where the answer begins.

    Raises:
        PokemonGenError: if there is no template, or it refuses the conversation.
    """
    if text_model.tokenizer.chat_template is None:
        raise PokemonGenError(
            f"{text_model.name}: its tokenizer has no chat template, so it is no instruction model. Use "
            "one that has, or continue a text: pokemon-gen text generate."
        )
    try:
        prompt: str = text_model.tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=True
        )
    except Exception as error:  # a template raises jinja2's errors, and its own
        raise PokemonGenError(
            f"{text_model.name}: its chat template refuses this: {first_line(error)}"
        ) from error
    return prompt


@torch.no_grad()
def first_tokens(text_model: TextModel, prompt: str, count: int = LIKELIEST) -> list[tuple[str, float]]:
    """Return the likeliest tokens after a prompt, as text, with their probabilities."""
    tokens = torch.from_numpy(encode(text_model.tokenizer, prompt, "prompt"))[None]
    if text_model.context:
        tokens = tokens[:, -text_model.context :]
    logits = text_model.model(tokens.to(text_model.model.device)).logits[0, -1].float()
    likeliest = logits.softmax(-1).topk(min(count, len(logits)))
    return [
        (decode(text_model.tokenizer, [token]), probability)
        for probability, token in zip(likeliest.values.tolist(), likeliest.indices.tolist(), strict=True)
    ]


def end_tokens(text_model: TextModel) -> frozenset[int]:
    """Return the tokens that end an answer, as the model's generation config and its tokenizer say."""
    configured = text_model.model.generation_config.eos_token_id
    ends = configured if isinstance(configured, list) else [configured]
    return frozenset(token for token in (*ends, text_model.tokenizer.eos_token_id) if token is not None)
