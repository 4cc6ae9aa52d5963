"""`stages/judge.py`: a source of sprites has one judge, which is found by the fingerprint of the sprites."""

from pathlib import Path

import pytest

from pokemon_gen.discriminator.judge import Judge, find_judge
from pokemon_gen.settings import Settings
from pokemon_gen.sprites.loading import load_sprites
from pokemon_gen.stages.judge import judge
from tests.builders import error_with, tiny_judge_overrides


@pytest.mark.slow
def test_the_judge_is_found_by_the_fingerprint_of_its_sprites(judged: Settings) -> None:
    """A fold that is held out of train does not change the fingerprint."""
    folders = list(Path("checkpoints").glob("judge-*"))
    assert [folder.name for folder in folders] == [f"judge-{load_sprites('text:few').fingerprint}"]
    found = find_judge(load_sprites("text:few", fold_size=6))
    assert isinstance(found, Judge)
    assert found.metadata["train"] == 24  # the judge is trained on all of train


@pytest.mark.slow
def test_a_judge_is_trained_once(judged: Settings) -> None:
    assert judge("text:few", tiny_judge_overrides()).kept
    with error_with("judge-", "other settings", "--overwrite"):
        judge("text:few", [*tiny_judge_overrides(), "judge.seed=5"])


def test_a_missing_judge_is_reported_with_the_command_that_trains_it() -> None:
    assert "`pokemon-gen judge procedural`" in str(find_judge(load_sprites("procedural")))


@pytest.mark.parametrize(
    ("field", "suggestion"), [("classifier.model.dept", "depths"), ("generator.model.n_layr", "n_layer")]
)
def test_a_mistaken_field_of_the_judge_is_named(few_folder: Path, field: str, suggestion: str) -> None:
    with error_with("command line: ", f"'judge.{field}'", "did you mean 'judge.", f"{suggestion}'"):
        judge(f"text:{few_folder}", [*tiny_judge_overrides(), f"judge.{field}=3"])
