"""Advice about overrides that change less than their names suggest, given once when settings are read.

A sweep over `training.learning_rate` with a config that trains by Muon, or over `completion.temperature`
with a greedy config, compares a run with itself.
"""

import re
from collections.abc import Iterator

from pokemon_gen.settings import Settings

_MUON_COUNTERPARTS = {
    "learning_rate": "muon_learning_rate",
    "weight_decay": "muon_weight_decay",
    **dict.fromkeys(("adam_beta1", "adam_beta2", "adam_epsilon", "optim"), ""),
}
"""Setting of AdamW → the setting of Muon with the same meaning, or an empty string if there is none."""
_SAMPLING_ONLY = ("temperature", "top_k", "top_p", "seed")
"""Settings of `completion` that have no effect on greedy completions."""


def idle_overrides(settings: Settings) -> Iterator[str]:
    """Yield a sentence for each override that changes nothing, or less than its name suggests."""
    advisers = {"training": _on_training, "completion": _on_completion, "augmentation": _on_augmentation}
    for dotted in settings.overridden():
        section, _, name = dotted.partition(".")
        advice = advisers[section](name, settings) if section in advisers else None
        if advice:
            yield f"{dotted} {advice}"


def _on_training(name: str, settings: Settings) -> str | None:
    training = settings.training
    counterpart = _MUON_COUNTERPARTS.get(name, "")
    changes_both = f"training.{counterpart}" in settings.overridden()
    if training.get("muon_learning_rate") and name in _MUON_COUNTERPARTS and not changes_both:
        value = training.get(counterpart, 0.0)
        unchanged = f", with training.{counterpart}={value} as before" if counterpart else ""
        return (
            "changes AdamW only, which trains the table of colours and the norms. Muon trains the matrices"
            + unchanged
        )
    interval = re.fullmatch(r"(eval|save|logging)_steps", name)
    if interval and training.get(f"{interval[1]}_strategy", "epoch") != "steps":
        return f"changes nothing: it needs training.{interval[1]}_strategy=steps"
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
