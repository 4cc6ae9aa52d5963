"""`divergence.py`: a training whose loss is no number ends there, and nothing of it is kept or chosen."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback

from pokemon_gen.discriminator.fit import train_classifier
from pokemon_gen.discriminator.generators import complete_unseen
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.models.checkpoints import step_of
from pokemon_gen.models.choice import choose_checkpoint
from pokemon_gen.models.runs import valid_checkpoints
from pokemon_gen.pipeline import run
from pokemon_gen.settings import DetectorSettings, Settings
from pokemon_gen.sprites.loading import Sprites
from pokemon_gen.stages.select import select
from pokemon_gen.stages.submit import submit
from pokemon_gen.training.divergence import SKIPPED_IN_A_ROW, DivergedError
from pokemon_gen.training.run import prepare, train
from pokemon_gen.training.trainer import make_trainer
from tests.builders import TINY_DETECTOR

Make = Callable[..., Settings]
RUN = Path("checkpoints/tiny")
EVERY_STEP = {"max_steps": 8, "save_steps": 1, "eval_steps": 1}


class Diverge(TrainerCallback):
    """Puts numbers into the weights that are none, before or after a step."""

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


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_diverged_training_stops_at_its_step(tiny: Make, few_sprites: Sprites, value: float) -> None:
    with pytest.raises(PokemonGenError) as error:
        train(tiny(training=EVERY_STEP), few_sprites, [Diverge(5, value)])
    for fact in ("tiny: ", "step 5", "checkpoint-4", "training.learning_rate (is 0.01)", "--overwrite"):
        assert fact in str(error.value)
    assert [step_of(checkpoint) for checkpoint in valid_checkpoints(RUN)] == [1, 2, 3, 4]


def test_weights_that_are_no_numbers_are_not_saved(tiny: Make, few_sprites: Sprites) -> None:
    """The loss of the last step is still a number, and the weights after it are not."""
    with pytest.raises(PokemonGenError, match="a weight of step 8"):
        train(tiny(training={**EVERY_STEP, "save_steps": 4}), few_sprites, [Diverge(8, after=True)])
    assert [checkpoint.name for checkpoint in valid_checkpoints(RUN)] == ["checkpoint-4"]


def test_without_a_checkpoint_it_says_so(tiny: Make, few_sprites: Sprites) -> None:
    with pytest.raises(PokemonGenError, match=r"step 1 is not .*No checkpoint was saved before it"):
        train(tiny(), few_sprites, [Diverge(1)])


def test_a_rate_that_is_far_too_high_ends_a_run(tiny: Make) -> None:
    """By itself, as a person meets it: neither finished, nor selected, nor submitted."""
    with pytest.raises(PokemonGenError, match="diverged"):
        run(tiny(training={**EVERY_STEP, "learning_rate": 3e38, "max_grad_norm": 0}))
    assert not Path("submissions").exists()
    with pytest.raises(PokemonGenError):
        submit("tiny")


def test_a_log_of_before_that_holds_no_number_chooses_nothing(tiny: Make, few_sprites: Sprites) -> None:
    train(tiny(training={**EVERY_STEP, "max_steps": 3}), few_sprites)
    state = RUN / "checkpoint-3" / "trainer_state.json"
    text = state.read_text()
    worst = choose_checkpoint("tiny").folder
    first = text.index('"eval_completion_nll": ')
    end = text.index(",", first)
    state.write_text(text[:first] + '"eval_completion_nll": NaN' + text[end:])
    assert choose_checkpoint("tiny").folder.name != "checkpoint-1"
    assert worst.name == "checkpoint-3"


def test_overflows_in_fp16_are_skipped_for_a_while(tiny: Make, few_sprites: Sprites) -> None:
    """The loss scaler skips such a step and halves its scale; many in a row it does not survive."""
    settings = tiny()
    model, arguments, settings = prepare(settings, few_sprites.palette, RUN)
    trainer = make_trainer(model, arguments, few_sprites, settings)
    trainer.accelerator.scaler = object()
    trainer._first_bad = torch.tensor(3)
    trainer.state.global_step = 3 + SKIPPED_IN_A_ROW - 2
    trainer.check_loss()
    trainer.state.global_step += 1
    with pytest.raises(DivergedError, match="step 3"):
        trainer.check_loss()


def test_helpers_that_diverge_say_which(few_sprites: Sprites) -> None:
    """A detector of no numbers would rank by none."""
    how = DetectorSettings.model_validate(TINY_DETECTOR)
    generator = how.generator.model_copy(update={"learning_rate": 1e30})
    train, dev = few_sprites.tokens("train"), few_sprites.tokens("dev")
    with pytest.raises(PokemonGenError, match=r"detector: generators: .*diverged.*learning_rate"):
        complete_unseen(generator, 0, train, dev, 167, "detector: generators")
    classifier = how.classifier.model_copy(update={"learning_rate": 1e30, "steps": 40})
    with pytest.raises(PokemonGenError, match=r"detector: classifier: .*diverged.*learning_rate"):
        train_classifier(classifier, 0, train, dev, dev, few_sprites.palette, "detector: classifier")


def test_a_bad_batch_among_good_ones_of_a_step_counts(tiny: Make, few_sprites: Sprites) -> None:
    """With gradient accumulation a step has several, and the last of them is no better for being good."""
    settings = tiny()
    model, arguments, settings = prepare(settings, few_sprites.palette, RUN)
    trainer = make_trainer(model, arguments, few_sprites, settings)
    losses = iter([1.0, math.nan, 2.0, 3.0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("transformers.Trainer.training_step", lambda *_: torch.tensor(next(losses)))
        for step in (0, 1, 1, 2):
            trainer.state.global_step = step
            super(type(trainer), trainer).training_step(model, {})
            if step == 1:
                bad = int(trainer._first_bad)
    assert bad == 2
    assert int(trainer._first_bad) == 0


def test_a_diverged_checkpoint_is_left_out_of_a_choice(
    tiny: Make, few_sprites: Sprites, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a run of before, whose early checkpoints are good."""
    train(tiny(training={**EVERY_STEP, "max_steps": 3}), few_sprites)
    file = RUN / "checkpoint-3" / "model.safetensors"
    found = load_file(file)
    found["transformer.ln_f.weight"][0] = math.nan
    save_file(found, file, {"format": "pt"})
    chosen = select("tiny", by="nll").selection.ranked
    assert [figures.step for figures in chosen][-1] == 3
    assert chosen[0].step < 3
    assert any("checkpoint-3" in record.getMessage() for record in caplog.records)
