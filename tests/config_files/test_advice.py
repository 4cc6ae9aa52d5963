"""A warning names every override that changes less than its name suggests."""

import logging

import pytest

from pokemon_gen.config_files.loading import load_settings, load_text_settings

SILENT = [
    "training.muon_learning_rate=0.01",
    "training.max_steps=5",
    "model.hidden_size=64",
    "completion.temperature=0.9",
    "completion.likelihood_weight=2.0",
    "name=other",
]


def warnings_of(caplog: pytest.LogCaptureFixture, config: str, *overrides: str) -> list[str]:
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="pokemon_gen"):
        load_settings(config, overrides)
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(
    ("config", "overrides", "facts"),
    [
        (
            "quick",
            ["training.learning_rate=1e-3"],
            ["training.learning_rate", "training.muon_learning_rate=0.02"],
        ),
        ("quick", ["training.weight_decay=0.1"], ["training.weight_decay", "muon_weight_decay=0.2"]),
        ("quick", ["training.adam_beta1=0.8"], ["training.adam_beta1", "Muon"]),
        ("gpt2-sample", ["completion.temperature=0.8"], ["completion.temperature", "completion.do_sample"]),
        ("gpt2-sample", ["completion.top_p=0.8"], ["completion.top_p", "completion.do_sample"]),
        ("llama", ["completion.likelihood_weight=2.0"], ["likelihood_weight", "completion.candidates=1"]),
        (
            "quick",
            ["augmentation.identity_prob=0.2"],
            ["augmentation.identity_prob", "augmentation.hue_shifts"],
        ),
        ("quick", ["training.save_steps=50"], ["training.save_steps", "training.save_strategy=steps"]),
    ],
)
def test_an_idle_override_causes_a_warning(
    caplog: pytest.LogCaptureFixture, config: str, overrides: list[str], facts: list[str]
) -> None:
    (message,) = warnings_of(caplog, config, *overrides)
    assert all(fact in message for fact in facts)


@pytest.mark.parametrize("override", SILENT)
def test_other_overrides_cause_no_warning(caplog: pytest.LogCaptureFixture, override: str) -> None:
    assert warnings_of(caplog, "quick", override) == []


def test_overriding_both_learning_rates_causes_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    both = ["training.learning_rate=1e-3", "training.muon_learning_rate=0.01"]
    assert warnings_of(caplog, "quick", *both) == []
    assert warnings_of(caplog, "llama", "training.learning_rate=1e-3") == []  # AdamW trains all weights
    assert warnings_of(caplog, "strong", "training.save_steps=0.2") == []  # with save_strategy: steps


@pytest.mark.parametrize(
    ("overrides", "facts"),
    [
        (["tokenizer.size=2000"], ["tokenizer.size", "tokenizer.kind=bpe", "characters"]),
        (["corpus.column=text"], ["corpus.column", "captions"]),
        (["corpus.count=9", "corpus.source=file:book.txt"], ["corpus.count", "file:book.txt"]),
        (["generation.top_k=3", "generation.do_sample=false"], ["generation.top_k", "do_sample"]),
        (["training.learning_rate=1e-3"], ["training.learning_rate", "training.muon_learning_rate=0.02"]),
        (["training.eval_steps=9", "training.eval_strategy=epoch"], ["training.eval_steps", "eval_strategy"]),
    ],
)
def test_an_idle_override_on_text_causes_a_warning(
    caplog: pytest.LogCaptureFixture, overrides: list[str], facts: list[str]
) -> None:
    with caplog.at_level(logging.WARNING, logger="pokemon_gen"):
        load_text_settings("captions", overrides)
    (message,) = [record.getMessage() for record in caplog.records]
    assert all(fact in message for fact in facts)


@pytest.mark.parametrize(
    "override",
    ["corpus.count=9", "training.save_steps=5", "generation.top_k=3", "tokenizer.unknown=true"],
)
def test_other_overrides_on_text_cause_no_warning(caplog: pytest.LogCaptureFixture, override: str) -> None:
    with caplog.at_level(logging.WARNING, logger="pokemon_gen"):
        load_text_settings("captions", [override])
    assert not caplog.records
