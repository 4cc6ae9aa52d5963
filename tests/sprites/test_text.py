"""`sprites/text.py`: one file of sprites or one per split, and their faults."""

from pathlib import Path

import numpy as np
import pytest

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.sprites.loading import Sprites, load_sprites
from tests.builders import write_palette, write_rows


def test_one_file_per_split_is_read(few_folder: Path, few_sprites: Sprites) -> None:
    assert load_sprites(f"text:{few_folder}").fingerprint == few_sprites.fingerprint


def test_one_file_of_all_sprites_is_split_with_a_seed(procedural: Sprites, tmp_path: Path) -> None:
    sprites = np.concatenate([procedural.tokens(split) for split in procedural.splits])
    write_rows(tmp_path / "pixel_color.txt", sprites)
    write_palette(tmp_path / "colormap.txt", procedural.palette)
    first, second = (load_sprites(f"text:{tmp_path}", seed=seed) for seed in (0, 1))
    assert [len(first.splits[split]) for split in first.splits] == [632, 80, 80]
    assert first.fingerprint != second.fingerprint
    assert first.fingerprint == load_sprites(f"text:{tmp_path}", seed=0).fingerprint


def test_a_fault_is_reported_with_file_line_and_column(few_folder: Path) -> None:
    lines = (few_folder / "dev.txt").read_text().split("\n")
    (few_folder / "dev.txt").write_text("\n".join([lines[0], "167 " + lines[1].split(" ", 1)[1]]))
    with pytest.raises(PokemonGenError, match=r"dev\.txt:2:1: 167 is not in 0\.\.166"):
        load_sprites(f"text:{few_folder}")


def test_a_token_outside_the_palette_is_a_fault(few_folder: Path) -> None:
    lines = (few_folder / "colormap.txt").read_text().splitlines()
    (few_folder / "colormap.txt").write_text("\n".join(lines[:5]))
    with pytest.raises(PokemonGenError, match=r"train\.txt:1:\d+: \d+ is not in 0\.\.4"):
        load_sprites(f"text:{few_folder}")


def test_an_empty_split_is_named(few_folder: Path) -> None:
    (few_folder / "dev.txt").write_text("")
    with pytest.raises(PokemonGenError, match=r"few: .*dev.* empty"):
        load_sprites(f"text:{few_folder}")


def test_a_missing_folder_or_file_is_named(few_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(PokemonGenError, match=r"nowhere: no such folder"):
        load_sprites("text:nowhere")
    (few_folder / "dev.txt").unlink()
    with pytest.raises(PokemonGenError, match=r"text:few: .*pixel_color\.txt.* dev\.txt"):
        load_sprites(f"text:{few_folder}")
    (few_folder / "colormap.txt").rename(tmp_path / "colours.txt")
    with pytest.raises(PokemonGenError, match=r"text:few: .*colormap\.txt.*sprites\.palette=FILE"):
        load_sprites(f"text:{few_folder}")


def test_an_invalid_colormap_is_named(few_folder: Path) -> None:
    (few_folder / "colormap.txt").write_text("1 1 1\n1 1 1\n")
    with pytest.raises(PokemonGenError, match=r"few/colormap\.txt: .*\(1, 1, 1\) twice"):
        load_sprites(f"text:{few_folder}")


def test_a_file_of_all_sprites_and_some_splits_are_refused(few_folder: Path, few_sprites: Sprites) -> None:
    write_rows(few_folder / "pixel_color.txt", few_sprites.tokens("train"))
    (few_folder / "dev.txt").unlink()
    with pytest.raises(PokemonGenError, match=r"pixel_color\.txt and train\.txt, test\.txt.* dev\.txt"):
        load_sprites(f"text:{few_folder}")


def test_a_file_that_is_not_read_is_noted(few_folder: Path, few_sprites: Sprites) -> None:
    assert load_sprites("text:few").notes == ()
    write_rows(few_folder / "pixel_color.txt", few_sprites.tokens("train"))
    (note,) = load_sprites("text:few").notes
    assert "pixel_color.txt" in note


def test_sprites_that_two_splits_share_are_noted(few_folder: Path, few_sprites: Sprites) -> None:
    write_rows(few_folder / "test.txt", few_sprites.prompts("train")[:5])  # blind, but with prompts of train
    (note,) = load_sprites("text:few").notes
    assert "5 prompts" in note
    assert "train and test" in note
