"""`stages/judging.py`: detector, judge and selection of a run, each where it belongs."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pokemon_gen.config_files.loading import load_settings
from pokemon_gen.discriminator.classifier import fingerprint_of
from pokemon_gen.discriminator.detector import copy_detector
from pokemon_gen.discriminator.judge import find_judge
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.selection import selection_is_current
from pokemon_gen.settings import CompletionSettings, SelectionSettings, Settings
from pokemon_gen.sprites.loading import Sprites, load_sprites
from pokemon_gen.stages.detector import detector
from pokemon_gen.stages.judge import judge
from pokemon_gen.stages.select import select
from pokemon_gen.stages.train import train_members
from pokemon_gen.training.run import train
from tests.builders import tiny_judge_overrides, tiny_settings, write_palette, write_text_folder

Make = Callable[..., Settings]


@pytest.fixture(scope="module")
def judged_folder(few_sprites: Sprites, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a run with a fold, its detector and the judge, once."""
    import contextlib

    folder = tmp_path_factory.mktemp("judged")
    with contextlib.chdir(folder):
        write_text_folder(few_sprites, Path("few"))
        settings = tiny_settings(sprites={"source": "text:few", "fold_size": 6})
        train(settings)
        detector(settings)
        judge("text:few", tiny_judge_overrides())
    return folder


@pytest.fixture
def judged(judged_folder: Path, own_folder: Path) -> Settings:
    shutil.copytree(judged_folder, own_folder, dirs_exist_ok=True)
    return tiny_settings(sprites={"source": "text:few", "fold_size": 6})


RUN = Path("checkpoints/tiny")


def test_a_detector_stands_with_its_run_and_is_trained_once(judged: Settings) -> None:
    facts = json.loads((RUN / "detector" / "classifier.json").read_text())
    assert facts["role"] == "detector"
    assert facts["train"] == 24 - 6  # the fold is not trained on
    assert [one["negative_type"] for one in facts["negative_types"]][-1] == "completions"
    with Image.open(RUN / "detector" / "calibration.png") as picture:
        assert picture.width > 600
    again = detector(judged)
    assert (again.kept, again.metadata["fingerprint"]) == (True, facts["fingerprint"])


def test_a_detector_of_other_settings_is_kept_unless_told(judged: Settings) -> None:
    other = judged.model_copy(update={"detector": judged.detector.model_copy(update={"seed": 1})})
    with pytest.raises(PokemonGenError, match=r"detector: .*other settings or sprites.*--overwrite"):
        detector(other)


def test_the_judge_is_found_by_its_sprites_whatever_is_held_out(judged: Settings) -> None:
    folders = list(Path("checkpoints").glob("judge-*"))
    assert [folder.name for folder in folders] == [f"judge-{load_sprites('text:few').fingerprint}"]
    found = find_judge(load_sprites("text:few", fold_size=6))
    assert not isinstance(found, str)
    assert found.metadata["train"] == 24  # the judge learns of all of train
    missing = find_judge(load_sprites("procedural"))
    assert "`pokemon-gen judge procedural`" in str(missing)
    assert judge("text:few", tiny_judge_overrides()).kept
    with pytest.raises(PokemonGenError, match=r"judge-.*: .*judge of other settings.*--overwrite"):
        judge("text:few", [*tiny_judge_overrides(), "judge.seed=5"])


@pytest.mark.parametrize(("by", "on"), [("detector", "fold"), ("nll", "dev")])
def test_selecting_ranks_every_checkpoint(judged: Settings, by: Any, on: str) -> None:
    made = select(RUN, by=by, on=on)
    assert {figures.step for figures in made.selection.ranked} == {2, 4}
    assert (made.best / "model.safetensors").is_file()
    facts = json.loads((RUN / "selection.json").read_text())
    assert (facts["by"], facts["on"]) == (by, on)
    values = [figures[by] for figures in facts["checkpoints"]]
    assert values == sorted(values, reverse=by == "detector")
    completed = by == "detector"
    for figures in facts["checkpoints"]:
        assert all((figures[name] is not None) is completed for name in ("detector", "distance", "accuracy"))
    assert bool(facts["completion"]) is completed
    assert made.picture is not None
    with Image.open(made.picture) as picture:
        assert (picture.width > 1000) is completed


@pytest.mark.parametrize(("by", "kept"), [("detector", False), ("nll", True)])
def test_how_it_is_completed_matters_only_to_a_choice_by_completions(
    judged: Settings, by: Any, kept: bool
) -> None:
    sprites = load_sprites("text:few", fold_size=6)
    settings = judged.model_copy(update={"selection": SelectionSettings(by=by)})
    select(RUN, sprites, by=by)
    assert selection_is_current(RUN, settings, sprites)
    drawn = settings.model_copy(update={"completion": CompletionSettings(do_sample=True)})
    assert selection_is_current(RUN, drawn, sprites) is kept


def test_sprites_that_were_moved_are_told_to_a_selection(judged: Settings) -> None:
    Path("few").rename("moved")
    with pytest.raises(PokemonGenError, match="few"):
        select(RUN, by="nll")
    with pytest.raises(PokemonGenError, match=r"other sprites \(text:few, .* than procedural .*they moved"):
        select(RUN, by="nll", overrides=["sprites.source=procedural"])
    with pytest.raises(PokemonGenError, match=r"completion\.\*: cannot be set: to choose by nll"):
        select(RUN, by="nll", overrides=["sprites.source=text:moved", "completion.do_sample=true"])
    made = select(RUN, by="detector", overrides=["sprites.source=text:moved", "completion.do_sample=true"])
    facts = json.loads(made.file.read_text())
    assert facts["sprites"]["source"] == "text:moved"
    assert facts["completion"]["do_sample"] is True
    for by in ("nll", "detector"):  # what is there since is not forgotten
        best = load_settings(select(RUN, by=by).best / "settings.json")
        assert (best.completion.do_sample, best.sprites.source) == (True, "text:moved")


@pytest.mark.parametrize("override", ["sprites.fold_size=0", "training.max_steps=9", "name=other"])
def test_a_selection_is_on_what_the_run_has_not_learned(judged: Settings, override: str) -> None:
    with pytest.raises(
        PokemonGenError, match=r"trained already; completion\.\*, sprites\.palette, sprites\.so"
    ):
        select(RUN, by="nll", overrides=[override])


def test_a_copied_detector_is_a_copy_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(source: Path, folder: Path) -> None:
        folder.mkdir()
        (folder / "classifier.json").write_text("{}")
        raise OSError("killed")

    def have(run: str, fingerprint: str) -> Path:
        (tmp_path / run / "detector").mkdir(parents=True)
        (tmp_path / run / "detector" / "classifier.json").write_text(f'{{"fingerprint": "{fingerprint}"}}')
        return tmp_path / run

    old, new, none = have("old", "a"), have("new", "b"), tmp_path / "none"
    none.mkdir()
    copy_detector(none, old, replace=True)
    copy_detector(new, old, replace=False)
    assert fingerprint_of(old / "detector") == "a"
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copytree", killed)
        with pytest.raises(OSError, match="killed"):
            copy_detector(new, old, replace=True)
    assert fingerprint_of(old / "detector") == "a"
    copy_detector(new, old, replace=True)
    assert fingerprint_of(old / "detector") == "b"
    copy_detector(new, none, replace=False)
    for run in (old, none):
        assert [path.name for path in run.iterdir()] == ["detector"]
    member = old / "member-0"
    member.mkdir()
    copy_detector(member, new, replace=True)  # a member has its ensemble's
    assert fingerprint_of(new / "detector") == "b"


def test_training_again_keeps_the_detector_and_nothing_else(judged: Settings) -> None:
    select(RUN, by="nll")
    train(judged, overwrite=True)
    assert (RUN / "detector" / "classifier.json").is_file()
    assert not (RUN / "selection.json").exists()
    assert not (RUN / "best").exists()


def test_what_selecting_lacks_is_named(judged: Settings, few_sprites: Sprites) -> None:
    with pytest.raises(PokemonGenError, match="nowhere: no such run"):
        select("nowhere")
    shutil.rmtree(RUN / "detector")
    with pytest.raises(PokemonGenError, match=r"no detector to choose by; `pokemon-gen detector CONFIG`"):
        select(RUN, by="detector")


def test_without_a_fold_there_is_nothing_to_choose_on(tiny: Make) -> None:
    train(tiny())
    with pytest.raises(PokemonGenError, match=r"trained on all of train.*sprites.fold_size=80"):
        select(RUN, by="nll", on="fold")


def test_a_detector_of_another_palette_is_refused(judged: Settings, few_sprites: Sprites) -> None:
    palette = few_sprites.palette.rgb.copy()
    palette[[5, 6]] = palette[[6, 5]]
    write_palette(Path("few/colormap.txt"), type(few_sprites.palette)(palette))
    train(tiny_settings(sprites={"source": "text:few", "fold_size": 6}), overwrite=True)
    with pytest.raises(PokemonGenError, match=r"detector.*another palette"):
        select(RUN, by="detector")


def test_a_detector_that_has_seen_the_fold_is_refused(judged: Settings) -> None:
    """Trained while 6 sprites were held out, it would know of a fold of 8."""
    train(tiny_settings(sprites={"source": "text:few", "fold_size": 8}), overwrite=True)
    with pytest.raises(PokemonGenError, match=r"detector: .*other training sprites than the run"):
        select(RUN, by="detector", on="fold")


def test_a_selection_is_current_for_the_detector_and_completion_it_was_made_with(judged: Settings) -> None:
    sprites = load_sprites("text:few", fold_size=6)
    chosen = judged.model_copy(update={"selection": SelectionSettings(by="detector", on="fold")})
    select(RUN, by="detector", on="fold")
    assert selection_is_current(RUN, chosen, sprites)
    safer = judged.completion.model_copy(update={"temperature": 0.5})
    assert not selection_is_current(RUN, chosen.model_copy(update={"completion": safer}), sprites)
    other = judged.detector.model_copy(update={"seed": 9})
    detector(chosen.model_copy(update={"detector": other}), overwrite=True)
    assert not selection_is_current(RUN, chosen, sprites)


def test_what_changes_of_a_default_network_is_enough() -> None:
    changed = load_settings("quick", ["detector.classifier.model.depths=[1, 1, 1]"]).detector.classifier.model
    assert (changed["model_type"], changed["depths"]) == ("regnet", [1, 1, 1])


def test_a_mistaken_classifier_has_its_place(tiny: Make) -> None:
    for key, near in (("classifier.model.dept", "depths"), ("generator.model.n_layr", "n_layer")):
        message = f"^command line: unknown setting 'judge.{key}' .*did you mean 'judge.*{near}'"
        with pytest.raises(PokemonGenError, match=message):
            judge("text:few", [*tiny_judge_overrides(), f"judge.{key}=3"])
    with pytest.raises(PokemonGenError, match=r"24 training sprites are too few|fold_size=.*24 sprites"):
        detector(tiny(sprites={"source": "text:few", "fold_size": 24}))


def test_one_checkpoint_is_no_plot(judged: Settings) -> None:
    assert select(RUN, by="nll").picture == RUN / "selection.png"
    shutil.rmtree(RUN / "checkpoint-2")
    assert select(RUN, by="nll").picture is None
    assert not (RUN / "selection.png").exists()


def test_members_choose_by_their_ensembles_detector(judged: Settings, few_folder: Path) -> None:
    settings = judged.model_copy(update={"members": 2, "name": "both"})
    train_members(settings)
    detector(settings)
    for number in range(2):
        made = select(Path(f"checkpoints/both/member-{number}"), by="detector")
        assert made.selection.ranked[0].detector is not None
        assert not Path(f"checkpoints/both/member-{number}/detector").exists()
