"""`stages/detector.py`, `discriminator/detector.py`: a detector belongs to a run and is trained once."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from pokemon_gen.config_files.loading import load_settings
from pokemon_gen.discriminator.classifier import fingerprint_of
from pokemon_gen.discriminator.detector import copy_detector
from pokemon_gen.settings import Settings
from pokemon_gen.stages.detector import detector
from pokemon_gen.stages.select import select
from pokemon_gen.stages.train import train_members
from pokemon_gen.training.run import train
from tests.builders import RUN, MakeSettings, error_with


@pytest.mark.slow
def test_a_detector_is_saved_in_its_run_and_trained_once(judged: Settings) -> None:
    metadata = json.loads((RUN / "detector" / "classifier.json").read_text())
    assert metadata["role"] == "detector"
    assert metadata["train"] == 24 - 6  # it is not trained on the fold
    assert metadata["negative_types"][-1]["negative_type"] == "completions"
    with Image.open(RUN / "detector" / "calibration.png") as picture:
        assert picture.width > 600
    again = detector(judged)
    assert (again.kept, again.metadata["fingerprint"]) == (True, metadata["fingerprint"])


@pytest.mark.slow
def test_a_detector_of_other_settings_is_kept(judged: Settings) -> None:
    other = judged.model_copy(update={"detector": judged.detector.model_copy(update={"seed": 1})})
    with error_with(str(RUN / "detector"), "other settings", "--overwrite"):
        detector(other)


@pytest.mark.slow
def test_training_a_run_again_keeps_only_its_detector(judged: Settings) -> None:
    select(RUN, by="nll")
    train(judged, overwrite=True)
    assert (RUN / "detector" / "classifier.json").is_file()
    assert not (RUN / "selection.json").exists()
    assert not (RUN / "best").exists()


@pytest.mark.slow
def test_members_choose_by_the_detector_of_their_ensemble(judged: Settings) -> None:
    settings = judged.model_copy(update={"members": 2, "name": "both"})
    train_members(settings)
    detector(settings)
    for number in range(2):
        member = Path(f"checkpoints/both/member-{number}")
        assert select(member, by="detector").selection.ranked[0].detector is not None
        assert not (member / "detector").exists()


def test_a_detector_needs_enough_sprites_after_the_fold(tiny: MakeSettings) -> None:
    with error_with("fold_size=24", "24 sprites"):
        detector(tiny(sprites={"source": "text:few", "fold_size": 24}))
    with error_with("text:few", "1 training sprites"):
        detector(tiny(sprites={"source": "text:few", "fold_size": 23}))


def test_fields_of_the_default_network_can_be_changed_one_at_a_time() -> None:
    changed = load_settings("quick", ["detector.classifier.model.depths=[1, 1, 1]"]).detector.classifier.model
    assert (changed["model_type"], changed["depths"]) == ("regnet", [1, 1, 1])


def save_fingerprint(run: Path, fingerprint: str) -> Path:
    """Write the metadata of a detector that has only a fingerprint, and return the run."""
    (run / "detector").mkdir(parents=True)
    (run / "detector" / "classifier.json").write_text(json.dumps({"fingerprint": fingerprint}))
    return run


def test_a_detector_is_copied_completely_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(source: Path, folder: Path) -> None:
        folder.mkdir()
        (folder / "classifier.json").write_text("{}")
        raise OSError("killed")

    old, new = save_fingerprint(tmp_path / "old", "a"), save_fingerprint(tmp_path / "new", "b")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copytree", killed)
        with pytest.raises(OSError, match="killed"):
            copy_detector(new, old, replace=True)
    assert fingerprint_of(old / "detector") == "a"
    copy_detector(new, old, replace=True)
    assert fingerprint_of(old / "detector") == "b"
    assert [path.name for path in old.iterdir()] == ["detector"]


def test_a_detector_is_copied_only_if_there_is_one_and_replaced_only_on_request(tmp_path: Path) -> None:
    old, new = save_fingerprint(tmp_path / "old", "a"), save_fingerprint(tmp_path / "new", "b")
    without = tmp_path / "without"
    without.mkdir()
    copy_detector(without, old, replace=True)
    copy_detector(new, old, replace=False)
    assert fingerprint_of(old / "detector") == "a"
    copy_detector(new, without, replace=False)
    assert fingerprint_of(without / "detector") == "b"


def test_the_detector_of_a_member_is_that_of_its_ensemble(tmp_path: Path) -> None:
    ensemble, new = save_fingerprint(tmp_path / "both", "a"), save_fingerprint(tmp_path / "new", "b")
    (ensemble / "member-0").mkdir()
    copy_detector(ensemble / "member-0", new, replace=True)
    assert fingerprint_of(new / "detector") == "a"
