"""`training/captured.py`: a whole step as one function, which a GPU captures.

A CPU captures nothing, but takes the same steps through the same buffers, so everything except the capture
itself is tested here. The tests marked `gpu` capture.
"""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import TrainerCallback

from pokemon_gen.augmentation import Augmentation
from pokemon_gen.models.build import build_model
from pokemon_gen.models.graphs import WARM_UP, Replayed
from pokemon_gen.sprites.collection import Sprites
from pokemon_gen.training import captured
from pokemon_gen.training.captured import CapturedSteps, CapturingTrainer, is_capturable
from pokemon_gen.training.muon import Muon, MuonWithAux, hidden_weights
from pokemon_gen.training.run import train
from tests.builders import RUN, MakeSettings, error_with
from tests.model_builders import MODEL_TYPES, assert_weights_equal, weights_of

MUON = {"muon_learning_rate": 0.02, "muon_weight_decay": 0.3}
EVERYTHING = {**MUON, "neftune_noise_alpha": 5, "max_steps": 6, "save_steps": 6, "eval_steps": 3}
AUGMENTED = {"flips": "all", "hue_shifts": 6}
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="captures need an NVIDIA GPU")


@pytest.fixture
def steps_in_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the steps that a GPU captures, on any device."""
    monkeypatch.setattr(captured, "why_not_captured", lambda *_: None)


def history_of(checkpoint: Path) -> list[dict[str, float]]:
    """Return what `Trainer` logged, without times."""
    log = json.loads((checkpoint / "trainer_state.json").read_text())["log_history"]
    return [
        {key: value for key, value in entry.items() if "second" not in key and "runtime" not in key}
        for entry in log
    ]


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_steps_in_buffers_are_those_of_trainer(
    tiny: MakeSettings, few_sprites: Sprites, model_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With Muon, augmentation, dropout (GPT-2), noise, a schedule, and a smaller last batch of each epoch."""
    fields = {**EVERYTHING, "per_device_train_batch_size": 10, "lr_scheduler_type": "linear"}
    sections = {"model": MODEL_TYPES[model_type], "training": fields, "augmentation": AUGMENTED}
    usual = train(tiny(**sections), few_sprites).folder / "checkpoint-6"
    monkeypatch.setattr(captured, "why_not_captured", lambda *_: None)
    buffered = train(tiny(name="buffered", **sections), few_sprites).folder / "checkpoint-6"
    expected = weights_of(usual)
    for name, weight in weights_of(buffered).items():
        torch.testing.assert_close(weight, expected[name], rtol=1e-4, atol=1e-5, msg=name)
    for entry, other in zip(history_of(buffered), history_of(usual), strict=True):
        assert entry == pytest.approx(other, rel=1e-4)


def test_a_checkpoint_does_not_show_that_its_steps_were_captured(
    tiny: MakeSettings, few_sprites: Sprites, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a run of a GPU resumes on a CPU, and the reverse."""
    settings = tiny(training=EVERYTHING | {"save_steps": 3}, augmentation=AUGMENTED)
    with monkeypatch.context() as patch:
        patch.setattr(captured, "why_not_captured", lambda *_: None)
        whole = weights_of(train(settings, few_sprites).folder / "checkpoint-6")
    saved = torch.load(RUN / "checkpoint-3" / "optimizer.pt", weights_only=True)
    for group in saved["param_groups"]:
        assert isinstance(group["lr"], float)
        assert not group.get("capturable")
    shutil.rmtree(RUN / "checkpoint-6")
    resumed = weights_of(train(settings, few_sprites).folder / "checkpoint-6")  # without buffers
    for name, weight in resumed.items():
        torch.testing.assert_close(weight, whole[name], rtol=1e-4, atol=1e-5, msg=name)


class NumbersRead(TorchDispatchMode):
    """Records the operations that read numbers back, which would make a GPU wait and cannot be captured."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ in ("_local_scalar_dense", "nonzero", "equal", "is_nonzero"):
            self.operations.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.usefixtures("steps_in_buffers")
@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_a_step_reads_no_number_back(
    tiny: MakeSettings, few_sprites: Sprites, model_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = NumbersRead()
    with reads:
        float(torch.ones(1))
    assert reads.operations  # it would notice
    reads.operations.clear()
    take = CapturedSteps._take

    def watched(self: CapturedSteps, buffers: dict[str, Tensor]) -> None:
        with reads:
            take(self, buffers)

    monkeypatch.setattr(CapturedSteps, "_take", watched)
    training = {**MUON, "max_steps": 2, "save_steps": 2, "eval_strategy": "no"}
    train(tiny(model=MODEL_TYPES[model_type], training=training, augmentation=AUGMENTED), few_sprites)
    assert reads.operations == []


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_a_step_mixes_no_devices(
    procedural: Sprites, model_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tensors of a GPU without a GPU: torch computes their shapes and devices, and refuses to read a number.

    The backward pass needs a real one; gradients are given instead.
    """
    monkeypatch.setattr("pokemon_gen.models.graphs.can_capture", lambda device: False)
    augmentation = Augmentation(procedural.palette, "all", 12, 0.5)
    model = build_model(MODEL_TYPES[model_type], 167, 0, conditioning=augmentation.conditioning).train()
    model.config.use_cache = False
    gpu = torch.device("cuda")
    with FakeTensorMode(allow_non_fake_inputs=True):
        model.to_empty(device=gpu)
        muon = Muon(hidden_weights(model), 0.02, 0.2, torch.bfloat16)
        optimizer = MuonWithAux(torch.optim.AdamW(model.parameters(), lr=1e-3), muon)

        def forward(model: Any, inputs: dict[str, Tensor], num_items: Tensor) -> Tensor:
            tokens = augmentation.apply(inputs["input_ids"], inputs["transforms"])
            for parameter in model.parameters():
                parameter.grad = torch.empty_like(parameter)
            loss: Tensor = model(input_ids=tokens, labels=tokens, num_items_in_batch=num_items).loss
            return loss.detach()

        trainer: Any = SimpleNamespace(
            args=SimpleNamespace(device=gpu, max_grad_norm=1.0),
            model=model,
            optimizer=optimizer,
            accelerator=SimpleNamespace(),
            forward_backward=forward,
            capture="auto",
            setting="training.capture",
        )
        augmentation._tables = [(kind, table.to(gpu)) for kind, table in augmentation._tables]
        steps = CapturedSteps(trainer, model)
        batch = {
            name: torch.zeros(8, n, dtype=torch.long, device=gpu)
            for name, n in (("input_ids", 400), ("transforms", 2))
        }
        for seed in (0, 1):  # the second step has a state
            loss = steps(batch, torch.zeros((), device=gpu), seed)
        assert loss.device.type == "cuda"
        assert {value.device.type for state in optimizer.state.values() for value in state.values()} == {
            "cuda"
        }
    assert [group["lr"] for group in optimizer.param_groups] == [1e-3, 0.02]


def test_what_is_random_in_a_step_depends_on_its_number_alone(
    tiny: MakeSettings, few_sprites: Sprites
) -> None:
    """Whatever else draws between two steps, so a resumed run draws the same."""

    class Draws(TrainerCallback):
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            torch.rand(3)

    training = {"neftune_noise_alpha": 5}  # and GPT-2's dropout
    plain = weights_of(train(tiny(training=training), few_sprites).folder / "checkpoint-4")
    other = train(tiny(name="other", training=training), few_sprites, [Draws()])
    for name, weight in weights_of(other.folder / "checkpoint-4").items():
        assert torch.equal(weight, plain[name]), name


def test_capture_is_true_false_or_auto(tiny: MakeSettings, few_sprites: Sprites) -> None:
    with error_with("training.capture", "True, False or 'auto'", "maybe"):
        train(tiny(training={"capture": "maybe"}), few_sprites)


def test_capture_true_is_an_error_without_a_gpu(tiny: MakeSettings, few_sprites: Sprites) -> None:
    with error_with("training.capture", "NVIDIA GPU", "auto"):
        train(tiny(training={"capture": True, "use_cpu": True}), few_sprites)


def test_capture_true_is_an_error_before_the_training_if_something_forbids_it(
    tiny: MakeSettings, few_sprites: Sprites, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pokemon_gen.training.arguments.can_capture", lambda device: True)
    monkeypatch.setattr(captured, "can_capture", lambda device: True)
    fields = {"capture": True, "gradient_accumulation_steps": 2}
    with error_with("training.capture", "gradient_accumulation_steps", "auto"):
        train(tiny(training=fields), few_sprites)
    assert not RUN.exists()


@pytest.mark.usefixtures("steps_in_buffers")
def test_only_some_shapes_of_a_batch_have_a_graph(
    tiny: MakeSettings, few_sprites: Sprites, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captured, "MOST_GRAPHS", 1)
    made: list[CapturedSteps] = []
    usual = CapturedSteps.__init__

    def kept(self: CapturedSteps, *args: Any) -> None:
        usual(self, *args)
        made.append(self)

    monkeypatch.setattr(CapturedSteps, "__init__", kept)
    result = train(tiny(training={"per_device_train_batch_size": 10}), few_sprites)  # 10, 10 and 4
    assert result.status == "finished"
    assert made[0].why_not is not None


@pytest.mark.parametrize(
    ("fields", "fact"),
    [
        ({"capture": False}, "capture is false"),
        ({"gradient_accumulation_steps": 2}, "gradient_accumulation_steps"),
        ({"full_determinism": True}, "full_determinism"),
        ({"optim": "adafactor"}, "Adafactor"),
        ({}, None),
        (MUON, None),
        ({"full_determinism": True, "capture": True}, None),
    ],
)
def test_what_cannot_be_captured_is_named(
    tiny: MakeSettings,
    few_sprites: Sprites,
    fields: dict[str, Any],
    fact: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reasons: list[str | None] = []
    monkeypatch.setattr("pokemon_gen.training.arguments.can_capture", lambda device: True)

    def reason(self: CapturingTrainer) -> str | None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(captured, "can_capture", lambda device: True)
            reasons.append(captured.why_not_captured(self.args, self.capture, self.optimizer))
        return "this is a test"

    monkeypatch.setattr(CapturingTrainer, "why_not_captured", reason)
    monkeypatch.setattr(CapturingTrainer, "require_capture", lambda self: None)
    train(tiny(training={"max_steps": 1, "save_steps": 1, "eval_strategy": "no", **fields}), few_sprites)
    assert (fact in reasons[0]) if fact and reasons[0] else (reasons[0] is fact)


def test_only_optimizers_that_say_so_are_captured() -> None:
    weight = torch.nn.Parameter(torch.zeros(2, 2))
    assert is_capturable(torch.optim.AdamW([weight]))
    assert not is_capturable(torch.optim.SGD([weight]))

    class Own(torch.optim.AdamW):
        """A person's own optimizer, whose step may do anything."""

    assert not is_capturable(Own([weight]))


def test_a_function_on_a_cpu_simply_runs() -> None:
    draws: list[float] = []
    function = Replayed(lambda: draws.append(float(torch.rand(1))), torch.device("cpu"), "test", must=False)
    for seed in (1, 2, 1):
        function(seed)
    assert draws[0] == draws[2] != draws[1]


@pytest.mark.gpu
@needs_gpu
def test_a_replay_does_what_the_function_does() -> None:
    device = torch.device("cuda")
    total, noise = torch.zeros(4, device=device), torch.ones(4, device=device)

    def add() -> None:
        total.add_(torch.nn.functional.dropout(noise))

    function = Replayed(add, device, "test", must=True)
    seen = []
    for seed in [*range(WARM_UP), 0, 1, 2]:
        before = total.clone()
        function(seed)
        seen.append((total - before).tolist())
    assert function.graph is not None
    assert function.why_not is None
    assert seen[:WARM_UP] == seen[WARM_UP:]  # the same seeds draw the same, captured or not


@pytest.mark.gpu
@needs_gpu
def test_a_function_that_reads_a_number_back_runs_as_it_is() -> None:
    device = torch.device("cuda")
    total = torch.zeros((), device=device)
    read: list[float] = []

    def add() -> None:
        total.add_(1)
        read.append(float(total))

    function = Replayed(add, device, "test", must=False)
    for _ in range(WARM_UP + 3):
        function(0)
    assert function.graph is None
    assert float(total) == WARM_UP + 3
    must = Replayed(add, device, "training.capture", must=True)
    for _ in range(WARM_UP - 1):
        must(0)
    with error_with("training.capture", "reads a number"):
        must(0)  # watched, right before the capture


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_captured_steps_learn_what_others_learn(
    tiny: MakeSettings, few_sprites: Sprites, model_type: str
) -> None:
    fields = {**EVERYTHING, "max_steps": 12, "save_steps": 12}
    sections = {"model": MODEL_TYPES[model_type], "augmentation": AUGMENTED}
    results = [
        train(
            tiny(name=f"capture-{capture}", training=fields | {"capture": capture}, **sections), few_sprites
        )
        for capture in (True, False)
    ]
    assert results[0].dev_nll == pytest.approx(results[1].dev_nll, abs=0.01)


@pytest.mark.gpu
@needs_gpu
def test_a_run_on_a_gpu_resumes_exactly_under_full_determinism(
    tiny: MakeSettings, few_sprites: Sprites
) -> None:
    """With all that is random: augmentation, dropout and noise."""
    training = {**EVERYTHING, "full_determinism": True, "save_steps": 3}
    sections = {"training": training, "augmentation": AUGMENTED}
    whole = train(tiny(name="whole", **sections), few_sprites).folder / "checkpoint-6"
    train(tiny(**sections), few_sprites)
    shutil.rmtree(RUN / "checkpoint-6")
    resumed = train(tiny(**sections), few_sprites).folder / "checkpoint-6"
    assert_weights_equal(resumed, weights_of(whole))


def test_a_callback_that_needs_gradients_is_not_captured(tiny: MakeSettings, few_sprites: Sprites) -> None:
    class Norms(TrainerCallback):
        def on_pre_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
            """Look at the gradients."""

    reasons: list[str | None] = []
    usual = CapturingTrainer.why_not_captured

    def reason(self: CapturingTrainer) -> str | None:
        reasons.append(usual(self))
        return "this is a test"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(captured, "why_not_captured", lambda *_: None)
        patch.setattr(CapturingTrainer, "why_not_captured", reason)
        train(tiny(), few_sprites, [Norms()])
    assert reasons[0] is not None
    assert "callback" in reasons[0]
