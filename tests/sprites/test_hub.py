"""`sprites/hub.py`: the real loading code, on local folders laid out as the hub answers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.sprites.loading import Sprites, load_palette, load_sprites
from tests.conftest import REAL_SPRITES, needs_real_sprites


@pytest.fixture
def hub(few_sprites: Sprites, tmp_path: Path) -> Path:
    """Write the few sprites as two data sets of parquet files."""
    for split, rows in few_sprites.splits.items():
        table = datasets.Dataset.from_dict({"pixel_color": rows.tolist()})
        table.to_parquet(tmp_path / "hub" / "pokemon" / "data" / f"{split}-00000-of-00001.parquet")
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
        PokemonGenError, match=r"cannot be had from the hub(.|\n)*procedural \(embedded\), text:FOLDER"
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


def with_cell(hub: Path, name: str, split: str, row: int, change: Callable[[list[Any]], Any]) -> None:
    """Write a data set in which one row is another."""
    column = {"pokemon": "pixel_color", "colormap": "color"}[name]
    file = hub / name / "data" / f"{split}-00000-of-00001.parquet"
    rows = datasets.Dataset.from_parquet(str(file), keep_in_memory=True)[column][:]
    rows[row] = change(rows[row])
    datasets.Dataset.from_dict({column: rows}).to_parquet(file)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda row: [*row[:6], 0.9, *row[7:]], "number"),
        (lambda row: [*row[:6], None, *row[7:]], "number 7: an empty cell"),
        (lambda row: None, "an empty cell"),
    ],
    ids=["a fraction", "an empty cell", "an empty row"],
)
def test_a_cell_that_is_no_token_is_named(hub: Path, change: Callable[[list[Any]], Any], what: str) -> None:
    """Otherwise 0.9 is 0, and nothing says so."""
    with_cell(hub, "pokemon", "dev", 3, change)
    with pytest.raises(PokemonGenError, match=rf"dev, row \d+, column 'pixel_color'.*{what}"):
        load_sprites(f"hub:{hub / 'pokemon'}")


@pytest.mark.parametrize("cell", [True, "12", 0.9], ids=["a truth value", "a text", "a fraction"])
def test_a_column_of_another_type_is_no_tokens(hub: Path, few_sprites: Sprites, cell: Any) -> None:
    rows = [[cell] * 400] * 8
    file = hub / "pokemon" / "data" / "dev-00000-of-00001.parquet"
    datasets.Dataset.from_dict({"pixel_color": rows}).to_parquet(file)
    with pytest.raises(PokemonGenError, match=rf"dev, row 1, column 'pixel_color', number 1: {cell!r} is no"):
        load_sprites(f"hub:{hub / 'pokemon'}")


@pytest.mark.parametrize("cell", ["#ffffff", None, [255, 255], [1.5, 2.5, 3.5]])
def test_a_colour_that_is_none_is_named(hub: Path, cell: Any) -> None:
    file = hub / "colormap" / "data" / "train-00000-of-00001.parquet"
    colours = [cell, cell] if not isinstance(cell, list) else [cell, [0, 0, 0] if len(cell) == 3 else [0, 0]]
    datasets.Dataset.from_dict({"color": colours}).to_parquet(file)
    with pytest.raises(PokemonGenError, match="train, row 1, column 'color'"):
        load_palette(str(hub / "colormap"))


def test_whole_numbers_may_be_written_as_fractions(hub: Path, few_sprites: Sprites) -> None:
    """As pandas writes a column that once had empty cells."""
    for split in ("train", "dev", "test"):
        rows = few_sprites.tokens(split).astype(float).tolist()
        file = hub / "pokemon" / "data" / f"{split}-00000-of-00001.parquet"
        datasets.Dataset.from_dict({"pixel_color": rows}).to_parquet(file)
    assert load_sprites(f"hub:{hub / 'pokemon'}").fingerprint == few_sprites.fingerprint


def test_a_data_sets_splits_go_by_their_usual_names(hub: Path, few_sprites: Sprites) -> None:
    data = hub / "pokemon" / "data"
    (data / "dev-00000-of-00001.parquet").rename(data / "validation-00000-of-00001.parquet")
    readme = hub / "pokemon" / "README.md"
    readme.write_text(readme.read_text().replace("dev", "validation"))
    assert load_sprites(f"hub:{hub / 'pokemon'}").fingerprint == few_sprites.fingerprint


@pytest.mark.parametrize("names", [("train", "dev", "test"), ("train", "validation", "test")])
def test_a_folder_needs_no_readme(hub: Path, few_sprites: Sprites, names: tuple[str, ...]) -> None:
    for split, name in zip(("train", "dev", "test"), names, strict=True):
        file = hub / "pokemon" / "data" / f"{split}-00000-of-00001.parquet"
        file.rename(hub / "pokemon" / f"{name}.parquet")
    (hub / "pokemon" / "README.md").unlink()
    (hub / "pokemon" / "data").rmdir()
    assert load_sprites(f"hub:{hub / 'pokemon'}").fingerprint == few_sprites.fingerprint


def test_the_files_of_a_split_are_of_one_type(hub: Path, few_sprites: Sprites) -> None:
    data = hub / "pokemon" / "data"
    (hub / "pokemon" / "README.md").unlink()
    truths = datasets.Dataset.from_dict({"pixel_color": [[True] * 400] * 2})
    truths.to_parquet(data / "train-00001-of-00002.parquet")
    with pytest.raises(PokemonGenError, match=r"train: .* files are of different types.*bool"):
        load_sprites(f"hub:{hub / 'pokemon'}")


def test_a_file_without_rows_is_named(hub: Path) -> None:
    folder = hub / "rows"
    folder.mkdir()
    for split in ("train", "dev", "test"):
        (folder / f"{split}.jsonl").touch()
    with pytest.raises(PokemonGenError, match="rows"):
        load_sprites(f"hub:{folder}")


def test_a_folder_without_a_palette_says_where_it_was_looked_for(hub: Path) -> None:
    (hub / "colormap").rename(hub / "colours")
    with pytest.raises(PokemonGenError, match=rf"no folder {hub / 'colormap'}.*sprites\.palette="):
        load_sprites(f"hub:{hub / 'pokemon'}")


def test_colours_that_are_no_palette_name_their_data_set(hub: Path) -> None:
    file = hub / "colormap" / "data" / "train-00000-of-00001.parquet"
    for colours in ([[300, 0, 0], [1, 1, 1]], [[1, 1, 1], [1, 1, 1]]):
        datasets.Dataset.from_dict({"color": colours}).to_parquet(file)
        with pytest.raises(PokemonGenError, match=r"hub:.*colormap: "):
            load_palette(f"hub:{hub / 'colormap'}")
