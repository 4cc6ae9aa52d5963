"""Overrides that change less than they seem to: said once, when settings are read.

A sweep over `training.learning_rate` of a config that learns by Muon, or over `completion.temperature` of one
that is greedy, compares a run with itself.
"""

import re
from collections.abc import Iterator

from pokemon_gen.settings import Settings

_OF_MUON = {
    "learning_rate": "muon_learning_rate",
    "weight_decay": "muon_weight_decay",
    **dict.fromkeys(("adam_beta1", "adam_beta2", "adam_epsilon", "optim"), ""),
}
"""Settings of the optimizer beside Muon, and Muon's own of the kind."""
_NEED_DRAWING = {f"completion.{name}" for name in ("temperature", "top_k", "top_p", "seed")}


def idle_overrides(settings: Settings) -> Iterator[str]:
    """Yield, for each override that changes nothing, or not all that its name says, why."""
    for dotted in settings.overridden():
        section, _, name = dotted.partition(".")
        reason = {"training": _of_training, "completion": _of_completion, "augmentation": _of_augmentation}
        found = reason[section](name, settings) if section in reason else None
        if found:
            yield f"{dotted} {found}"


def _of_training(name: str, settings: Settings) -> str | None:
    training = settings.training
    muon = training.get("muon_learning_rate")
    other = _OF_MUON.get(name, "")
    if muon and name in _OF_MUON and f"training.{other}" not in settings.overridden():
        before = f", at training.{other}={training.get(other, 0.0)} as before" if other else ""
        return "is AdamW's alone (for the colours' table and the norms); the matrices learn by Muon" + before
    every = re.fullmatch(r"(eval|save|logging)_steps", name)
    if every and training.get(f"{every[1]}_strategy", "epoch") != "steps":
        return f"changes nothing: it needs training.{every[1]}_strategy=steps"
    return None


def _of_completion(name: str, settings: Settings) -> str | None:
    completion = settings.completion
    if f"completion.{name}" in _NEED_DRAWING and not completion.do_sample:
        return "changes nothing: completions are greedy (completion.do_sample=false)"
    if name == "likelihood_weight" and completion.candidates == 1:
        return "changes nothing: there is one candidate of each prompt (completion.candidates=1)"
    return None


def _of_augmentation(name: str, settings: Settings) -> str | None:
    augmentation = settings.augmentation
    if name == "identity_prob" and augmentation.hue_shifts == 1 and augmentation.flips == "none":
        return "changes nothing: no sprite is changed (augmentation.flips, augmentation.hue_shifts)"
    return None
