"""`text/training.py`: what a step learns, what is measured, and that a resumed run is the same run."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import TrainerCallback
from transformers.trainer_pt_utils import LabelSmoother

from pokemon_gen.models.build import build_text_model
from pokemon_gen.models.checkpoints import log_history, trained_on
from pokemon_gen.models.choice import choose_checkpoint, resolve_checkpoint
from pokemon_gen.models.runs import valid_checkpoints
from pokemon_gen.text.blocks import AdjacentBlocks, RandomBlocks
from pokemon_gen.text.loading import load_text_model
from pokemon_gen.text.training import load_text_data, seen_by, train_text
from pokemon_gen.text_settings import TextSettings
from pokemon_gen.training.arguments import training_arguments
from pokemon_gen.training.extensions import Extensions
from pokemon_gen.training.resuming import check_same_run
from pokemon_gen.training.run import train, train_extended
from tests.builders import MakeSettings, error_with, make_run
from tests.model_builders import LLAMA_LIKE, RecordInputs, assert_weights_equal, weights_of
from tests.text.builders import (
    BLOCK,
    MODEL,
    ONE_STEP,
    RUN,
    SCRATCH_MODEL,
    fresh_text_model,
    text_settings,
    write_corpus,
)
from tests.training.test_exact_resume import KillAt, assert_equal_ends, is_time

MODELS: dict[str, dict[str, Any]] = {
    "gpt2": MODEL,
    "llama": {"model_type": "llama", **LLAMA_LIKE},
    "scratch": SCRATCH_MODEL,
}


@pytest.fixture(autouse=True)
def text() -> str:
    return write_corpus()


def train_with(callbacks: Sequence[TrainerCallback], settings: TextSettings) -> Any:
    extensions = Extensions(callbacks=callbacks)
    return train_extended(settings, load_text_data(settings), extensions, overwrite=False)


def nll_of(model: Any, blocks: torch.Tensor) -> torch.Tensor:
    """Return the NLL of each predicted token by hand: (B, T + 1) → (B, T)."""
    with torch.no_grad():
        logits = model(blocks[:, :-1]).logits.double()
    return -logits.log_softmax(-1).gather(-1, blocks[:, 1:, None])[..., 0]


def logged(name: str, run: Path = RUN) -> list[float]:
    return [entry[name] for entry in log_history(valid_checkpoints(run)[-1]) if name in entry]


@pytest.mark.parametrize("model_type", MODELS)
def test_the_loss_is_the_mean_nll_of_every_token_of_a_block(model_type: str) -> None:
    settings = text_settings(model=MODELS[model_type], training=ONE_STEP)
    data = load_text_data(settings)
    model = build_text_model(settings.model, len(data.tokenizer), BLOCK, settings.seed).eval()
    blocks = RandomBlocks(data.train, BLOCK, 4, settings.seed).__getitems__([0, 1, 2, 3])
    train_text(settings, data)
    assert logged("loss") == [pytest.approx(nll_of(model, blocks).mean().item(), rel=1e-5)]


def test_the_dev_nll_is_the_mean_over_blocks_that_are_spread_over_dev() -> None:
    settings = text_settings(corpus={"eval_blocks": 5}, training={"per_device_eval_batch_size": 2})
    data = load_text_data(settings)
    result = train_text(settings, data)
    model = load_text_model(RUN / "checkpoint-4").model
    blocks = AdjacentBlocks(data.dev, BLOCK, 5).__getitems__(list(range(5))).to(model.device)
    expected = nll_of(model, blocks).mean().item()
    assert result.dev_nll == pytest.approx(expected, rel=1e-5)
    assert result.dev_completion_nll is None
    assert logged("eval_bits_per_character")[-1] == pytest.approx(expected / math.log(2), rel=1e-5)


def test_all_of_dev_is_measured_on_request() -> None:
    recorder = RecordInputs()
    settings = text_settings(corpus={"eval_blocks": 0}, training=ONE_STEP)
    train_with([recorder], settings)
    measured = torch.cat(recorder.inputs[1:])  # after the step
    assert len(measured) == len(AdjacentBlocks(load_text_data(settings).dev, BLOCK)) == 59 // BLOCK


def test_a_base_in_bf16_is_trained_in_single_precision() -> None:
    train_text(text_settings(name="base", training=ONE_STEP))
    base = Path("checkpoints/base/checkpoint-1")
    model = load_text_model(base).model.bfloat16()
    model.save_pretrained("given")
    load_text_model(base).tokenizer.save_pretrained("given")
    pretrained = {"kind": "pretrained", "source": "given"}
    settings = text_settings(start_from="given", model={}, tokenizer=pretrained, training=ONE_STEP)
    data = load_text_data(settings)
    assert data.base is not None
    assert data.base.model.dtype == torch.bfloat16
    assert data.fresh_model(settings, Extensions()).dtype == torch.float32


def test_a_large_vocabulary_is_measured_in_small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pokemon_gen.models.likelihood.MOST_LOGITS", 3 * 8 * BLOCK)  # 8 tokens
    for given, size in (({}, 3), ({"per_device_eval_batch_size": 5}, 5)):
        settings = text_settings(name=f"batches-{size}", training={**ONE_STEP, **given})
        recorder = RecordInputs()
        train_with([recorder], settings)
        assert max(len(batch) for batch in recorder.inputs[1:]) == size


def test_smoothed_labels_are_those_of_the_trainer() -> None:
    settings = text_settings(training={**ONE_STEP, "label_smoothing_factor": 0.3})
    blocks = load_text_data(settings).blocks(training_arguments(settings, Path("checkpoints")), settings)
    model = fresh_text_model(sharpness=1.0).model
    batch = blocks.__getitems__([0, 1, 2, 3])
    with torch.no_grad():
        outputs = model(batch[:, :-1])
    expected = LabelSmoother(epsilon=0.3)(outputs, batch[:, 1:]).item()
    train_text(settings)
    assert logged("loss")[0] == pytest.approx(expected, rel=1e-5)
    assert expected != pytest.approx(nll_of(model, batch).mean().item(), rel=1e-3)


@pytest.mark.parametrize("model_type", MODELS)
def test_accumulated_gradients_are_those_of_a_larger_batch(model_type: str) -> None:
    for name, batch, accumulated in (("large", 8, 1), ("small", 2, 4)):
        training = {"per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulated}
        train_text(text_settings(name=name, model=MODELS[model_type], training=training))
    large, small = (Path("checkpoints", name, "checkpoint-4") for name in ("large", "small"))
    for name, value in weights_of(large).items():
        torch.testing.assert_close(weights_of(small)[name], value, rtol=0, atol=1e-4, msg=name)
    assert logged("loss", small.parent) == pytest.approx(logged("loss", large.parent), rel=1e-4)


def test_random_blocks_are_read_in_the_order_of_their_numbers() -> None:
    recorder = RecordInputs()
    settings = text_settings(training={"max_steps": 3, "eval_strategy": "no"}, seed=7)
    data = load_text_data(settings)
    train_with([recorder], settings)
    expected = RandomBlocks(data.train, BLOCK, 12, seed=7).__getitems__(list(range(12)))[:, :-1]
    np.testing.assert_array_equal(torch.cat(recorder.inputs), expected)


def test_an_epoch_reads_every_block_once_in_another_order() -> None:
    recorder = RecordInputs()
    training = {"num_train_epochs": 2, "max_steps": -1, "eval_strategy": "no", "save_steps": 100}
    settings = text_settings(corpus={"blocks": "epochs"}, training=training)
    blocks = AdjacentBlocks(load_text_data(settings).train, BLOCK)
    assert len(blocks) == 67  # of 540 tokens
    result = train_with([recorder], settings)
    assert (result.max_steps, result.status) == (34, "finished")
    first, second = torch.cat(recorder.inputs).split(67)
    expected = sorted(blocks.__getitems__(list(range(67)))[:, :-1].tolist())
    assert sorted(first.tolist()) == sorted(second.tolist()) == expected
    assert first.tolist() != second.tolist()


def test_a_model_learns_a_text_that_repeats() -> None:
    Path("corpus.txt").write_text("abcdefgh" * 100)
    settings = text_settings(training={"max_steps": 80, "save_steps": 80, "eval_steps": 80})
    result = train_text(settings)
    assert result.dev_nll is not None
    assert result.dev_nll < 0.3 < math.log(8)


WAYS: dict[str, dict[str, Any]] = {
    "random": {},
    "epochs": {"corpus": {"blocks": "epochs"}},
    "shuffled documents in byte pairs": {
        "corpus": {"split": "documents"},
        "tokenizer": {"kind": "bpe", "size": 260},
    },
    "scratch with Muon in bf16": {
        "model": SCRATCH_MODEL,
        "training": {"muon_learning_rate": 0.02, "bf16": True},
    },
    "accumulation and dropout": {
        "model": {**MODEL, "resid_pdrop": 0.2},
        "training": {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 2},
    },
    "logged rarely": {"training": {"logging_steps": 4}},
}


def end_of(run: str) -> dict[str, Any]:
    """Return everything that a run on text has come to, but for its weights."""
    last = valid_checkpoints(Path("checkpoints", run))[-1]
    state = {name: torch.load(last / f"{name}.pt", weights_only=True) for name in ("optimizer", "scheduler")}
    log = [{k: v for k, v in entry.items() if not is_time(k)} for entry in log_history(last)]
    return {"step": last.name, "log": log, "state": state, "rows": (last / "tokenizer.json").read_bytes()}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_a_run_that_was_killed_three_times_ends_as_one_that_was_not(way: str) -> None:
    sections = dict(WAYS[way])
    training = {"max_steps": 9, **sections.pop("training", {})}
    whole, killed = (text_settings(name=name, training=training, **sections) for name in ("whole", "killed"))
    train_text(whole)
    for step in (2, 6, 9):  # before the first checkpoint, and between others
        with pytest.raises(RuntimeError, match="killed"):
            train_with([KillAt(step)], killed)
    assert train_text(killed).status == "finished"
    assert_equal_ends(end_of("killed"), end_of("whole"))
    assert_weights_equal(
        Path("checkpoints/killed/checkpoint-9"), weights_of(Path("checkpoints/whole/checkpoint-9"))
    )


@pytest.mark.parametrize("blocks", ["random", "epochs"])
def test_a_longer_run_continues_as_if_it_had_been_planned(blocks: str) -> None:
    constant = {"lr_scheduler_type": "constant"}  # another schedule depends on the length
    corpus = {"blocks": blocks}
    train_text(text_settings(name="whole", corpus=corpus, training={**constant, "max_steps": 6}))
    for steps in (2, 6):
        result = train_text(text_settings(corpus=corpus, training={**constant, "max_steps": steps}))
    assert (result.status, result.step) == ("finished", 6)
    assert_weights_equal(RUN / "checkpoint-6", weights_of(Path("checkpoints/whole/checkpoint-6")))


def test_a_finished_run_has_nothing_left_to_do() -> None:
    train_text(text_settings())
    assert train_text(text_settings()).status == "nothing left to do"


@pytest.mark.parametrize(
    ("changed", "facts"),
    [
        ({"corpus": {"block_size": 7}}, ["corpus.block_size (was 8, is 7)"]),
        ({"corpus": {"blocks": "epochs"}}, ["corpus.blocks (was random, is epochs)"]),
        ({"corpus": {"train_share": 0.8}}, ["corpus.train_share (was 0.9, is 0.8)"]),
        ({"tokenizer": {"kind": "bpe"}}, ["tokenizer.kind (was characters, is bpe)"]),
        ({"training": {"learning_rate": 0.1}}, ["training.learning_rate (was 0.01, is 0.1)"]),
        ({"seed": 1}, ["seed (was 0, is 1)"]),
    ],
    ids=lambda changed: next(iter(changed)) if isinstance(changed, dict) else "",
)
def test_a_run_of_other_settings_is_refused_by_their_names(changed: dict[str, Any], facts: list[str]) -> None:
    train_text(text_settings(training=ONE_STEP))
    again = {**changed, "training": {**ONE_STEP, **changed.get("training", {})}}
    with error_with("checkpoints/tiny", "name=...", *facts):
        train_text(text_settings(**again))
    with error_with("checkpoints/tiny", *facts):
        check_same_run(text_settings(**again))


def test_a_changed_text_is_refused_and_a_moved_one_is_not(text: str) -> None:
    train_text(text_settings(training={"max_steps": 2}))
    Path("corpus.txt").rename("moved.txt")
    moved = text_settings(corpus={"source": "file:moved.txt"}, training={"max_steps": 3})
    assert train_text(moved).status == "finished"
    Path("moved.txt").write_text(text[:-1] + "b" if text[-1] == "a" else text[:-1] + "a")
    longer = text_settings(corpus={"source": "file:moved.txt"}, training={"max_steps": 5})
    before = trained_on(RUN / "checkpoint-3")["fingerprint"]
    with error_with("blocks", before, load_text_data(longer).fingerprint):
        train_text(longer)


def test_a_run_on_sprites_is_not_replaced_by_one_on_text_and_the_reverse(
    tiny: MakeSettings, few_sprites: Any
) -> None:
    train(tiny(training=ONE_STEP), few_sprites)
    for start in (lambda: train_text(text_settings()), lambda: check_same_run(text_settings())):
        with error_with("checkpoints/tiny holds a run on sprites, not on text", "--overwrite"):
            start()
    assert train_text(text_settings(training=ONE_STEP), overwrite=True).status == "finished"
    with error_with("checkpoints/tiny holds a run on text, not on sprites", "--overwrite"):
        train(tiny(), few_sprites)


def test_the_best_checkpoint_has_the_lowest_dev_nll() -> None:
    train_text(text_settings(training={"max_steps": 6, "learning_rate": 0.3}))
    nll = dict(zip((2, 4, 6), logged("eval_nll"), strict=True))
    best = min(nll, key=lambda step: nll[step])
    choice = choose_checkpoint("tiny")
    assert choice.folder == RUN / f"checkpoint-{best}"
    assert f"{nll[best]:.4f}" in choice.reason
    run = make_run(Path("checkpoints/made"), {2: 3.0, 4: 1.0, 6: 2.0}, [2, 4, 6])
    for checkpoint in run.iterdir():  # the NLL of all tokens is lowest at step 2 there
        (checkpoint / "palette.json").rename(checkpoint / "tokenizer.json")
        (checkpoint / "sprites.json").rename(checkpoint / "corpus.json")
    assert choose_checkpoint("made").folder.name == "checkpoint-2"


def test_a_model_of_text_completes_no_sprites() -> None:
    train_text(text_settings(training=ONE_STEP))
    with error_with("checkpoint-1", "text", "`pokemon-gen text`"):
        resolve_checkpoint("tiny")


@pytest.mark.parametrize("steps", [{"max_steps": -1}, {"max_steps": -1, "num_train_epochs": 3}])
def test_random_blocks_need_a_number_of_steps(steps: dict[str, Any]) -> None:
    with error_with("training.max_steps", "corpus.blocks=epochs"):
        train_text(text_settings(training=steps))
    assert not RUN.exists()


@pytest.mark.parametrize(
    ("characters", "facts"),
    [(80, ["file:corpus.txt: dev: 8 tokens", "takes 9"]), (8, ["train: 7 tokens", "takes 9"])],
)
def test_each_part_of_the_corpus_must_fill_a_block(characters: int, facts: list[str]) -> None:
    write_corpus(characters)
    with error_with(*facts):
        load_text_data(text_settings())
    write_corpus(81)  # of which train has 72 and dev 9
    assert len(load_text_data(text_settings()).dev.tokens) == BLOCK + 1


def test_a_checkpoint_has_the_tokenizer_and_the_origin_of_the_text() -> None:
    settings = text_settings(training=ONE_STEP)
    data = load_text_data(settings)
    train_text(settings, data)
    loaded = load_text_model("tiny")
    assert loaded.tokenizer.get_vocab() == data.tokenizer.get_vocab()
    assert loaded.settings is not None
    assert loaded.settings.model_dump() == settings.with_training(fp16=False).model_dump()
    assert loaded.context == BLOCK
    assert trained_on(RUN / "checkpoint-1") == {
        "source": "file:corpus.txt",
        "fingerprint": data.corpus.survey.fingerprint,
    }


def test_what_a_run_has_seen_is_that_of_its_steps() -> None:
    settings = text_settings(training={"gradient_accumulation_steps": 3})
    data = load_text_data(settings)
    seen = seen_by(train_text(settings, data), data)
    assert (seen.blocks, seen.tokens) == (4 * 4 * 3, 4 * 4 * 3 * BLOCK)
    starts = RandomBlocks(data.train, BLOCK, 48, 0).starts(np.arange(48))
    assert seen.distinct == len(np.unique(starts))


@pytest.mark.parametrize(
    ("training", "blocks"),
    [
        ({"max_steps": 16}, 64),
        ({"max_steps": 17}, 67),  # the last batch of an epoch has 3 of its 67 blocks
        ({"max_steps": 20}, 67 + 12),
        ({"max_steps": 18, "dataloader_drop_last": True}, 64 + 8),
        ({"max_steps": 10, "gradient_accumulation_steps": 2}, 67 + 8),
    ],
)
def test_what_was_seen_in_epochs_counts_their_last_batches(training: dict[str, Any], blocks: int) -> None:
    settings = text_settings(corpus={"blocks": "epochs"}, training={**training, "eval_strategy": "no"})
    data, recorder = load_text_data(settings), RecordInputs()
    result = train_with([recorder], settings)
    assert seen_by(result, data).blocks == blocks == len(torch.cat(recorder.inputs))
    assert seen_by(result, data).distinct == min(blocks, 67)
