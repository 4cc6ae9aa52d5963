"""`sprites/text.py`: the classic files, whole or in three, and their faults."""

from pathlib import Path

import numpy as np
import pytest

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.sprites.loading import Sprites, load_sprites
from tests.conftest import write_palette, write_rows


def test_three_files_are_three_splits(few_folder: Path, few_sprites: Sprites) -> None:
    assert load_sprites(f"text:{few_folder}").fingerprint == few_sprites.fingerprint


def test_one_file_is_split_by_a_seed(procedural: Sprites, tmp_path: Path) -> None:
    whole = np.concatenate([procedural.tokens(split) for split in procedural.splits])
    write_rows(tmp_path / "pixel_color.txt", whole)
    write_palette(tmp_path / "colormap.txt", procedural.palette)
    first, second = (load_sprites(f"text:{tmp_path}", seed=seed) for seed in (0, 1))
    assert [len(first.splits[split]) for split in first.splits] == [632, 80, 80]
    assert first.fingerprint != second.fingerprint
    assert first.fingerprint == load_sprites(f"text:{tmp_path}", seed=0).fingerprint


def test_a_fault_is_placed(few_folder: Path) -> None:
    lines = (few_folder / "dev.txt").read_text().split("\n")
    (few_folder / "dev.txt").write_text("\n".join([lines[0], "167 " + lines[1].split(" ", 1)[1]]))
    with pytest.raises(PokemonGenError, match=r"dev\.txt:2:1: 167 is not in 0\.\.166"):
        load_sprites(f"text:{few_folder}")


def test_a_palette_too_small_for_the_tokens_is_a_fault(few_folder: Path) -> None:
    lines = (few_folder / "colormap.txt").read_text().splitlines()
    (few_folder / "colormap.txt").write_text("\n".join(lines[:5]))
    with pytest.raises(PokemonGenError, match=r"train\.txt:1:\d+: \d+ is not in 0\.\.4"):
        load_sprites(f"text:{few_folder}")


def test_an_empty_split_is_named(few_folder: Path) -> None:
    (few_folder / "dev.txt").write_text("")
    with pytest.raises(PokemonGenError, match="the dev split is empty"):
        load_sprites(f"text:{few_folder}")


def test_what_is_missing_is_named(few_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(PokemonGenError, match=r"nowhere: no such folder"):
        load_sprites("text:nowhere")
    (few_folder / "dev.txt").unlink()
    with pytest.raises(PokemonGenError, match=r"has neither pixel_color\.txt nor dev\.txt"):
        load_sprites(f"text:{few_folder}")
    (few_folder / "colormap.txt").rename(tmp_path / "colours.txt")
    with pytest.raises(PokemonGenError, match=r"has no colormap\.txt; name one with sprites\.palette"):
        load_sprites(f"text:{few_folder}")


def test_what_is_not_read_or_not_apart_is_noted(few_folder: Path, few_sprites: Sprites) -> None:
    write_rows(few_folder / "pixel_color.txt", few_sprites.tokens("train"))
    assert any("pixel_color.txt" in note for note in load_sprites("text:few").notes)
    (few_folder / "pixel_color.txt").unlink()
    assert load_sprites("text:few").notes == ()
    write_rows(few_folder / "test.txt", few_sprites.prompts("train")[:5])  # a blind test, known all the same
    (note,) = load_sprites("text:few").notes
    assert "5 prompts" in note
    assert "train" in note
