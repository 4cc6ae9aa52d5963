"""`training/extensions.py` and `docs/extending.md`: a person's own code runs, or an error says why not."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pokemon_gen.config_files import loading
from pokemon_gen.config_files.loading import load_settings
from pokemon_gen.models.build import build_model
from pokemon_gen.sprites.collection import Sprites
from pokemon_gen.stages.train import train_members
from pokemon_gen.training.extensions import Extensions
from pokemon_gen.training.run import train, train_extended
from pokemon_gen.training.sprites import SpriteData
from pokemon_gen.validation import check_settings
from tests.builders import ONE_STEP, ROOT, TINY_MODEL, MakeSettings, error_with
from tests.model_builders import assert_weights_equal, weights_of

PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
SHORT = [
    "training.max_steps=2",
    "training.bf16=false",
    "training.report_to=none",
    "training.per_device_train_batch_size=4",
    "sprites.source=text:few",
]


def python_blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def short(few_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every run of the page short, on few sprites."""
    load = loading.load_settings
    monkeypatch.setattr(loading, "load_settings", lambda path, overrides=(): load(path, [*overrides, *SHORT]))


@pytest.mark.slow
@pytest.mark.usefixtures("short")
def test_every_block_of_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    for block in python_blocks():
        if block.startswith("# my_ideas.py"):
            Path("my_ideas.py").write_text(block)
        else:
            exec(compile(block, "docs/extending.md", "exec"), {})
    trained = {path.name for path in Path("checkpoints").iterdir()}
    assert {"jitter", "named", "adafactor", "square", "wide", "printed", "mine"} <= trained
    assert "submissions/mine.txt" in capsys.readouterr().out


@pytest.mark.slow
def test_an_augmentation_function_changes_what_is_learned_and_resumes_exactly(
    tiny: MakeSettings, few_sprites: Sprites
) -> None:
    def background(tokens: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        noise = torch.rand(tokens.shape, generator=generator).to(tokens.device)
        return torch.where(noise < 0.5, 0, tokens)

    def last_of(name: str, steps: list[int], **extensions: Any) -> Path:
        """Train a run to each of these steps in turn and return its last checkpoint."""
        for step in steps:
            settings = tiny(name=name, training={"max_steps": step, "lr_scheduler_type": "constant"})
            train(settings, few_sprites, **extensions)
        return Path(f"checkpoints/{name}/checkpoint-{steps[-1]}")

    plain, augmented = last_of("plain", [4]), last_of("augmented", [4], augmentation=background)
    resumed = last_of("resumed", [2, 4], augmentation=background)
    expected = weights_of(augmented)
    assert any(not torch.equal(weight, expected[name]) for name, weight in weights_of(plain).items())
    assert_weights_equal(resumed, expected)


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        (lambda tokens: tokens + 167, ["0..166", "int64"]),
        (lambda tokens: tokens.float(), ["int64", "float32"]),
        (lambda tokens: tokens[:, :240], ["(8, 400)", "(8, 240)"]),
        (lambda tokens: None, ["(8, 400)", "NoneType"]),
        (lambda tokens: tokens.no_such_method(), ["AttributeError", "no_such_method"]),
    ],
)
def test_an_augmentation_that_returns_something_else_is_named(
    tiny: MakeSettings, few_sprites: Sprites, change: Callable[[torch.Tensor], Any], facts: list[str]
) -> None:
    with error_with("augmentation", *facts):
        train(tiny(), few_sprites, augmentation=lambda tokens, generator: change(tokens))


@pytest.mark.parametrize("code", ["optimizer", "schedule", "model"])
def test_an_error_in_a_persons_own_code_names_that_code(
    tiny: MakeSettings, few_sprites: Sprites, code: str
) -> None:
    def failing(*_: Any) -> Any:
        raise ZeroDivisionError("by my own hand")

    own: dict[str, Any] = {code: failing}
    with error_with(code, "ZeroDivisionError", "by my own hand"):
        train_extended(tiny(), SpriteData(few_sprites), replace(Extensions(), **own), overwrite=False)


@pytest.mark.parametrize(
    ("place", "facts"),
    [
        ("my_ideas:jitter", ["FILE.py:NAME", "my_ideas:jitter"]),
        ("gone.py:jitter", ["gone.py", "no such file"]),
        ("my_ideas.py:juggle", ["my_ideas.py", "juggle"]),
        ("../outside.py:jitter", ["outside.py", "working directory"]),
        ("checkpoints/evil.py:jitter", ["evil.py", "checkpoints"]),
        ("broken.py:jitter", ["broken.py", "ZeroDivisionError"]),
    ],
)
def test_a_function_that_cannot_be_loaded_is_named(
    tiny: MakeSettings, few_sprites: Sprites, tmp_path: Path, place: str, facts: list[str]
) -> None:
    Path("my_ideas.py").write_text("def jitter(tokens, generator):\n    return tokens\n")
    Path("broken.py").write_text("1 / 0\n")
    Path("checkpoints").mkdir()
    for outside in (tmp_path.parent / "outside.py", Path("checkpoints/evil.py")):
        outside.write_text("raise SystemExit('run')\n")
    with error_with("augmentation.function", *facts):
        train(tiny(augmentation={"function": place}), few_sprites)
    assert not Path("checkpoints/tiny").exists()


def test_a_run_resumes_only_with_the_function_it_started_with(
    tiny: MakeSettings, few_sprites: Sprites
) -> None:
    Path("my_ideas.py").write_text("def jitter(tokens, generator):\n    return tokens\n")
    train(tiny(training={"max_steps": 2}), few_sprites)
    with error_with("augmentation.function (was None, is my_ideas.py:jitter)"):
        train(tiny(augmentation={"function": "my_ideas.py:jitter"}), few_sprites)


def test_a_run_resumes_only_with_the_same_file_and_the_same_objects(
    tiny: MakeSettings, few_sprites: Sprites
) -> None:
    def jitter(tokens: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return tokens

    ideas = Path("my_ideas.py")
    ideas.write_text("def jitter(tokens, generator):\n    return tokens\n")
    named = {"function": "my_ideas.py:jitter"}
    train(tiny(name="file", augmentation=named, training={"max_steps": 2}), few_sprites)
    train(tiny(name="object", training={"max_steps": 2}), few_sprites, augmentation=jitter)
    ideas.write_text("def jitter(tokens, generator):\n    return tokens * 0\n")
    with error_with("checkpoints/file", "augmentation", "SHA-256"):
        train(tiny(name="file", augmentation=named, training={"max_steps": 4}), few_sprites)
    with error_with("checkpoints/object", "augmentation", "jitter", "None"):
        train(tiny(name="object", training={"max_steps": 4}), few_sprites)
    with error_with("checkpoints/object", "augmentation"):  # also a run that has nothing left to do
        train(tiny(name="object", training={"max_steps": 2}), few_sprites)


@pytest.mark.parametrize(
    ("code", "returned", "facts"),
    [
        ("optimizer", None, ["Optimizer", "NoneType"]),
        ("schedule", None, ["None", "number"]),
        ("schedule", float("nan"), ["nan", "number"]),
        ("model", None, ["PreTrainedModel", "NoneType"]),
    ],
)
def test_own_code_that_returns_something_else_is_named(
    tiny: MakeSettings, few_sprites: Sprites, code: str, returned: Any, facts: list[str]
) -> None:
    own: dict[str, Any] = {code: lambda *_: returned}
    with error_with(code, *facts):
        train_extended(tiny(), SpriteData(few_sprites), replace(Extensions(), **own), overwrite=False)


def test_a_mistake_in_an_augmentation_keeps_the_run_that_it_would_replace(
    tiny: MakeSettings, few_sprites: Sprites
) -> None:
    train(tiny(training={"max_steps": 2}), few_sprites)
    with error_with("augmentation"):
        train(tiny(), few_sprites, augmentation=lambda tokens, generator: tokens + 167, overwrite=True)
    assert Path("checkpoints/tiny/checkpoint-2").is_dir()


def test_a_run_does_not_resume_with_another_function_of_the_same_name(
    tiny: MakeSettings, few_sprites: Sprites
) -> None:
    train(tiny(training={"max_steps": 2}), few_sprites, schedule=lambda step, steps: 1.0)
    with error_with("schedule", "<lambda>", "SHA-256"):
        train(tiny(training={"max_steps": 4}), few_sprites, schedule=lambda step, steps: 0.5)


def test_a_callback_that_cannot_be_loaded_has_a_place(tmp_path: Path) -> None:
    config = (
        (ROOT / "configs/quick.yaml").read_text().replace("training:\n", "training:\n  callbacks: [a:B]\n")
    )
    (tmp_path / "mine.yaml").write_text(config)
    settings = load_settings(tmp_path / "mine.yaml")
    with error_with("mine.yaml:", "training.callbacks.0", "FILE.py:NAME"):
        check_settings(settings)


@pytest.mark.parametrize("folder", ["Checkpoints", "stranger"])
def test_code_in_a_runs_folder_is_not_run(tiny: MakeSettings, few_sprites: Sprites, folder: str) -> None:
    Path(folder).mkdir()
    Path(folder, "settings.json").write_text("{}")
    Path(folder, "evil.py").write_text("raise SystemExit('run')\n")
    with error_with("augmentation.function", "evil.py"):
        train(tiny(augmentation={"function": f"{folder}/evil.py:f"}), few_sprites)


def test_a_file_may_hold_a_dataclass(tiny: MakeSettings, few_sprites: Sprites) -> None:
    Path("my_ideas.py").write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n\n"
        "@dataclass\nclass Keep:\n    share: float = 1.0\n\n"
        "def keep(tokens, generator):\n    return tokens\n"
    )
    settings = tiny(augmentation={"function": "my_ideas.py:keep"}, training=ONE_STEP)
    assert train(settings, few_sprites).status == "finished"


def test_members_need_a_function_that_makes_models(tiny: MakeSettings, few_sprites: Sprites) -> None:
    with error_with("members: 2", "function"):
        train_members(tiny(members=2), few_sprites, model=build_model(TINY_MODEL, 167, 0))
    results = train_members(
        tiny(members=2, training=ONE_STEP),
        few_sprites,
        model=lambda vocabulary, seed: build_model(TINY_MODEL, vocabulary, seed),
    )
    assert [result.status for result in results] == ["finished", "finished"]


def test_a_model_of_another_vocabulary_is_refused(tiny: MakeSettings, few_sprites: Sprites) -> None:
    with error_with("model: ", "166 tokens", "167"):
        train(tiny(), few_sprites, model=build_model(TINY_MODEL, 166, 0))
