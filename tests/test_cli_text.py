"""`cli_text.py`: the commands of text in turn, and one message for each mistake."""

import json
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pokemon_gen import cli
from pokemon_gen.cli_text import text
from pokemon_gen.training.callbacks import StopOnSignal
from tests.builders import MakeSettings
from tests.text.builders import SCRATCH_MODEL, fresh_text_model, text_settings, write_corpus

RunCommand = Callable[..., tuple[int, str, str]]


@pytest.fixture
def pg(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RunCommand:
    """Return a function that runs `pokemon-gen text WORDS...`: exit status, output, errors."""

    def run(*words: str, group: str = "text") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["pokemon-gen", *([group] if group else []), *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main()
        output = capsys.readouterr()
        return int(end.value.code or 0), output.out, output.err

    return run


@pytest.fixture
def config() -> str:
    """Return a config of a run on text that trains in a second, and write its corpus."""
    write_corpus()
    Path("tiny.yaml").write_text(yaml.safe_dump(text_settings().model_dump(mode="json")))
    return "tiny.yaml"


@pytest.mark.parametrize("command", tuple(text.commands))
def test_the_help_of_each_command_has_an_example(pg: RunCommand, command: str) -> None:
    status, out, _ = pg(command, "--help")
    assert status == 0
    assert f"Example: pokemon-gen text {command} " in " ".join(out.split())


@pytest.mark.parametrize("model", [{}, SCRATCH_MODEL], ids=["gpt2", "scratch"])
def test_the_commands_in_turn(pg: RunCommand, config: str, model: dict[str, Any]) -> None:
    overrides = [f"model={yaml.safe_dump(model, default_flow_style=True).strip()}"] if model else []
    status, out, _ = pg("train", config, *overrides)
    assert status == 0
    assert "corpus: file:corpus.txt: train 540 characters, 540 tokens; dev 60 characters" in out
    assert "checkpoints/tiny: finished, step 4 of 4; dev NLL" in out
    assert "Seen: 128 tokens in 16 blocks (0.24 epochs of train), 16 different ones of 532" in out
    assert "nothing left to do" in pg("train", config, *overrides)[1]

    status, out, _ = pg("generate", "tiny", "--prompt", "ab", "generation.max_new_tokens=7")
    assert status == 0
    assert out.startswith("ab")
    assert len(out) == len("ab") + 7 + len("\n")
    again = pg("generate", "tiny", "--prompt", "ab", "generation.max_new_tokens=7", "--samples", "3")[1]
    assert again.startswith(f"[1] {out}[2] ab")

    status, out, _ = pg("score", "tiny")
    assert status == 0
    found = re.search(r"file:corpus.txt: dev: NLL (\S+) .*perplexity (\S+), (\S+) bits per character", out)
    assert found is not None
    assert 1 < float(found[1]) < 2.5
    assert "600 characters" in pg("score", "tiny", "--split", "all")[1]

    status, out, _ = pg("tokens", "tiny", "a\nb")
    assert status == 0
    assert "3 characters, 3 tokens of 8" in out
    assert "Back: the same text" in out
    assert repr("\n") in out


def test_a_prompt_that_is_not_given_is_the_separator(pg: RunCommand, config: str) -> None:
    pg("train", config, "corpus.separator=a", "corpus.case=upper")
    overrides = ("generation.do_sample=false", "generation.max_new_tokens=9")
    expected = pg("generate", "tiny", "--prompt", "A", *overrides)[1]
    assert expected.startswith("A")
    assert pg("generate", "tiny", *overrides)[:2] == (0, expected.removeprefix("A"))


def test_a_sample_ends_at_the_separator_in_the_case_of_the_text(pg: RunCommand, config: str) -> None:
    pg("train", config, "corpus.separator=a", "corpus.case=upper")
    words = ("generate", "tiny", "--prompt", "B", "--samples", "5", "generation.max_new_tokens=60")
    free = re.split(r"\n?\[\d\] B", pg(*words)[1])[1:]
    stopped = re.split(r"\n?\[\d\] B", pg(*words, "generation.stop_at_separator=true")[1])[1:]
    assert [sample.rstrip("\n") for sample in stopped] == [
        sample.partition("A")[0].rstrip("\n") for sample in free
    ]
    assert "A" in "".join(free)


def test_the_text_of_others_can_be_scored(pg: RunCommand, config: str) -> None:
    pg("train", config)
    write_corpus(300, seed=1, file="other.txt")
    status, out, _ = pg("score", "tiny", "corpus.source=file:other.txt", "--split", "all")
    assert status == 0
    assert "file:other.txt: all: " in out
    assert "300 characters" in out


def test_a_model_of_others_is_used_from_its_folder(pg: RunCommand) -> None:
    built = fresh_text_model()
    built.model.save_pretrained("given")
    built.tokenizer.save_pretrained("given")
    assert pg("generate", "given", "--prompt", "ab", "generation.max_new_tokens=3")[0] == 0
    assert pg("score", "given", "corpus.source=file:corpus.txt")[0] == 0
    assert pg("tokens", "given", "ab")[0] == 0


@pytest.mark.parametrize(
    ("words", "facts"),
    [
        (["train", "captoins"], ["captoins: ", "did you mean 'captions'"]),
        (["train", "traning.max_steps=3"], ["did you mean 'training'"]),
        (["train", "captions", "corpus.block=8"], ["did you mean 'corpus.blocks'"]),
        (["train", "captions", "training.learnin_rate=1"], ["did you mean 'training.learning_rate'"]),
        (["train", "captions", "model.hiden_size=8"], ["did you mean 'model.hidden_size'"]),
        (["train", "captions", "corpus.source=file:nowhere.txt"], ["nowhere.txt: there is no such file"]),
        (["train", "captions", "corpus.source=file:."], [".: is a folder"]),
        (["train", "captions", "corpus.source=nothing"], ["corpus.source", "'nothing'", "captions, riddles"]),
        (["train", "captions", "corpus.source=hub:./nowhere"], ["hub:./nowhere", "no such folder"]),
        (["train", "captions", "tokenizer.kind=pretrained"], ["tokenizer", "source"]),
        (
            ["train", "captions", "training.metric_for_best_model=completion_nll"],
            ["training.metric_for_best_model", "'completion_nll'", "nll, bits_per_character"],
        ),
        (["generate", "nowhere/model"], ["nowhere/model", "hub"]),
        (["score", "nowhere/model"], ["nowhere/model", "hub"]),
        (["tokens", "nowhere/model", "a"], ["nowhere/model", "hub"]),
    ],
)
def test_a_mistake_is_one_message(pg: RunCommand, words: list[str], facts: list[str]) -> None:
    status, _, err = pg(*words)
    assert_one_message(status, err, facts)
    assert list(Path().iterdir()) == []


def assert_one_message(status: int, err: str, facts: list[str]) -> None:
    assert status == 1
    assert len(re.findall(r"^error: ", err, re.MULTILINE)) == 1
    for fact in facts:
        assert fact in err
    assert "Traceback" not in err


def test_a_file_that_is_not_text_is_one_message(pg: RunCommand) -> None:
    for name, data in (("empty", b""), ("zeros", bytes(5000)), ("cut", "漢".encode()[:2] * 100)):
        Path(name).write_bytes(data)
        status, _, err = pg("train", f"corpus.source=file:{name}")
        assert_one_message(status, err, [name])
    assert not Path("checkpoints").exists()


def test_mistakes_in_a_run_are_one_message(pg: RunCommand, config: str) -> None:
    for words, facts in (
        (["train", config, "corpus.block_size=100"], ["file:corpus.txt: dev", "60 tokens", "101"]),
        (["train", config, "corpus.block_size=1000"], ["file:corpus.txt: train", "540 tokens", "1001"]),
        (["train", config, "training.max_steps=-1"], ["training.max_steps", "corpus.blocks=epochs"]),
        (["train", config, "model.n_head=3"], ["model: gpt2"]),
        (["train", config, "model.n_positions=4"], ["4 positions", "8 tokens"]),
        (["train", config, "model.vocab_size=4"], ["model.vocab_size", "tokenizer"]),
    ):
        status, _, err = pg(*words)
        assert_one_message(status, err, facts)
    assert not Path("checkpoints/tiny").exists()


def test_mistakes_with_a_trained_run_are_one_message(pg: RunCommand, config: str) -> None:
    assert pg("train", config)[0] == 0
    Path("other.txt").write_text("abcd\nab€" * 20)
    for words, facts in (
        (["generate", "tiny", "--prompt", "ab\na€"], ["prompt: line 2, column 2", "'€'"]),
        (["generate", "tiny", "--prompt", ""], ["prompt", "empty"]),
        (["generate", "tiny", "--prompt", "ab\udcff"], ["prompt", r"'\udcff'"]),
        (["generate", "tiny", "generation.temprature=1"], ["did you mean 'generation.temperature'"]),
        (["generate", "tiny", "training.max_steps=3"], ["unknown setting 'training'"]),
        (["score", "tiny", "corpus.source=file:other.txt"], ["file:other.txt: dev", "'€'"]),
        (["score", "tiny", "corpus.sorce=file:other.txt"], ["did you mean 'corpus.source'"]),
        (["tokens", "tiny", "a€"], ["sentence: line 1, column 2", "'€'"]),
        (["train", config, "seed=1"], ["checkpoints/tiny", "seed (was 0, is 1)"]),
        (["train", config, "tokenizer.unknown=true"], ["tokenizer.unknown (was False, is True)"]),
    ):
        status, _, err = pg(*words)
        assert_one_message(status, err, facts)
    for words in (["generate", "tiny", "--samples", "0"], ["score", "tiny", "--split", "test"]):
        status, _, err = pg(*words)
        assert status == 2
        assert words[2] in err


def test_other_commands_name_those_of_text(pg: RunCommand, config: str) -> None:
    pg("train", config)
    for command in ("complete", "submit"):
        status, _, err = pg("tiny", group=command)
        assert_one_message(status, err, ["checkpoint", "text", "`pokemon-gen text`"])


def test_a_run_on_sprites_is_not_replaced(pg: RunCommand, config: str, tiny: MakeSettings) -> None:
    Path("sprites.yaml").write_text(yaml.safe_dump(tiny().model_dump(mode="json")))
    assert pg("sprites.yaml", group="train")[0] == 0
    status, _, err = pg("train", config)
    assert_one_message(status, err, ["checkpoints/tiny", "run on sprites, not on text", "--overwrite"])
    for words in (["generate", "tiny"], ["score", "tiny"], ["tokens", "tiny", "a"]):
        status, _, err = pg(*words)
        assert_one_message(status, err, ["sprites, not text"])
    assert pg("train", config, "--overwrite")[0] == 0
    status, _, err = pg("sprites.yaml", group="train")
    assert_one_message(status, err, ["checkpoints/tiny", "run on text, not on sprites", "--overwrite"])


def test_a_run_is_resumed_by_its_name(pg: RunCommand, config: str) -> None:
    pg("train", config, "training.max_steps=2")
    status, out, err = pg("train", "tiny", "training.max_steps=4")
    assert (status, err.count("error")) == (0, 0)
    assert "finished, step 4 of 4" in out


def test_ctrl_c_ends_a_training_with_what_to_do_next(
    pg: RunCommand, config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_step_end = StopOnSignal.on_step_end

    def press(self: Any, *args: Any, **kwargs: Any) -> None:
        if self.has_stepped:  # before the first step there is nothing to save
            os.kill(os.getpid(), signal.SIGINT)
        on_step_end(self, *args, **kwargs)

    monkeypatch.setattr(StopOnSignal, "on_step_end", press)
    status, out, _ = pg("train", config)
    assert status == 130
    assert "checkpoints/tiny: interrupted, step 2 of 4" in out
    assert "the same command resumes" in out


def test_the_coherence_of_samples_is_printed_with_the_name_of_the_embedding_model(
    pg: RunCommand, config: str
) -> None:
    pytest.importorskip("wordllama")
    pg("train", config)
    words = ("generate", "tiny", "--prompt", "abc", "generation.max_new_tokens=20", "--samples", "2")
    status, out, _ = pg(*words, "--coherence")
    assert status == 0
    found = re.search(r"Coherence with the prompt: (\S+), (\S+) .*WordLlama", out)
    assert found is not None
    assert all(-1 <= float(value) <= 1 for value in found.groups())


def test_coherence_is_that_with_a_prompt(pg: RunCommand) -> None:
    status, _, err = pg("generate", "nowhere", "--coherence")
    assert status == 2
    assert "--prompt" in err


def test_a_text_without_the_separator_needs_a_prompt(pg: RunCommand, config: str) -> None:
    Path("corpus.txt").write_text("acgt" * 150)
    assert pg("train", config)[0] == 0
    status, _, err = pg("generate", "tiny")
    assert_one_message(status, err, ["tiny", r"'\n'", "--prompt"])
    assert pg("generate", "tiny", "--prompt", "ac", "generation.max_new_tokens=3")[0] == 0


def test_the_tokenizer_of_an_old_model_is_read_from_its_files(pg: RunCommand) -> None:
    """GPT-2's folder on older disks has vocab.json and merges.txt in place of tokenizer.json."""
    Path("old").mkdir()
    pieces = {piece: number for number, piece in enumerate(["<|endoftext|>", "a", "b", "ab"])}
    Path("old/vocab.json").write_text(json.dumps(pieces))
    Path("old/merges.txt").write_text("#version: 0.2\na b\n")
    Path("old/config.json").write_text(json.dumps({"model_type": "gpt2", "vocab_size": 4}))
    status, out, _ = pg("tokens", "old", "aba")
    assert status == 0
    assert "3 characters, 2 tokens of 4" in out


def test_a_misspelt_run_is_reported_without_the_network(pg: RunCommand, config: str) -> None:
    pg("train", config)
    for words in (["generate", "tinny"], ["score", "tinny"], ["tokens", "tinny", "a"], ["chat", "tinny"]):
        status, _, err = pg(*words)
        assert_one_message(status, err, ["tinny", "did you mean 'tiny'"])


def test_a_config_of_text_is_refused_by_commands_of_sprites_and_the_reverse(
    pg: RunCommand, config: str
) -> None:
    status, _, err = pg(config, group="train")
    assert_one_message(status, err, [config, "`pokemon-gen text train`"])
    Path("sprites.yaml").write_text("name: a\nmodel: {model_type: gpt2}\nsprites: {seed: 1}\n")
    status, _, err = pg("train", "sprites.yaml")
    assert_one_message(status, err, ["sprites.yaml", "`pokemon-gen train`"])
