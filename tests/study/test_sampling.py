"""`study/sampling.py`: front and knee by hand, and studies of small runs on sprites and on text."""

import contextlib
import csv
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from pydantic import ValidationError

from pokemon_gen.cli import cli
from pokemon_gen.completion.sampling import draw_candidates
from pokemon_gen.config_files.overrides import override_sampling
from pokemon_gen.discriminator.judge import JudgeResult
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.models.choice import choose_checkpoint
from pokemon_gen.models.likelihood import nll_of_completions
from pokemon_gen.models.loading import load_checkpoint
from pokemon_gen.models.runs import find_run, result_name
from pokemon_gen.report.sampling import Sampling, label_offsets
from pokemon_gen.settings import CompletionSettings
from pokemon_gen.sprites.loading import Sprites
from pokemon_gen.study import sampling
from pokemon_gen.study.sampling import (
    OTHER_TEXT,
    TRUE_SPRITES,
    TRUE_TEXT,
    SamplingRow,
    SpriteSubject,
    TextSubject,
    combinations,
    doubts_on_coherence,
    knee,
    knee_share,
    pareto,
    study_sampling,
)
from pokemon_gen.study_settings import SamplingGrid
from pokemon_gen.text.generation import continue_tokens
from pokemon_gen.text.loading import load_text_model
from pokemon_gen.text.tokenizers import encode
from pokemon_gen.text.training import train_text
from pokemon_gen.text_settings import GenerationSettings
from pokemon_gen.training.run import train
from tests.builders import ONE_STEP, error_with, tiny_settings, write_text_folder
from tests.evaluation.builders import FixedRateJudge
from tests.text.builders import text_settings, write_corpus

GRID = SamplingGrid(top_k=(0,), top_p=(1.0, 0.5), temperature=(0.5, 2.0), prompts=3, samples=2)
ONE_SETTING = GRID.model_copy(update={"top_p": (1.0,), "temperature": (0.5,)})
FIRST = Sampling(0, 1.0, 0.5)


@pytest.fixture(scope="module")
def runs(few_sprites: Sprites, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a run on sprites, `tiny`, and one on text, `words`, once."""
    folder = tmp_path_factory.mktemp("runs")
    with contextlib.chdir(folder):
        write_text_folder(few_sprites, Path("few"))
        write_corpus()
        train(tiny_settings(training=ONE_STEP))
        train_text(text_settings(name="words", training=ONE_STEP))
    return folder


@pytest.fixture
def run(runs: Path, own_folder: Path) -> str:
    """Copy the runs to the working directory, and name the one on sprites."""
    shutil.copytree(runs, own_folder, dirs_exist_ok=True)
    return "tiny"


@pytest.fixture
def text_run(run: str) -> str:
    pytest.importorskip("sacrebleu")
    return "words"


class CountingJudge(FixedRateJudge):
    """A judge whose probability is the share of the completions' pixels that are token 0."""

    def evaluate(self, sprites: Any) -> JudgeResult:
        passed = np.ones(len(sprites), bool)
        return JudgeResult(passed, 1.0, 1.0, 1.0, float((sprites[:, 240:] == 0).mean()), "counting")


def measure_by(
    monkeypatch: pytest.MonkeyPatch, values: Callable[[Sampling], tuple[float, float]]
) -> list[Sampling]:
    """Replace the measuring by a function that returns quality and diversity, and return what is measured."""
    measured: list[Sampling] = []

    def measure(self: SpriteSubject, sampling: Sampling) -> dict[str, list[float]]:
        quality, diversity = values(sampling)
        measured.append(sampling)
        return {"nll": [3 - quality] * 3, "distance": [diversity] * 3}

    monkeypatch.setattr(SpriteSubject, "measure", measure)
    return measured


def by_temperature(sampling: Sampling) -> tuple[float, float]:
    return -sampling.temperature * sampling.top_p, sampling.temperature


def test_the_front_is_what_no_other_point_beats() -> None:
    points = np.random.default_rng(0).random((60, 2))
    beaten = [any((other > point).all() for other in points) for point in points]
    expected = sorted(np.flatnonzero(~np.array(beaten)), key=lambda row: points[row, 0])
    assert pareto(points) == [int(row) for row in expected]


def test_of_points_with_one_equal_coordinate_the_better_one_is_on_the_front() -> None:
    assert pareto(np.array([[0.5, 0.1], [0.5, 0.9], [0.2, 0.9], [0.5, 0.9]])) in ([1], [3])


def test_the_knee_is_farthest_above_the_line_between_the_ends() -> None:
    # Above the line from (0, 1) to (1, 0) by 0.2, 0.7 and 0.1; the last point is beaten.
    points = np.array([[0, 1], [0.3, 0.9], [0.8, 0.9], [0.9, 0.2], [1, 0], [0.1, 0.1]])
    assert knee(points) == 2
    assert knee(points * [5, 0.01] + [3, -7]) == 2  # units do not matter


@pytest.mark.parametrize(
    "points",
    [
        [[0, 1], [1, 0]],
        [[0, 1], [0.5, 0.5], [1, 0]],
        [[0, 1], [0.2, 0.2], [1, 0]],
        [[0, 0], [0.5, 0.5], [1, 1]],
    ],
    ids=["two points", "a straight line", "a front that bends inwards", "one best point"],
)
def test_there_may_be_no_knee(points: list[list[float]]) -> None:
    assert knee(np.array(points, float)) is None


def test_the_share_of_a_knee_says_how_certain_it_is() -> None:
    shape = np.array([[0, 1], [0.8, 0.9], [1, 0]])
    certain = np.repeat(shape[:, None], 5, axis=1)  # (3, 5, 2): all prompts agree
    assert knee_share(certain, 1) == 1
    # Points 1 and 2 of the front change their places in one of two prompts, and are equal on average.
    split = np.array([[[0, 1]] * 2, [[0.5, 0.95], [0.5, 0.55]], [[0.6, 0.5], [0.6, 0.92]], [[1, 0]] * 2])
    assert 0.15 < knee_share(split, 2) < 0.85


@pytest.mark.parametrize(("true", "doubts"), [([0.5, 0.6, 0.7], 0), ([0.1, 0.2, 0.4], 1)])
def test_a_coherence_that_fits_other_prompts_as_well_is_doubted(true: list[float], doubts: int) -> None:
    references = {TRUE_TEXT: {"coherence": true}, OTHER_TEXT: {"coherence": [0.2, 0.2, 0.2]}}
    assert len(doubts_on_coherence(references)) == doubts
    assert doubts_on_coherence({TRUE_TEXT: {}, OTHER_TEXT: {}}) == []


def test_a_grid_has_every_combination() -> None:
    grid = SamplingGrid.model_validate({"top_k": [0, 5], "top_p": [0.9], "temperature": [0.5, 1]})
    assert combinations(grid) == [
        Sampling(0, 0.9, 0.5), Sampling(0, 0.9, 1), Sampling(5, 0.9, 0.5), Sampling(5, 0.9, 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [
        {"top_k": [-1]},
        {"top_p": [0.0]},
        {"top_p": [1.5]},
        {"temperature": []},
        {"temperature": [0]},
        {"temperature": [float("inf")]},
        {"samples": 1},
        {"prompts": 1},
    ],
)
def test_a_grid_refuses_settings_that_cannot_be_sampled(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        SamplingGrid.model_validate(wrong)


def test_a_grid_takes_one_value_for_a_list_and_drops_repeated_ones() -> None:
    grid = SamplingGrid.model_validate({"top_k": [0, 5, 0], "top_p": 0.9, "temperature": 1})
    assert (grid.top_k, grid.top_p, grid.temperature) == ((0, 5), (0.9,), (1.0,))
    assert override_sampling(["sampling.temperature=1"]).temperature == (1.0,)
    with pytest.raises(PokemonGenError) as caught:
        override_sampling(["sampling.temperature=[0]"])
    assert str(caught.value).count("sampling.temperature") == 1


def test_the_interval_of_a_mean_counts_prompts() -> None:
    arm = 1.96 * 2 / np.sqrt(3)  # the standard deviation is 2
    row = SamplingRow(FIRST, {"nll": [1.0, 3.0, 5.0]})
    assert row.mean("nll") == 3
    assert row.interval("nll") == pytest.approx([3 - arm, 3 + arm])
    shifted = SamplingRow(FIRST, {"nll": [0.0, 2.0, 4.0], "coherence": [0.0, 2.0, 4.0]})
    assert shifted.interval("nll") == pytest.approx(
        [0, 2 + arm]
    )  # an NLL is not negative, but a cosine can be
    assert shifted.interval("coherence") == pytest.approx([2 - arm, 2 + arm])


def test_a_study_of_sprites_measures_the_completions_that_the_settings_draw(
    run: str, few_sprites: Sprites
) -> None:
    made = study_sampling(run, ONE_SETTING)
    assert (made.quality, made.diversity) == ("nll", "distance")
    assert any("pokemon-gen judge" in note for note in made.notes)
    # The same completions by another way: dev prompts 0, 2 and 5 of 8, and the likelihood of whole sprites.
    model = load_checkpoint(run).model
    prompts = few_sprites.prompts("dev")[[0, 2, 5]]
    drawn = draw_candidates(model, prompts, CompletionSettings(do_sample=True, temperature=0.5, candidates=2))
    nll = nll_of_completions(model, drawn.sprites.reshape(-1, 400)).reshape(3, 2).mean(1)
    assert made.rows[0].of_each["nll"] == pytest.approx(nll.tolist(), abs=1e-4)
    different = (drawn.sprites[:, 0, 240:] != drawn.sprites[:, 1, 240:]).mean(1)
    assert made.rows[0].of_each["distance"] == pytest.approx(different.tolist())
    true = made.references[TRUE_SPRITES]
    assert true["nll"] == pytest.approx(
        nll_of_completions(model, few_sprites.tokens("dev")[[0, 2, 5]]).tolist()
    )


def test_the_judge_is_the_quality_where_there_is_one(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "find_judge", lambda sprites: CountingJudge(1.0, sprites.palette))
    subject = SpriteSubject(choose_checkpoint(run), GRID, "tiny")
    assert subject.quality == "judge"
    settings = CompletionSettings(do_sample=True, temperature=0.5, candidates=2)
    drawn = draw_candidates(subject.model, subject.truth[:, :240], settings)
    expected = (drawn.sprites[:, :, 240:] == 0).mean((1, 2))
    assert subject.measure(FIRST)["judge"] == pytest.approx(expected.tolist())


def test_a_study_measures_nothing_twice(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = measure_by(monkeypatch, by_temperature)
    first = study_sampling(run, GRID)
    assert measured == combinations(GRID)
    assert study_sampling(run, GRID) == first
    larger = GRID.model_copy(update={"top_k": (0, 3)})
    assert study_sampling(run, larger).rows[:4] == first.rows
    assert measured[4:] == [setting for setting in combinations(larger) if setting.top_k == 3]


@pytest.mark.parametrize("change", [{"seed": 1}, {"samples": 3}, {"prompts": 4}])
def test_a_study_of_other_samples_starts_again(
    run: str, monkeypatch: pytest.MonkeyPatch, change: dict[str, int]
) -> None:
    measured = measure_by(monkeypatch, by_temperature)
    study_sampling(run, GRID)
    study_sampling(run, GRID.model_copy(update=change))
    assert measured == combinations(GRID) * 2
    study_sampling(run, GRID)  # what was measured before is kept
    assert measured == combinations(GRID) * 2


def test_checkpoints_and_copies_of_a_run_have_results_of_their_own(
    run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure_by(monkeypatch, by_temperature)
    shutil.copytree("checkpoints/tiny", "checkpoints/copy")
    checkpoint = "checkpoints/tiny/checkpoint-1"
    for place, name in ((run, "tiny"), (checkpoint, "tiny-checkpoint-1"), ("copy", "copy")):
        made = study_sampling(place, GRID)
        assert (made.name, made.page.file) == (name, Path("eval/results") / name / "sampling" / "report.html")
    Path("checkpoints/both/member-0/checkpoint-3").mkdir(parents=True)
    (Path("checkpoints/both/member-0/checkpoint-3") / "config.json").touch()
    names = {
        checkpoint: "tiny-checkpoint-1",
        "tiny": "tiny",
        "both": "both",
        "both/member-0": "both/member-0",
        "both/member-0/checkpoint-3": "both/member-0-checkpoint-3",
    }
    assert {place: result_name(find_run(place)) for place in names} == names


@pytest.mark.parametrize("changed", ["few/train.txt", "corpus.txt"])
def test_data_that_changed_since_the_training_are_refused(run: str, changed: str) -> None:
    lines = Path(changed).read_text(encoding="utf-8").splitlines()
    Path(changed).write_text("\n".join(lines[::-1]), encoding="utf-8")
    with error_with("other data", Path(changed).stem if changed == "corpus.txt" else "few"):
        study_sampling("words" if changed == "corpus.txt" else run, GRID)


def test_a_study_of_another_checkpoint_starts_again(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = measure_by(monkeypatch, by_temperature)
    study_sampling(run, GRID)
    shutil.rmtree("checkpoints/tiny")
    train(tiny_settings(training=ONE_STEP, seed=1))
    study_sampling(run, GRID)
    assert measured == combinations(GRID) * 2


def test_what_a_stopped_study_measured_is_kept(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop_at_the_third(sampling: Sampling) -> tuple[float, float]:
        if sampling == combinations(GRID)[2]:
            raise KeyboardInterrupt
        return by_temperature(sampling)

    with monkeypatch.context() as stopped:
        measured = measure_by(stopped, stop_at_the_third)
        with pytest.raises(KeyboardInterrupt):
            study_sampling(run, GRID)
        assert measured == combinations(GRID)[:2]
    measured = measure_by(monkeypatch, by_temperature)
    study_sampling(run, GRID)
    assert measured == combinations(GRID)[2:]


def test_the_files_hold_the_rows_and_the_knee(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values = dict(zip(combinations(GRID), [(1.0, 0.0), (0.9, 0.8), (0.2, 0.4), (0.0, 1.0)], strict=True))
    measure_by(monkeypatch, lambda sampling: values[sampling])
    made = study_sampling(run, GRID, Path("out"))
    assert (made.front, made.knee, made.knee_share) == ([0, 1, 3], 1, 1.0)
    with made.table.open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [float(line["nll"]) for line in table] == pytest.approx([2, 2.1, 2.8, 3])
    assert [line["knee"] for line in table] == ["0", "1", "0", "0"]
    assert [line["on_front"] for line in table] == ["1", "1", "0", "1"]
    page = made.page.file.read_text(encoding="utf-8")
    assert "completion.temperature=2.0" in page
    assert page.count('class="chosen"') == 1
    assert Image.open(made.chart).size[0] > 600


def test_labels_of_points_at_one_place_do_not_hide_each_other() -> None:
    points = np.array([[50.0, 50.0]] * 4 + [[52.0, 50.0]])
    labels = points + np.array(label_offsets(points))
    gaps = np.linalg.norm(labels[:, None] - labels, axis=-1)
    assert gaps[~np.eye(5, dtype=bool)].min() > 8


def test_a_study_of_text_measures_what_the_model_writes(text_run: str) -> None:
    made = study_sampling(text_run, GRID)
    assert made.diversity == "self_bleu"
    assert [row.sampling for row in made.rows] == combinations(GRID)
    # The NLL of the true continuations, character by character, from the model's own log-probabilities.
    loaded = load_text_model(text_run)
    subject = TextSubject(choose_checkpoint(text_run), GRID, "words")
    tokens = encode(loaded.tokenizer, subject.prompts[0] + subject.truth[0], "text")
    with torch.no_grad():
        log_probabilities = loaded.model(torch.tensor(tokens)[None]).logits[0].log_softmax(-1)
    expected = -np.mean([float(log_probabilities[place - 1, tokens[place]]) for place in range(4, 8)])
    found = made.references[TRUE_TEXT]["nll_character"][0]
    assert found == pytest.approx(expected, abs=1e-5)


def test_prompts_of_text_are_the_first_halves_of_blocks_of_dev(text_run: str) -> None:
    subject = TextSubject(choose_checkpoint(text_run), GRID, "words")
    dev = Path("corpus.txt").read_text(encoding="utf-8")[540:]
    pairs = list(zip(subject.prompts, subject.truth, strict=True))
    assert pairs == [(dev[start : start + 4], dev[start + 4 : start + 8]) for start in (0, 16, 32)]


@pytest.mark.parametrize(
    "tokenizer", [{"unknown": True}, {"kind": "bpe", "size": 300}], ids=["unknown", "bytes"]
)
def test_the_likelihood_of_a_text_is_that_of_its_tokens(
    text_run: str, tokenizer: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text of an unknown character, or of a part of one, has more tokens than were drawn."""
    train, dev = write_corpus(810).replace("é", "e"), "é€b" * 30  # no token of dev but "b" is in train
    Path("corpus.txt").write_text(train + dev, encoding="utf-8", newline="")
    train_text(text_settings(name="words2", training=ONE_STEP, tokenizer=tokenizer))
    grid = ONE_SETTING.model_copy(update={"temperature": (3.0,)})
    subject = TextSubject(choose_checkpoint("words2"), grid, "words2")
    model, block = subject.model.model, np.concatenate([subject.given, subject.true], axis=1)
    with torch.no_grad():
        log_probabilities = model(torch.from_numpy(block)).logits.log_softmax(-1)
    for row, found in enumerate(subject.references()[TRUE_TEXT]["nll_character"]):
        nll = -sum(float(log_probabilities[row, place - 1, block[row, place]]) for place in range(4, 8))
        assert found == pytest.approx(nll / max(len(subject.truth[row]), 1), abs=1e-5)
    measured = subject.measure(Sampling(0, 1.0, 3.0))
    drawn = continue_tokens(
        subject.model, subject.given[0],
        GenerationSettings(temperature=3.0, max_new_tokens=4, seed=grid.seed, top_k=0, top_p=1.0), 2,
    )  # fmt: skip
    rows = torch.from_numpy(np.concatenate([np.tile(subject.given[0], (2, 1)), drawn], axis=1))
    with torch.no_grad():
        scores = model(rows).logits.log_softmax(-1)
    nlls = [-sum(float(scores[n, place - 1, rows[n, place]]) for place in range(4, 8)) for n in (0, 1)]
    lengths = [max(len(text), 1) for text in subject._texts(drawn)]
    assert measured["nll_character"][0] == pytest.approx(
        np.mean([nll / length for nll, length in zip(nlls, lengths, strict=True)]), abs=1e-5
    )
    if "unknown" in tokenizer:
        assert subject.truth[0] == "\ufffdb\ufffd\ufffd"  # tokens 4 to 7 of dev


def test_one_true_text_has_no_distinct_pairs_to_compare(text_run: str) -> None:
    made = study_sampling(text_run, ONE_SETTING)
    assert "distinct" in made.rows[0].of_each
    assert "distinct" not in made.references[TRUE_TEXT]
    assert "repetition" in made.references[TRUE_TEXT]


def test_a_mistyped_run_is_an_error_before_torch_loads(run: str) -> None:
    code = (
        "import sys\nfrom pokemon_gen.cli import cli\n"
        "try:\n    cli(['study', 'sampling', 'tny'], standalone_mode=False)\n"
        "except Exception as error:\n    print(error, 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "tiny" in done.stdout
    assert done.stdout.split()[-1] == "False"


def test_the_command_prints_the_knee_in_words(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values = dict(zip(combinations(GRID), [(1.0, 0.0), (0.9, 0.8), (0.2, 0.4), (0.0, 1.0)], strict=True))
    measure_by(monkeypatch, lambda sampling: values[sampling])
    words = [
        "sampling.top_k=0",
        "sampling.top_p=[1.0,0.5]",
        "sampling.temperature=[0.5,2]",
        "sampling.prompts=3",
    ]
    done = CliRunner().invoke(cli, ["study", "sampling", run, *words], catch_exceptions=False)
    assert "Knee: top-k off, top-p 1, temperature 2" in done.stdout.splitlines()


def test_a_dev_of_one_block_is_too_short(text_run: str) -> None:
    write_corpus(120)
    train_text(text_settings(name="short", training=ONE_STEP))
    with error_with("corpus.txt", "two prompts"):
        study_sampling("short", GRID)


def test_a_study_of_text_needs_sacrebleu(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics", None)
    with error_with("sacrebleu", "pip install 'pokemon-gen[text]'"):
        study_sampling("words", GRID)
