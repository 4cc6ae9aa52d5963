"""`pokemon-gen report` for a run on text, and a training that starts from another one."""

import re
import shutil
from pathlib import Path

import pytest
import torch

from pokemon_gen import cli
from pokemon_gen.constants import CHECKPOINTS
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.stages.text_report import _prompts, write_text_report
from pokemon_gen.text.corpus import open_corpus
from pokemon_gen.text.loading import load_text_model
from pokemon_gen.text.scores import score_corpus
from pokemon_gen.text.training import train_text
from tests.builders import error_with
from tests.text.builders import ONE_STEP, text_settings, write_corpus


@pytest.fixture
def run() -> str:
    write_corpus()
    generation = {"max_new_tokens": 5}
    return train_text(text_settings(generation=generation, training=ONE_STEP)).settings.name


def test_the_report_shows_the_score_of_dev_samples_and_settings(run: str) -> None:
    page = write_text_report(run)
    text = page.file.read_text(encoding="utf-8")
    loaded = load_text_model(run)
    assert loaded.settings is not None
    assert str(score_corpus(loaded, loaded.settings.corpus)) in text
    dev = "".join(line + "\n" for line in Path("corpus.txt").read_text(encoding="utf-8").splitlines())[540:]
    prompts = re.findall(r'<pre class="sample"><b>(.*?)</b>', text, re.DOTALL)
    assert prompts
    assert all(prompt in dev for prompt in prompts)
    assert "file:corpus.txt" in text
    assert not re.search(r"(?:src|href)=\"http", text)


def test_the_command_makes_it(
    run: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["pokemon-gen", "report", run])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code
    assert "eval/results/tiny/report.html" in capsys.readouterr().out
    with pytest.raises(PokemonGenError, match=r"report\.html"):
        write_text_report(run, Path("eval/results/tiny/report.html"))


def test_a_text_run_starts_from_another_one_with_its_tokenizer(run: str) -> None:
    Path("other.txt").write_text("abc de " * 60, encoding="utf-8")  # has fewer characters than the base
    corpus = {"source": "file:other.txt"}
    start = {"name": "tuned", "start_from": run, "model": {}, "corpus": corpus}
    train_text(text_settings(**start, training={**ONE_STEP, "learning_rate": 1e-12}))
    tuned, base = load_text_model("tuned"), load_text_model(run)
    assert tuned.tokenizer.get_vocab() == base.tokenizer.get_vocab()
    for new, old in zip(tuned.model.parameters(), base.model.parameters(), strict=True):
        torch.testing.assert_close(new, old)


def test_a_text_run_resumes_without_its_base(run: str) -> None:
    start = {"start_from": run, "model": {}, "tokenizer": {}, "training": {"save_steps": 1, "max_steps": 2}}
    for name in ("whole", "stopped"):
        train_text(text_settings(name=name, **start))
    shutil.rmtree("checkpoints/stopped/checkpoint-2")
    shutil.rmtree(CHECKPOINTS / run)
    resumed = train_text(text_settings(name="stopped", **start))
    assert (resumed.status, resumed.step) == ("finished", 2)
    whole, again = (load_text_model(name).model for name in ("whole", "stopped"))
    for one, other in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    with error_with(run):
        train_text(text_settings(name="stopped", **start), overwrite=True)


def test_a_report_and_a_score_need_the_text_of_the_training(run: str) -> None:
    loaded = load_text_model(run)
    assert loaded.settings is not None
    write_corpus(seed=5)
    for read in (lambda: write_text_report(run), lambda: score_corpus(loaded, loaded.corpus)):
        with error_with("corpus.txt", "fingerprint"):
            read()
    shorter = loaded.corpus.model_copy(update={"block_size": 4, "eval_blocks": 3, "train_share": 0.5})
    with error_with("corpus.txt", "fingerprint"):
        score_corpus(loaded, shorter)
    shutil.copy("corpus.txt", "new.txt")
    other = loaded.corpus.model_copy(update={"source": "file:new.txt"})
    assert score_corpus(loaded, other, "all").characters == 600


def test_a_text_of_one_line_has_samples(run: str) -> None:
    Path("line.txt").write_text("abc de " * 90, encoding="utf-8")
    train_text(text_settings(name="line", corpus={"source": "file:line.txt"}, training=ONE_STEP))
    write_text_report("line")
    text = Path("eval/results/line/report.html").read_text(encoding="utf-8")
    assert "Samples" in text
    assert len(list(_prompts(open_corpus(load_text_model("line").corpus)))) == 1


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        ({"tokenizer": {"kind": "bpe"}}, ["tokenizer", "vocabulary"]),
        ({"model": {"model_type": "llama"}}, ["model.model_type", "'llama'"]),
        ({"corpus": {"block_size": 9}}, ["8 positions", "9 tokens"]),
        ({"corpus": {"source": "file:strange.txt"}}, ["strange.txt", "'x'"]),
    ],
)
def test_a_base_that_does_not_fit_is_an_error(
    run: str, changes: dict[str, dict[str, object]], facts: list[str]
) -> None:
    Path("strange.txt").write_text("xyz " * 100, encoding="utf-8")
    with pytest.raises(PokemonGenError) as caught:
        train_text(text_settings(**{"name": "tuned", "start_from": run, "model": {}, **changes}))
    for fact in facts:
        assert fact in str(caught.value)
    assert not Path("checkpoints/tuned/settings.json").exists()
