"""`stages/select.py`: every checkpoint of a run is ranked on sprites that it has not learned."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pokemon_gen.completion.sampling import complete_prompts
from pokemon_gen.config_files.loading import load_settings
from pokemon_gen.evaluation.frechet import frechet_distance
from pokemon_gen.evaluation.inception import Inception
from pokemon_gen.models.likelihood import true_completion_nll
from pokemon_gen.models.loading import load_checkpoint
from pokemon_gen.palette import Palette, to_picture
from pokemon_gen.selection import selection_is_current
from pokemon_gen.settings import CompletionSettings, SelectionSettings, Settings
from pokemon_gen.sprites.loading import Sprites, load_sprites
from pokemon_gen.stages.detector import detector
from pokemon_gen.stages.select import select
from pokemon_gen.training.run import train
from tests.builders import RUN, MakeSettings, error_with, tiny_settings, write_palette
from tests.model_builders import Projection


@pytest.mark.slow
@pytest.mark.parametrize(("by", "on"), [("detector", "fold"), ("nll", "dev")])
def test_every_checkpoint_is_ranked(judged: Settings, by: Any, on: str) -> None:
    selected = select(RUN, by=by, on=on)
    assert {metrics.step for metrics in selected.selection.ranked} == {2, 4}
    assert (selected.best / "model.safetensors").is_file()
    saved = json.loads((RUN / "selection.json").read_text())
    assert (saved["by"], saved["on"]) == (by, on)
    sprites = load_sprites("text:few", fold_size=6).tokens(on)
    for metrics in selected.selection.ranked:  # measured on this split, not on what was learned
        model = load_checkpoint(RUN / metrics.checkpoint).model
        assert metrics.nll == pytest.approx(true_completion_nll(model, sprites), rel=1e-6)
    values = [metrics[by] for metrics in saved["checkpoints"]]
    assert values == sorted(values, reverse=by == "detector")
    completed = by == "detector"
    for metrics in saved["checkpoints"]:
        for name in ("detector", "distance", "accuracy"):
            assert (metrics[name] is not None) is completed
    assert bool(saved["completion"]) is completed
    assert selected.picture is not None
    with Image.open(selected.picture) as picture:
        assert (picture.width > 1000) is completed


@pytest.mark.slow
def test_fid_compares_each_checkpoints_completions_with_the_truth(
    judged: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Projection()
    monkeypatch.setattr(Inception, "load", lambda *_: network)
    truth, palette = load_sprites("text:few", fold_size=6).tokens("dev"), load_sprites("text:few").palette
    true = network.features(to_picture(truth, palette))
    for metrics in select(RUN, by="fid").selection.ranked:
        model = load_checkpoint(RUN / metrics.checkpoint).model
        completed = complete_prompts(model, truth[:, :240], judged.completion.single_candidate())
        expected = frechet_distance(network.features(to_picture(completed, palette)), true)
        assert metrics.fid == pytest.approx(expected, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("by", "current"), [("detector", False), ("nll", True)])
def test_other_completion_settings_outdate_a_selection_only_if_it_completed_prompts(
    judged: Settings, by: Any, current: bool
) -> None:
    sprites = load_sprites("text:few", fold_size=6)
    settings = judged.model_copy(update={"selection": SelectionSettings(by=by)})
    select(RUN, sprites, by=by)
    assert selection_is_current(RUN, settings, sprites)
    sampled = settings.model_copy(update={"completion": CompletionSettings(do_sample=True)})
    assert selection_is_current(RUN, sampled, sprites) is current


@pytest.mark.slow
def test_another_detector_or_temperature_outdates_a_selection(judged: Settings) -> None:
    sprites = load_sprites("text:few", fold_size=6)
    settings = judged.model_copy(update={"selection": SelectionSettings(by="detector", on="fold")})
    select(RUN, by="detector", on="fold")
    assert selection_is_current(RUN, settings, sprites)
    colder = judged.completion.model_copy(update={"temperature": 0.5})
    assert not selection_is_current(RUN, settings.model_copy(update={"completion": colder}), sprites)
    other = judged.detector.model_copy(update={"seed": 9})
    detector(settings.model_copy(update={"detector": other}), overwrite=True)
    assert not selection_is_current(RUN, settings, sprites)


@pytest.mark.slow
def test_a_selection_follows_sprites_that_were_moved(judged: Settings) -> None:
    Path("few").rename("moved")
    with error_with("text:few"):
        select(RUN, by="nll")
    with error_with(str(RUN), "text:few", "procedural", "sprites.source=..."):
        select(RUN, by="nll", overrides=["sprites.source=procedural"])
    overrides = ["sprites.source=text:moved", "completion.do_sample=true"]
    with error_with("completion.*", "nll"):
        select(RUN, by="nll", overrides=overrides)
    saved = json.loads(select(RUN, by="detector", overrides=overrides).file.read_text())
    assert saved["sprites"]["source"] == "text:moved"
    assert saved["completion"]["do_sample"] is True
    for by in ("nll", "detector"):  # a later selection keeps both
        best = load_settings(select(RUN, by=by).best / "settings.json")
        assert (best.completion.do_sample, best.sprites.source) == (True, "text:moved")


@pytest.mark.slow
@pytest.mark.parametrize("override", ["sprites.fold_size=0", "training.max_steps=9", "name=other"])
def test_settings_of_the_training_cannot_be_overridden(judged: Settings, override: str) -> None:
    setting = override.split("=")[0]
    with error_with(setting, str(RUN), "completion.*, sprites.palette, sprites.source"):
        select(RUN, by="nll", overrides=[override])


@pytest.mark.slow
def test_a_missing_run_or_detector_is_named(judged: Settings) -> None:
    with error_with("nowhere", "no such run"):
        select("nowhere")
    shutil.rmtree(RUN / "detector")
    with error_with(str(RUN), "`pokemon-gen detector CONFIG`", "--by nll"):
        select(RUN, by="detector")


def test_a_fold_that_was_not_held_out_cannot_be_selected_on(tiny: MakeSettings) -> None:
    train(tiny())
    with error_with("selection.on", "sprites.fold_size=80"):
        select(RUN, by="nll", on="fold")


@pytest.mark.slow
def test_a_detector_of_another_palette_is_refused(judged: Settings, few_sprites: Sprites) -> None:
    colours = few_sprites.palette.rgb.copy()
    colours[[5, 6]] = colours[[6, 5]]
    write_palette(Path("few/colormap.txt"), Palette(colours))
    train(tiny_settings(sprites={"source": "text:few", "fold_size": 6}), overwrite=True)
    with error_with(str(RUN / "detector"), "another palette", "`pokemon-gen detector CONFIG --overwrite`"):
        select(RUN, by="detector")


@pytest.mark.slow
def test_a_detector_that_was_trained_on_sprites_of_the_fold_is_refused(judged: Settings) -> None:
    """It was trained without a fold of 6 sprites, so it knows two of a fold of 8."""
    train(tiny_settings(sprites={"source": "text:few", "fold_size": 8}), overwrite=True)
    with error_with(str(RUN / "detector"), "training sprites", "`pokemon-gen detector CONFIG --overwrite`"):
        select(RUN, by="detector", on="fold")


@pytest.mark.slow
def test_a_single_checkpoint_gets_no_plot(judged: Settings) -> None:
    assert select(RUN, by="nll").picture == RUN / "selection.png"
    shutil.rmtree(RUN / "checkpoint-2")
    assert select(RUN, by="nll").picture is None
    assert not (RUN / "selection.png").exists()
