"""`stages/judge.py`: a source of sprites has one judge, which is found by the fingerprint of the sprites."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pokemon_gen.discriminator import training
from pokemon_gen.discriminator.generators import Completed, CompletedPrompts
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


@pytest.mark.slow
def test_the_sharp_judge_is_used_where_it_exists(judged: Settings) -> None:
    quick = find_judge(load_sprites("text:few"))
    overrides = [*tiny_judge_overrides(), "judge.more_generators=[]", "judge.sample_steps=2"]
    sharp = judge("text:few", overrides, sharp=True)
    assert sharp.folder.name.endswith("-sharp")
    found = find_judge(load_sprites("text:few"))
    assert isinstance(found, Judge)
    assert isinstance(quick, Judge)
    assert found.fingerprint == sharp.metadata["fingerprint"] != quick.fingerprint
    sets = [entry["negative_type"] for entry in sharp.metadata["negative_types"]]
    assert sets[-1] == "sample"  # the homework's sample, trained for two steps
    assert any("sample" in limit for limit in quick.limits)  # the quick judge was not examined on it


@pytest.mark.slow
def test_a_failed_sharp_judge_is_used_only_if_the_quick_one_failed_too(
    judged: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    (quick,) = Path("checkpoints").glob("judge-*")
    sharp = quick.with_name(f"{quick.name}-sharp")
    shutil.copytree(quick, sharp)
    metadata = json.loads((quick / "classifier.json").read_text())
    (sharp / "classifier.json").write_text(json.dumps({**metadata, "sharp": True}))

    def found_where_fail(fails: Callable[[Judge], bool]) -> bool:
        monkeypatch.setattr(Judge, "failures", property(lambda self: ["no"] if fails(self) else []))
        found = find_judge(load_sprites("text:few"))
        assert isinstance(found, Judge)
        return "sharp" in found.metadata

    assert not found_where_fail(lambda found: "sharp" in found.metadata)
    assert found_where_fail(lambda found: True)
    assert found_where_fail(lambda found: False)


def test_a_judge_of_other_sprites_is_refused(judged: Settings) -> None:
    (folder,) = Path("checkpoints").glob("judge-*")
    other = load_sprites("procedural")
    folder.rename(folder.with_name(f"judge-{other.fingerprint}"))
    with error_with(f"judge-{other.fingerprint}", "other sprites", "procedural", "--overwrite"):
        find_judge(other)


def test_few_sprites_are_warned_about(
    few_folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    nothing = CompletedPrompts(np.zeros((0, 400), int), np.zeros(0, int))
    monkeypatch.setattr(training, "complete_unseen", lambda *_: Completed(nothing, nothing))
    with error_with("text:few", "train equals"):
        judge("text:few", tiny_judge_overrides())
    assert any("24 training sprites" in record.getMessage() for record in caplog.records)
