"""`stages/scoring.py`: whatever holds completions is scored against what fits, or refused by name."""

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.evaluation.inception import Inception, WeightsMissingError
from pokemon_gen.palette import to_picture
from pokemon_gen.pipeline import run
from pokemon_gen.report.tables import scorecard_notes, scorecard_table
from pokemon_gen.settings import Settings
from pokemon_gen.sprites.collection import collect
from pokemon_gen.sprites.loading import Sprites
from pokemon_gen.stages.complete import complete
from pokemon_gen.stages.judge import judge
from pokemon_gen.stages.score import current_score, score
from pokemon_gen.training.run import train
from tests.builders import tiny_judge_overrides, tiny_settings, write_palette, write_rows, write_text_folder
from tests.model_builders import Projection

Make = Callable[..., Settings]
RUN = Path("checkpoints/tiny")
ROWS = Path("eval/results/tiny/completions-dev.txt")  # completed already: nothing to wait for
SOURCE = ["sprites.source=text:few"]


@pytest.fixture(scope="module")
def scored_folder(few_sprites: Sprites, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Do a run with its judge there, once."""
    folder = tmp_path_factory.mktemp("scored")
    with contextlib.chdir(folder):
        write_text_folder(few_sprites, Path("few"))
        judge("text:few", tiny_judge_overrides())
        run(tiny_settings())
        complete(RUN, split="dev")
    return folder


@pytest.fixture
def scored(scored_folder: Path, own_folder: Path) -> Settings:
    shutil.copytree(scored_folder, own_folder, dirs_exist_ok=True)
    return tiny_settings()


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for the true weights' network, which no test can have."""
    monkeypatch.setattr(Inception, "load", lambda *_: Projection())


def as_text(scorecard: dict[str, Any]) -> str:
    from rich.console import Console

    console = Console(width=200)
    with console.capture() as captured:
        console.print(scorecard_table(scorecard))
    return captured.get()


def test_a_run_ends_with_a_scorecard_of_its_best(scored: Settings) -> None:
    scorecard = json.loads(Path("eval/results/tiny/scorecard.json").read_text())
    assert Path("eval/results/tiny/nearest.png").is_file()
    assert (scorecard["schema"], scorecard["name"], scorecard["truth"]) == (4, "tiny", "dev")
    assert scorecard["checkpoint"]["folder"] == str(RUN / "best")
    assert scorecard["nll"] > 0
    assert len(scorecard["pdr"]["judge"]) == 16
    assert "--inception-weights PATH" in scorecard["paired"]["not_computed"]
    assert not scorecard["other_data"]
    text = as_text(scorecard)
    assert "FID, paired" in text
    assert "not computed" in text
    assert scorecard["paired"]["not_computed"] in scorecard_notes(scorecard)[0]  # whole: it holds an address
    assert f"PDR, judge {scorecard['pdr']['judge']}" in text


def test_a_scorecard_is_made_anew_when_the_judge_comes(scored: Settings, few_sprites: Sprites) -> None:
    assert current_score(RUN, few_sprites, scored.completion) is not None
    other = scored.completion.model_copy(update={"do_sample": True})
    assert current_score(RUN, few_sprites, other) is None
    shutil.rmtree(next(Path("checkpoints").glob("judge-*")))
    assert current_score(RUN, few_sprites, scored.completion) is None
    result = run(scored)
    assert result.score is not None
    assert "`pokemon-gen judge text:few`" in result.score.scorecard["pdr"]["not_computed"]


def test_two_dev_sprites_of_one_top_hide_no_truth(tiny: Make, few_sprites: Sprites) -> None:
    rows = {split: few_sprites.tokens(split) for split in few_sprites.splits}
    rows["dev"][1, :240] = rows["dev"][0, :240]
    write_text_folder(collect(rows, few_sprites.palette, "twins"), Path("few"))
    train(tiny())
    scorecard = score(RUN).scorecard
    assert scorecard["truth"] == "dev"
    assert scorecard["nll"] > 0


def test_all_figures_with_weights(scored: Settings, network: None) -> None:
    scorecard = score(RUN, overwrite=True).scorecard
    assert scorecard["paired"]["reference"] == "dev"
    assert scorecard["unpaired"]["reference"] == "train"
    assert scorecard["verdicts"]["2026"]["simple"].keys() >= {"passed", "both_halves_pass"}
    text = as_text(scorecard)
    assert "simple bar of 2026" in text
    assert "wrong completions" in text


def test_a_text_file_knows_its_sprites_by_its_sidecar(scored: Settings, network: None) -> None:
    blind = score("submissions/tiny.txt").scorecard
    assert (blind["truth"], blind["n"]) == (None, 6)
    assert "unknown" in blind["paired"]["not_computed"]
    assert (blind["unpaired"]["reference"], blind["unpaired"]["real"]["sprites"]) == ("dev", "train")
    known = score("eval/results/tiny/completions-dev.txt").scorecard
    assert (known["truth"], known["n"]) == ("dev", 8)
    assert known["paired"]["fid"] > 0
    Path("eval/results/tiny/completions-dev.json").unlink()
    with pytest.raises(PokemonGenError, match=r"nothing says whose sprites these are; add sprites.source="):
        score("eval/results/tiny/completions-dev.txt", overwrite=True)
    again = score("eval/results/tiny/completions-dev.txt", overrides=SOURCE, overwrite=True).scorecard
    assert again["paired"] == known["paired"]


def test_a_sidecar_of_another_file_is_not_believed(scored: Settings) -> None:
    """Whose checkpoint and sprites these are would be made up."""
    for file in (ROWS, Path("submissions/tiny.txt")):
        lines = file.read_text().splitlines()
        file.write_text("\n".join(lines[::-1]) + "\n")
        with pytest.raises(PokemonGenError, match=r"not the file that .*json describes \(another SHA-256\)"):
            score(file)


def test_scorecards_of_other_things_have_other_places(scored: Settings) -> None:
    before = Path("eval/results/tiny/scorecard.json").read_bytes()
    assert score(RUN, overrides=["name=cold", "completion.temperature=0.7"]).file.parent.name == "cold"
    found = score(ROWS)
    assert (found.file.parent.name, found.scorecard["name"]) == (
        "tiny-completions-dev.txt",
        found.file.parent.name,
    )
    assert score(ROWS, overrides=["name=other"]).file.parent.name == "other"
    with pytest.raises(PokemonGenError, match=r"command line: name: use letters.* not '\.\./up'"):
        score(ROWS, overrides=["name=../up"])
    assert Path("eval/results/tiny/scorecard.json").read_bytes() == before


def test_a_mistake_is_told_before_anything_is_completed(
    scored: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pokemon_gen.stages.score.complete_best", lambda *_: pytest.fail("completed"))
    for asked in ({"reference": "typo"}, {"reference": "typo.txt"}, {"inception_weights": "few/train.txt"}):
        with pytest.raises(PokemonGenError, match=r"no reference|cannot be read|not the FID"):
            score(RUN, overwrite=True, **asked)  # type: ignore[arg-type]
    monkeypatch.setenv("POKEMON_GEN_INCEPTION", "nowhere.pth")
    monkeypatch.setattr("pokemon_gen.pipeline.train_members", lambda *_: pytest.fail("trained"))
    with pytest.raises(PokemonGenError, match=r"nowhere\.pth: no such file of Inception weights"):
        run(scored, overwrite=True)


def save_images(sprites: np.ndarray, source: Sprites, folder: str, scale: int = 1) -> str:
    Path(folder).mkdir()
    for number, picture in enumerate(to_picture(sprites, source.palette)):
        Image.fromarray(picture.repeat(scale, 0).repeat(scale, 1)).save(f"{folder}/{number}.png")
    return folder


def test_a_folder_of_images_is_scored(scored: Settings, few_sprites: Sprites, network: None) -> None:
    dev = few_sprites.tokens("dev")
    found = score(save_images(dev, few_sprites, "mine"), overrides=SOURCE).scorecard
    assert found["truth"] == "dev"
    assert found["pixel_accuracy"] == 1
    assert found["paired"]["fid"] == pytest.approx(0, abs=1e-6)
    large = save_images(dev, few_sprites, "large", scale=3)
    with pytest.raises(PokemonGenError, match=r"large.0.png: 60x60 pixels, not 20x20.*--resize"):
        score(large, overrides=SOURCE)
    assert score(large, overrides=SOURCE, resize=True).scorecard["pixel_accuracy"] == 1
    one = save_images(dev[:1], few_sprites, "one")
    with pytest.raises(PokemonGenError, match="two or more images"):
        score(one, overrides=SOURCE)


def test_a_reference_of_ones_own(scored: Settings, few_sprites: Sprites, network: None) -> None:
    folder = save_images(few_sprites.tokens("train")[:5], few_sprites, "reference")
    found = score("submissions/tiny.txt", reference=folder).scorecard
    assert (found["unpaired"]["reference"], found["unpaired"]["n"]) == (folder, 5)
    rows = write_rows(Path("rows.txt"), few_sprites.tokens("dev").tolist())
    found = score(ROWS, reference=str(rows)).scorecard
    assert (found["truth"], found["paired"]["n"], found["unpaired"]["reference"]) == ("rows.txt", 8, "train")
    found = score(ROWS, reference=folder, overwrite=True).scorecard
    assert (found["truth"], found["unpaired"]["reference"]) == ("dev", folder)
    found = score(ROWS, reference="train", overwrite=True).scorecard
    assert (found["truth"], found["unpaired"]["reference"]) == ("dev", "train")
    Path(folder, "broken.png").write_bytes(b"no picture")
    with pytest.raises(PokemonGenError, match=r"or set sprites\.skip_bad_images=true"):
        score(ROWS, reference=folder, overwrite=True)
    skip = ["sprites.skip_bad_images=true"]
    assert score(ROWS, reference=folder, overrides=skip, overwrite=True).scorecard["unpaired"]["n"] == 5


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("few/test.txt", r"few.test.txt: a blind test: its sprites have no completion"),
        ("nowhere", r"nowhere: no reference: use dev, train, a folder of images or a .txt"),
        ("nowhere.txt", r"nowhere.txt: cannot be read"),
    ],
)
def test_a_reference_at_fault_is_refused(scored: Settings, reference: str, message: str) -> None:
    with pytest.raises(PokemonGenError, match=message):
        score(ROWS, reference=reference)


def test_other_data_is_marked(scored: Settings) -> None:
    """Trained on the few sprites, scored as if for others of the same palette."""
    shutil.copytree("few", "others")
    rows = Path("others/train.txt").read_text().splitlines()
    Path("others/train.txt").write_text("\n".join(rows[1:]))
    found = score(ROWS, overrides=["sprites.source=text:others"]).scorecard
    assert found["other_data"]
    assert "other data" in found["warnings"][0]


def test_a_scorecard_is_kept_unless_told_and_written_whole(
    scored: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = score(ROWS).file
    before = file.read_bytes()
    with pytest.raises(PokemonGenError, match=r"scorecard\.json.*--overwrite"):
        score(ROWS)
    no_json = {**json.loads(before), "x": object()}
    monkeypatch.setattr("pokemon_gen.stages.score.make_scorecard", lambda *_: no_json)
    with pytest.raises(TypeError):
        score(ROWS, overwrite=True)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.glob(".*")] == []


def test_a_wrong_file_of_weights_is_an_error_and_missing_ones_are_not(
    scored: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("weights.pth").write_bytes(b"short")
    with pytest.raises(PokemonGenError, match=r"weights.pth: not the FID Inception weights"):
        score(ROWS, inception_weights="weights.pth")

    def missing(*_: Any) -> None:
        raise WeightsMissingError("none; the two ways")

    monkeypatch.setattr(Inception, "load", missing)
    assert score(ROWS).scorecard["paired"] == {"not_computed": "none; the two ways"}


def test_what_cannot_be_scored_is_named(scored: Settings) -> None:
    with pytest.raises(PokemonGenError, match=r"nowhere: no checkpoint, .txt or folder of images"):
        score("nowhere")
    Path("bad.txt").write_text("1 2 3\n")
    with pytest.raises(PokemonGenError, match=r"bad.txt:1:6: 3 tokens, not 400"):
        score("bad.txt", overrides=SOURCE)
    Path("bad.txt").write_text("")
    with pytest.raises(PokemonGenError, match=r"bad.txt: a scorecard needs two or more completions"):
        score("bad.txt", overrides=SOURCE)
    for sidecar in ("[]", "{}", '{"settings": {"sprites": {"sorce": 1}}}'):
        Path("bad.json").write_text(sidecar)
        with pytest.raises(PokemonGenError, match=r"bad.json: not a sidecar of completions"):
            score("bad.txt")
    shutil.rmtree(next(RUN.glob("checkpoint-2")))
    for path in [*RUN.glob("checkpoint-*"), RUN / "best"]:
        shutil.rmtree(path)
    with pytest.raises(PokemonGenError, match=r"checkpoints.tiny: no whole checkpoint in it"):
        score(RUN, overwrite=True)


def test_rows_of_another_palette_are_refused(scored: Settings, few_sprites: Sprites) -> None:
    palette = few_sprites.palette.rgb.copy()
    palette[[5, 6]] = palette[[6, 5]]
    write_palette(Path("few/colormap.txt"), type(few_sprites.palette)(palette))
    with pytest.raises(PokemonGenError, match=r"completions-dev.txt: written for another palette"):
        score(ROWS)
