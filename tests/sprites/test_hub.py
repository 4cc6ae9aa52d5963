"""`sprites/hub.py`: data sets in local folders, which the code loads like those of the hub."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.sprites.loading import Sprites, load_palette, load_sprites
from tests.builders import REAL_SPRITES, needs_real_sprites


@pytest.fixture
def hub(few_sprites: Sprites, tmp_path: Path) -> Path:
    """Write the few sprites as two data sets of parquet files."""
    for split, rows in few_sprites.splits.items():
        table = datasets.Dataset.from_dict({"pixel_color": rows.tolist()})
        table.to_parquet(tmp_path / "hub" / "pokemon" / "data" / f"{split}-00000-of-00001.parquet")
    colours = datasets.Dataset.from_dict({"color": few_sprites.palette.rgb.tolist()})
    colours.to_parquet(tmp_path / "hub" / "colormap" / "data" / "train-00000-of-00001.parquet")
    splits = {"pokemon": ("train", "dev", "test"), "colormap": ("train",)}
    for name, parts in splits.items():  # the README names the files, as on the hub
        files = "".join(f"  - split: {s}\n    path: data/{s}-00000-of-00001.parquet\n" for s in parts)
        header = f"---\nconfigs:\n- config_name: default\n  data_files:\n{files}---\n"
        (tmp_path / "hub" / name / "README.md").write_text(header)
    return tmp_path / "hub"


def test_a_local_folder_is_read_like_a_data_set_on_the_hub(hub: Path, few_sprites: Sprites) -> None:
    sprites = load_sprites(f"hub:{hub / 'pokemon'}")
    assert sprites.fingerprint == few_sprites.fingerprint


def test_a_changed_folder_is_read_again(hub: Path, few_sprites: Sprites, tmp_path: Path) -> None:
    """`datasets` caches a local folder by its name, so a folder with new files could give the old sprites."""
    before = load_sprites(f"hub:{hub / 'pokemon'}").tokens("train")
    file = hub / "pokemon" / "data" / "train-00000-of-00001.parquet"
    datasets.Dataset.from_dict({"pixel_color": before[::-1].tolist()}).to_parquet(file)
    np.testing.assert_array_equal(load_sprites(f"hub:{hub / 'pokemon'}").tokens("train"), before[::-1])


def test_a_truncated_file_is_an_error(hub: Path) -> None:
    file = hub / "pokemon" / "data" / "train-00000-of-00001.parquet"
    file.write_bytes(file.read_bytes()[:3000])
    with pytest.raises(PokemonGenError, match="pokemon: damaged"):
        load_sprites(f"hub:{hub / 'pokemon'}")


def test_a_corrupted_file_is_an_error_with_its_cause(hub: Path) -> None:
    file = hub / "pokemon" / "data" / "train-00000-of-00001.parquet"
    content = bytearray(file.read_bytes())
    content[10:1500] = bytes(255 - byte for byte in content[10:1500])
    file.write_bytes(content)
    with pytest.raises(PokemonGenError, match="pokemon: damaged") as caught:
        load_sprites(f"hub:{hub / 'pokemon'}")
    assert "An error occurred while generating" not in str(caught.value)  # this names no cause


def test_the_palette_may_come_from_any_folder(hub: Path, few_sprites: Sprites, tmp_path: Path) -> None:
    (hub / "colormap").rename(tmp_path / "colours")
    sprites = load_sprites(f"hub:{hub / 'pokemon'}", palette=str(tmp_path / "colours"))
    assert sprites.fingerprint == few_sprites.fingerprint
    assert load_palette(str(tmp_path / "colours")) == few_sprites.palette


def test_without_a_network_the_error_names_alternatives(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(PokemonGenError) as caught:
        load_sprites("hub:lca0503/ml2025-hw4-pokemon")
    for fact in ("hub:lca0503/ml2025-hw4-pokemon", "procedural (embedded)", "text:FOLDER", "hub:FOLDER"):
        assert fact in str(caught.value)
    assert not caplog.records  # nothing of each retry


def test_a_missing_folder_is_named() -> None:
    with pytest.raises(PokemonGenError, match=r"hub:\./nowhere: no such folder"):
        load_sprites("hub:./nowhere", palette="./nowhere")


def test_a_data_set_without_the_columns_is_refused(hub: Path) -> None:
    with pytest.raises(PokemonGenError, match=r"'pixel_color' column.*'train' split"):
        load_sprites(f"hub:{hub / 'colormap'}")
    with pytest.raises(PokemonGenError, match="'color' column"):
        load_sprites(f"hub:{hub / 'pokemon'}", palette=str(hub / "pokemon"))


@needs_real_sprites
def test_the_real_sprites_have_equal_fingerprints_from_hub_and_text() -> None:
    hub = load_sprites(f"hub:{REAL_SPRITES / 'hub' / 'pokemon'}")
    text = load_sprites(f"text:{REAL_SPRITES / 'text'}")
    assert hub.fingerprint == text.fingerprint
    assert hub.tokens("test").shape == (80, 240)
    np.testing.assert_allclose(hub.background_share(), 0.38, atol=0.01)


def with_cell(hub: Path, name: str, split: str, row: int, change: Callable[[list[Any]], Any]) -> None:
    """Change one row of a data set."""
    column = {"pokemon": "pixel_color", "colormap": "color"}[name]
    file = hub / name / "data" / f"{split}-00000-of-00001.parquet"
    rows = datasets.Dataset.from_parquet(str(file), keep_in_memory=True)[column][:]
    rows[row] = change(rows[row])
    datasets.Dataset.from_dict({column: rows}).to_parquet(file)


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        (lambda row: [*row[:6], 0.9, *row[7:]], "number"),
        (lambda row: [*row[:6], None, *row[7:]], "number 7: an empty cell"),
        (lambda row: None, "an empty cell"),
    ],
    ids=["a fraction", "an empty cell", "an empty row"],
)
def test_a_cell_that_is_not_a_token_is_named(
    hub: Path, change: Callable[[list[Any]], Any], fact: str
) -> None:
    """Without this check, 0.9 would become 0 without a message."""
    with_cell(hub, "pokemon", "dev", 3, change)
    with pytest.raises(PokemonGenError, match=rf"dev, row \d+, column 'pixel_color'.*{fact}"):
        load_sprites(f"hub:{hub / 'pokemon'}")


@pytest.mark.parametrize("cell", [True, "12", 0.9], ids=["a Boolean", "a string", "a fraction"])
def test_a_column_of_another_type_is_refused(hub: Path, few_sprites: Sprites, cell: Any) -> None:
    rows = [[cell] * 400] * 8
    file = hub / "pokemon" / "data" / "dev-00000-of-00001.parquet"
    datasets.Dataset.from_dict({"pixel_color": rows}).to_parquet(file)
    with pytest.raises(PokemonGenError, match=rf"dev, row 1, column 'pixel_color', number 1: {cell!r} "):
        load_sprites(f"hub:{hub / 'pokemon'}")


@pytest.mark.parametrize("cell", ["#ffffff", None, [255, 255], [1.5, 2.5, 3.5]])
def test_an_invalid_colour_is_named(hub: Path, cell: Any) -> None:
    file = hub / "colormap" / "data" / "train-00000-of-00001.parquet"
    colours = [cell, cell] if not isinstance(cell, list) else [cell, [0, 0, 0] if len(cell) == 3 else [0, 0]]
    datasets.Dataset.from_dict({"color": colours}).to_parquet(file)
    with pytest.raises(PokemonGenError, match="train, row 1, column 'color'"):
        load_palette(str(hub / "colormap"))


def test_integers_may_be_stored_as_floats(hub: Path, few_sprites: Sprites) -> None:
    """Pandas stores a column that once had empty cells as floats."""
    for split in ("train", "dev", "test"):
        rows = few_sprites.tokens(split).astype(float).tolist()
        file = hub / "pokemon" / "data" / f"{split}-00000-of-00001.parquet"
        datasets.Dataset.from_dict({"pixel_color": rows}).to_parquet(file)
    assert load_sprites(f"hub:{hub / 'pokemon'}").fingerprint == few_sprites.fingerprint


def test_splits_of_a_data_set_may_have_their_usual_names(hub: Path, few_sprites: Sprites) -> None:
    data = hub / "pokemon" / "data"
    (data / "dev-00000-of-00001.parquet").rename(data / "validation-00000-of-00001.parquet")
    readme = hub / "pokemon" / "README.md"
    readme.write_text(readme.read_text().replace("dev", "validation"))
    assert load_sprites(f"hub:{hub / 'pokemon'}").fingerprint == few_sprites.fingerprint


@pytest.mark.parametrize("names", [("train", "dev", "test"), ("train", "validation", "test")])
def test_a_folder_without_a_readme_is_read(hub: Path, few_sprites: Sprites, names: tuple[str, ...]) -> None:
    for split, name in zip(("train", "dev", "test"), names, strict=True):
        file = hub / "pokemon" / "data" / f"{split}-00000-of-00001.parquet"
        file.rename(hub / "pokemon" / f"{name}.parquet")
    (hub / "pokemon" / "README.md").unlink()
    (hub / "pokemon" / "data").rmdir()
    assert load_sprites(f"hub:{hub / 'pokemon'}").fingerprint == few_sprites.fingerprint


def test_files_of_different_types_in_one_split_are_refused(hub: Path, few_sprites: Sprites) -> None:
    data = hub / "pokemon" / "data"
    (hub / "pokemon" / "README.md").unlink()
    booleans = datasets.Dataset.from_dict({"pixel_color": [[True] * 400] * 2})
    booleans.to_parquet(data / "train-00001-of-00002.parquet")
    with pytest.raises(PokemonGenError, match=r"train: .*different types.*bool"):
        load_sprites(f"hub:{hub / 'pokemon'}")


def test_a_file_without_rows_is_named(hub: Path) -> None:
    folder = hub / "rows"
    folder.mkdir()
    for split in ("train", "dev", "test"):
        (folder / f"{split}.jsonl").touch()
    with pytest.raises(PokemonGenError, match="rows"):
        load_sprites(f"hub:{folder}")


def test_a_missing_palette_is_reported_with_the_folder_that_was_searched(hub: Path) -> None:
    (hub / "colormap").rename(hub / "colours")
    with pytest.raises(PokemonGenError, match=rf"{hub / 'colormap'}.*sprites\.palette="):
        load_sprites(f"hub:{hub / 'pokemon'}")


def test_invalid_colours_name_their_data_set(hub: Path) -> None:
    file = hub / "colormap" / "data" / "train-00000-of-00001.parquet"
    for colours in ([[300, 0, 0], [1, 1, 1]], [[1, 1, 1], [1, 1, 1]]):
        datasets.Dataset.from_dict({"color": colours}).to_parquet(file)
        with pytest.raises(PokemonGenError, match=r"hub:.*colormap: "):
            load_palette(f"hub:{hub / 'colormap'}")
