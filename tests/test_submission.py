"""`submission.py`: written whole, read back, every fault found."""

import hashlib
import json
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement

from pokemon_gen import submission
from pokemon_gen.errors import PokemonGenError
from pokemon_gen.submission import check, exact_requirements, write
from tests.conftest import write_rows

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


def test_the_form_is_80_lines_of_400_integers(written: Path) -> None:
    lines = written.read_text().splitlines()
    assert len(lines) == 80
    assert [int(token) for token in lines[7].split(" ")] == SPRITES[7].tolist()
    assert str(check(written)) == "ok: 80 sprites x 400 tokens, prompts kept"


def test_the_sidecar_says_how_to_make_it_again(written: Path) -> None:
    facts = json.loads(written.with_suffix(".json").read_text())
    assert facts["sha256"] == hashlib.sha256(written.read_bytes()).hexdigest()
    assert facts["seed"] == 3
    assert len(facts["prompt_hashes"]) == 80
    assert facts["git_commit"] is None or len(facts["git_commit"].split("+")[0]) == 40
    assert facts["python"].count(".") == 2
    versions = {Requirement(line).name for line in facts["requirements"]}
    assert {"torch", "transformers", "numpy", "tokenizers"} <= versions  # of ours and of theirs


def test_a_package_that_is_not_installed_names_no_requirements(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", missing)
    assert exact_requirements() == []


def test_requirements_are_exact_and_installable() -> None:
    for line in exact_requirements():
        specifier = str(Requirement(line).specifier)
        assert specifier.startswith("==")
        assert "+" not in specifier


def test_prompts_are_checked_by_the_best_there_is(written: Path, tmp_path: Path) -> None:
    sprite = SPRITES[2].copy()
    sprite[5] = (sprite[5] + 1) % 167
    change(written, 3, " ".join(map(str, sprite)))
    prompts = write_rows(tmp_path / "test.txt", PROMPTS)
    column = len(" ".join(map(str, sprite[:5]))) + 2
    message = f"mine.txt:3:{column}: the prompt was changed: token 6 is {sprite[5]}, not {SPRITES[2, 5]}"
    assert str(check(written, prompts)).endswith(message)
    assert str(check(written)).endswith("mine.txt:3:1: the prompt (the first 240 tokens) was changed")
    written.with_suffix(".json").unlink()
    assert str(check(written)) == "ok: 80 sprites x 400 tokens, prompts not checked"


def test_whole_sprites_serve_as_prompts(written: Path, tmp_path: Path) -> None:
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
def test_a_fault_is_placed(written: Path, line: int, text: str, fault: str) -> None:
    change(written, line, text)
    assert f"mine.txt:{fault}" in str(check(written))


def test_a_byte_order_mark_is_a_fault_of_a_submission(written: Path) -> None:
    written.write_bytes(b"\xef\xbb\xbf" + written.read_bytes())
    assert "mine.txt:1:1: begins with a byte order mark" in str(check(written))


def test_a_good_file_of_another_making_than_its_sidecars_is_named(written: Path) -> None:
    """Another completion is as good a form: only the hash in the sidecar tells."""
    sprite = SPRITES[2].copy()
    sprite[300] = (sprite[300] + 1) % 167
    change(written, 3, " ".join(map(str, sprite)))
    report = check(written)
    assert not report.faults
    assert str(report).endswith("prompts kept; not the file that its sidecar describes (another SHA-256)")


def test_every_fault_is_listed(written: Path) -> None:
    for line in range(1, 41):
        change(written, line, "x")
    assert str(check(written)).count("'x' is not an integer") == 40


@pytest.mark.parametrize(("keep", "place"), [(79, "80:1: 79 lines, not 80"), (81, "81:1: 81 lines, not 80")])
def test_lines_are_counted(written: Path, keep: int, place: str) -> None:
    lines = (written.read_text() * 2).splitlines()[:keep]
    written.write_text("\n".join(lines))
    assert place in str(check(written))


def test_what_exists_is_kept_unless_told(written: Path) -> None:
    before = written.read_bytes()
    with pytest.raises(PokemonGenError, match=r"mine\.txt exists and is kept; --overwrite replaces it"):
        write(written, SPRITES[::-1], PROMPTS[::-1], 167, {})
    assert written.read_bytes() == before
    write(written, SPRITES[::-1], PROMPTS[::-1], 167, {}, overwrite=True)
    assert written.read_bytes() != before
    assert not check(written).faults


def test_nothing_half_written_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "mine.txt")

    monkeypatch.setattr(Path, "replace", full_disk)
    with pytest.raises(OSError, match="No space"):
        write(tmp_path / "mine.txt", SPRITES, PROMPTS, 167, {})
    assert list(tmp_path.iterdir()) == []


def test_a_faulty_submission_takes_no_place(tmp_path: Path) -> None:
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
def test_a_broken_sidecar_is_named(written: Path, text: str) -> None:
    written.with_suffix(".json").write_text(text)
    with pytest.raises(PokemonGenError, match=r"mine\.json: not a sidecar"):
        check(written)


def test_completions_are_checked_by_their_sidecar_too(written: Path) -> None:
    """Which has no hashes: completions' prompts may be of any lengths."""
    facts = json.loads(written.with_suffix(".json").read_text())
    few = {key: facts[key] for key in ("sha256", "palette_size")}
    written.with_suffix(".json").write_text(json.dumps(few))
    assert str(check(written)) == "ok: 80 sprites x 400 tokens, prompts not checked"


def test_outside_git_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submission, "__file__", str(tmp_path / "submission.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert submission.git_commit() is None


def test_a_submission_is_held_to_the_exact_form(tmp_path: Path) -> None:
    """What Python reads all the same, the grading server may not."""
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


def test_a_sidecar_ends_with_what_nobody_reads(written: Path) -> None:
    assert list(json.loads(written.with_suffix(".json").read_text()))[-1] == "prompt_hashes"
