"""Submissions are written completely, read back, and checked for every fault."""

import hashlib
import importlib.metadata
import json
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement

from pokemon_gen import submission
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.submission import check, exact_requirements, hash_prompt, write
from tests.builders import write_rows

SPRITES = np.random.default_rng(0).integers(0, 167, (80, 400))
PROMPTS = SPRITES[:, :240]


@pytest.fixture
def written(tmp_path: Path) -> Path:
    write(tmp_path / "mine.txt", SPRITES, PROMPTS, 167, {"seed": 3})
    return tmp_path / "mine.txt"


def change(file: Path, line: int, text: str) -> None:
    lines = file.read_text().split("\n")
    lines[line - 1] = text
    file.write_text("\n".join(lines))


def test_a_submission_has_80_lines_of_400_integers(written: Path) -> None:
    lines = written.read_text().splitlines()
    assert len(lines) == 80
    assert [int(token) for token in lines[7].split(" ")] == SPRITES[7].tolist()
    assert str(check(written)) == "ok: 80 sprites x 400 tokens, prompts kept"


def test_the_sidecar_says_how_to_reproduce_the_file(written: Path) -> None:
    metadata = json.loads(written.with_suffix(".json").read_text())
    assert metadata["sha256"] == hashlib.sha256(written.read_bytes()).hexdigest()
    assert metadata["seed"] == 3
    assert len(metadata["prompt_hashes"]) == 80
    assert metadata["git_commit"] is None or len(metadata["git_commit"].split("+")[0]) == 40
    assert metadata["python"].count(".") == 2
    names = {Requirement(line).name for line in metadata["requirements"]}
    assert {"torch", "transformers", "numpy", "tokenizers"} <= names  # direct and indirect requirements


def test_a_package_that_is_not_installed_has_the_same_requirements(monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs from its repository then."""
    installed, requires = exact_requirements(), importlib.metadata.requires

    def missing(name: str) -> list[str] | None:
        if name == "pokemon-gen":
            raise importlib.metadata.PackageNotFoundError(name)
        return requires(name)

    monkeypatch.setattr(importlib.metadata, "requires", missing)
    assert exact_requirements() == installed


def test_requirements_are_exact_and_installable() -> None:
    for line in exact_requirements():
        specifier = str(Requirement(line).specifier)
        assert specifier.startswith("==")
        assert "+" not in specifier


def test_prompts_are_checked_with_a_file_of_prompts_or_else_with_the_sidecar(
    written: Path, tmp_path: Path
) -> None:
    sprite = SPRITES[2].copy()
    sprite[5] = (sprite[5] + 1) % 167
    change(written, 3, " ".join(map(str, sprite)))
    prompts = write_rows(tmp_path / "test.txt", PROMPTS)
    column = len(" ".join(map(str, sprite[:5]))) + 2
    report = str(check(written, prompts))
    for fact in (f"mine.txt:3:{column}: ", "prompt", f"token 6 is {sprite[5]}, not {SPRITES[2, 5]}"):
        assert fact in report
    report = str(check(written))
    for fact in ("mine.txt:3:1: ", "prompt", "240 tokens"):
        assert fact in report
    written.with_suffix(".json").unlink()
    assert str(check(written)) == "ok: 80 sprites x 400 tokens, prompts not checked"


def test_the_last_token_of_a_prompt_is_compared_like_the_first(written: Path, tmp_path: Path) -> None:
    """By the sidecar's hashes, by a file of prompts, and by a file of whole sprites."""
    sprite = SPRITES[2].copy()
    sprite[239] = (sprite[239] + 1) % 167
    change(written, 3, " ".join(map(str, sprite)))
    assert "3:1: the prompt" in str(check(written))
    for rows in (PROMPTS, SPRITES):
        assert "token 240" in str(check(written, write_rows(tmp_path / "prompts.txt", rows)))


def test_a_hash_is_that_of_the_whole_prompt() -> None:
    text = " ".join(map(str, PROMPTS[0]))
    assert hash_prompt(PROMPTS[0]) == hashlib.sha256(text.encode()).hexdigest()[:16]


def test_complete_sprites_can_serve_as_prompts(written: Path, tmp_path: Path) -> None:
    other_bottoms = SPRITES.copy()
    other_bottoms[:, 240:] = 0
    assert not check(written, write_rows(tmp_path / "dev.txt", other_bottoms)).faults


@pytest.mark.parametrize(
    ("line", "text", "fault"),
    [
        (4, " ".join(["0"] * 399), "4:798: 399 tokens, not 400"),
        (5, " ".join(["0"] * 399 + ["167"]), "5:799: 167 is not in 0..166"),
        (6, " ".join(["-1"] + ["0"] * 399), "6:1: -1 is not in 0..166"),
        (7, " ".join(["0", "red"] + ["0"] * 398), "7:3: 'red' is not an integer"),
        (8, "", "8:1: blank line"),
    ],
)
def test_a_fault_is_reported_with_its_place(written: Path, line: int, text: str, fault: str) -> None:
    change(written, line, text)
    assert f"mine.txt:{fault}" in str(check(written))


def test_a_byte_order_mark_is_a_fault(written: Path) -> None:
    written.write_bytes(b"\xef\xbb\xbf" + written.read_bytes())
    (fault,) = check(written).faults
    assert (fault.line, fault.column) == (1, 1)
    assert "byte order mark" in fault.message


def test_a_valid_file_that_differs_from_its_sidecar_is_reported(written: Path) -> None:
    """Another completion has a valid form too, so only the hash in the sidecar shows the difference."""
    sprite = SPRITES[2].copy()
    sprite[300] = (sprite[300] + 1) % 167
    change(written, 3, " ".join(map(str, sprite)))
    report = check(written)
    assert not report.faults
    assert report.changed
    for fact in ("prompts kept", "sidecar", "SHA-256"):
        assert fact in str(report)


def test_every_fault_is_listed(written: Path) -> None:
    for line in range(1, 41):
        change(written, line, "x")
    assert str(check(written)).count("'x' is not an integer") == 40


@pytest.mark.parametrize(("keep", "place"), [(79, "80:1: 79 lines, not 80"), (81, "81:1: 81 lines, not 80")])
def test_lines_are_counted(written: Path, keep: int, place: str) -> None:
    lines = (written.read_text() * 2).splitlines()[:keep]
    written.write_text("\n".join(lines))
    assert place in str(check(written))


def test_an_existing_submission_is_replaced_only_with_permission(written: Path) -> None:
    before = written.read_bytes()
    with pytest.raises(PokemonGenError, match=r"mine\.txt.*--overwrite"):
        write(written, SPRITES[::-1], PROMPTS[::-1], 167, {})
    assert written.read_bytes() == before
    write(written, SPRITES[::-1], PROMPTS[::-1], 167, {}, overwrite=True)
    assert written.read_bytes() != before
    assert not check(written).faults


def test_a_failed_write_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "mine.txt")

    monkeypatch.setattr(Path, "replace", full_disk)
    with pytest.raises(OSError, match="No space"):
        write(tmp_path / "mine.txt", SPRITES, PROMPTS, 167, {})
    assert list(tmp_path.iterdir()) == []


def test_a_faulty_submission_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(PokemonGenError, match=r"not in 0\.\.99"):
        write(tmp_path / "mine.txt", SPRITES, PROMPTS, 100, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{}",
        '{"palette_size": "x", "prompt_hashes": [], "prompt_length": 240}',
        '{"prompt_hashes": ["a"]}',
    ],
)
def test_a_broken_sidecar_is_an_error_that_names_it(written: Path, text: str) -> None:
    written.with_suffix(".json").write_text(text)
    with pytest.raises(PokemonGenError, match=r"mine\.json: .*sidecar"):
        check(written)


def test_completions_are_checked_with_their_sidecar_too(written: Path) -> None:
    """Their sidecar has no hashes, because their prompts may have different lengths."""
    metadata = json.loads(written.with_suffix(".json").read_text())
    few = {key: metadata[key] for key in ("sha256", "palette_size")}
    written.with_suffix(".json").write_text(json.dumps(few))
    assert str(check(written)) == "ok: 80 sprites x 400 tokens, prompts not checked"


def test_a_file_outside_its_repository_has_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submission, "__file__", str(tmp_path / "submission.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert submission.git_commit() is None


def test_a_submission_must_have_the_strict_form(tmp_path: Path) -> None:
    """Python accepts more than the grading server may accept."""
    good = "\n".join(" ".join(["0"] * 400) for _ in range(80))
    file = tmp_path / "a.txt"
    for end in ("", "\n", "\r\n"):
        file.write_bytes((good.replace("\n", "\r\n" if end == "\r\n" else "\n") + end).encode())
        assert not check(file).faults
    for bad in (good.replace(" ", "  ", 1), good.replace("0 ", "00 ", 1), good.replace("0 ", "0\u00a0", 1)):
        file.write_text(bad)
        (fault,) = check(file).faults
        assert fault.line == 1
    file.write_bytes(good.replace("\n", "\r").encode())
    assert check(file).faults


def test_a_sidecar_ends_with_the_hashes_that_nobody_reads(written: Path) -> None:
    assert list(json.loads(written.with_suffix(".json").read_text()))[-1] == "prompt_hashes"
