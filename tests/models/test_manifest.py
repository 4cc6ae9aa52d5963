"""`models/manifest.py`: which checkpoints count as complete."""

from pathlib import Path

import pytest

from pokemon_gen.models.manifest import (
    MANIFEST_NAME,
    fault_of_contents,
    fault_of_sizes,
    has_manifest,
    write_manifest,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "weights").write_bytes(bytes(100))
    (tmp_path / "state.json").write_text("{}")
    write_manifest(tmp_path)
    return tmp_path


def test_a_complete_folder_has_no_fault(folder: Path) -> None:
    assert has_manifest(folder)
    assert fault_of_sizes(folder) is fault_of_contents(folder) is None
    (folder / "notes.txt").write_text("of a person")
    assert fault_of_contents(folder) is None
    write_manifest(folder)  # again, with the new file and without itself
    assert fault_of_contents(folder) is None


def test_a_missing_or_cut_off_file_is_named_by_its_size(folder: Path) -> None:
    (folder / "weights").write_bytes(bytes(99))
    assert fault_of_sizes(folder) == fault_of_contents(folder) == "weights has 99 bytes instead of 100"
    (folder / "weights").unlink()
    assert fault_of_sizes(folder) == "weights is missing"


def test_a_file_of_the_same_size_is_named_by_its_content(folder: Path) -> None:
    (folder / "weights").write_bytes(bytes(99) + b"\1")
    assert fault_of_sizes(folder) is None
    assert str(fault_of_contents(folder)).startswith("weights was changed")


@pytest.mark.parametrize("text", ["", "[]", '{"files": 1}', '{"files": {"weights": 5}}', '{"files": null}'])
def test_a_damaged_manifest_is_a_fault(folder: Path, text: str) -> None:
    (folder / MANIFEST_NAME).write_text(text)
    for fault in (fault_of_sizes(folder), fault_of_contents(folder)):
        assert fault == f"{MANIFEST_NAME} is damaged"


def test_a_folder_of_an_earlier_version_has_no_fault(tmp_path: Path) -> None:
    assert fault_of_contents(tmp_path) is None
