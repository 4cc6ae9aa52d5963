"""`docs/configs.md` is the page that `reference.py` generates."""

import dataclasses

from transformers import TrainingArguments

from pokemon_gen.config_files.fields import own_training_fields
from pokemon_gen.config_files.reference import reference_page
from pokemon_gen.training.arguments import RunTrainingArguments
from tests.builders import ROOT


def test_the_page_in_docs_is_current() -> None:
    """If this fails: `python -m pokemon_gen.config_files.reference > docs/configs.md`."""
    assert (ROOT / "docs" / "configs.md").read_text(encoding="utf-8") == reference_page()


def test_the_page_names_every_kind_of_setting() -> None:
    page = reference_page()
    for setting in ("name", "sprites.fold_size", "detector.generator.share", "training.muon_learning_rate"):
        assert f"| `{setting}` |" in page
    for config in (ROOT / "configs").glob("*.yaml"):
        assert f"| [`{config.stem}`]" in page
    for topic in ("dotted.name=value", "extends: strong", "transformers.TrainingArguments", "training:"):
        assert topic in page


def test_every_setting_has_a_meaning() -> None:
    for line in reference_page().splitlines():
        if line.startswith("| "):
            assert all(cell.strip() for cell in line.strip("|").split("|"))


def test_the_fields_of_this_package_are_read_from_the_source() -> None:
    theirs = {field.name for field in dataclasses.fields(TrainingArguments)}
    ours = {field.name: field for field in dataclasses.fields(RunTrainingArguments)}
    fields = own_training_fields()
    assert {field.name for field in fields} == set(ours) - theirs
    for field in fields:
        assert field.default == ours[field.name].default
        assert field.docstring
