"""`cli.py`: each command calls its stage, and a mistake is one message without a traceback."""

import errno
import json
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import pokemon_gen
from pokemon_gen import cli
from pokemon_gen.settings import CRITERIA
from pokemon_gen.training.callbacks import StopOnSignal
from tests.builders import ROOT, MakeSettings

RunCommand = Callable[..., tuple[int, str, str]]
COMMANDS = tuple(cli.cli.commands)


@pytest.fixture
def pg(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RunCommand:
    """Return a function that runs `pokemon-gen WORDS...`: exit status, output, errors."""

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["pokemon-gen", *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main()
        output = capsys.readouterr()
        return int(end.value.code or 0), output.out, output.err

    return run


@pytest.fixture
def config(tiny: MakeSettings) -> str:
    """Return a config of a run that trains in a second."""
    Path("tiny.yaml").write_text(yaml.safe_dump(tiny().model_dump(mode="json")))
    return "tiny.yaml"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_each_command_has_an_example(pg: RunCommand, command: str) -> None:
    status, out, _ = pg(command, "--help")
    assert status == 0
    assert f"Example: pokemon-gen {command} " in out


@pytest.mark.slow
def test_the_commands_in_turn(pg: RunCommand, config: str, few_folder: Path) -> None:
    status, out, _ = pg("train", config)
    assert status == 0
    assert "checkpoints/tiny: finished, step 4 of 4; dev NLL" in out
    assert "nothing left to do" in pg("train", config)[1]

    status, out, _ = pg("complete", "checkpoints/tiny", "completion.do_sample=true", "--split", "dev")
    assert status == 0
    assert "8 prompts: eval/results/tiny/completions-dev.png" in out

    status, out, _ = pg("submit", "checkpoints/tiny")
    assert status == 0
    assert "submissions/tiny.txt: ok: 6 sprites x 400 tokens, prompts kept" in out

    prompts = str(few_folder / "test.txt")
    assert pg("check", "submissions/tiny.txt")[:2] == (0, "ok: 6 sprites x 400 tokens, prompts kept\n")
    assert pg("check", "submissions/tiny.txt", "--prompts", prompts)[0] == 0

    status, out, _ = pg("run", config)  # the training and the submission exist already
    assert status == 0
    files = out.splitlines()[-1]
    assert "checkpoints/tiny/" in files  # the checkpoint that `submit` used
    for file in ("submissions/tiny.txt", "submissions/tiny.png", "eval/results/tiny/scorecard.json"):
        assert file in files

    status, out, _ = pg("select", "checkpoints/tiny", "--by", "nll")
    assert status == 0
    assert re.search(r"Best checkpoint: step \d+ \(.*NLL.* on dev, best of 2\)", out)
    status, out, _ = pg("score", "checkpoints/tiny", "--overwrite")
    assert status == 0
    assert "scorecard of tiny: 8 completions" in out
    assert "eval/results/tiny/scorecard.json" in out

    status, out, _ = pg("sprites", f"text:{few_folder}", "--output", "sheet.png")
    assert status == 0
    assert "train     24 sprites" in out
    assert "palette    167 colours" in out
    assert "contact sheet sheet.png" in out


def test_run_takes_overrides_without_a_config(pg: RunCommand) -> None:
    assert "unknown setting 'traning'; did you mean 'training'" in pg("run", "traning.x=1")[2]


def test_an_invalid_submission_is_a_failure_that_lists_its_faults(pg: RunCommand) -> None:
    Path("bad.txt").write_text("1 2 3\n")
    status, out, _ = pg("check", "bad.txt")
    assert status == 1
    assert "bad.txt:1:6: 3 tokens, not 400" in out
    assert "bad.txt:2:1: 1 lines, not 80" in out


@pytest.mark.parametrize(
    ("words", "facts"),
    [
        (["run", "quck"], ["quck: ", "did you mean 'quick'"]),
        (["train", "."], [".: ", "shipped: fast"]),
        (["train", "quick", "training.learnin_rate=1"], ["did you mean 'training.learning_rate'"]),
        (["train", "quick", "model.hiden_size=8"], ["did you mean 'model.hidden_size'"]),
        (["train", "quick", "sprites.source=text:nowhere"], ["text:nowhere: no such folder"]),
        (["train", "quick", "sprites.source=hub:lca0503/ml2025-hw4-pokemon"], ["procedural (embedded)"]),
        (["train", "quick", "sprites.source=hub:/nowhere"], ["hub:/nowhere: no such folder"]),
        (["train", "quick", "training.max_steps=-5"], ["training.max_steps: ", "at least 1", "-1"]),
        (["complete", "nowhere"], ["nowhere: no such checkpoint or run"]),
        (["submit", "nowhere"], ["nowhere: no such checkpoint or run"]),
        (["check", "nowhere.txt"], ["nowhere.txt: cannot be read"]),
        (["check", "."], [".: cannot be read", "folder"]),
        (["train", "quick", "training.report_to=wandb"], ["error: training: ", "wandb"]),
        (["train", "quick", "training.lr_scheduler_kwargs.foo=2"], ["training.lr_scheduler_kwargs: "]),
        (["train", "quick", "training.lr_scheduler_kwargs.num_decay_steps=500"], ["the run has 320"]),
        (
            ["train", "quick", "training.per_device_train_batch_size=0"],
            ["training.per_device_train_batch_size: ", "at least 1"],
        ),
        (["train", "quick", "training.save_strategy=no"], ["training.save_strategy: ", "'no'"]),
        (["train", "quick", "model.max_position_embeddings=abc"], ["model: qwen3 cannot be built"]),
        (["select", "nowhere"], ["nowhere: no such run"]),
        (["score", "nowhere"], ["nowhere: ", "folder of images"]),
        (["judge", "text:nowhere"], ["text:nowhere: no such folder"]),
        (["judge", "procedural", "judge.classifer.steps=3"], ["did you mean 'judge.classifier'"]),
        (
            ["detector", "quick", "detector.classifier.model.depth=[1]"],
            ["did you mean 'detector.classifier.model.depths'"],
        ),
        (["run", "quick", "selection.on=fold"], ["selection.on: ", "sprites.fold_size=80"]),
        (["run", "quick", "selection.by=judge"], ["selection.by: ", "'detector', 'fid'", "'nll'"]),
        (["sprites", "procedural", "--output", "sheet.txt"], ["sheet.txt: ", ".png"]),
        (["sprites", "images:nowhere"], ["images:nowhere: no such folder"]),
    ],
)
def test_a_mistake_is_one_message(pg: RunCommand, words: list[str], facts: list[str]) -> None:
    status, _, err = pg(*words)
    assert status == 1
    assert len(re.findall(r"^error: ", err, re.MULTILINE)) == 1
    for fact in facts:
        assert fact in err
    assert "Traceback" not in err
    assert list(Path().iterdir()) == []


def test_a_mistaken_key_of_a_section_is_named_with_its_place(pg: RunCommand, config: str) -> None:
    lines = Path(config).read_text().splitlines()
    number = lines.index("  n_layer: 1") + 1
    Path(config).write_text("\n".join(lines).replace("  n_layer: 1", "  n_layr: 1"))
    err = pg("train", config)[2]
    for fact in (f"{config}:{number}:3: ", "'model.n_layr'", "gpt2", "did you mean 'model.n_layer'?"):
        assert fact in err
    err = pg("train", "quick", "training.learnin_rate=1")[2]
    for fact in ("command line: ", "'training.learnin_rate'", "did you mean 'training.learning_rate'?"):
        assert fact in err


@pytest.mark.parametrize("words", [["--debug", "train", "quck"], ["train", "quck", "--debug"]])
def test_debug_prints_the_traceback_behind_an_error(pg: RunCommand, words: list[str]) -> None:
    status, _, err = pg(*words)
    assert status == 1
    traceback, _, message = err.rpartition("error: ")
    assert traceback.startswith("Traceback (most recent call last)")
    assert "PokemonGenError" in traceback
    assert message.startswith("quck: ")
    assert "Traceback" not in pg("train", "quck")[2]  # only of the command that asks for it


@pytest.mark.parametrize("words", [["-v", "check", "no.txt"], ["check", "no.txt", "-v"]])
def test_more_messages_can_be_shown_with_v_before_or_after_a_command(
    pg: RunCommand, words: list[str]
) -> None:
    log = logging.getLogger("pokemon_gen")
    status, _, err = pg(*words)
    assert (status, err.startswith("error: no.txt: ")) == (1, True)
    assert log.level == logging.DEBUG
    pg("check", "no.txt")
    assert log.level == logging.INFO


def test_ctrl_c_ends_a_training_with_what_to_do_next(
    pg: RunCommand, config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_step_end = StopOnSignal.on_step_end

    def press(self: Any, *args: Any, **kwargs: Any) -> None:
        if self.has_stepped:  # before the first step there is nothing to save
            os.kill(os.getpid(), signal.SIGINT)
        on_step_end(self, *args, **kwargs)

    monkeypatch.setattr(StopOnSignal, "on_step_end", press)
    status, out, _ = pg("run", config)
    assert status == 130
    assert out.startswith("sprites: text:few\n")  # a forgotten sprites.source=... shows nowhere else
    assert "checkpoints/tiny: interrupted, step 2 of 4" in out
    assert "the same command resumes" in out
    assert "the same command without --overwrite resumes" in pg("run", config, "--overwrite")[1]
    without_optimizer = pg("train", config, "--overwrite", "training.save_only_model=true")[1]
    assert "save_only_model" in without_optimizer
    assert "cannot resume" in without_optimizer


def test_a_folder_that_cannot_be_written_is_one_message(pg: RunCommand, config: str) -> None:
    Path("checkpoints").write_text("a file with the name of the folder")
    status, _, err = pg("train", config)
    assert status == 1
    assert err.startswith("error: checkpoints")


def test_a_full_disk_is_one_message(pg: RunCommand, config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of a write to an open file names no file."""

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("pokemon_gen.pipeline.run", full)
    status, _, err = pg("run", config)
    (message,) = err.splitlines()
    assert status == 1
    assert message.startswith(f"error: {os.strerror(errno.ENOSPC)}")


def test_a_terminal_that_lacks_a_character_shows_a_question_mark(own_folder: Path) -> None:
    (own_folder / "≤.txt").write_text("x\n")
    done = subprocess.run(
        [sys.executable, "-m", "pokemon_gen", "check", "≤.txt"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONIOENCODING": "cp1252"},
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("?.txt:1:1: 'x' is not an integer")


def test_the_module_is_the_same_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pokemon_gen", "check", "no.txt"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: no.txt: ")


def test_the_command_line_has_every_criterion() -> None:
    assert cli.CRITERIA == CRITERIA


def test_every_command_is_a_python_function() -> None:
    other_names = {
        "sprites": "preview",
        "page": "write_page",
        "report": "write_report",
        "text": "train_text",
        "study": "run_study",
    }  # packages have the commands' own names
    names = {other_names.get(command, command) for command in COMMANDS}
    assert names <= set(pokemon_gen.__all__)
    assert all(callable(getattr(pokemon_gen, name)) for name in names)


def test_the_readme_shows_every_command_and_config() -> None:
    readme = (ROOT / "README.md").read_text()
    for command in COMMANDS:
        assert f"pokemon-gen {command}" in readme
    for config in (ROOT / "configs").glob("*.yaml"):
        assert f"`{config.stem}`" in readme


LIGHT_MISTAKES = [
    ["train", "quick", "learning_rate=1e-3"],
    ["train", "quick", "training.learnin_rate=1"],
    ["train", "quick", "training.max_steps=many"],
    ["train", "quick", "model.hiden_size=8"],
    ["train", "quick", "model.model_type=gpt2"],
    ["train", "quick", "model=gpt3"],
    ["train", "quck"],
    ["train", "quick", "sprites.source=text:nowhere"],
    ["train", "quick", "sprites.palette=nowhere.hex"],
    ["train", "tiny.yaml", "seed=9"],
    ["run", "quick", "selection.by=judge"],
    ["run", "tiny.yaml", "seed=9"],
    ["detector", "quick", "detectr.x=1"],
    ["judge", "text:nowhere"],
    ["judge", "procedural", "judge.classifer.steps=3"],
    ["complete", "nowhere"],
    ["complete", "tiny", "--prompts", "nowhere.png"],
    ["complete", "tiny", "--output", "there.png"],
    ["complete", "tiny", "training.max_steps=9"],
    ["submit", "nowhere"],
    ["submit", "tiny"],
    ["select", "nowhere"],
    ["select", "tiny", "seed=3"],
    ["score", "nowhere"],
    ["score", "tiny", "there.txt"],
    ["score", "tiny", "--reference", "nowhere"],
    ["ensemble", "both", "tiny", "nowhere"],
    ["ensemble", "no name", "tiny", "tiny"],
    ["sprites", "images:nowhere"],
    ["sprites", "procedural", "--output", "there.png"],
]
MISTAKES_IN_ONE_PROCESS = """
import io, json, sys
from contextlib import redirect_stderr
from pokemon_gen import cli
answers = []
for words in json.load(sys.stdin):
    sys.argv = ["pokemon-gen", *words]
    with redirect_stderr(io.StringIO()) as errors:
        try:
            cli.main()
            status = 0
        except SystemExit as end:
            status = end.code
    heavy = sorted({"torch", "transformers", "datasets", "matplotlib", "scipy"} & set(sys.modules))
    answers.append([status, errors.getvalue(), heavy])
print(json.dumps(answers))
"""


@pytest.mark.slow
def test_mistakes_are_reported_before_a_heavy_package_is_imported(pg: RunCommand, config: str) -> None:
    """Importing torch takes seconds; a misspelt setting or a missing file does not need it."""
    assert pg("run", config)[0] == 0
    Path("there.png").touch()
    Path("there.txt").touch()
    done = subprocess.run(
        [sys.executable, "-c", MISTAKES_IN_ONE_PROCESS],
        input=json.dumps(LIGHT_MISTAKES),
        capture_output=True,
        text=True,
        check=True,
    )
    answers = json.loads(done.stdout.splitlines()[-1])
    for words, (status, errors, heavy) in zip(LIGHT_MISTAKES, answers, strict=True):
        assert (words, heavy) == (words, [])
        assert (words, status) == (words, 1)
        assert errors.startswith("error: "), words
        assert errors.count("\n") == 1, words


def test_a_run_is_resumed_by_its_name(pg: RunCommand, config: str) -> None:
    pg("train", config, "training.max_steps=2")
    status, out, _ = pg("train", "tiny", "training.max_steps=4")
    assert status == 0
    assert "finished, step 4 of 4" in out


@pytest.mark.slow
def test_the_stages_of_a_run_are_counted(pg: RunCommand, config: str) -> None:
    err = pg("run", config, "completion.do_sample=true", "completion.candidates=2")[2]
    for number, stage in enumerate(("train", "detector", "select", "submit", "score", "report"), start=1):
        assert f"stage {number} of 6: {stage}" in err
    assert "left in all" in err
    bars = {line.partition(":")[0].strip() for line in re.split(r"[\r\n]", err)}
    assert {"complete test", "complete dev with tiny"} <= bars


def test_a_note_is_shown_once(pg: RunCommand, config: str) -> None:
    """`complete` reads the settings twice: before torch is imported, and after it."""
    pg("train", config)
    _, _, err = pg("complete", "tiny", "completion.temperature=0.7")
    notes = [line for line in err.splitlines() if line.startswith("note: ")]
    assert sum("completion.temperature" in note for note in notes) == 1


@pytest.mark.slow
def test_new_outputs_of_complete_are_numbered(pg: RunCommand, config: str) -> None:
    pg("train", config)
    for name in ("completions-dev", "completions-dev-2", "completions-dev-3"):
        status, out, _ = pg("complete", "tiny", "--split", "dev")
        assert status == 0
        assert f"eval/results/tiny/{name}.png, eval/results/tiny/{name}.txt" in out
    assert pg("complete", "tiny", "--split", "dev", "--overwrite")[0] == 0
    assert not Path("eval/results/tiny/completions-dev-4.png").exists()


def test_new_contact_sheets_are_numbered(pg: RunCommand, few_folder: Path) -> None:
    for name in ("few", "few-2"):
        assert f"eval/results/sprites/text-{name}.png" in pg("sprites", f"text:{few_folder}")[1]
