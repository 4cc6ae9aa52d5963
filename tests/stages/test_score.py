"""`stages/score.py`: completions are compared with the right sprites, and a scorecard is kept or replaced."""

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pokemon_gen.cli import cli
from pokemon_gen.discriminator.judge import Judge
from pokemon_gen.evaluation.inception import Inception, WeightsMissingError
from pokemon_gen.evaluation.scorecard import SCHEMA, ScorecardInputs, make_scorecard
from pokemon_gen.palette import Palette, to_picture
from pokemon_gen.pipeline import run
from pokemon_gen.report.scorecard_rows import scorecard_notes
from pokemon_gen.report.tables import scorecard_table
from pokemon_gen.settings import Settings
from pokemon_gen.sprites.collection import collect
from pokemon_gen.sprites.loading import Sprites
from pokemon_gen.stages import score as score_stage
from pokemon_gen.stages.complete import complete
from pokemon_gen.stages.judge import judge
from pokemon_gen.stages.score import current_score, score
from pokemon_gen.training.run import train
from tests.builders import (
    RUN,
    MakeSettings,
    error_with,
    tiny_judge_overrides,
    tiny_settings,
    write_palette,
    write_rows,
    write_text_folder,
)
from tests.model_builders import Projection

pytestmark = pytest.mark.slow  # the run that they score takes more than five seconds
ROWS = Path("eval/results/tiny/completions-dev.txt")
"""Completions of the dev prompts that exist already, so that a test need not wait for them."""
SOURCE = ["sprites.source=text:few"]


@pytest.fixture(scope="module")
def scored_folder(few_sprites: Sprites, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Do a run with its judge, and complete the dev prompts, once."""
    folder = tmp_path_factory.mktemp("scored")
    with contextlib.chdir(folder):
        write_text_folder(few_sprites, Path("few"))
        judge("text:few", tiny_judge_overrides())
        run(tiny_settings())
        complete(RUN, split="dev")
    return folder


@pytest.fixture
def scored(scored_folder: Path, own_folder: Path) -> Settings:
    """Copy that run to the working directory and return its settings."""
    shutil.copytree(scored_folder, own_folder, dirs_exist_ok=True)
    return tiny_settings()


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace Inception, whose weights would have to be downloaded."""
    monkeypatch.setattr(Inception, "load", lambda *_: Projection())


def as_text(scorecard: dict[str, Any]) -> str:
    """Return the table of a scorecard as it is printed."""
    from rich.console import Console

    console = Console(width=200)
    with console.capture() as captured:
        console.print(scorecard_table(scorecard))
    return captured.get()


def save_images(sprites: np.ndarray, source: Sprites, folder: str, scale: int = 1) -> str:
    """Save sprites as a folder of images, and return the folder."""
    Path(folder).mkdir()
    for number, picture in enumerate(to_picture(sprites, source.palette)):
        Image.fromarray(picture.repeat(scale, 0).repeat(scale, 1)).save(f"{folder}/{number}.png")
    return folder


def test_a_run_ends_with_a_scorecard_of_its_best_checkpoint(scored: Settings) -> None:
    scorecard = json.loads(Path("eval/results/tiny/scorecard.json").read_text())
    assert Path("eval/results/tiny/nearest.png").is_file()
    assert (scorecard["schema"], scorecard["name"], scorecard["truth"]) == (SCHEMA, "tiny", "dev")
    assert scorecard["checkpoint"]["folder"] == str(RUN / "best")
    assert scorecard["nll"] > 0
    assert len(scorecard["pdr"]["judge"]) == 16
    assert "--inception-weights PATH" in scorecard["paired"]["not_computed"]
    assert not scorecard["other_data"]
    text = as_text(scorecard)
    assert "FID, paired" in text
    assert "not computed" in text
    assert scorecard["paired"]["not_computed"] in scorecard_notes(scorecard)[0]  # with the complete address
    assert f"PDR, quick judge {scorecard['pdr']['judge']}" in text


def test_a_scorecard_warns_that_its_checkpoint_was_chosen_on_the_same_sprites(scored: Settings) -> None:
    """A checkpoint that is named explicitly was not chosen on any sprites."""
    best = json.loads(Path("eval/results/tiny/scorecard.json").read_text())
    explicit = score(RUN / "checkpoint-2").scorecard
    assert (best["checkpoint"]["chosen_on"], explicit["checkpoint"]["chosen_on"]) == ("dev", None)
    warned = [
        any("chosen on dev, scored on dev" in warning for warning in scorecard["warnings"])
        for scorecard in (best, explicit)
    ]
    assert warned == [True, False]


def test_a_scorecard_no_longer_holds_if_the_completion_or_the_judge_changes(
    scored: Settings, few_sprites: Sprites
) -> None:
    assert current_score(RUN, few_sprites, scored.completion) is not None
    sampled = scored.completion.model_copy(update={"do_sample": True})
    assert current_score(RUN, few_sprites, sampled) is None
    shutil.rmtree(next(Path("checkpoints").glob("judge-*")))
    assert current_score(RUN, few_sprites, scored.completion) is None
    result = run(scored)
    assert result.score is not None
    assert "`pokemon-gen judge text:few`" in result.score.scorecard["pdr"]["not_computed"]


def test_a_checkpoint_knows_the_true_sprites_even_if_two_share_a_prompt(
    tiny: MakeSettings, few_sprites: Sprites
) -> None:
    rows = {split: few_sprites.tokens(split).copy() for split in few_sprites.splits}
    rows["dev"][1, :240] = rows["dev"][0, :240]
    write_text_folder(collect(rows, few_sprites.palette, "twins"), Path("few"))
    train(tiny())
    scorecard = score(RUN).scorecard
    assert scorecard["truth"] == "dev"
    assert scorecard["nll"] > 0


@pytest.mark.parametrize(
    ("completions", "asked", "truth", "reference"),
    [
        (str(RUN), "dev", "dev", "train"),  # unpaired means sprites of other prompts
        (str(RUN), "train", "dev", "train"),
        ("submissions/tiny.txt", "dev", None, "dev"),
        ("submissions/tiny.txt", "train", None, "train"),
    ],
)
def test_each_set_of_sprites_is_that_of_its_name(
    scored: Settings,
    few_sprites: Sprites,
    monkeypatch: pytest.MonkeyPatch,
    completions: str,
    asked: str,
    truth: str | None,
    reference: str,
) -> None:
    given: list[ScorecardInputs] = []

    def keep(inputs: ScorecardInputs, *rest: Any) -> dict[str, Any]:
        given.append(inputs)
        return make_scorecard(inputs, *rest)

    monkeypatch.setattr(score_stage, "make_scorecard", keep)
    score(completions, reference=asked, overwrite=True)
    (inputs,) = given
    sets = [inputs.dev, inputs.train, inputs.reference, *([inputs.truth] if inputs.truth else [])]
    assert [one.name for one in sets] == ["dev", "train", reference, *([truth] if truth else [])]
    for one in sets:
        np.testing.assert_array_equal(one.sprites, few_sprites.tokens(one.name), err_msg=one.name)


def test_with_weights_every_metric_is_computed(
    scored: Settings, network: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "judge" in score(RUN, overwrite=True).scorecard["verdicts"]["not_judged"]  # it learned three steps
    monkeypatch.setattr(Judge, "failures", property(lambda _: []))
    scorecard = score(RUN, overwrite=True).scorecard
    assert scorecard["paired"]["reference"] == "dev"
    assert scorecard["unpaired"]["reference"] == "train"
    assert scorecard["verdicts"]["2026"]["simple"].keys() >= {"passed", "both_halves_pass"}
    text = as_text(scorecard)
    assert "simple bar of 2026" in text
    assert "wrong completions" in text  # the distances of wrong completions and of noise, for comparison
    assert "not computed" not in text


def test_the_sidecar_of_a_text_file_names_its_sprites(scored: Settings, network: None) -> None:
    blind = score("submissions/tiny.txt").scorecard
    assert (blind["truth"], blind["n"]) == (None, 6)
    assert "not_computed" in blind["paired"]
    assert (blind["unpaired"]["reference"], blind["unpaired"]["real"]["sprites"]) == ("dev", "train")
    known = score(ROWS).scorecard
    assert (known["truth"], known["n"]) == ("dev", 8)
    assert known["paired"]["fid"] > 0
    ROWS.with_suffix(".json").unlink()
    with error_with(str(ROWS), "sprites.source="):
        score(ROWS, overwrite=True)
    again = score(ROWS, overrides=SOURCE, overwrite=True).scorecard
    assert again["paired"] == known["paired"]


@pytest.mark.parametrize("file", [ROWS, Path("submissions/tiny.txt")], ids=str)
def test_the_sidecar_of_another_file_is_refused(scored: Settings, file: Path) -> None:
    """Its checkpoint and its sprites do not belong to the file."""
    lines = file.read_text().splitlines()
    file.write_text("\n".join(lines[::-1]) + "\n")
    with error_with(str(file), file.with_suffix(".json").name, "SHA-256", "sprites.source="):
        score(file)


def test_each_scorecard_has_a_folder_of_its_own(scored: Settings) -> None:
    before = Path("eval/results/tiny/scorecard.json").read_bytes()
    assert score(RUN, overrides=["name=cold", "completion.temperature=0.7"]).file.parent.name == "cold"
    scored_rows = score(ROWS)
    assert scored_rows.file.parent.name == scored_rows.scorecard["name"] == "tiny-completions-dev.txt"
    assert score(ROWS, overrides=["name=other"]).file.parent.name == "other"
    with error_with("command line: name: ", "letters", "'../up'"):
        score(ROWS, overrides=["name=../up"])
    assert Path("eval/results/tiny/scorecard.json").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "fact"),
    [
        ({"reference": "typo"}, "typo"),
        ({"reference": "typo.txt"}, "typo.txt"),
        ({"inception_weights": "few/train.txt"}, "few/train.txt"),
    ],
)
def test_a_mistake_is_reported_before_anything_is_completed(
    scored: Settings, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], fact: str
) -> None:
    monkeypatch.setattr("pokemon_gen.stages.scored.inspect_run", lambda *_: pytest.fail("completed"))
    with error_with(fact):
        score(RUN, overwrite=True, **arguments)


def test_missing_weights_are_reported_before_a_run_starts_again(
    scored: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POKEMON_GEN_INCEPTION", "nowhere.pth")
    monkeypatch.setattr("pokemon_gen.pipeline.train_each", lambda *_: pytest.fail("trained"))
    with error_with("nowhere.pth"):
        run(scored, overwrite=True)


def test_a_folder_of_images_is_scored(scored: Settings, few_sprites: Sprites, network: None) -> None:
    dev = few_sprites.tokens("dev")
    scorecard = score(save_images(dev, few_sprites, "mine"), overrides=SOURCE).scorecard
    assert scorecard["truth"] == "dev"
    assert scorecard["pixel_accuracy"] == 1
    assert scorecard["paired"]["fid"] == pytest.approx(0, abs=1e-6)
    large = save_images(dev, few_sprites, "large", scale=3)
    with error_with(str(Path(large, "0.png")), "60x60", "20x20", "--resize"):
        score(large, overrides=SOURCE)
    assert score(large, overrides=SOURCE, resize=True).scorecard["pixel_accuracy"] == 1
    one = save_images(dev[:1], few_sprites, "one")
    with error_with(one, "two or more"):
        score(one, overrides=SOURCE)


def test_a_folder_or_a_text_file_can_be_the_reference(
    scored: Settings, few_sprites: Sprites, network: None
) -> None:
    """The true sprites come from the reference if they are in it, else from the splits."""
    folder = save_images(few_sprites.tokens("train")[:5], few_sprites, "reference")
    rows = write_rows(Path("rows.txt"), few_sprites.tokens("dev").tolist())

    def truth_and_reference(reference: str) -> tuple[str, str]:
        scorecard = score(ROWS, reference=reference, overwrite=True).scorecard
        return scorecard["truth"], scorecard["unpaired"]["reference"]

    unpaired = score("submissions/tiny.txt", reference=folder).scorecard["unpaired"]
    assert (unpaired["reference"], unpaired["n"]) == (folder, 5)
    assert truth_and_reference(str(rows)) == ("rows.txt", "train")
    assert truth_and_reference(folder) == ("dev", folder)
    assert truth_and_reference("train") == ("dev", "train")
    Path(folder, "broken.png").write_bytes(b"not a picture")
    with error_with("broken.png", "sprites.skip_bad_images=true"):
        score(ROWS, reference=folder, overwrite=True)
    skip = ["sprites.skip_bad_images=true"]
    assert score(ROWS, reference=folder, overrides=skip, overwrite=True).scorecard["unpaired"]["n"] == 5


@pytest.mark.parametrize(
    ("reference", "facts"),
    [
        ("few/test.txt", [str(Path("few/test.txt")), "blind test"]),
        ("nowhere", ["nowhere", "dev, train, a folder of images or a .txt"]),
        ("nowhere.txt", ["nowhere.txt", "no such file"]),
    ],
)
def test_a_reference_that_cannot_be_compared_with_is_refused(
    scored: Settings, reference: str, facts: list[str]
) -> None:
    with error_with(*facts):
        score(ROWS, reference=reference)


def test_completions_of_a_model_that_was_trained_on_other_data_are_marked(scored: Settings) -> None:
    """The checkpoint was trained on `few`; the scorecard is for other sprites of the same palette."""
    shutil.copytree("few", "other")
    rows = Path("other/train.txt").read_text().splitlines()
    Path("other/train.txt").write_text("\n".join(rows[1:]))
    scorecard = score(ROWS, overrides=["sprites.source=text:other"]).scorecard
    assert scorecard["other_data"]
    assert "other data" in scorecard["warnings"][0]


def test_a_scorecard_is_replaced_only_on_request_and_only_by_a_complete_one(
    scored: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = score(ROWS).file
    before = file.read_bytes()
    with error_with(str(file), "--overwrite"):
        score(ROWS)
    not_json = {**json.loads(before), "x": object()}
    monkeypatch.setattr("pokemon_gen.stages.score.make_scorecard", lambda *_: not_json)
    with pytest.raises(TypeError):
        score(ROWS, overwrite=True)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.glob(".*")] == []


def test_wrong_weights_are_an_error_but_missing_ones_are_not(
    scored: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("weights.pth").write_bytes(b"short")
    with error_with("weights.pth"):
        score(ROWS, inception_weights="weights.pth")

    def missing(*_: Any) -> None:
        raise WeightsMissingError("how to get them")

    monkeypatch.setattr(Inception, "load", missing)
    assert score(ROWS).scorecard["paired"] == {"not_computed": "how to get them"}


def test_what_cannot_be_scored_is_named(scored: Settings) -> None:
    with error_with("nowhere", ".txt", "folder of images"):
        score("nowhere")
    Path("bad.txt").write_text("1 2 3\n")
    with error_with("bad.txt:1:6", "3 tokens", "400"):
        score("bad.txt", overrides=SOURCE)
    Path("bad.txt").write_text("")
    with error_with("bad.txt", "two or more"):
        score("bad.txt", overrides=SOURCE)
    for sidecar in ("[]", "{}", '{"settings": {"sprites": {"sorce": 1}}}'):
        Path("bad.json").write_text(sidecar)
        with error_with("bad.json", "sidecar"):
            score("bad.txt")
    for path in [*RUN.glob("checkpoint-*"), RUN / "best"]:
        shutil.rmtree(path)
    with error_with(str(RUN), "`pokemon-gen train"):
        score(RUN, overwrite=True)


def test_rows_of_another_palette_are_refused(scored: Settings, few_sprites: Sprites) -> None:
    colours = few_sprites.palette.rgb.copy()
    colours[[5, 6]] = colours[[6, 5]]
    write_palette(Path("few/colormap.txt"), Palette(colours))
    with error_with(str(ROWS), few_sprites.palette.fingerprint, Palette(colours).fingerprint):
        score(ROWS)


def test_the_judge_draws_what_it_saw(scored: Settings) -> None:
    score(ROWS)
    with Image.open("eval/results/tiny-completions-dev.txt/judged.png") as picture:
        width, height = picture.size
    assert height > width / 4  # a sprite and its map, one above the other


def test_prompts_of_another_source_are_named(scored: Settings, few_sprites: Sprites) -> None:
    rows = np.array([row.split() for row in ROWS.read_text().splitlines()], dtype=np.int64)
    rows[3:, :240] = 7
    write_rows(Path("other.txt"), rows)
    scorecard = score("other.txt", overrides=SOURCE).scorecard
    assert any("5 of 8 prompts" in warning and "sprite 4" in warning for warning in scorecard["warnings"])
    assert scorecard["auc"]["preferred"] is None
    known = score("eval/results/tiny/completions-dev.txt", overwrite=True).scorecard
    assert not any("prompts" in warning for warning in known["warnings"])
    assert known["auc"]["preferred"] is not None


def test_the_first_line_says_that_a_judge_cannot_be_relied_on(scored: Settings) -> None:
    result = CliRunner().invoke(cli, ["score", str(ROWS)])
    assert result.exit_code == 0
    first = next(line for line in result.output.splitlines() if line)
    assert "cannot be relied on" in first
    assert "AUC" in result.output
