"""`pipeline.py` and the stages together: a run resumes where it stopped, and replaces nothing unasked."""

import contextlib
import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from transformers import TrainerCallback

from pokemon_gen.completion.reranking import complete_best, rank_completions
from pokemon_gen.completion.sampling import complete_prompts
from pokemon_gen.discriminator.detector import load_detector
from pokemon_gen.evaluation import inspection
from pokemon_gen.models.choice import choose_checkpoint
from pokemon_gen.models.loading import load_checkpoint
from pokemon_gen.palette import Palette, to_picture
from pokemon_gen.pipeline import RunResult, run
from pokemon_gen.settings import CompletionSettings, Settings
from pokemon_gen.sprites.loading import Sprites
from pokemon_gen.stages.complete import complete
from pokemon_gen.stages.ensemble import ensemble
from pokemon_gen.stages.score import score
from pokemon_gen.stages.select import select
from pokemon_gen.stages.sprites import preview
from pokemon_gen.stages.submit import submit
from pokemon_gen.stages.train import train_members
from pokemon_gen.training.run import train, train_alone
from tests.builders import (
    ONE_STEP,
    RUN,
    MakeSettings,
    error_with,
    tiny_settings,
    without_precision,
    write_palette,
    write_rows,
    write_text_folder,
)

pytestmark = pytest.mark.slow  # most of these tests run every stage

SUBMISSION, SIDECAR = Path("submissions/tiny.txt"), Path("submissions/tiny.json")
REPORT = Path("eval/results/tiny/report.html")
SAMPLED = {"completion": {"do_sample": True, "temperature": 0.8}}


class KillAtStep(TrainerCallback):
    """Ends a training with an error at the beginning of a step, counted from 1."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step - 1:
            raise RuntimeError("killed")


def read_sidecar() -> dict[str, Any]:
    """Return the metadata of the submission."""
    metadata: dict[str, Any] = json.loads(SIDECAR.read_text())
    return metadata


def statuses_of(result: RunResult) -> set[str]:
    """Return the different statuses of the members' trainings."""
    return {training.status for training in result.trainings}


def times_of(folder: Path, pattern: str) -> dict[Path, int]:
    """Return the time of the last change of each file or folder that matches a pattern."""
    return {path: path.stat().st_mtime_ns for path in folder.glob(pattern)}


@pytest.fixture(scope="module")
def done_folder(few_sprites: Sprites, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Do a run once; `done` copies its working directory."""
    folder = tmp_path_factory.mktemp("done")
    with contextlib.chdir(folder):
        write_text_folder(few_sprites, Path("few"))
        run(tiny_settings(**SAMPLED))
    return folder


@pytest.fixture
def done(done_folder: Path, own_folder: Path) -> Settings:
    """Copy a run that is done to the working directory and return its settings."""
    shutil.copytree(done_folder, own_folder, dirs_exist_ok=True)
    return tiny_settings(**SAMPLED)


def test_a_run_writes_a_valid_submission_and_a_picture(tiny: MakeSettings, few_sprites: Sprites) -> None:
    result = run(tiny())
    assert result.submission is not None
    assert str(result.submission.report) == "ok: 6 sprites x 400 tokens, prompts kept"
    assert all(file.exists() for file in result.files)
    rows = np.loadtxt(SUBMISSION, dtype=int)
    np.testing.assert_array_equal(rows[:, :240], few_sprites.prompts("test"))
    with Image.open("submissions/tiny.png") as picture:
        assert picture.width > 600


def test_the_sidecar_is_enough_to_reproduce_the_submission(done: Settings) -> None:
    first, metadata = SUBMISSION.read_bytes(), read_sidecar()
    shutil.rmtree("checkpoints")
    shutil.rmtree("submissions")
    run(Settings.model_validate(metadata["settings"]))
    assert SUBMISSION.read_bytes() == first
    assert metadata["sprites"]["fingerprint"] == metadata["checkpoint"]["trained_on"]["fingerprint"]
    for key in ("sha256", "checkpoint", "sprites", "palette", "prompt_hashes"):
        assert read_sidecar()[key] == metadata[key]


def test_a_finished_run_is_not_changed(done: Settings) -> None:
    written = (SUBMISSION, REPORT)
    before = [file.stat().st_mtime_ns for file in written]
    result = run(done)
    assert result.training.status == "nothing left to do"
    assert result.submission is not None
    assert not result.submission.report.faults
    assert [file.stat().st_mtime_ns for file in written] == before


def test_a_sidecar_from_before_a_setting_existed_belongs_to_the_same_run(done: Settings) -> None:
    metadata = read_sidecar()
    del metadata["settings"]["members"], metadata["settings"]["augmentation"]
    del (
        metadata["settings"]["completion"]["candidates"],
        metadata["settings"]["completion"]["likelihood_weight"],
    )
    SIDECAR.write_text(json.dumps(metadata))
    result = run(done)
    assert result.submission is not None
    assert not result.submission.report.faults


def test_a_run_that_was_stopped_after_its_training_resumes(done: Settings) -> None:
    for file in Path("submissions").iterdir():
        file.unlink()
    assert run(done).training.status == "nothing left to do"
    assert SUBMISSION.is_file()


def test_the_detector_of_the_run_ranks_candidates(tiny: MakeSettings, few_sprites: Sprites) -> None:
    """NLL chooses the checkpoint, but the detector is trained because the candidates need it."""
    settings = tiny(completion={"do_sample": True, "candidates": 3})
    result = run(settings)
    assert result.submission is not None
    detector = load_detector(RUN)
    assert read_sidecar()["ranked_by_detector"] == detector.metadata["fingerprint"]
    model = load_checkpoint(result.submission.checkpoint).model
    best = complete_best(model, few_sprites.prompts("test"), settings.completion, detector)
    np.testing.assert_array_equal(np.loadtxt(SUBMISSION, dtype=int), best)
    trained_on = result.submission.checkpoint / "sprites.json"
    trained_on.write_text(trained_on.read_text().replace(few_sprites.fingerprint, "0" * 16))
    with error_with("detector", "other sprites", str(RUN / "best"), "name=tiny --overwrite"):
        submit(RUN, overwrite=True)


def test_without_a_detector_a_warning_is_logged_and_a_single_completion_is_drawn(
    tiny: MakeSettings, few_sprites: Sprites, caplog: pytest.LogCaptureFixture
) -> None:
    """`train` alone trains no detector; its checkpoint still completes, submits and scores."""
    settings = tiny(completion={"do_sample": True, "candidates": 3})
    train(settings)
    single, model = settings.completion.single_candidate(), load_checkpoint("tiny").model
    completed = {"dev": complete("tiny", split="dev").sprites}
    completed["test"] = np.loadtxt(submit("tiny").file, dtype=int)
    for split, rows in completed.items():
        np.testing.assert_array_equal(rows, complete_prompts(model, few_sprites.prompts(split), single))
    assert score("tiny").scorecard["checkpoint"]["completion"]["candidates"] == 1
    warnings = [record.getMessage() for record in caplog.records if "detector" in record.getMessage()]
    assert len(warnings) == 3
    assert all("tiny" in message and "completion.candidates" in message for message in warnings)
    assert read_sidecar()["settings"]["completion"]["candidates"] == 1
    assert read_sidecar()["ranked_by_detector"] is None


def test_the_members_of_an_ensemble_are_trained_in_turn_and_complete_together(
    tiny: MakeSettings, few_sprites: Sprites
) -> None:
    settings = tiny(members=2, training={"save_steps": 4, "eval_steps": 4})
    result = run(settings)
    assert [training.folder.name for training in result.trainings] == ["member-0", "member-1"]
    assert [training.settings.seed for training in result.trainings] == [0, 1]
    assert result.submission is not None
    assert result.submission.checkpoint == RUN / "best"
    ensemble = load_checkpoint(result.submission.checkpoint)
    assert ensemble.settings.members == 2
    np.testing.assert_array_equal(
        np.loadtxt(SUBMISSION, dtype=int), complete_prompts(ensemble.model, few_sprites.prompts("test"))
    )
    before = SUBMISSION.stat().st_mtime_ns
    assert statuses_of(run(settings)) == {"nothing left to do"}
    assert SUBMISSION.stat().st_mtime_ns == before


def test_the_sidecar_of_an_ensemble_is_enough_to_reproduce_its_submission(tiny: MakeSettings) -> None:
    settings = tiny(members=2, training=ONE_STEP)
    run(settings)
    first, metadata = SUBMISSION.read_bytes(), read_sidecar()
    assert metadata["settings"]["members"] == 2
    shutil.rmtree("checkpoints")
    run(Settings.model_validate(metadata["settings"]), overwrite=True)
    assert SUBMISSION.read_bytes() == first
    shutil.rmtree("submissions")
    run(settings.model_copy(update={"completion": CompletionSettings(do_sample=True)}))
    assert load_checkpoint(RUN / "best").settings.completion.do_sample  # it records the settings of now


def test_an_ensemble_that_is_not_combined_yet_is_named(tiny: MakeSettings) -> None:
    settings = tiny(members=2, training=ONE_STEP)
    train_members(settings)
    for command in (submit, score, select):
        for place in ("tiny", str(RUN)):
            with error_with(str(RUN), "`pokemon-gen run CONFIG`"):
                command(place)
    assert statuses_of(run(settings)) == {"nothing left to do"}


def test_a_folder_without_checkpoints_is_named() -> None:
    with error_with("nowhere", "no such checkpoint or run"):
        submit("nowhere")
    for command in (submit, select):
        with error_with(".: ", "`pokemon-gen train CONFIG`"):
            command(".")


def test_a_run_that_was_started_again_and_killed_resumes(done: Settings) -> None:
    """The submission of the old run does not prevent that; it is removed when the new training begins."""
    (RUN / "detector").mkdir()
    (RUN / "detector" / "classifier.json").write_text('{"settings": "those of the old run"}')
    restarted = done.model_copy(update={"seed": 9})
    with pytest.raises(RuntimeError, match="killed"):
        run(restarted, overwrite=True, callbacks=[KillAtStep(4)])
    assert not (RUN / "detector").exists()
    result = run(restarted)
    assert result.training.status == "finished"
    assert result.submission is not None
    assert not result.submission.report.faults


def test_an_ensemble_that_was_started_again_does_not_resume_old_members(
    tiny: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is interrupted in the first member, and then trains the second one from scratch."""
    settings = tiny(members=2, training={**ONE_STEP, "capture": False})  # one after another, on a GPU too
    train_members(settings)
    ensemble("tiny", ["tiny/member-0", "tiny/member-1"])

    def interrupted(*args: Any) -> Any:
        return dataclasses.replace(train_alone(*args), status="interrupted")

    with monkeypatch.context() as patch:
        patch.setattr("pokemon_gen.stages.train.train_alone", interrupted)
        assert len(train_members(settings, overwrite=True)) == 1
    assert not (RUN / "best").exists()
    assert [training.status for training in train_members(settings)] == ["nothing left to do", "finished"]


def test_an_ensemble_with_a_member_that_was_trained_further_is_named(tiny: MakeSettings) -> None:
    run(tiny(members=2, training=ONE_STEP))
    ensemble("by-hand", ["tiny/member-0", "tiny/member-1"])
    longer = tiny(members=2, training={**ONE_STEP, "max_steps": 2})
    train_members(longer)
    for command in (submit, score):
        with error_with("member-0", "`pokemon-gen run CONFIG`", str(RUN / "best")):
            command("tiny", overwrite=True)
    assert not submit("by-hand").report.faults  # its members are copies
    assert not submit(RUN / "best", overwrite=True).report.faults
    SUBMISSION.unlink()
    run(longer)
    assert not submit("tiny", overwrite=True).report.faults
    select("tiny/member-0", by="nll")  # a new choice, but no new training
    assert not submit("tiny", overwrite=True).report.faults
    with contextlib.chdir(RUN):
        assert choose_checkpoint(".").folder == Path("best")
    shutil.rmtree(RUN / "member-0")  # the ensemble has a copy
    assert not submit("tiny", overwrite=True).report.faults


def test_members_stay_inside_the_folder_of_their_ensemble(tiny: MakeSettings) -> None:
    """Runs whose names look like those of members in version 0.1 are not touched."""
    for name in ("tiny-0", "tiny-1"):
        train(tiny(name=name, seed=7, training=ONE_STEP))
    before = times_of(Path("checkpoints"), "tiny-*/**/*")
    settings = tiny(members=2, training=ONE_STEP)
    run(settings, overwrite=True)
    train_members(settings, overwrite=True)
    assert times_of(Path("checkpoints"), "tiny-*/**/*") == before
    assert sorted(path.name for path in Path("checkpoints").iterdir()) == ["tiny", "tiny-0", "tiny-1"]


def test_a_run_of_one_model_and_an_ensemble_do_not_share_a_folder(tiny: MakeSettings) -> None:
    single, ensemble = tiny(training=ONE_STEP), tiny(members=2, training=ONE_STEP)
    train(single)
    for command in (run, train_members):
        with error_with(str(RUN), "one model", "name=...", "--overwrite"):
            command(ensemble)
    assert len(train_members(ensemble, overwrite=True)) == 2
    assert not list(RUN.glob("checkpoint-*"))
    with error_with(str(RUN), "ensemble", "members=2", "--overwrite"):
        train(single)
    train(single, overwrite=True)
    assert not list(RUN.glob("member-*"))


def test_all_members_are_trained_in_the_precision_of_the_first(
    tiny: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second choice might differ, and a sidecar records only one."""
    chosen = iter([True, False])
    monkeypatch.setattr(
        "pokemon_gen.training.run.choose_precision", lambda *_: {"bf16": next(chosen), "fp16": False}
    )
    trainings = train_members(without_precision(tiny(members=2, training=ONE_STEP)))
    assert [training.settings.training["bf16"] for training in trainings] == [True, True]


def test_a_run_resumes_with_the_completion_settings_of_now(done: Settings, tiny: MakeSettings) -> None:
    for file in Path("submissions").iterdir():
        file.unlink()
    run(tiny())  # greedy; the checkpoints record that it sampled before
    assert read_sidecar()["settings"]["completion"]["do_sample"] is False
    assert not load_checkpoint(RUN / "best").settings.completion.do_sample
    assert run(tiny()).training.status == "nothing left to do"  # the same run again
    Path("few").rename("moved")
    assert run(tiny(sprites={"source": "text:moved"})).training.status == "nothing left to do"


def test_the_submission_of_another_run_is_reported_before_the_training(
    done: Settings, tiny: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pokemon_gen.pipeline.train_each", lambda *_: pytest.fail("trained"))
    with error_with(str(SUBMISSION), "other settings", "--overwrite"):
        run(tiny(seed=9))


def test_a_submission_of_another_checkpoint_than_the_best_is_kept_and_named(done: Settings) -> None:
    """A user submitted another checkpoint by hand; `run` does not present it as the best one's."""
    best = json.loads((RUN / "selection.json").read_text())["chosen"]
    other = RUN / ("checkpoint-2" if best == "checkpoint-4" else "checkpoint-4")
    submit(other, overwrite=True)
    with error_with(str(SUBMISSION), str(other), f"`pokemon-gen submit {RUN} --overwrite`"):
        run(done)
    submit(RUN, overwrite=True)
    assert run(done).submission is not None


def test_overwrite_replaces_a_run(done: Settings, tiny: MakeSettings) -> None:
    before = SUBMISSION.read_bytes()
    result = run(tiny(seed=9), overwrite=True)
    assert result.training.status == "finished"
    assert SUBMISSION.read_bytes() != before


@pytest.mark.parametrize("part", ["tiny.json", "tiny.png"])
def test_a_submission_that_lacks_a_file_is_kept_and_named(done: Settings, part: str) -> None:
    (SUBMISSION.parent / part).unlink()
    with error_with(str(SUBMISSION), part, f"`pokemon-gen submit {RUN} --overwrite`"):
        run(done)


def test_files_of_a_submission_that_a_kill_cut_off_are_replaced(done: Settings) -> None:
    SUBMISSION.unlink()  # it is written last
    assert run(done).submission is not None
    assert SUBMISSION.is_file()


def test_submit_keeps_a_submission_and_takes_overrides(done: Settings) -> None:
    with error_with(str(SUBMISSION), "--overwrite"):
        submit(RUN)
    made = submit(RUN / "checkpoint-2", overrides=["name=second", "completion.temperature=2.0"])
    assert made.file == Path("submissions/second.txt")
    assert json.loads(made.sidecar.read_text())["settings"]["completion"]["temperature"] == 2.0
    assert "explicitly" in made.reason


@pytest.mark.parametrize("override", ["training.learning_rate=9", "model.n_layer=7", "seed=3"])
def test_settings_that_a_trained_checkpoint_fixes_cannot_be_overridden(done: Settings, override: str) -> None:
    with error_with(override.split("=")[0], str(RUN), "completion.*, sprites.*, name"):
        submit(RUN, overrides=["name=second", override])


def test_sprites_of_another_palette_are_not_submitted(done: Settings, few_sprites: Sprites) -> None:
    reversed_palette = Palette(few_sprites.palette.rgb[::-1])
    write_palette(Path("other.txt"), reversed_palette)
    with error_with(few_sprites.palette.fingerprint, reversed_palette.fingerprint, "167 colours"):
        submit(RUN, overrides=["sprites.palette=other.txt", "name=second"])
    assert not Path("submissions/second.txt").exists()


@pytest.mark.parametrize("split", ["dev", "test"])
def test_the_completions_of_a_split_are_drawn_and_numbered(
    done: Settings, few_sprites: Sprites, split: str
) -> None:
    made = complete("tiny", split=split)
    assert made.picture == Path(f"eval/results/tiny/completions-{split}.png")
    np.testing.assert_array_equal(np.loadtxt(made.rows, dtype=int), made.sprites)
    np.testing.assert_array_equal(made.sprites[:, :240], few_sprites.prompts(split))
    again = complete(RUN, split=split)
    assert again.picture == Path(f"eval/results/tiny/completions-{split}-2.png")
    assert again.rows == Path(f"eval/results/tiny/completions-{split}-2.txt")
    assert made.picture.is_file()


def test_a_checkpoint_completes_a_picture_without_its_run_and_its_sprites(
    done: Settings, few_sprites: Sprites, few_folder: Path
) -> None:
    shutil.move(RUN / "checkpoint-4", "alone")
    shutil.rmtree("checkpoints")
    shutil.rmtree(few_folder)
    sprite = few_sprites.tokens("dev")[0]
    Image.fromarray(to_picture(sprite, few_sprites.palette)).resize((60, 60), 0).save("creature.png")
    made = complete("alone", "creature.png", output="completed.png")
    np.testing.assert_array_equal(made.sprites[0, :240], sprite[:240])
    assert Path("completed.png").is_file()
    assert made.pictures == [Path("completed/creature.png")]
    with Image.open(made.pictures[0]) as clean:
        expected = to_picture(made.sprites[0], few_sprites.palette).repeat(3, 0).repeat(3, 1)
        np.testing.assert_array_equal(np.asarray(clean), expected)


def test_variants_are_kept_and_ranked(
    done: Settings, few_sprites: Sprites, caplog: pytest.LogCaptureFixture
) -> None:
    prompts = few_sprites.prompts("dev")[:2]
    for folder in ("one", "two"):
        Path("art", folder).mkdir(parents=True)
        Image.new("RGB", (20, 20), "red").save(f"art/{folder}/red.png")
    with error_with("variants", "completion.do_sample=true"):
        complete(RUN, "art", variants=3, overrides=["completion.do_sample=false"])
    made = complete(RUN, "art", variants=3, overrides=["completion.do_sample=true"])
    assert made.variants.shape == (2, 3, 400)
    np.testing.assert_array_equal(made.variants[:, 0], made.sprites)
    names = [file.name for file in made.pictures]
    assert names == [f"red-{number}{again}.png" for again in ("", "_2") for number in (1, 2, 3)]
    assert all(file.is_file() for file in made.pictures)
    assert any("likelihood" in record.getMessage() for record in caplog.records)  # `done` has no detector
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("mine")
    complete(RUN, "art", output="mine.png", overwrite=True)
    assert sorted(file.name for file in Path("mine").iterdir()) == ["notes.txt", "red.png", "red_2.png"]
    rows = complete(RUN, prompts, variants=2, overrides=["completion.do_sample=true"])
    assert [file.name for file in rows.pictures] == [
        "row-1-1.png",
        "row-1-2.png",
        "row-2-1.png",
        "row-2-2.png",
    ]
    with error_with("variants", "160"):
        complete(RUN, "art", variants=0)


def test_prompts_and_a_split_exclude_each_other(done: Settings) -> None:
    with error_with("prompts", "split"):
        complete(RUN, "prompts.txt", split="dev")


def test_prompts_of_any_length_are_completed(done: Settings) -> None:
    prompts = write_rows(Path("prompts.txt"), [[5], [1, 2, 3], [7] * 399, [0] * 400])
    made = complete(RUN, prompts)
    assert made.sprites.shape == (4, 400)
    assert made.sprites[1, :3].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("1 2 x", ["prompts.txt:1:5: ", "'x'"]),
        ("167", ["prompts.txt:1:1: ", "167"]),
        ("", ["prompts.txt: ", "no prompts"]),
    ],
)
def test_a_mistake_in_the_prompts_is_named_with_its_place(
    done: Settings, text: str, facts: list[str]
) -> None:
    Path("prompts.txt").write_text(text)
    with error_with(*facts):
        complete(RUN, "prompts.txt")


def test_outputs_do_not_replace_prompts_or_other_files(done: Settings) -> None:
    prompts = write_rows(Path("prompts.txt"), [[5]])
    with error_with("prompts.txt", "--output"):
        complete(RUN, prompts, output="prompts.png", overwrite=True)
    Path("art").mkdir()
    Image.new("RGB", (20, 20), "red").save("art/red.png")
    for given in ("art", "art/red.png"):  # whose completions would be in this folder, under its name
        with error_with(given, "--output"):
            complete(RUN, given, output="art.png", overwrite=True)
    with error_with("out.txt", ".png"):
        complete(RUN, prompts, output="out.txt")
    assert prompts.read_text() == "5"
    Path("mine.json").write_text("{}")
    with error_with("mine.json", "--overwrite"):
        complete(RUN, prompts, output="mine.png")


def test_bad_pictures_among_prompts_are_skipped_only_on_request(done: Settings) -> None:
    Path("art").mkdir()
    Image.new("RGB", (20, 20), "red").save("art/red.png")
    Path("art/broken.png").write_text("not a picture")
    with error_with("broken.png", "1 of 2", "sprites.skip_bad_images=true"):
        complete(RUN, "art")
    assert len(complete(RUN, "art", overrides=["sprites.skip_bad_images=true"]).sprites) == 1


def test_a_preview_counts_the_sprites_of_a_source_and_draws_them(few_folder: Path) -> None:
    seen = preview(f"text:{few_folder}", output="sheet.png")
    assert seen.counts == {"train": 24, "dev": 8, "test": 6}
    assert Path("sheet.png").is_file()
    with error_with("sheet.png", "--overwrite"):
        preview(f"text:{few_folder}", output="sheet.png")


@pytest.mark.slow
def test_a_run_completes_dev_once_for_its_scorecard_and_its_report(
    tiny: MakeSettings, few_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    titles: list[str] = []

    def keep(*arguments: Any) -> Any:
        titles.append(arguments[-1])
        return rank_completions(*arguments)

    monkeypatch.setattr(inspection, "rank_completions", keep)
    first = run(tiny())
    assert titles == ["complete dev with tiny"]
    assert first.score is not None
    assert first.report is not None
    page = first.report.file.read_bytes()
    first.report.file.unlink()
    run(tiny())  # the scorecard still holds, so the report completes dev itself
    assert len(titles) == 2
    assert first.report.file.read_bytes() == page
