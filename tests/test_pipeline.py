"""`pipeline.py`: the stages together, going on where they stopped, replacing nothing unasked."""

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from transformers import TrainerCallback

from pokemon_gen import pipeline
from pokemon_gen.completion.reranking import complete_best
from pokemon_gen.completion.sampling import complete_prompts
from pokemon_gen.discriminator.detector import load_detector
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.models.choice import choose_checkpoint
from pokemon_gen.models.loading import load_checkpoint
from pokemon_gen.palette import Palette, to_picture
from pokemon_gen.pipeline import run
from pokemon_gen.settings import CompletionSettings, Settings
from pokemon_gen.sprites.loading import Sprites
from pokemon_gen.stages.complete import complete
from pokemon_gen.stages.ensemble import ensemble
from pokemon_gen.stages.score import score
from pokemon_gen.stages.select import select
from pokemon_gen.stages.sprites import preview
from pokemon_gen.stages.submit import submit
from pokemon_gen.stages.train import train_members
from pokemon_gen.training.run import train
from pokemon_gen.training.run import train as train_model
from tests.builders import tiny_settings, without_precision, write_palette, write_rows, write_text_folder

Make = Callable[..., Settings]
SUBMISSION = Path("submissions/tiny.txt")


SAMPLED = {"completion": {"do_sample": True, "temperature": 0.8}}


@pytest.fixture(scope="module")
def done_folder(few_sprites: Sprites, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Do a run once; its working directory is the mould of `done`."""
    folder = tmp_path_factory.mktemp("done")
    with contextlib.chdir(folder):
        write_text_folder(few_sprites, Path("few"))
        run(tiny_settings(**SAMPLED))
    return folder


@pytest.fixture
def done(done_folder: Path, own_folder: Path) -> Settings:
    """Return the settings of a run that has been done in the working directory."""
    shutil.copytree(done_folder, own_folder, dirs_exist_ok=True)
    return tiny_settings(**SAMPLED)


def test_a_run_makes_a_checked_submission_and_a_picture(tiny: Make, few_sprites: Sprites) -> None:
    result = run(tiny())
    assert result.submission is not None
    assert str(result.submission.report) == "ok: 6 sprites x 400 tokens, prompts kept"
    assert all(file.exists() for file in result.files)
    rows = np.loadtxt(SUBMISSION, dtype=int)
    np.testing.assert_array_equal(rows[:, :240], few_sprites.prompts("test"))
    with Image.open("submissions/tiny.png") as picture:
        assert picture.width > 600


def test_the_sidecar_is_enough_to_make_the_same_submission_again(done: Settings) -> None:
    first = SUBMISSION.read_bytes()
    facts = json.loads(SUBMISSION.with_suffix(".json").read_text())
    shutil.rmtree("checkpoints")
    shutil.rmtree("submissions")
    run(Settings.model_validate(facts["settings"]))
    again = json.loads(SUBMISSION.with_suffix(".json").read_text())
    assert SUBMISSION.read_bytes() == first
    assert facts["sprites"]["fingerprint"] == facts["checkpoint"]["trained_on"]["fingerprint"]
    for key in ("sha256", "checkpoint", "sprites", "palette", "prompt_hashes"):
        assert again[key] == facts[key]


def test_a_finished_run_is_left_as_it_is(done: Settings) -> None:
    before = SUBMISSION.stat().st_mtime_ns
    result = run(done)
    assert result.training.status == "nothing left to do"
    assert result.submission is not None
    assert not result.submission.report.faults
    assert SUBMISSION.stat().st_mtime_ns == before


def test_a_sidecar_of_before_a_setting_was_there_is_of_the_same_run(done: Settings) -> None:
    sidecar = SUBMISSION.with_suffix(".json")
    facts = json.loads(sidecar.read_text())
    del facts["settings"]["members"], facts["settings"]["augmentation"]
    del facts["settings"]["completion"]["candidates"], facts["settings"]["completion"]["likelihood_weight"]
    sidecar.write_text(json.dumps(facts))
    result = run(done)
    assert result.submission is not None
    assert not result.submission.report.faults


def test_a_run_goes_on_after_its_training(done: Settings) -> None:
    for file in Path("submissions").iterdir():
        file.unlink()
    assert run(done).training.status == "nothing left to do"
    assert SUBMISSION.is_file()


def test_candidates_are_ranked_by_the_runs_detector(tiny: Make, few_sprites: Sprites) -> None:
    """Though checkpoints are chosen by NLL, the detector is trained: the candidates need it."""
    settings = tiny(completion={"do_sample": True, "candidates": 3})
    result = run(settings)
    assert result.submission is not None
    facts = json.loads(SUBMISSION.with_suffix(".json").read_text())
    detector = load_detector(Path("checkpoints/tiny"))
    assert facts["ranked_by_detector"] == detector.metadata["fingerprint"]
    model = load_checkpoint(result.submission.checkpoint).model
    best = complete_best(model, few_sprites.prompts("test"), settings.completion, detector)
    np.testing.assert_array_equal(np.loadtxt(SUBMISSION, dtype=int), best)
    sprites = result.submission.checkpoint / "sprites.json"
    own = sprites.read_text()
    sprites.write_text(own.replace(few_sprites.fingerprint, "0" * 16))
    with pytest.raises(PokemonGenError, match=r"detector: .*other sprites than .*best.*name=tiny"):
        submit("checkpoints/tiny", overwrite=True)
    sprites.write_text(own)


def test_without_a_detector_one_completion_is_drawn_and_said_so(
    tiny: Make, few_sprites: Sprites, caplog: pytest.LogCaptureFixture
) -> None:
    """`train` makes no detector; what it trained completes, submits and scores all the same."""
    settings = tiny(completion={"do_sample": True, "candidates": 3})
    train(settings)
    one = settings.completion.single_candidate()
    model = load_checkpoint("tiny").model
    for made in (complete("tiny", split="dev").sprites, np.loadtxt(submit("tiny").file, dtype=int)):
        split = "dev" if len(made) == len(few_sprites.tokens("dev")) else "test"
        np.testing.assert_array_equal(made, complete_prompts(model, few_sprites.prompts(split), one))
    assert score("tiny").scorecard["checkpoint"]["completion"]["candidates"] == 1
    said = [record.getMessage() for record in caplog.records if "detector" in record.getMessage()]
    assert len(said) == 3
    assert all("tiny" in message and "completion.candidates" in message for message in said)
    facts = json.loads(SUBMISSION.with_suffix(".json").read_text())
    assert facts["settings"]["completion"]["candidates"] == 1
    assert facts["ranked_by_detector"] is None


def test_an_ensemble_is_trained_member_by_member_and_completes_with_all(
    tiny: Make, few_sprites: Sprites
) -> None:
    settings = tiny(members=2, training={"save_steps": 4, "eval_steps": 4})
    result = run(settings)
    assert [training.folder.name for training in result.trainings] == ["member-0", "member-1"]
    assert [training.settings.seed for training in result.trainings] == [0, 1]
    assert result.submission is not None
    assert result.submission.checkpoint == Path("checkpoints/tiny/best")
    ensemble = load_checkpoint(result.submission.checkpoint)
    assert ensemble.settings.members == 2
    np.testing.assert_array_equal(
        np.loadtxt(SUBMISSION, dtype=int), complete_prompts(ensemble.model, few_sprites.prompts("test"))
    )
    before = SUBMISSION.stat().st_mtime_ns
    again = run(settings)
    assert {training.status for training in again.trainings} == {"nothing left to do"}
    assert SUBMISSION.stat().st_mtime_ns == before
    facts = json.loads(SUBMISSION.with_suffix(".json").read_text())
    assert facts["settings"]["members"] == 2
    shutil.rmtree("checkpoints")
    first = SUBMISSION.read_bytes()
    run(Settings.model_validate(facts["settings"]), overwrite=True)
    assert SUBMISSION.read_bytes() == first
    shutil.rmtree("submissions")
    run(settings.model_copy(update={"completion": CompletionSettings(do_sample=True)}))
    assert load_checkpoint(result.submission.checkpoint).settings.completion.do_sample  # as it completes now


def test_an_ensemble_that_is_not_put_together_says_so(tiny: Make) -> None:
    settings = tiny(members=2, training={"max_steps": 1, "save_steps": 1, "eval_steps": 1})
    with pytest.raises(PokemonGenError, match=r"this trains one model; train_members\(settings\)"):
        train(settings)
    train_members(settings)
    for verb in (submit, score, select):
        for place in ("tiny", "checkpoints/tiny"):
            with pytest.raises(
                PokemonGenError, match="not put together yet; `pokemon-gen run CONFIG` goes on"
            ):
                verb(place)
    assert {training.status for training in run(settings).trainings} == {"nothing left to do"}
    with pytest.raises(PokemonGenError, match="nothing-of-this-name: no such checkpoint or run"):
        submit("nothing-of-this-name")
    for verb in (submit, select):
        with pytest.raises(PokemonGenError, match="no whole checkpoint in it"):
            verb(".")


def test_a_run_begun_anew_and_killed_goes_on(done: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its old submission must not stand in the way, and stands until the training begins."""

    class Kill(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 3:
                raise RuntimeError("killed")

    def left_of_an_older_run(folder: str) -> None:
        (Path("checkpoints") / folder).mkdir(parents=True)
        (Path("checkpoints") / folder / "classifier.json").write_text('{"settings": "others"}')

    left_of_an_older_run("tiny/detector")
    anew = done.model_copy(update={"seed": 9})
    with pytest.raises(RuntimeError, match="killed"):
        run(anew, overwrite=True, callbacks=[Kill()])
    assert not Path("checkpoints/tiny/detector").exists()
    result = run(anew)
    assert result.training.status == "finished"
    assert result.submission is not None
    assert not result.submission.report.faults


def test_members_of_before_are_none_of_an_ensemble_begun_anew(
    tiny: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the first member, it must not go on with the old second."""
    few_steps = {"max_steps": 1, "save_steps": 1, "eval_steps": 1}
    settings = tiny(members=2, training=few_steps)
    train_members(settings)
    ensemble("tiny", ["tiny/member-0", "tiny/member-1"])

    def interrupted(*args: Any) -> Any:
        return dataclasses.replace(train_model(*args), status="interrupted")

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "train_model", interrupted)
        assert len(train_members(settings, overwrite=True)) == 1
    assert not Path("checkpoints/tiny/best").exists()
    assert [training.status for training in train_members(settings)] == ["nothing left to do", "finished"]


def test_an_ensemble_whose_members_were_trained_on_since_says_so(tiny: Make) -> None:
    few_steps = {"max_steps": 1, "save_steps": 1, "eval_steps": 1}
    run(tiny(members=2, training=few_steps))
    ensemble("by-hand", ["tiny/member-0", "tiny/member-1"])
    longer = tiny(members=2, training={**few_steps, "max_steps": 2})
    train_members(longer)
    for verb in (submit, score):
        with pytest.raises(
            PokemonGenError, match=r"member-0 has been trained on since; `pokemon-gen run CON"
        ):
            verb("tiny", overwrite=True)
    assert not submit("by-hand").report.faults  # is what it was
    assert not submit("checkpoints/tiny/best", overwrite=True).report.faults
    SUBMISSION.unlink()
    run(longer)
    assert not submit("tiny", overwrite=True).report.faults
    select("tiny/member-0", by="detector")  # another choice, but no other training
    assert not submit("tiny", overwrite=True).report.faults
    with contextlib.chdir("checkpoints/tiny"):
        assert choose_checkpoint(".").folder == Path("best")
    shutil.rmtree("checkpoints/tiny/member-0")  # thrown away: the ensemble has its own
    assert not submit("tiny", overwrite=True).report.faults


def test_members_stay_inside_their_ensembles_folder(tiny: Make) -> None:
    """A run that happens to be called like a member of before is another's, and nothing touches it."""
    few_steps = {"max_steps": 1, "save_steps": 1, "eval_steps": 1}
    for name in ("tiny-0", "tiny-1"):
        train(tiny(name=name, seed=7, training=few_steps))
    before = {path: path.stat().st_mtime_ns for path in Path("checkpoints").glob("tiny-*/**/*")}
    settings = tiny(members=2, training=few_steps)
    run(settings, overwrite=True)
    train_members(settings, overwrite=True)
    assert {path: path.stat().st_mtime_ns for path in Path("checkpoints").glob("tiny-*/**/*")} == before
    assert sorted(path.name for path in Path("checkpoints").iterdir()) == ["tiny", "tiny-0", "tiny-1"]


def test_one_model_and_an_ensemble_do_not_share_a_folder(tiny: Make) -> None:
    few_steps = {"max_steps": 1, "save_steps": 1, "eval_steps": 1}
    one, two = tiny(training=few_steps), tiny(members=2, training=few_steps)
    train(one)
    for begin in (run, train_members):
        with pytest.raises(PokemonGenError, match="checkpoints/tiny holds a run of one model"):
            begin(two)
    assert len(train_members(two, overwrite=True)) == 2
    assert not list(Path("checkpoints/tiny").glob("checkpoint-*"))
    with pytest.raises(PokemonGenError, match="holds an ensemble, and is kept: members=2"):
        train(one)
    train(one, overwrite=True)
    assert not list(Path("checkpoints/tiny").glob("member-*"))


def test_members_of_the_old_layout_are_moved_by_hand(tiny: Make) -> None:
    few_steps = {"max_steps": 1, "save_steps": 1, "eval_steps": 1}
    settings = tiny(members=2, training=few_steps)
    run(settings)
    for number in range(2):
        old = Path(f"checkpoints/tiny-{number}")
        Path(f"checkpoints/tiny/member-{number}").rename(old)
        for file in old.rglob("settings.json"):
            file.write_text(file.read_text().replace(f"tiny/member-{number}", old.name))
    for begin in (run, train_members):
        with pytest.raises(PokemonGenError) as refused:
            begin(settings)
    assert not submit("tiny", overwrite=True).report.faults  # its ensemble is as good as it was
    for number in range(2):
        assert f"mv checkpoints/tiny-{number} checkpoints/tiny/member-{number}" in str(refused.value)
        Path(f"checkpoints/tiny-{number}").rename(f"checkpoints/tiny/member-{number}")
    assert {training.status for training in run(settings).trainings} == {"nothing left to do"}


def test_members_are_trained_in_one_precision(tiny: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is measured twice may come out otherwise, and a sidecar tells one."""
    measured = iter([True, False])
    monkeypatch.setattr(
        "pokemon_gen.training.run.choose_precision", lambda *_: {"bf16": next(measured), "fp16": False}
    )
    settings = tiny(members=2, training={"max_steps": 1, "save_steps": 1, "eval_steps": 1})
    trainings = train_members(without_precision(settings))
    assert [training.settings.training["bf16"] for training in trainings] == [True, True]


def test_a_run_goes_on_with_the_completion_settings_of_now(done: Settings, tiny: Make) -> None:
    for file in Path("submissions").iterdir():
        file.unlink()
    run(tiny())  # greedy; the checkpoint remembers that it was to be sampled
    facts = json.loads(SUBMISSION.with_suffix(".json").read_text())
    assert facts["settings"]["completion"]["do_sample"] is False
    assert not load_checkpoint(Path("checkpoints/tiny/best")).settings.completion.do_sample  # as of now
    assert run(tiny()).training.status == "nothing left to do"  # and this is the same run again
    Path("few").rename("moved")
    assert run(tiny(sprites={"source": "text:moved"})).training.status == "nothing left to do"


def test_another_runs_submission_is_kept_and_said_so_before_training(
    done: Settings, tiny: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_training(*_: object, **__: object) -> None:
        raise AssertionError("trained before looking")

    monkeypatch.setattr(pipeline, "train", no_training)
    with pytest.raises(
        PokemonGenError, match=r"tiny\.txt exists, of other settings or sprites, and is kept.*--overwrite"
    ):
        run(tiny(seed=9))


def test_a_submission_of_another_checkpoint_than_the_chosen_is_kept_and_said_so(done: Settings) -> None:
    """Submitted by hand from another checkpoint: `run` must not pass it off as the selected one's."""
    best = json.loads(Path("checkpoints/tiny/selection.json").read_text())["chosen"]
    other = "checkpoint-2" if best == "checkpoint-4" else "checkpoint-4"
    submit(Path("checkpoints/tiny") / other, overwrite=True)
    with pytest.raises(
        PokemonGenError, match=r"of another checkpoint .* submit checkpoints/tiny --overwrite"
    ):
        run(done)
    submit(Path("checkpoints/tiny"), overwrite=True)
    assert run(done).submission is not None


def test_overwrite_replaces_a_run(done: Settings, tiny: Make) -> None:
    before = SUBMISSION.read_bytes()
    result = run(tiny(seed=9), overwrite=True)
    assert result.training.status == "finished"
    assert SUBMISSION.read_bytes() != before


def test_submit_keeps_what_is_there_and_takes_overrides(done: Settings) -> None:
    with pytest.raises(PokemonGenError, match=r"tiny\.txt.*--overwrite"):
        submit("checkpoints/tiny")
    made = submit("checkpoints/tiny/checkpoint-2", overrides=["name=second", "completion.temperature=2.0"])
    assert made.file == Path("submissions/second.txt")
    assert json.loads(made.sidecar.read_text())["settings"]["completion"]["temperature"] == 2.0
    assert made.reason == "as asked for"


@pytest.mark.parametrize("split", ["dev", "test"])
def test_completing_a_split_draws_it_and_writes_its_rows(
    done: Settings, few_sprites: Sprites, split: str
) -> None:
    made = complete("tiny", split=split)  # by its name
    assert made.picture == Path(f"eval/results/tiny/completions-{split}.png")
    np.testing.assert_array_equal(np.loadtxt(made.rows, dtype=int), made.sprites)
    np.testing.assert_array_equal(made.sprites[:, :240], few_sprites.prompts(split))
    again = complete("checkpoints/tiny", split=split)
    assert again.picture == Path(f"eval/results/tiny/completions-{split}-2.png")
    assert again.rows == Path(f"eval/results/tiny/completions-{split}-2.txt")
    assert made.picture.is_file()


def test_a_checkpoint_alone_completes_a_picture(
    done: Settings, few_sprites: Sprites, few_folder: Path, tmp_path: Path
) -> None:
    """Neither the run's folder nor its sprites are needed any more."""
    shutil.move("checkpoints/tiny/checkpoint-4", "alone")
    shutil.rmtree("checkpoints")
    shutil.rmtree(few_folder)
    sprite = few_sprites.tokens("dev")[0]
    Image.fromarray(to_picture(sprite, few_sprites.palette)).resize((60, 60), 0).save("creature.png")
    made = complete("alone", "creature.png", output="whole.png")
    np.testing.assert_array_equal(made.sprites[0, :240], sprite[:240])
    assert Path("whole.png").is_file()


def test_prompts_come_from_one_place(done: Settings) -> None:
    with pytest.raises(PokemonGenError, match="not from both"):
        complete(Path("checkpoints/tiny"), "prompts.txt", split="dev")


def test_prompts_of_any_length_are_completed(done: Settings) -> None:
    prompts = write_rows(Path("prompts.txt"), [[5], [1, 2, 3], [7] * 399, [0] * 400])
    made = complete("checkpoints/tiny", prompts)
    assert made.sprites.shape == (4, 400)
    assert made.sprites[1, :3].tolist() == [1, 2, 3]


def test_a_checkpoint_of_another_palette_is_refused(done: Settings, few_sprites: Sprites) -> None:
    write_palette(Path("other.txt"), Palette(few_sprites.palette.rgb[::-1]))
    with pytest.raises(
        PokemonGenError, match=r"was trained with another palette \([0-9a-f]{16}, 167 colours\)"
    ):
        submit("checkpoints/tiny", overrides=["sprites.palette=other.txt", "name=second"])
    assert not Path("submissions/second.txt").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2 x", r"prompts\.txt:1:5: 'x'"),
        ("167", r"prompts\.txt:1:1: 167 is not in"),
        ("", r"prompts\.txt: .*no prompts"),
    ],
)
def test_prompts_at_fault_are_named(done: Settings, text: str, message: str) -> None:
    Path("prompts.txt").write_text(text)
    with pytest.raises(PokemonGenError, match=message):
        complete("checkpoints/tiny", "prompts.txt")


@pytest.mark.parametrize("part", ["tiny.json", "tiny.png"])
def test_a_submission_that_lacks_a_part_is_kept_and_said_so(done: Settings, part: str) -> None:
    (SUBMISSION.parent / part).unlink()
    with pytest.raises(PokemonGenError, match=f"exists without its {part}, and is kept"):
        run(done)


def test_what_a_kill_left_of_a_submission_is_no_hindrance(done: Settings) -> None:
    SUBMISSION.unlink()  # it is written last
    assert run(done).submission is not None
    assert SUBMISSION.is_file()


@pytest.mark.parametrize("override", ["training.learning_rate=9", "model.n_layer=7", "seed=3"])
def test_a_trained_checkpoint_leaves_only_its_completion_to_choose(done: Settings, override: str) -> None:
    with pytest.raises(PokemonGenError, match="is trained already; completion"):
        submit("checkpoints/tiny", overrides=["name=second", override])


def test_prompts_are_never_overwritten(done: Settings) -> None:
    prompts = write_rows(Path("prompts.txt"), [[5]])
    with pytest.raises(PokemonGenError, match="the prompts would be overwritten"):
        complete("checkpoints/tiny", prompts, output="prompts.png", overwrite=True)
    with pytest.raises(PokemonGenError, match=r"name it with \.png"):
        complete("checkpoints/tiny", prompts, output="out.txt")
    assert prompts.read_text() == "5"
    Path("mine.json").write_text("{}")
    with pytest.raises(PokemonGenError, match=r"mine\.json.*--overwrite"):
        complete("checkpoints/tiny", prompts, output="mine.png")


def test_bad_pictures_among_prompts_are_skipped_if_told(done: Settings) -> None:
    Path("art").mkdir()
    Image.new("RGB", (20, 20), "red").save("art/red.png")
    Path("art/broken.png").write_text("no picture")
    with pytest.raises(PokemonGenError, match="1 of 2 files cannot be read"):
        complete("checkpoints/tiny", "art")
    made = complete("checkpoints/tiny", "art", overrides=["sprites.skip_bad_images=true"])
    assert len(made.sprites) == 1


def test_looking_at_a_source_counts_and_draws(few_folder: Path) -> None:
    seen = preview(f"text:{few_folder}", output="sheet.png")
    assert seen.counts == {"train": 24, "dev": 8, "test": 6}
    assert Path("sheet.png").is_file()
    with pytest.raises(PokemonGenError, match=r"sheet\.png.*--overwrite"):
        preview(f"text:{few_folder}", output="sheet.png")
