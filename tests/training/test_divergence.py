"""`training/divergence.py`: a training that diverged stops, and its weights are neither kept nor chosen."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import TrainerCallback

from pokemon_gen.discriminator.fit import train_classifier
from pokemon_gen.discriminator.generators import CompletedPrompts, complete_unseen
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.models.checkpoints import step_of
from pokemon_gen.models.choice import choose_checkpoint
from pokemon_gen.models.runs import valid_checkpoints
from pokemon_gen.pipeline import run
from pokemon_gen.settings import DetectorSettings
from pokemon_gen.sprites.loading import Sprites
from pokemon_gen.stages.select import select
from pokemon_gen.stages.submit import submit
from pokemon_gen.training.captured import CapturingTrainer
from pokemon_gen.training.divergence import SKIPPED_IN_A_ROW, DivergedError
from pokemon_gen.training.run import prepare, train
from pokemon_gen.training.sprites import SpriteData, SpriteTrainer
from tests.builders import RUN, TINY_DETECTOR, MakeSettings, error_with
from tests.model_builders import weights_of

EVERY_STEP = {"max_steps": 8, "save_steps": 1, "eval_steps": 1}


class Diverge(TrainerCallback):
    """Fills a weight with a value that is not finite, before or after a step."""

    def __init__(self, step: int, value: float = math.nan, after: bool = False) -> None:
        self.step, self.value, self.after = step, value, after

    def corrupt(self, model: Any) -> None:
        with torch.no_grad():
            next(iter(model.parameters())).fill_(self.value)

    def on_step_begin(self, args: Any, state: Any, control: Any, model: Any, **kwargs: Any) -> None:
        if not self.after and state.global_step == self.step - 1:
            self.corrupt(model)

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any, **kwargs: Any) -> None:
        if self.after and state.global_step == self.step:
            self.corrupt(model)


def trainer_of(tiny: MakeSettings, sprites: Sprites) -> SpriteTrainer:
    """Return a trainer that has not started."""
    model, arguments, settings = prepare(tiny(), SpriteData(sprites), RUN)
    return SpriteData(sprites).trainer(model, arguments, settings)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_training_stops_at_the_step_where_it_diverges(
    tiny: MakeSettings, few_sprites: Sprites, value: float
) -> None:
    with error_with(
        str(RUN),
        "step 5",
        "batch 2 of 3",
        "epoch 2",
        "checkpoint-4",
        "training.learning_rate (is 0.01)",
        "--overwrite",
    ):
        train(tiny(training=EVERY_STEP), few_sprites, [Diverge(5, value)])
    assert [step_of(checkpoint) for checkpoint in valid_checkpoints(RUN)] == [1, 2, 3, 4]


def test_weights_that_are_not_finite_are_not_saved(tiny: MakeSettings, few_sprites: Sprites) -> None:
    """The loss of the last step is still finite, but the weights after it are not."""
    with error_with(str(RUN), "a weight", "step 8", "checkpoint-4"):
        train(tiny(training={**EVERY_STEP, "save_steps": 4}), few_sprites, [Diverge(8, after=True)])
    assert [checkpoint.name for checkpoint in valid_checkpoints(RUN)] == ["checkpoint-4"]


def test_an_error_before_the_first_checkpoint_says_that_none_was_saved(
    tiny: MakeSettings, few_sprites: Sprites
) -> None:
    with error_with(str(RUN), "step 1", "No checkpoint was saved"):
        train(tiny(), few_sprites, [Diverge(1)])


def test_a_run_that_diverges_is_neither_finished_nor_selected_nor_submitted(tiny: MakeSettings) -> None:
    """Its learning rate is far too high; nothing is corrupted by hand."""
    with error_with(str(RUN), "diverged", "training.learning_rate"):
        run(tiny(training={**EVERY_STEP, "learning_rate": 3e38, "max_grad_norm": 0}))
    assert not Path("submissions").exists()
    with pytest.raises(PokemonGenError):
        submit("tiny")


def test_a_logged_nll_that_is_not_a_number_does_not_choose_a_checkpoint(
    tiny: MakeSettings, few_sprites: Sprites
) -> None:
    """As in the log of a run from an older version."""
    train(tiny(training={**EVERY_STEP, "max_steps": 3}), few_sprites)
    assert choose_checkpoint("tiny").folder.name == "checkpoint-3"
    state = RUN / "checkpoint-3" / "trainer_state.json"
    text = state.read_text()
    first = text.index('"eval_completion_nll": ')
    end = text.index(",", first)
    state.write_text(text[:first] + '"eval_completion_nll": NaN' + text[end:])
    assert choose_checkpoint("tiny").folder.name != "checkpoint-1"


def test_overflows_in_fp16_are_skipped_for_a_few_steps(tiny: MakeSettings, few_sprites: Sprites) -> None:
    """The loss scaler skips such a step and halves its scale, which helps only a few times in a row."""
    trainer = trainer_of(tiny, few_sprites)
    trainer.accelerator.scaler = object()
    trainer._first_bad = torch.tensor(3)
    trainer.state.global_step = 3 + SKIPPED_IN_A_ROW - 2
    trainer.check_loss()
    trainer.state.global_step += 1
    with pytest.raises(DivergedError, match="step 3"):
        trainer.check_loss()


def test_the_batches_of_a_step_are_named(tiny: MakeSettings, few_sprites: Sprites) -> None:
    """24 sprites in batches of 5 are five batches; two of them are a step."""
    accumulated = {"per_device_train_batch_size": 5, "gradient_accumulation_steps": 2}
    model, arguments, settings = prepare(tiny(training=accumulated), SpriteData(few_sprites), RUN)
    trainer = SpriteData(few_sprites).trainer(model, arguments, settings)
    places = [trainer.place_of(step) for step in (1, 3, 5)]
    assert places == [
        "batches 1 to 2 of 5 in epoch 1", "batch 5 of 5 in epoch 1", "batches 3 to 4 of 5 in epoch 2",
    ]  # fmt: skip


def test_one_bad_batch_makes_a_step_with_several_batches_bad(
    tiny: MakeSettings, few_sprites: Sprites
) -> None:
    """With gradient accumulation, a good batch may follow a bad one in the same step."""
    trainer = trainer_of(tiny, few_sprites)
    losses = iter([1.0, math.nan, 2.0, 3.0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            CapturingTrainer,
            "training_step",
            lambda *_: torch.tensor(next(losses), device=trainer.args.device),
        )
        first_bad = []
        for step in (0, 1, 1, 2):
            trainer.state.global_step = step
            super(SpriteTrainer, trainer).training_step(trainer.model, {})
            first_bad.append(int(trainer._first_bad))
    assert first_bad == [0, 2, 2, 0]


def test_generators_and_classifiers_that_diverge_are_named(few_sprites: Sprites) -> None:
    settings = DetectorSettings.model_validate(TINY_DETECTOR)
    generator = settings.generator.model_copy(update={"learning_rate": 1e30})
    train, dev = few_sprites.tokens("train"), few_sprites.tokens("dev")
    with error_with("detector: generators", "diverged", "learning_rate"):
        complete_unseen([generator], 0, train, dev, few_sprites.palette, "detector: generators")
    classifier = settings.classifier.model_copy(update={"learning_rate": 1e30, "steps": 40})
    with error_with("detector: classifier", "diverged", "learning_rate"):
        completed = CompletedPrompts(dev, np.arange(len(dev)))
        train_classifier(classifier, 0, train, completed, dev, few_sprites.palette, "detector: classifier")


def test_a_checkpoint_with_weights_that_are_not_finite_is_ranked_last(
    tiny: MakeSettings, few_sprites: Sprites, caplog: pytest.LogCaptureFixture
) -> None:
    """As in a run from an older version, whose early checkpoints are good."""
    train(tiny(training={**EVERY_STEP, "max_steps": 3}), few_sprites)
    weights = weights_of(RUN / "checkpoint-3")
    weights["transformer.ln_f.weight"][0] = math.nan
    save_file(weights, RUN / "checkpoint-3" / "model.safetensors", {"format": "pt"})
    ranked = select("tiny", by="nll").selection.ranked
    assert ranked[-1].step == 3
    assert ranked[0].step < 3
    assert any("checkpoint-3" in record.getMessage() for record in caplog.records)
