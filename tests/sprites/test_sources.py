"""`sprites/sources.py`: the names of sources, and the kinds of folders."""

import shutil
from pathlib import Path

import datasets
import pytest
from PIL import Image

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.sprites.loading import Sprites, load_sprites
from pokemon_gen.sprites.sources import find_splits, parse_source, visible_files


def test_the_files_of_a_folder_decide_its_kind(few_folder: Path, few_sprites: Sprites) -> None:
    assert parse_source("few") == ("text", "few")
    assert load_sprites("few").fingerprint == few_sprites.fingerprint
    assert load_sprites("few").source == "text:few"
    Path("my art #2").mkdir()
    Image.new("RGB", (20, 20)).save("my art #2/a.png")
    assert parse_source("my art #2") == ("images", "my art #2")
    Path("C:art").mkdir()
    shutil.copy("my art #2/a.png", "C:art")
    assert parse_source("C:art") == ("images", "C:art")
    datasets.Dataset.from_dict({"pixel_color": [[1]]}).to_parquet("data/set/train.parquet")
    assert parse_source("data/set") == ("hub", "data/set")


def test_a_folder_without_sprites_is_reported_with_the_files_it_needs() -> None:
    Path("empty").mkdir()
    with pytest.raises(PokemonGenError, match=r"empty: .*\.png.*train\.txt.*\.parquet"):
        parse_source("empty")


@pytest.mark.parametrize(
    ("source", "fact"),
    [
        ("proceduarl", "did you mean 'procedural'"),
        ("image:art", "did you mean 'images'"),
        ("nowhere", "'nowhere' .*procedural.*hub:.*text:.*images:"),
        ("procedural:x", "'procedural:x' .*procedural.*hub:.*text:.*images:"),
        ("text:", "'text:' .*folder"),
        ("text:nowhere", "text:nowhere: no such folder"),
        ("lca0503/ml2025-hw4-pokemon", "hub:lca0503/ml2025-hw4-pokemon"),
        ("hub:/nowhere", "hub:/nowhere: no such folder"),
        ("hub:a/b/c", "no such folder"),
        ("hub:my art", "no such folder"),
        ("../nope", "no such folder"),
        ("~/art", "no such folder"),
        ("images:", "'images:' .*folder"),
        ("images", "'images' .*folder"),
    ],
)
def test_an_unknown_source_is_named(source: str, fact: str) -> None:
    with pytest.raises(PokemonGenError, match=fact):
        parse_source(source)
    with pytest.raises(PokemonGenError, match=fact):
        load_sprites(source)


def test_an_ambiguous_folder_is_reported_with_both_kinds() -> None:
    """Kaggle and the hub's image folders keep a table next to the pictures."""
    Path("art").mkdir()
    Image.new("RGB", (20, 20)).save("art/a.png")
    for name, kind in (("labels.csv", "hub"), ("train.txt", "text")):
        Path("art", name).touch()
        with pytest.raises(PokemonGenError, match=rf"{name} and a\.png.*{kind}:art or images:art"):
            parse_source("art")
        Path("art", name).unlink()


def test_links_to_folders_are_followed_but_not_in_circles() -> None:
    Path("art/in").mkdir(parents=True)
    Image.new("RGB", (20, 20)).save("art/in/a.png")
    Path("linked").mkdir()
    Path("linked/there").symlink_to(Path("art").resolve())
    Path("art/in/circle").symlink_to(Path("art").resolve())
    assert [path.name for path in visible_files(Path("linked"))] == ["a.png"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["train_images", "val_images", "test_images"], ["train_images", "val_images", "test_images"]),
        (["training_set", "Validation", "01_test"], ["training_set", "Validation", "01_test"]),
        (["train", "dev", "eval", "test"], ["train", "dev", "test"]),
        (["trains", "devil", "testament"], []),
    ],
)
def test_splits_are_found_by_their_usual_names(names: list[str], expected: list[str]) -> None:
    assert list(find_splits(names, "here").values()) == expected
