"""Studies that train: results of every run, resuming, transfer, divergence, folds, and the reports."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pokemon_gen.augmentation import NO_CONDITIONING
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.files import read_json
from pokemon_gen.models.likelihood import true_completion_nll
from pokemon_gen.models.loading import load_checkpoint
from pokemon_gen.models.starting import start_from_sprites
from pokemon_gen.settings import Settings
from pokemon_gen.sprites.collection import Sprites
from pokemon_gen.sprites.loading import load_sprites_of
from pokemon_gen.sprites.procedural.captions import ALPHABET
from pokemon_gen.stages.study import run_study
from pokemon_gen.study.measures import two_folds
from pokemon_gen.study.plan import load_plan, settings_of
from pokemon_gen.study.runs import run_plan, study_file
from pokemon_gen.text.loading import load_text_model
from pokemon_gen.text.scores import score_corpus
from pokemon_gen.text_settings import CorpusSettings, TextSettings
from tests.builders import ROOT, write_text_folder

pytestmark = pytest.mark.slow
TEXT = """\
name: words
question: Do two layers beat one?
learns: text
base: scratch
always: [corpus.count=60, corpus.block_size=16, model.hidden_size=16, model.intermediate_size=16,
         model.num_attention_heads=2, training.max_steps=4, training.warmup_steps=1, training.report_to=none,
         training.disable_tqdm=true, generation.max_new_tokens=5]
seeds: [0, 1]
variants:
  layers:
    one: [model.num_hidden_layers=1]
    two: [model.num_hidden_layers=2]
  transfer:
    riddles: {start_from: layers/one, overrides: [model.num_hidden_layers=1, corpus.source=riddles]}
measure: {A: [], B: [corpus.source=riddles]}
prompts: ["a "]
"""


def changed(run: str) -> int:
    return (Path("checkpoints") / run / "checkpoint-4").stat().st_mtime_ns


def write(text: str) -> Path:
    Path("plan.yaml").write_text(text)
    return Path("plan.yaml")


def test_a_study_of_text_trains_measures_resumes_and_reports(caplog: pytest.LogCaptureFixture) -> None:
    made = run_study(write(TEXT))
    runs = made.results["runs"]
    assert set(runs) == {
        f"{path}/{seed}" for path in ("layers/one", "layers/two", "transfer/riddles") for seed in (0, 1)
    }
    one = runs["layers/one/1"]
    assert (one["steps"], one["run"]) == (4, "words.layers.one.1")
    expected = score_corpus(
        load_text_model(one["run"]), CorpusSettings(source="riddles", count=60, block_size=16)
    )
    assert one["scores"]["B"]["perplexity"] == pytest.approx(expected.perplexity)
    assert read_json(made.file)["runs"] == json.loads(json.dumps(runs))
    assert runs["transfer/riddles/1"]["settings"]["start_from"] == "words.layers.one.1"
    for report in (made.page, made.markdown):
        text = report.read_text(encoding="utf-8")
        assert "Do two layers beat one?" in text
    assert "![curves of layers](curves-layers.png)" in made.markdown.read_text(encoding="utf-8")
    assert Image.open(made.file.with_name("curves-layers.png")).width > 500
    for report in (made.page, made.markdown):
        text = report.read_text(encoding="utf-8")
        found = [runs[f"layers/one/{seed}"]["scores"]["A"] for seed in (0, 1)]
        for metric in ("perplexity", "bits_per_character"):
            assert f"{(found[0][metric] + found[1][metric]) / 2:.4f} ±" in text
        assert "layers: two" in text  # what each variant changes
        assert "model.num_hidden_layers=2" in text
    # The same plan trains nothing; a new seed trains its runs alone.
    times = {
        run["run"]: (Path("checkpoints") / run["run"] / "checkpoint-4").stat().st_mtime_ns
        for run in runs.values()
    }
    again = run_study(write(TEXT.replace("[0, 1]", "[0, 1, 2]")))
    assert len(again.results["runs"]) == 9
    for name, time in times.items():
        assert changed(name) == time
    assert again.results["runs"]["layers/one/1"] == json.loads(json.dumps(one))


def test_a_run_is_trained_again_if_its_base_or_its_data_changed_and_only_on_request() -> None:
    text = TEXT.replace("[0, 1]", "[0]")
    Path("own.txt").write_text(f"{ALPHABET}\n" * 30)
    text = text.replace("    two:", '    own: ["corpus.source=file:own.txt"]\n    two:')
    before = run_plan(load_plan(write(text)))["runs"]
    text = text.replace(
        "one: [model.num_hidden_layers=1]", "one: [model.num_hidden_layers=1, training.adam_beta1=0.8]"
    )
    with pytest.raises(PokemonGenError, match="adam_beta1"):
        run_plan(load_plan(write(text)))
    Path("own.txt").write_text(f"{ALPHABET[::-1]}\n" * 30)
    after = run_plan(load_plan(write(text)), overwrite=True)["runs"]
    for path in ("layers/one/0", "layers/own/0", "transfer/riddles/0"):
        assert after[path]["curves"] != before[path]["curves"], path
    assert after["layers/two/0"] == json.loads(json.dumps(before["layers/two/0"]))


def test_a_run_of_another_length_is_another_run() -> None:
    """A shorter training of the same name would be read from a longer one, at the end of another schedule."""
    text = TEXT.replace("[0, 1]", "[0]")
    run_plan(load_plan(write(text)))
    shorter = text.replace("max_steps=4", "max_steps=3")
    with pytest.raises(PokemonGenError, match="max_steps=4, not 3"):
        run_plan(load_plan(write(shorter)))
    runs = run_plan(load_plan(write(shorter)), overwrite=True)["runs"]
    assert {run["steps"] for run in runs.values()} == {3}


def test_results_of_seeds_that_a_plan_leaves_out_are_kept() -> None:
    made = run_study(write(TEXT))
    fewer = run_study(write(TEXT.replace("[0, 1]", "[1]")))
    assert {run["seed"] for run in fewer.results["runs"].values()} == {1}
    assert read_json(fewer.file)["runs"] == json.loads(json.dumps(made.results["runs"]))


def test_the_command_in_the_report_of_a_plan_in_python_makes_it_again() -> None:
    plan = load_plan(write(TEXT), ("seeds=[0]", "variants.transfer={}"))
    made = run_study(plan)
    (file,) = re.findall(r"`pokemon-gen study (.*)` makes this again", made.markdown.read_text("utf-8"))
    assert load_plan(file).model_dump() == plan.model_dump()


def test_variants_with_the_same_settings_share_a_run_unless_others_start_from_it() -> None:
    same = "variants:\n  again: {single: [model.num_hidden_layers=1], start: [model.num_hidden_layers=1]}"
    text = TEXT.replace("[0, 1]", "[0]").replace("variants:", same).replace("layers/one", "again/start")
    runs = run_plan(load_plan(write(text)))["runs"]
    names = {key: run["run"] for key, run in runs.items()}
    assert names["layers/one/0"] == names["again/single/0"] == "words.again.single.0"
    assert (runs["layers/one/0"]["group"], runs["layers/one/0"]["variant"]) == ("layers", "one")
    assert names["again/start/0"] == "words.again.start.0"
    assert runs["again/start/0"]["scores"] == runs["again/single/0"]["scores"]
    saved = {folder.name for folder in Path("checkpoints").iterdir()}
    assert saved == set(names.values()) == {f"words.{name}.0" for name in SHARED}
    assert run_plan(load_plan(write(text)))["runs"] == json.loads(json.dumps(runs))


SHARED = ("again.single", "again.start", "layers.two", "transfer.riddles")


def test_a_model_of_capitals_continues_prompts_in_capitals() -> None:
    capitals = "variants: {text: {upper: [corpus.case=upper, model.num_hidden_layers=1]}}\nprompts: ['a ']\n"
    plan = write(TEXT[: TEXT.index("variants:")].replace("[0, 1]", "[0]") + capitals)
    continuation = run_plan(load_plan(plan))["runs"]["text/upper/0"]["samples"]["a "]
    assert continuation
    assert continuation == continuation.upper()


def test_what_the_tokenizer_cannot_read_is_an_error_before_the_training() -> None:
    one = TEXT.replace("[0, 1]", "[0]")
    for wrong, facts in (
        (one.replace('prompts: ["a "]', 'prompts: ["a €"]'), ["words: prompts", "'€'"]),
        (
            one.replace("B: [corpus.source=riddles]", "B: ['corpus.source=file:strange.txt']"),
            ["strange.txt", "'€'"],
        ),
    ):
        Path("strange.txt").write_text("a € " * 50)
        with pytest.raises(PokemonGenError) as caught:
            run_plan(load_plan(write(wrong)))
        assert all(fact in str(caught.value) for fact in facts)
        assert not Path("checkpoints").exists()


def test_the_source_of_a_plan_is_that_of_its_runs_and_of_what_is_measured() -> None:
    """`study transfer source=...` trains and measures on the person's text, and on captions where it says."""
    plan = load_plan(ROOT / "configs/studies/transfer.yaml", ("source=file:mine.txt",))
    texts = [settings_of(plan, "on B", name, 0) for name in list(plan.variants["on B"])[:3]]
    sources = [one.corpus.source for one in texts if isinstance(one, TextSettings)]
    assert sources == ["file:mine.txt", "captions", "file:mine.txt"]
    assert plan.all_measured() == {
        "B": ["corpus.source=file:mine.txt"],
        "A": ["corpus.source=file:mine.txt", "corpus.source=captions"],
    }
    sprites = load_plan(ROOT / "configs/studies/transfer-sprites.yaml", ("source=text:mine",))
    sections = [settings_of(sprites, "sprites", name, 0) for name in sprites.variants["sprites"]]
    assert [one.sprites.source for one in sections if isinstance(one, Settings)] == [
        "text:mine", "procedural", "text:mine", "text:mine",
    ]  # fmt: skip


def test_a_variant_that_is_changed_is_refused_unless_it_may_be_replaced() -> None:
    one_seed = TEXT.replace("[0, 1]", "[0]")
    run_plan(load_plan(write(one_seed)))
    wider = load_plan(write(one_seed.replace("hidden_size=16", "hidden_size=32")))
    with pytest.raises(PokemonGenError, match=r"model\.hidden_size"):
        run_plan(wider)
    again = run_plan(wider, overwrite=True)
    assert again["runs"]["layers/one/0"]["settings"]["model"]["hidden_size"] == 32


def test_what_is_not_on_this_machine_is_left_out_if_it_is_optional() -> None:
    optional = TEXT.replace("[0, 1]", "[0]").replace(
        "measure:", "    missing: {optional: true, overrides: [corpus.source=file:none.txt]}\nmeasure:"
    )
    made = run_study(write(optional))
    assert "transfer/missing" in made.results["missing"]
    page = made.page.read_text(encoding="utf-8")
    assert "none.txt" in page
    assert "diverged" not in page
    with pytest.raises(PokemonGenError, match=r"none\.txt"):
        run_study(write(optional.replace("optional: true", "optional: false")))


def test_a_training_that_diverges_is_a_result() -> None:
    hot = (
        "    hot: [model.num_hidden_layers=1, model.layer_norm=false, training.learning_rate=1e30, "
        "training.max_grad_norm=0]\n"
    )
    plan = TEXT.replace("[0, 1]", "[0]").replace("  transfer:", f"{hot}  transfer:")
    made = run_study(write(plan))
    assert made.results["runs"]["layers/hot/0"]["diverged"]
    row = next(row for row in made.rows if row.variant == "hot")
    assert (row.mean, row.words) == (None, ["diverged"])
    assert "diverged" in made.markdown.read_text(encoding="utf-8")


def test_a_training_that_ends_above_its_beginning_is_in_the_table_and_in_no_chart() -> None:
    """Its losses of 1e20 would flatten the other lines, and fill the table with digits."""
    hot = "    hot: [model.num_hidden_layers=1, model.layer_norm=false, training.learning_rate=300]\n"
    made = run_study(write(TEXT.replace("[0, 1]", "[0]").replace("  transfer:", f"{hot}  transfer:")))
    run = made.results["runs"]["layers/hot/0"]
    assert (run["diverged"], run["train"] > 1e6) == (None, True)
    (line,) = [line for line in made.markdown.read_text(encoding="utf-8").splitlines() if "| hot |" in line]
    assert f"{run['train']:.1e}" in line
    charts = re.findall(r"<svg.*?</svg>", made.page.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert any("two" in chart for chart in charts)
    assert not any("hot" in chart for chart in charts)


def test_a_study_of_sprites_measures_two_folds_that_nothing_was_trained_on() -> None:
    plan = load_plan(
        write(
            "name: folded\nbase: quick\nfolds: true\nseeds: [0]\n"
            "always: [training.max_steps=1, training.report_to=none, training.disable_tqdm=true, "
            "model.num_hidden_layers=1, model.hidden_size=16, model.intermediate_size=16]\n"
            "variants: {ideas: {unchanged: []}}\n"
        )
    )
    (result,) = run_plan(plan)["runs"].values()
    settings = Settings.model_validate(result["settings"])
    sprites = load_sprites_of(settings.sprites)
    first, second = two_folds(sprites)
    assert len(first) + len(second) >= 160
    train = {row.tobytes() for row in sprites.tokens("train")}
    assert not any(row.tobytes() in train for fold in (first, second) for row in fold)
    model = load_checkpoint(Path("checkpoints/folded.ideas.unchanged.0/checkpoint-1")).model
    assert result["folds"] == pytest.approx(
        [true_completion_nll(model, first), true_completion_nll(model, second)]
    )


def test_a_study_of_sprites_measures_other_sprites_and_completes_the_same_prompts(
    few_sprites: Sprites,
) -> None:
    """Sprites of another palette are measured as a training would start on them."""
    write_text_folder(few_sprites, Path("few"))
    small = "model.num_hidden_layers=1, model.hidden_size=16, model.intermediate_size=16"
    made = run_study(
        write(
            "name: both\nbase: quick\nseeds: [0]\ncompletions: 2\n"
            "measure: {B: ['sprites.source=text:few'], A: [sprites.source=procedural]}\n"
            f"always: [training.max_steps=1, training.report_to=none, {small}]\n"
            "variants:\n  sprites:\n    A: []\n"
            "    tuned: {start_from: sprites/A, overrides: ['sprites.source=text:few']}\n"
        )
    )
    unadapted, tuned = (made.results["runs"][f"sprites/{name}/0"] for name in ("A", "tuned"))
    dev = few_sprites.tokens("dev")
    run = "checkpoints/both.sprites.A.0/checkpoint-1"
    started = start_from_sprites(run, {}, few_sprites.palette, NO_CONDITIONING).eval()
    assert unadapted["scores"]["B"]["nll"] == pytest.approx(true_completion_nll(started, dev))
    assert set(tuned["scores"]) == {"B", "A"}
    for result in (unadapted, tuned):
        completed = np.array(result["completions"])
        assert completed.shape == (2, 400)
        assert (completed[:, :240] == dev[:2, :240]).all()
    assert made.file.with_name("completions.png").is_file()
    assert "completions.png" in made.markdown.read_text(encoding="utf-8")


def test_a_study_by_time_gives_slower_steps_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = {1: 0.1, 2: 0.2}

    class Probe:
        def __init__(self, seconds: float) -> None:
            self.seconds = seconds

    monkeypatch.setattr(
        "pokemon_gen.study.costs.probe_steps",
        lambda settings, data, budget: Probe(costs[settings.model["num_hidden_layers"]]),
    )
    plan = TEXT.replace("[0, 1]", "[0]").replace("seeds:", "seconds: 0.8\nseeds:")
    made = run_study(write(plan))
    steps = {key: run["steps"] for key, run in made.results["runs"].items()}
    assert steps == {"layers/one/0": 8, "layers/two/0": 4, "transfer/riddles/0": 8}
    assert study_file(load_plan("plan.yaml")).is_file()
    costs[1], costs[3] = (
        1.0,
        0.8,
    )  # the machine is slower now: what was measured stays, and only `three` is added
    run_study(write(plan.replace("  transfer:", "    three: [model.num_hidden_layers=3]\n  transfer:")))
    later = read_json(study_file(load_plan("plan.yaml")))["runs"]
    assert {key: run["steps"] for key, run in later.items()} == {**steps, "layers/three/0": 1}
