"""The commands of `pokemon-gen text`: each reads its arguments, calls a function of `text/`, and prints."""

import sys
from typing import Any

import click

from pokemon_gen.cli_parts import INTERRUPTED, OVERRIDES, START_AGAIN, Group, print_training

_MODEL = (
    "MODEL is the name or the folder of a run on text, the folder of a checkpoint or of any causal language "
    "model of transformers, or the id of such a model on the hub."
)


@click.group(
    cls=Group,
    short_help="Train, sample and score models of text.",
    epilog="Example: pokemon-gen text train corpus.source=file:book.txt name=book",
)
def text() -> None:
    """Train a small transformer on text, and continue and score texts with it."""


@text.command(
    short_help="Train a run on text, or resume it.",
    epilog="Example: pokemon-gen text train captions corpus.source=file:book.txt name=book",
)
@click.argument("config", default="captions")
@OVERRIDES
@START_AGAIN
def train(config: str, overrides: tuple[str, ...], overwrite: bool) -> None:
    """Train a run on text, or resume it: checkpoints/<name>/checkpoint-<step>/.

    CONFIG is a YAML file, the name of a shipped config of configs/text/, or the name of a run; default:
    captions.
    """
    if "=" in config:
        config, overrides = "captions", (config, *overrides)
    from pokemon_gen.config_files.loading import load_text_settings
    from pokemon_gen.text.corpus import open_corpus
    from pokemon_gen.training.resuming import check_same_run
    from pokemon_gen.validation import check_fields

    settings = load_text_settings(config, overrides)
    check_fields(settings)
    open_corpus(settings.corpus)  # reports a missing file before torch loads
    if not overwrite:
        check_same_run(settings)
    from pokemon_gen.text.training import load_text_data, seen_by, train_text

    data = load_text_data(settings, overwrite)
    click.echo(f"corpus: {settings.corpus.source}: {data}")
    result = train_text(settings, data, overwrite)
    print_training(result, overwrite)
    click.echo(str(seen_by(result, data)))
    if result.status == "interrupted":
        sys.exit(INTERRUPTED)


@text.command(
    short_help="Continue a text.",
    epilog=f'{_MODEL} Example: pokemon-gen text generate captions --prompt "a round" --samples 3',
)
@click.argument("model")
@OVERRIDES
@click.option("--prompt", help="The text to continue; default: what separates the texts of the corpus.")
@click.option("--samples", default=1, show_default=True, help="Number of continuations.")
@click.option("--coherence", is_flag=True, help="Measure how well each continuation fits the prompt.")
def generate(
    model: str, overrides: tuple[str, ...], prompt: str | None, samples: int, coherence: bool
) -> None:
    """Continue a prompt with a MODEL. Overrides such as generation.temperature=0.8 change the sampling."""
    if samples < 1:
        raise click.BadParameter("at least 1", param_hint="--samples")
    if coherence and prompt is None:
        raise click.UsageError("--coherence measures how continuations fit a prompt. Add --prompt.")
    _require_place(model)
    from pokemon_gen.config_files.overrides import override_generation
    from pokemon_gen.errors import PokemonGenError
    from pokemon_gen.text.generation import generate as generate_text
    from pokemon_gen.text.loading import load_text_model
    from pokemon_gen.text.tokenizers import knows

    loaded = load_text_model(model)
    settings = override_generation(loaded.settings, overrides)
    embedder = _load_embedder() if coherence else None  # before a long generation: it may be missing
    corpus = loaded.corpus
    separator = corpus.cased(corpus.separator)
    if prompt is None and not knows(loaded.tokenizer, separator):
        raise PokemonGenError(
            f"{model}: its text has no separator {separator!r} to begin with. Use --prompt."
        )
    prompt = None if prompt is None else corpus.cased(prompt)  # a model of capitals knows no other letters
    given = separator if prompt is None else prompt

    def show(part: str) -> None:
        click.echo(part, nl=False)
        sys.stdout.flush()

    if samples == 1:
        show(prompt or "")
        continuations = generate_text(loaded, given, settings, separator=separator, show=show)
        click.echo()
    else:
        continuations = generate_text(loaded, given, settings, samples, separator)
        for number, sample in enumerate(continuations, start=1):
            click.echo(f"[{number}] {prompt or ''}{sample}")
    if embedder:
        each = ", ".join(f"{value:.3f}" for value in embedder.coherence([given] * samples, continuations))
        click.echo(f"Coherence with the prompt: {each} (cosine of embeddings, -1 to 1; {embedder.name})")


def _load_embedder() -> Any:
    """Load the embedding model; other generations do not import it."""
    from pokemon_gen.study.coherence import load_embedder

    return load_embedder()


@text.command(
    short_help="Measure how well a model predicts a text.",
    epilog=f"{_MODEL} Example: pokemon-gen text score captions corpus.source=file:other.txt --split all",
)
@click.argument("model")
@OVERRIDES
@click.option(
    "--split", type=click.Choice(["dev", "train", "all"]), default="dev", show_default=True,
    help="The part of the corpus.",
)  # fmt: skip
def score(model: str, overrides: tuple[str, ...], split: str) -> None:
    """Print perplexity and bits per character of a corpus under a MODEL.

    The corpus is that of the run, or what corpus.source=... and other overrides say. The model reads
    corpus.block_size tokens at once, by default as many as in its training.
    """
    _require_place(model)
    from pokemon_gen.config_files.overrides import override_corpus
    from pokemon_gen.text.loading import load_text_model
    from pokemon_gen.text.scores import score_corpus

    loaded = load_text_model(model)
    corpus = override_corpus(loaded.corpus, overrides)
    click.echo(f"{corpus.source}: {split}: {score_corpus(loaded, corpus, split)}")


@text.command(
    short_help="Ask an instruction model, with and without its chat template.",
    epilog=f'{_MODEL} Example: pokemon-gen text chat FOLDER --ask "What is a sprite?" --ask "And a pixel?"',
)
@click.argument("model")
@OVERRIDES
@click.option("--ask", "questions", multiple=True, help="A question; several are asked in turn.")
@click.option("--system", help="What the model is asked to be, if its template has a place for it.")
def chat(model: str, overrides: tuple[str, ...], questions: tuple[str, ...], system: str | None) -> None:
    """Ask an instruction MODEL, and show the exact prompt, the likeliest first tokens and the answer.

    Each question is asked with the model's chat template, and the same conversation without it. Without
    --ask, questions are read line by line until an empty one.
    """
    _require_place(model)
    from pokemon_gen.config_files.overrides import override_generation
    from pokemon_gen.text.chat import answer
    from pokemon_gen.text.loading import load_text_model

    loaded = load_text_model(model)
    settings = override_generation(loaded.settings, overrides)
    messages = [{"role": "system", "content": system}] if system else []
    for question in questions or iter(lambda: click.prompt("you", default="", show_default=False), ""):
        messages.append({"role": "user", "content": question})
        answered = answer(loaded, messages, settings)  # first: a model without a template is refused
        without = answer(loaded, messages, settings, template=False)
        _print_answer("without the template", without)
        _print_answer("with the template", answered)
        messages.append({"role": "assistant", "content": answered.text})


def _require_place(model: str) -> None:
    """Report a model that does not exist before torch loads."""
    from pokemon_gen.models.choice import require_place

    require_place(model)


def _print_answer(title: str, answered: Any) -> None:
    """Print the exact prompt, the first tokens' probabilities, and the answer."""
    first = ", ".join(f"{token!r} {probability:.3f}" for token, probability in answered.first)
    click.echo(f"--- {title}\nprompt: {answered.prompt!r}\nfirst:  {first}\nanswer: {answered.text}")


@text.command(
    short_help="Show how a sentence becomes tokens.",
    epilog='Example: pokemon-gen text tokens captions "a round blue beast"',
)
@click.argument("model")
@click.argument("sentence")
def tokens(model: str, sentence: str) -> None:
    """Print the tokens and their numbers of a SENTENCE, and whether they give the sentence back.

    MODEL is a run on text, or the folder or the id on the hub of any model with a tokenizer.
    """
    _require_place(model)
    from rich.console import Console

    from pokemon_gen.text.loading import tokenizer_of
    from pokemon_gen.text.tables import tokens_table
    from pokemon_gen.text.tokenizers import decode, encode, token_rows

    tokenizer = tokenizer_of(model)
    numbers = encode(tokenizer, sentence, "sentence")
    Console().print(tokens_table(token_rows(tokenizer, numbers)))
    again = decode(tokenizer, numbers.tolist())
    click.echo(f"{len(sentence)} characters, {len(numbers)} tokens of {len(tokenizer):,}")
    click.echo("Back: the same text" if again == sentence else f"Back: {again!r}")
