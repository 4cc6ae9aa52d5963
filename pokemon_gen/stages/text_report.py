"""`pokemon-gen report` for a run on text: scores on dev, samples, curves, and what was used."""

import json
import shlex
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from pokemon_gen import __version__
from pokemon_gen.constants import RESULTS
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.files import require_absent, write_text
from pokemon_gen.models.checkpoints import has_state, is_checkpoint, log_history, step_of
from pokemon_gen.models.environment import environment
from pokemon_gen.models.runs import valid_checkpoints
from pokemon_gen.report.html import HtmlPage
from pokemon_gen.report.text import TextReportContent, build_text_report
from pokemon_gen.stages.plans import REPORT_NAME
from pokemon_gen.text.corpus import Corpus, open_corpus
from pokemon_gen.text.generation import generate
from pokemon_gen.text.loading import TextModel, load_text_model
from pokemon_gen.text.scores import score_corpus
from pokemon_gen.text_settings import TextSettings

SAMPLES = 6
"""The number of samples."""
PROMPT_WORDS = 3
"""Words of dev that a sample begins with."""
PROMPT_CHARACTERS = 40
"""The most characters of these words: not every text has spaces."""


def write_text_report(run: str | Path, output: Path | None = None, overwrite: bool = False) -> HtmlPage:
    """Write the report of a run on text.

    Args:
        run: a checkpoint, or the folder or the name of a run, whose best checkpoint is used.
        output: the HTML file. None: `eval/results/<name>/report.html`, which is replaced.
        overwrite: replace `output` if it exists.

    Raises:
        PokemonGenError: for a missing run, a corpus that is missing, or an output that exists.
    """
    loaded = load_text_model(run)
    if loaded.settings is None:
        raise PokemonGenError(f"{run}: this model has no run, and so no report. `inspect` shows its inside.")
    if output:
        require_absent(output, overwrite)
    file = output or RESULTS / loaded.settings.name / REPORT_NAME
    write_text(file, build_text_report(_content(str(run), loaded, loaded.settings)))
    return HtmlPage(file)


def _content(given: str, loaded: TextModel, settings: TextSettings) -> TextReportContent:
    """Collect what the report shows."""
    corpus = open_corpus(settings.corpus)
    folder = loaded.folder
    assert folder is not None  # a model of the hub has no settings
    saved = valid_checkpoints(folder.parent)
    history = log_history(saved[-1] if saved else folder) if saved or has_state(folder) else []
    separator = settings.corpus.cased(settings.corpus.separator)
    return TextReportContent(
        name=settings.name,
        verdict=f"On all of dev: {score_corpus(loaded, settings.corpus)}.",
        samples=[
            (prompt, generate(loaded, prompt, settings.generation, separator=separator)[0])
            for prompt in islice(_prompts(corpus), SAMPLES)
        ],
        history=history,
        chosen=step_of(folder) if is_checkpoint(folder) else None,
        facts=_facts(loaded, settings, corpus, folder),
        settings_json=json.dumps(settings.model_dump(mode="json"), indent=2, ensure_ascii=False),
        commands=["pokemon-gen text train settings.json", f"pokemon-gen report {shlex.quote(given)}"],
    )


def _prompts(corpus: Corpus) -> Iterator[str]:
    """Yield the first words of different lines of dev."""
    seen = set()
    for line in corpus.lines():
        prompt = " ".join(line.split(" ")[:PROMPT_WORDS])[:PROMPT_CHARACTERS]
        if prompt.strip() and prompt not in seen:
            seen.add(prompt)
            yield prompt


def _facts(
    loaded: TextModel, settings: TextSettings, corpus: Corpus, folder: Path
) -> dict[str, dict[str, str]]:
    """Return what was used: group → name → value."""
    survey = corpus.survey
    return {
        "Model": {
            "type": loaded.model.config.model_type,
            "parameters": f"{loaded.model.num_parameters():,}",
            "block": f"{settings.corpus.block_size} tokens",
            "started from": settings.start_from or "random weights",
            "seed": str(settings.seed),
        },
        "Checkpoint": {"folder": str(folder), "chosen": loaded.reason},
        "Text": {
            "source": settings.corpus.source,
            "fingerprint": survey.fingerprint,
            "characters": f"{survey.characters:,}, {len(survey.alphabet)} different",
            "tokens": f"{settings.tokenizer.kind}, {len(loaded.tokenizer):,} different",
        },
        "This report with": {"pokemon_gen": __version__, **environment()},
    }
