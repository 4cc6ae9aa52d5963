"""Advice about overrides that change less than their names suggest, given once when settings are read.

A sweep over `training.learning_rate` with a config that trains by Muon, or over `completion.temperature`
with a greedy config, compares a run with itself.
"""

import re
from collections.abc import Iterator

from pokemon_gen.settings import RunSettings, Settings
from pokemon_gen.text_settings import TextSettings

_MUON_COUNTERPARTS = {
    "learning_rate": "muon_learning_rate",
    "weight_decay": "muon_weight_decay",
    **dict.fromkeys(("adam_beta1", "adam_beta2", "adam_epsilon", "optim"), ""),
}
"""Setting of AdamW → the setting of Muon with the same meaning, or an empty string if there is none."""
_SAMPLING_ONLY = ("temperature", "top_k", "top_p", "seed")
"""Settings of `completion` and `generation` that have no effect on greedy decoding."""


def idle_overrides(settings: RunSettings) -> Iterator[str]:
    """Yield a sentence for each override that changes nothing, or less than its name suggests."""
    for dotted in settings.overridden():
        section, _, name = dotted.partition(".")
        advice = _advice(section, name, settings)
        if advice:
            yield f"{dotted} {advice}"


def _advice(section: str, name: str, settings: RunSettings) -> str | None:
    if section == "training":
        return _on_training(name, settings)
    if isinstance(settings, TextSettings):
        of_text = {"corpus": _on_corpus, "tokenizer": _on_tokenizer, "generation": _on_generation}
        return of_text[section](name, settings) if section in of_text else None
    assert isinstance(settings, Settings)
    of_sprites = {"completion": _on_completion, "augmentation": _on_augmentation}
    return of_sprites[section](name, settings) if section in of_sprites else None


def _on_training(name: str, settings: RunSettings) -> str | None:
    training = {**settings.training_defaults(), **settings.training}
    counterpart = _MUON_COUNTERPARTS.get(name, "")
    changes_both = f"training.{counterpart}" in settings.overridden()
    if training.get("muon_learning_rate") and name in _MUON_COUNTERPARTS and not changes_both:
        value = training.get(counterpart, 0.0)
        unchanged = f", with training.{counterpart}={value} as before" if counterpart else ""
        return (
            "changes AdamW only, which trains the table of tokens and the norms. Muon trains the matrices"
            + unchanged
        )
    interval = re.fullmatch(r"(eval|save|logging)_steps", name)
    if interval and training.get(f"{interval[1]}_strategy", "epoch") != "steps":
        return f"changes nothing: it needs training.{interval[1]}_strategy=steps"
    return None


def _on_corpus(name: str, settings: TextSettings) -> str | None:
    corpus = settings.corpus
    if name == "count" and ":" in corpus.source:
        return f"changes nothing: only captions and riddles are counted, not {corpus.source}"
    if name == "column" and not corpus.source.startswith("hub:"):
        return f"changes nothing: only a data set (hub:ID_OR_FOLDER) has columns, not {corpus.source}"
    return None


def _on_tokenizer(name: str, settings: TextSettings) -> str | None:
    kind = settings.tokenizer.kind
    if name == "size" and kind != "bpe":
        return f"changes nothing: it needs tokenizer.kind=bpe, not {kind}"
    return None


def _on_generation(name: str, settings: TextSettings) -> str | None:
    if name in _SAMPLING_ONLY and not settings.generation.do_sample:
        return "changes nothing: continuations are greedy (generation.do_sample=false)"
    return None


def _on_completion(name: str, settings: Settings) -> str | None:
    completion = settings.completion
    if name in _SAMPLING_ONLY and not completion.do_sample:
        return "changes nothing: completions are greedy (completion.do_sample=false)"
    if name == "likelihood_weight" and completion.candidates == 1:
        return "changes nothing: each prompt has one candidate (completion.candidates=1)"
    return None


def _on_augmentation(name: str, settings: Settings) -> str | None:
    augmentation = settings.augmentation
    if name == "identity_prob" and augmentation.hue_shifts == 1 and augmentation.flips == "none":
        return "changes nothing: sprites are not augmented (augmentation.flips, augmentation.hue_shifts)"
    return None
