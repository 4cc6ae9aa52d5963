"""`sprites/images.py`: a folder of pictures becomes splits, a palette and notes."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.palette import Palette, to_picture
from pokemon_gen.sprites.images import learn_palette
from pokemon_gen.sprites.loading import Sprites, load_sprites
from pokemon_gen.sprites.pictures import find_images, read_pictures
from tests.builders import write_palette


def _read(files: list[Path]) -> np.ndarray:
    return read_pictures(files).rgb


@pytest.fixture
def pictures(few_sprites: Sprites) -> np.ndarray:
    return to_picture(few_sprites.tokens("train"), few_sprites.palette)  # (24, 20, 20, 3)


@pytest.fixture
def folder(pictures: np.ndarray, tmp_path: Path) -> Path:
    """Write the sprites as files of several kinds: plain, upscaled, and GIF."""
    (tmp_path / "art").mkdir()
    for number, picture in enumerate(pictures):
        image = Image.fromarray(picture)
        if number % 3 == 1:
            image = image.resize((140, 140), Image.Resampling.NEAREST)
        image.save(tmp_path / "art" / f"{number:02d}.{'gif' if number % 3 == 2 else 'png'}")
    return tmp_path / "art"


def test_pictures_in_the_palettes_colours_convert_exactly(
    folder: Path, few_sprites: Sprites, tmp_path: Path
) -> None:
    palette = write_palette(tmp_path / "colours.txt", few_sprites.palette)
    sprites = load_sprites(f"images:{folder}", palette=str(palette))
    rows = np.concatenate([sprites.tokens(split) for split in sprites.splits])
    expected = few_sprites.tokens("train")
    np.testing.assert_array_equal(np.unique(rows, axis=0), np.unique(expected, axis=0))


def test_a_palette_is_learned_with_white_first(folder: Path) -> None:
    sprites = load_sprites(f"images:{folder}", colours=32)
    assert 24 <= len(sprites.palette) <= 32
    assert sprites.palette.rgb[0].tolist() == [255, 255, 255]


def test_a_learned_palette_of_few_colours_is_exact() -> None:
    pictures = np.random.default_rng(0).integers(0, 2, (3, 20, 20, 1)).repeat(3, -1).astype(np.uint8) * 90
    palette = learn_palette(pictures, 16)
    assert palette.rgb.tolist() == [[255, 255, 255], [0, 0, 0], [90, 90, 90]]


def test_a_learned_palette_contains_white_once() -> None:
    hues = np.array([[255, 255, 255], [200, 30, 30], [30, 200, 30], [30, 30, 200], [210, 30, 30]], np.uint8)
    shares = [0.8, 0.06, 0.06, 0.06, 0.02]  # white is the background
    pictures = np.random.default_rng(0).choice(hues, (30, 20, 20), p=shares)
    learned = learn_palette(pictures, 4).rgb
    assert len(learned) == 4
    assert sorted(learned[1:].argmax(1).tolist()) == [0, 1, 2]


def test_folders_named_as_splits_are_the_splits(folder: Path) -> None:
    for number, file in enumerate(sorted(folder.iterdir())):
        split = ("train", "dev", "test")[number % 3]
        (folder / split).mkdir(exist_ok=True)
        file.rename(folder / split / file.name)
    sprites = load_sprites(f"images:{folder}")
    assert [len(sprites.splits[split]) for split in sprites.splits] == [8, 8, 8]


def test_more_colours_than_can_be_learned_are_refused() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (2, 20, 20, 3)).astype(np.uint8)
    assert 200 < len(learn_palette(pictures, 257)) <= 257
    with pytest.raises(PokemonGenError, match=r"sprites\.colours: 258 .*257"):
        learn_palette(pictures, 258)
    assert len(learn_palette(pictures, 4096)) == 1 + len(np.unique(pictures.reshape(-1, 3), axis=0))


def test_bad_files_are_named_and_counted_or_skipped_on_request(folder: Path) -> None:
    (folder / "broken.png").write_text("not a picture")
    content = (folder / "00.png").read_bytes()
    (folder / "truncated.png").write_bytes(content[: len(content) // 2])
    (folder / "notes.txt").write_text("ignored")
    with pytest.raises(PokemonGenError) as caught:
        load_sprites(f"images:{folder}")
    for fact in ("broken.png", "truncated.png", "2 of 26 files", "sprites.skip_bad_images=true"):
        assert fact in str(caught.value)
    sprites = load_sprites(f"images:{folder}", skip_bad_images=True)
    assert sum(map(len, sprites.splits.values())) == 24


def test_a_picture_file_is_not_a_source(folder: Path) -> None:
    file = next(folder.iterdir())
    with pytest.raises(PokemonGenError, match=r"images:.*: .*file, not a folder"):
        load_sprites(f"images:{file}")


def test_a_folder_without_pictures_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(PokemonGenError, match=r"empty: .*no pictures .*\.png"):
        load_sprites(f"images:{tmp_path / 'empty'}")
    with pytest.raises(PokemonGenError, match="nowhere: no such folder"):
        load_sprites("images:nowhere")


def every_colour(pictures: np.ndarray) -> str:
    """Write a palette of all colours of pictures, so that each picture converts exactly."""
    rgb = np.unique(pictures.reshape(-1, 3), axis=0)
    return str(write_palette(Path("every.txt"), Palette(rgb)))


def into_splits(folder: Path, **names: str) -> None:
    """Move the pictures in turn to folders of these names."""
    for number, file in enumerate(sorted(folder.iterdir())):
        name = list(names.values())[number % len(names)]
        (folder / name).mkdir(exist_ok=True)
        file.rename(folder / name / file.name)


def pictures_of(sprites: Sprites, split: str) -> set[bytes]:
    return {picture.tobytes() for picture in to_picture(sprites.tokens(split), sprites.palette)}


@pytest.mark.parametrize(
    "names",
    [
        {"train": "Train", "dev": "Dev", "test": "Test"},
        {"train": "train", "dev": "val", "test": "test"},
        {"train": "TRAINING", "dev": "validation", "test": "testing"},
    ],
    ids=lambda names: names["dev"],
)
def test_splits_may_have_their_usual_names_in_any_case(
    folder: Path, pictures: np.ndarray, names: dict[str, str]
) -> None:
    into_splits(folder, **names)
    sprites = load_sprites(f"images:{folder}", palette=every_colour(pictures))
    for split, name in names.items():
        assert pictures_of(sprites, split) == {
            picture.tobytes() for picture in _read(sorted((folder / name).iterdir()))
        }


def test_a_missing_split_is_taken_from_train(folder: Path, pictures: np.ndarray) -> None:
    into_splits(folder, train="train", test="test")
    test = {picture.tobytes() for picture in _read(sorted((folder / "test").iterdir()))}
    sprites = load_sprites(f"images:{folder}", palette=every_colour(pictures))
    assert pictures_of(sprites, "test") == test
    assert len(sprites.tokens("dev")) == 1
    assert not (pictures_of(sprites, "train") | pictures_of(sprites, "dev")) & test


def test_folders_that_contain_only_one_folder_are_skipped(folder: Path, pictures: np.ndarray) -> None:
    into_splits(folder, train="train", dev="val", test="test")
    folder.rename(folder.with_name("data"))
    (folder / "outer").mkdir(parents=True)
    folder.with_name("data").rename(folder / "outer" / "data")
    sprites = load_sprites(f"images:{folder}", palette=every_colour(pictures))
    assert [len(sprites.tokens(split)) for split in ("train", "dev", "test")] == [8, 8, 8]


def test_splits_inside_other_folders_are_not_pooled(folder: Path) -> None:
    into_splits(folder, cat="cat", dog="dog")
    for kind in ("cat", "dog"):
        into_splits(folder / kind, train="train", dev="val", test="test")
    with pytest.raises(PokemonGenError, match=r"\(cat/test, cat/train, cat/val, dog/test"):
        load_sprites(f"images:{folder}")


def test_missing_train_and_ambiguous_splits_are_refused(folder: Path) -> None:
    into_splits(folder, one="test", other="more")
    with pytest.raises(PokemonGenError, match=r"folder test, .*train"):
        load_sprites(f"images:{folder}")
    (folder / "test").rename(folder / "train")
    (folder / "Valid").mkdir()
    (folder / "eval").mkdir()
    with pytest.raises(PokemonGenError, match=r"Valid and eval .*dev"):
        load_sprites(f"images:{folder}")


def test_pictures_outside_the_splits_folders_are_left_out_and_named(folder: Path) -> None:
    into_splits(folder, train="train", dev="dev", test="test")
    Image.new("RGB", (20, 20), "red").save(folder / "cover.png")
    (note,) = [note for note in load_sprites(f"images:{folder}").notes if "outside" in note]
    assert "1 picture" in note
    assert "cover.png" in note


def test_hidden_folders_are_skipped(folder: Path) -> None:
    count = len(find_images(folder))
    for hidden in (".ipynb_checkpoints", "__MACOSX", ".git/objects"):
        shutil.copytree(folder, folder / hidden, ignore=shutil.ignore_patterns(".*", "__MACOSX"))
    assert len(find_images(folder)) == count
    assert load_sprites(f"images:{folder}").notes == load_sprites(f"images:{folder}").notes
    sprites = load_sprites(f"images:{folder}")
    assert sum(len(sprites.tokens(split)) for split in sprites.splits) == count


def test_other_formats_are_read_or_named(folder: Path, pictures: np.ndarray) -> None:
    for number, picture in enumerate(pictures):
        for file in folder.glob(f"{number:02d}.*"):
            file.unlink()
        suffix = ("webp", "bmp", "png")[number % 3]
        image = Image.fromarray(picture)
        if suffix == "webp":
            image.save(folder / f"{number:02d}.webp", lossless=True)
        else:
            image.save(folder / f"{number:02d}.{suffix}")
    Image.fromarray(pictures[0]).save(folder / "old.tiff")
    (folder / "photo.heic").touch()
    sprites = load_sprites(f"images:{folder}", palette=every_colour(pictures))
    read = set.union(*(pictures_of(sprites, split) for split in sprites.splits))
    assert read == {picture.tobytes() for picture in pictures}
    (note,) = [note for note in sprites.notes if "formats" in note]
    assert "2 files" in note
    assert "old.tiff, photo.heic" in note


def test_duplicates_are_kept_in_one_split_only(folder: Path, pictures: np.ndarray) -> None:
    """Otherwise a model would be measured on pictures that it was trained on."""
    files = sorted(folder.iterdir())
    for file in files[:9]:
        shutil.copy(file, folder / f"copy-of-{file.name}")
    different = len({picture.tobytes() for picture in _read(sorted(folder.iterdir()))})
    palette = every_colour(pictures)
    pooled = load_sprites(f"images:{folder}", palette=palette)
    assert sum(len(pooled.tokens(split)) for split in pooled.splits) == different
    assert any("duplicates" in note for note in pooled.notes)
    into_splits(folder, train="train", dev="dev", test="test")
    for file in sorted((folder / "test").iterdir()):
        shutil.copy(file, folder / "train" / f"again-{file.name}")
    test = {picture.tobytes() for picture in _read(sorted((folder / "test").iterdir()))}
    split = load_sprites(f"images:{folder}", palette=palette)
    assert pictures_of(split, "test") == test
    assert not pictures_of(split, "train") & test


def test_changes_of_pictures_are_noted(tmp_path: Path) -> None:
    (tmp_path / "art").mkdir()
    for number, size in enumerate([(20, 20), (64, 64), (64, 64), (30, 10), (8, 8)]):
        Image.new("RGB", size, (number * 40, 0, 0)).save(tmp_path / "art" / f"{number}.png")
    notes = load_sprites(f"images:{tmp_path / 'art'}").notes
    assert any("shrunk" in note and "3 pictures" in note for note in notes)
    assert any("white" in note and "2 pictures" in note for note in notes)


def test_the_first_frame_of_an_animation_is_noted(folder: Path) -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    frames[0].save(folder / "moves.gif", save_all=True, append_images=frames[1:])
    assert any(
        "first frame" in note and "1 picture" in note for note in load_sprites(f"images:{folder}").notes
    )


def test_at_least_one_train_picture_must_not_be_in_dev_or_test(folder: Path) -> None:
    into_splits(folder, train="train")
    shutil.copytree(folder / "train", folder / "dev")
    with pytest.raises(PokemonGenError, match=r"images:.*every train picture.*dev or test"):
        load_sprites(f"images:{folder}")


def test_the_pictures_are_counted_by_suffix_and_split(folder: Path) -> None:
    assert "16 png, 8 gif" in load_sprites(f"images:{folder}").notes[0]
    into_splits(folder, train="train", dev="val")
    note = load_sprites(f"images:{folder}").notes[0]
    assert "12 for train, 12 for dev" in note


def test_colours_that_the_palette_lacks_are_noted(tmp_path: Path) -> None:
    """The palette is learned from train, so it lacks the red of the test pictures."""
    generator = np.random.default_rng(0)
    for split, colour in {"train": (0, 0, 200), "dev": (0, 0, 200), "test": (220, 0, 0)}.items():
        (tmp_path / split).mkdir()
        for number in range(3):
            picture = np.where(generator.random((20, 20, 1)) < 0.5, np.array(colour), 255)
            Image.fromarray(picture.astype(np.uint8)).save(tmp_path / split / f"{number}.png")
    (note,) = [note for note in load_sprites(f"images:{tmp_path}").notes if "palette" in note]
    assert "of test" in note
    assert "sprites.palette" in note
