"""`sprites/hub.py`: the real loading code, on local folders laid out as the hub answers."""

from pathlib import Path

import datasets
import numpy as np
import pytest

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.sprites import Sprites, load_palette, load_sprites
from tests.conftest import REAL_SPRITES, needs_real_sprites


@pytest.fixture
def hub(few_sprites: Sprites, tmp_path: Path) -> Path:
    """Write the few sprites as two data sets of parquet files."""
    for split, rows in few_sprites.dataset.items():
        rows.to_parquet(tmp_path / "hub" / "pokemon" / "data" / f"{split}-00000-of-00001.parquet")
    colours = datasets.Dataset.from_dict({"color": few_sprites.palette.rgb.tolist()})
    colours.to_parquet(tmp_path / "hub" / "colormap" / "data" / "train-00000-of-00001.parquet")
    splits = {"pokemon": ("train", "dev", "test"), "colormap": ("train",)}
    for name, parts in splits.items():  # laid out to the letter: the README names the files
        files = "".join(f"  - split: {s}\n    path: data/{s}-00000-of-00001.parquet\n" for s in parts)
        header = f"---\nconfigs:\n- config_name: default\n  data_files:\n{files}---\n"
        (tmp_path / "hub" / name / "README.md").write_text(header)
    return tmp_path / "hub"


def test_a_local_folder_is_read_as_the_hub_would_answer(hub: Path, few_sprites: Sprites) -> None:
    sprites = load_sprites(f"hub:{hub / 'pokemon'}")
    assert sprites.fingerprint == few_sprites.fingerprint


def test_a_folder_is_read_anew_each_time(hub: Path, few_sprites: Sprites, tmp_path: Path) -> None:
    """`datasets` caches a local folder by its name: another one of that name must not be mixed up."""
    before = load_sprites(f"hub:{hub / 'pokemon'}").tokens("train")
    file = hub / "pokemon" / "data" / "train-00000-of-00001.parquet"
    datasets.Dataset.from_dict({"pixel_color": before[::-1].tolist()}).to_parquet(file)
    np.testing.assert_array_equal(load_sprites(f"hub:{hub / 'pokemon'}").tokens("train"), before[::-1])


def test_a_file_cut_short_is_an_error(hub: Path) -> None:
    file = hub / "pokemon" / "data" / "train-00000-of-00001.parquet"
    file.write_bytes(file.read_bytes()[:3000])
    with pytest.raises(PokemonGenError, match="pokemon: damaged, or not laid out as a data set"):
        load_sprites(f"hub:{hub / 'pokemon'}")


def test_a_file_with_flipped_bytes_is_an_error_that_says_what(hub: Path) -> None:
    file = hub / "pokemon" / "data" / "train-00000-of-00001.parquet"
    whole = bytearray(file.read_bytes())
    whole[10:1500] = bytes(255 - byte for byte in whole[10:1500])
    file.write_bytes(whole)
    with pytest.raises(PokemonGenError, match="pokemon: damaged, or not laid out") as found:
        load_sprites(f"hub:{hub / 'pokemon'}")
    assert "An error occurred while generating" not in str(found.value)  # which says nothing


def test_any_pair_of_data_sets_works(hub: Path, few_sprites: Sprites, tmp_path: Path) -> None:
    (hub / "colormap").rename(tmp_path / "colours")
    sprites = load_sprites(f"hub:{hub / 'pokemon'}", palette=str(tmp_path / "colours"))
    assert sprites.fingerprint == few_sprites.fingerprint
    assert load_palette(str(tmp_path / "colours")) == few_sprites.palette


def test_without_a_network_it_says_what_to_use_instead() -> None:
    with pytest.raises(
        PokemonGenError, match=r"cannot be had from the hub(.|\n)*generated \(embedded\), text:FOLDER"
    ):
        load_sprites("hub:lca0503/ml2025-hw4-pokemon")


def test_a_folder_that_is_not_there_is_named() -> None:
    with pytest.raises(PokemonGenError, match=r"hub:\./nowhere: no such folder"):
        load_sprites("hub:./nowhere", palette="./nowhere")


def test_a_data_set_of_another_form_is_refused(hub: Path) -> None:
    with pytest.raises(PokemonGenError, match="has no 'pixel_color' column in a 'train' split"):
        load_sprites(f"hub:{hub / 'colormap'}")
    with pytest.raises(PokemonGenError, match="has no 'color' column"):
        load_sprites(f"hub:{hub / 'pokemon'}", palette=str(hub / "pokemon"))


@needs_real_sprites
def test_the_real_sprites_are_the_same_from_hub_and_text() -> None:
    hub = load_sprites(f"hub:{REAL_SPRITES / 'hub' / 'pokemon'}")
    text = load_sprites(f"text:{REAL_SPRITES / 'text'}")
    assert hub.fingerprint == text.fingerprint
    assert hub.tokens("test").shape == (80, 240)
    np.testing.assert_allclose(hub.background_share(), 0.38, atol=0.01)
