"""`cli.py`: every verb does its stage; a mistake is one message, never a traceback."""

import errno
import json
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
from pokemon_gen.settings import CRITERIA, Settings
from pokemon_gen.training import callbacks
from tests.builders import ROOT

Run = Callable[..., tuple[int, str, str]]
VERBS = tuple(cli.cli.commands)


@pytest.fixture
def pg(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `pokemon-gen WORDS...`; returns its exit status, output and errors."""

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["pokemon-gen", *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main()
        output = capsys.readouterr()
        return int(end.value.code or 0), output.out, output.err

    return run


@pytest.fixture
def config(tiny: Callable[..., Settings]) -> str:
    Path("tiny.yaml").write_text(yaml.safe_dump(tiny().model_dump(mode="json")))
    return "tiny.yaml"


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_a_real_example(pg: Run, verb: str) -> None:
    status, out, _ = pg(verb, "--help")
    assert status == 0
    assert f"Example: pokemon-gen {verb} " in out


def test_every_verb_in_turn(pg: Run, config: str, few_folder: Path) -> None:
    status, out, _ = pg("train", config)
    assert status == 0
    assert "checkpoints/tiny: finished, step 4 of 4; dev NLL" in out
    assert "nothing left to do" in pg("train", config)[1]

    status, out, _ = pg("complete", "checkpoints/tiny", "completion.do_sample=true", "--split", "dev")
    assert (status, "completed 8 prompts: eval/results/tiny/completions-dev.png" in out) == (0, True)

    status, out, _ = pg("submit", "checkpoints/tiny")
    assert status == 0
    assert "submissions/tiny.txt: ok: 6 sprites x 400 tokens, prompts kept" in out

    prompts = str(few_folder / "test.txt")
    assert pg("check", "submissions/tiny.txt")[:2] == (0, "ok: 6 sprites x 400 tokens, prompts kept\n")
    assert pg("check", "submissions/tiny.txt", "--prompts", prompts)[0] == 0

    status, out, _ = pg("run", config)  # all is there: nothing is done twice
    assert status == 0
    made = out.splitlines()[-1]
    assert made.startswith("made checkpoints/tiny/")  # the checkpoint that `submit` took
    assert made.endswith(", submissions/tiny.json, submissions/tiny.png, eval/results/tiny/scorecard.json")

    status, out, _ = pg("select", "checkpoints/tiny", "--by", "accuracy")
    assert status == 0
    assert "chose checkpoint-" in out
    assert "highest accuracy of 2 checkpoints on dev" in out
    status, out, _ = pg("score", "checkpoints/tiny", "--overwrite")
    assert status == 0
    assert "scorecard of tiny: 8 completions" in out
    assert "made eval/results/tiny/scorecard.json" in out

    status, out, _ = pg("sprites", f"text:{few_folder}", "--output", "sheet.png")
    assert status == 0
    assert "train     24 sprites" in out
    assert "palette    167 colours" in out
    assert "contact sheet sheet.png" in out


def test_run_takes_overrides_without_a_config(pg: Run) -> None:
    assert "unknown setting 'traning'; did you mean 'training'" in pg("run", "traning.x=1")[2]


def test_a_bad_submission_is_a_failure_that_lists_its_faults(pg: Run) -> None:
    Path("bad.txt").write_text("1 2 3\n")
    status, out, _ = pg("check", "bad.txt")
    assert status == 1
    assert "bad.txt:1:6: 3 tokens, not 400" in out
    assert "bad.txt:2:1: 1 lines, not 80" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "quck"], "quck: no such config or run; did you mean 'quick'?"),
        (["train", "."], ".: no such config or run (shipped: fast"),
        (["train", "quick", "training.learnin_rate=1"], "did you mean 'training.learning_rate'"),
        (["train", "quick", "model.hiden_size=8"], "did you mean 'model.hidden_size'"),
        (["train", "quick", "sprites.source=text:nowhere"], "text:nowhere: no such folder"),
        (["train", "quick", "sprites.source=hub:lca0503/ml2025-hw4-pokemon"], "procedural (embedded)"),
        (["train", "quick", "sprites.source=hub:/nowhere"], "hub:/nowhere: no such folder"),
        (["train", "quick", "training.max_steps=-5"], "training.max_steps: must be at least 1, or -1"),
        (["complete", "nowhere"], "nowhere: no such checkpoint or run"),
        (["submit", "nowhere"], "nowhere: no such checkpoint or run"),
        (["check", "nowhere.txt"], "nowhere.txt: cannot be read"),
        (["check", "."], ".: cannot be read: it is a folder"),
        (["train", "quick", "training.report_to=wandb"], "error: training: "),
        (["train", "quick", "training.lr_scheduler_kwargs.foo=2"], "training.lr_scheduler_kwargs: "),
        (["train", "quick", "training.lr_scheduler_kwargs.num_decay_steps=500"], "the run has 320"),
        (["train", "quick", "training.per_device_train_batch_size=0"], "a batch has at least one sprite"),
        (["train", "quick", "training.save_strategy=no"], "training.save_strategy: 'no'"),
        (["train", "quick", "model.max_position_embeddings=abc"], "model: qwen3 cannot be built"),
        (["select", "nowhere"], "nowhere: no such run"),
        (["score", "nowhere"], "nowhere: no checkpoint, .txt or folder of images to score"),
        (["judge", "text:nowhere"], "text:nowhere: no such folder"),
        (["judge", "procedural", "judge.classifer.steps=3"], "did you mean 'judge.classifier'?"),
        (["detector", "quick", "detector.classifier.model.depth=[1]"], "'detector.classifier.model.depths'?"),
        (["run", "quick", "selection.on=fold"], "there is no fold to choose on"),
        (["run", "quick", "selection.by=judge"], "selection.by: should be 'detector', 'fid' or 'nll'"),
        (["sprites", "procedural", "--output", "sheet.txt"], "sheet.txt: the output is a picture"),
        (["sprites", "images:nowhere"], "images:nowhere: no such folder"),
    ],
)
def test_a_mistake_is_one_message(pg: Run, words: list[str], message: str) -> None:
    status, _, err = pg(*words)
    assert status == 1
    assert err.startswith("error: ")
    assert message in err
    assert "Traceback" not in err
    assert list(Path().iterdir()) == []


def test_a_mistaken_section_key_has_its_place(pg: Run, config: str) -> None:
    lines = Path(config).read_text().splitlines()
    number = lines.index("  n_layer: 1") + 1
    Path(config).write_text("\n".join(lines).replace("  n_layer: 1", "  n_layr: 1"))
    message = f"{config}:{number}:3: unknown setting 'model.n_layr' for gpt2; did you mean 'model.n_layer'?"
    assert message in pg("train", config)[2]
    err = pg("train", "quick", "training.learnin_rate=1")[2]
    assert (
        "command line: unknown setting 'training.learnin_rate'; did you mean 'training.learning_rate'?" in err
    )


def test_ctrl_c_is_told_with_what_to_do(pg: Run, config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    begin = callbacks.StopOnSignal.on_step_end

    def press(self: Any, *args: Any, **kwargs: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        begin(self, *args, **kwargs)

    monkeypatch.setattr(callbacks.StopOnSignal, "on_step_end", press)
    status, out, _ = pg("run", config)
    assert status == 130
    assert "checkpoints/tiny: interrupted, step 1 of 4" in out
    assert out.startswith("sprites: text:few\n")  # which a forgotten sprites.source=... would not say
    assert "the same command goes on from it" in out
    assert "the same command without --overwrite goes on from it" in pg("run", config, "--overwrite")[1]
    without = pg("train", config, "--overwrite", "training.save_only_model=true")[1]
    assert "nothing goes on from it" in without


def test_a_folder_that_may_not_be_written_is_one_message(pg: Run, config: str) -> None:
    Path("checkpoints").write_text("a file where a folder should be")
    status, _, err = pg("train", config)
    assert status == 1
    assert err.startswith("error: checkpoints")


def test_a_full_disk_is_one_message(pg: Run, config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing to a file that is open already names no file."""

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("pokemon_gen.pipeline.run", full)
    assert pg("run", config) == (1, "sprites: text:few\n", "error: No space left on device\n")


def test_a_terminal_without_our_letters_is_no_reason_to_fail(own_folder: Path) -> None:
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
    assert done.stderr == "error: no.txt: cannot be read: no such file\n"


def test_the_command_line_knows_every_criterion() -> None:
    assert cli.CRITERIA == CRITERIA


def test_every_verb_is_a_python_call() -> None:
    for name in pokemon_gen.__all__:
        assert callable(getattr(pokemon_gen, name))
    assert set(VERBS) - {"sprites", "ensemble"} | {"preview", "assemble"} <= set(pokemon_gen.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = pokemon_gen.nonsense


def test_the_readme_shows_every_verb_and_config() -> None:
    readme = (ROOT / "README.md").read_text()
    for verb in VERBS:
        assert f"pokemon-gen {verb}" in readme
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
    with redirect_stderr(io.StringIO()) as said:
        try:
            cli.main()
            status = 0
        except SystemExit as end:
            status = end.code
    heavy = sorted({"torch", "transformers", "datasets", "matplotlib", "scipy"} & set(sys.modules))
    answers.append([status, said.getvalue(), heavy])
print(json.dumps(answers))
"""


def test_mistakes_are_answered_before_anything_heavy_is_loaded(pg: Run, config: str) -> None:
    """Torch takes seconds and a gigabyte; a misspelt word, a missing file, an existing output need none."""
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
    for words, (status, said, heavy) in zip(LIGHT_MISTAKES, answers, strict=True):
        assert (words, heavy) == (words, [])
        assert (words, status) == (words, 1)
        assert said.startswith("error: "), words
        assert said.count("\n") == 1, words


def test_a_run_is_resumed_by_its_name(pg: Run, config: str) -> None:
    pg("train", config, "training.max_steps=2")
    status, out, _ = pg("train", "tiny", "training.max_steps=4")
    assert (status, "finished, step 4 of 4" in out) == (0, True)


def test_stages_are_counted(pg: Run, config: str) -> None:
    said = pg("run", config, "completion.do_sample=true", "completion.candidates=2")[2]
    for number, stage in enumerate(("train", "detector", "select", "submit", "score"), start=1):
        assert f"stage {number} of 5: {stage}" in said
    assert "left in all" in said
    bars = {line.partition(":")[0].strip() for line in re.split(r"[\r\n]", said)}
    assert {"complete test", "complete dev"} <= bars


def test_a_note_is_said_once(pg: Run, config: str) -> None:
    """`complete` reads settings twice: before torch is loaded, and with it."""
    pg("train", config)
    _, _, err = pg("complete", "tiny", "completion.temperature=0.7")
    assert err.count("note: completion.temperature changes nothing") == 1


def test_completing_again_numbers_the_outputs(pg: Run, config: str) -> None:
    pg("train", config)
    for name in ("completions-dev", "completions-dev-2", "completions-dev-3"):
        status, out, _ = pg("complete", "tiny", "--split", "dev")
        assert (status, f"eval/results/tiny/{name}.png, eval/results/tiny/{name}.txt" in out) == (0, True)
    assert pg("complete", "tiny", "--split", "dev", "--overwrite")[0] == 0
    assert not Path("eval/results/tiny/completions-dev-4.png").exists()
    for name in ("few", "few-2"):
        assert f"eval/results/sprites/text-{name}.png" in pg("sprites", "text:few")[1]
