"""`sprites/images.py`: pictures of any size → 20x20 → tokens, sharp and with their outlines."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFile

from pokemon_gen.errors import PokemonGenError
from pokemon_gen.palette import Palette, to_picture
from pokemon_gen.sprites.images import find_images, learn_palette, read_pictures, shrink
from pokemon_gen.sprites.loading import Sprites, load_sprites
from tests.conftest import write_palette


def read_images(files: list[Path], *options: bool, **more: bool) -> np.ndarray:
    return read_pictures(files, *options, **more).rgb


@pytest.fixture
def pictures(few_sprites: Sprites) -> np.ndarray:
    return to_picture(few_sprites.tokens("train"), few_sprites.palette)  # (24, 20, 20, 3)


@pytest.fixture
def folder(pictures: np.ndarray, tmp_path: Path) -> Path:
    """Write the sprites as files of several kinds: plain, enlarged, GIF."""
    (tmp_path / "art").mkdir()
    for number, picture in enumerate(pictures):
        image = Image.fromarray(picture)
        if number % 3 == 1:
            image = image.resize((140, 140), Image.Resampling.NEAREST)
        image.save(tmp_path / "art" / f"{number:02d}.{'gif' if number % 3 == 2 else 'png'}")
    return tmp_path / "art"


def test_pictures_in_the_palettes_colours_become_exactly_their_tokens(
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


def test_white_takes_none_of_a_learned_palettes_other_places() -> None:
    hues = np.array([[255, 255, 255], [200, 30, 30], [30, 200, 30], [30, 30, 200], [210, 30, 30]], np.uint8)
    shares = [0.8, 0.06, 0.06, 0.06, 0.02]  # a sprite's background is white
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


def test_transparency_lies_on_white(tmp_path: Path) -> None:
    Image.new("RGBA", (20, 20), (200, 0, 0, 0)).save(tmp_path / "clear.png")
    assert (read_images([tmp_path / "clear.png"]) == 255).all()


def test_every_kind_of_picture_keeps_its_colours(tmp_path: Path) -> None:
    grey = np.full((20, 20), 130 * 257, dtype=np.uint16)
    Image.fromarray(grey).save(tmp_path / "16-bit.png")
    Image.new("CMYK", (20, 20), (0, 255, 255, 0)).save(tmp_path / "cmyk.jpg", quality=100)
    indexed = Image.new("P", (20, 20), 1)
    indexed.putpalette([10, 20, 30, 200, 100, 50])
    indexed.save(tmp_path / "indexed.png")
    frames = [indexed, Image.new("RGB", (20, 20), "blue")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    names = ("16-bit.png", "cmyk.jpg", "indexed.png", "moving.gif")
    pictures = read_images([tmp_path / name for name in names])
    expected = [[130, 130, 130], [255, 0, 0], [200, 100, 50], [200, 100, 50]]
    np.testing.assert_allclose(pictures[:, 10, 10], expected, atol=2)


def test_a_small_picture_is_set_on_white_in_the_middle() -> None:
    small = shrink(np.zeros((10, 16, 3)))
    assert (small[5:15, 2:18] == 0).all()
    assert (small == 0).sum() == 10 * 16 * 3


def test_more_colours_than_can_be_learned_are_refused() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (2, 20, 20, 3)).astype(np.uint8)
    assert 200 < len(learn_palette(pictures, 257)) <= 257
    with pytest.raises(PokemonGenError, match=r"sprites\.colours: 258 cannot be learned"):
        learn_palette(pictures, 258)
    assert len(learn_palette(pictures, 4096)) == 1 + len(np.unique(pictures.reshape(-1, 3), axis=0))


@pytest.mark.parametrize("times", [1, 3])
def test_a_picture_of_the_prompt_alone_stays_at_the_top(tmp_path: Path, times: int) -> None:
    prompt = np.random.default_rng(0).integers(0, 256, (12, 20, 3)).astype(np.uint8)
    Image.fromarray(prompt.repeat(times, 0).repeat(times, 1)).save(tmp_path / "top.png")
    for name, size in (("wide", (20, 8)), ("small", (10, 6))):
        Image.new("RGB", size).save(tmp_path / f"{name}.png")
    files = [tmp_path / f"{name}.png" for name in ("top", "wide", "small")]
    top, *others = read_images(files, of_prompts=True)
    np.testing.assert_array_equal(top[:12], prompt)
    assert (top[12:] == 255).all()
    np.testing.assert_array_equal(others, read_images(files)[1:])


def test_a_wide_picture_keeps_its_shape() -> None:
    wide = shrink(np.zeros((100, 200, 3)))
    dark = (wide == 0).all(-1)
    assert dark[5:15].all()
    assert not dark[:5].any()
    assert not dark[15:].any()


@pytest.mark.parametrize("size", [96, 128, 250])
def test_a_thin_outline_survives_shrinking(size: int) -> None:
    image = Image.new("RGB", (size, size), "white")
    edge = size // 10
    width = max(2, size // 48)  # about 0.4 cells
    draw = ImageDraw.Draw(image)
    draw.ellipse(
        (edge, edge, size - edge, size - edge), fill=(240, 190, 60), outline=(20, 20, 20), width=width
    )
    small = shrink(np.asarray(image))
    dark = small.sum(-1) < 100
    inside = (small == (240, 190, 60)).all(-1)
    white = (small == 255).all(-1)
    assert (dark | inside | white).all()  # sharp: no colour in between
    assert inside.sum() > 100
    # closed: nowhere does the inside touch the white
    for side_by_side in (inside[1:] & white[:-1], inside[:-1] & white[1:], inside[:, 1:] & white[:, :-1]):
        assert not side_by_side.any()
    assert not (inside[:, :-1] & white[:, 1:]).any()


def test_what_is_no_picture_is_named_counted_and_skipped_only_if_told(folder: Path) -> None:
    (folder / "broken.png").write_text("no picture")
    whole = (folder / "00.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "notes.txt").write_text("is not looked at")
    with pytest.raises(PokemonGenError) as error:
        load_sprites(f"images:{folder}")
    assert "broken.png" in str(error.value)
    assert "cut.png" in str(error.value)
    assert "2 of 26 files cannot be read" in str(error.value)
    sprites = load_sprites(f"images:{folder}", skip_bad_images=True)
    assert sum(map(len, sprites.splits.values())) == 24


def test_a_picture_is_no_folder(folder: Path) -> None:
    file = next(folder.iterdir())
    with pytest.raises(PokemonGenError, match=r"images:.*: is a file, not a folder"):
        load_sprites(f"images:{file}")


def test_a_folder_without_pictures_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(PokemonGenError, match="empty: no pictures"):
        load_sprites(f"images:{tmp_path / 'empty'}")
    with pytest.raises(PokemonGenError, match="nowhere: no such folder"):
        load_sprites("images:nowhere")


def every_colour(pictures: np.ndarray) -> str:
    """Write a palette of all colours of pictures, so that each comes back as it was."""
    rgb = np.unique(pictures.reshape(-1, 3), axis=0)
    return str(write_palette(Path("every.txt"), Palette(rgb)))


def into_splits(folder: Path, **names: str) -> None:
    """Move pictures in turn into folders of these names."""
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
def test_splits_go_by_their_usual_names_in_any_case(
    folder: Path, pictures: np.ndarray, names: dict[str, str]
) -> None:
    into_splits(folder, **names)
    sprites = load_sprites(f"images:{folder}", palette=every_colour(pictures))
    for split, name in names.items():
        assert pictures_of(sprites, split) == {
            picture.tobytes() for picture in read_images(sorted((folder / name).iterdir()))
        }


def test_a_split_that_is_missing_comes_from_train(folder: Path, pictures: np.ndarray) -> None:
    into_splits(folder, train="train", test="test")
    given = {picture.tobytes() for picture in read_images(sorted((folder / "test").iterdir()))}
    sprites = load_sprites(f"images:{folder}", palette=every_colour(pictures))
    assert pictures_of(sprites, "test") == given
    assert len(sprites.tokens("dev")) == 1
    assert not (pictures_of(sprites, "train") | pictures_of(sprites, "dev")) & given


def test_an_archive_unpacks_to_a_folder_inside_another(folder: Path, pictures: np.ndarray) -> None:
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
    with pytest.raises(PokemonGenError, match=r"not at its top \(cat/test, cat/train, cat/val, dog/test"):
        load_sprites(f"images:{folder}")


def test_splits_that_cannot_be_told_apart_are_refused(folder: Path) -> None:
    into_splits(folder, one="test", other="more")
    with pytest.raises(PokemonGenError, match="a folder test but none for train"):
        load_sprites(f"images:{folder}")
    (folder / "test").rename(folder / "train")
    (folder / "Valid").mkdir()
    (folder / "eval").mkdir()
    with pytest.raises(PokemonGenError, match="Valid and eval both name the dev split"):
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


def test_formats_are_read_or_named(folder: Path, pictures: np.ndarray) -> None:
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
    found = set.union(*(pictures_of(sprites, split) for split in sprites.splits))
    assert found == {picture.tobytes() for picture in pictures}
    (note,) = [note for note in sprites.notes if "formats" in note]
    assert "2 files" in note
    assert "old.tiff, photo.heic" in note


def test_duplicates_are_in_one_split_alone(folder: Path, pictures: np.ndarray) -> None:
    """Pooled, they would be both trained on and measured by; in folders of splits, they were already."""
    files = sorted(folder.iterdir())
    for file in files[:9]:
        shutil.copy(file, folder / f"copy-of-{file.name}")
    different = len({picture.tobytes() for picture in read_images(sorted(folder.iterdir()))})
    palette = every_colour(pictures)
    pooled = load_sprites(f"images:{folder}", palette=palette)
    assert sum(len(pooled.tokens(split)) for split in pooled.splits) == different
    assert any("duplicates" in note for note in pooled.notes)
    into_splits(folder, train="train", dev="dev", test="test")
    for file in sorted((folder / "test").iterdir()):
        shutil.copy(file, folder / "train" / f"again-{file.name}")
    test = {picture.tobytes() for picture in read_images(sorted((folder / "test").iterdir()))}
    split = load_sprites(f"images:{folder}", palette=palette)
    assert pictures_of(split, "test") == test
    assert not pictures_of(split, "train") & test


def test_what_was_done_to_pictures_is_noted(tmp_path: Path) -> None:
    (tmp_path / "art").mkdir()
    for number, size in enumerate([(20, 20), (64, 64), (64, 64), (30, 10), (8, 8)]):
        Image.new("RGB", size, (number * 40, 0, 0)).save(tmp_path / "art" / f"{number}.png")
    notes = load_sprites(f"images:{tmp_path / 'art'}").notes
    assert any("shrunk" in note and "3 pictures" in note for note in notes)
    assert any("white" in note and "2 pictures" in note for note in notes)


def test_of_an_animation_the_first_frame_is_taken_and_said_so(folder: Path) -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    frames[0].save(folder / "moves.gif", save_all=True, append_images=frames[1:])
    assert any(
        "first frame" in note and "1 picture" in note for note in load_sprites(f"images:{folder}").notes
    )


def test_pictures_that_are_all_in_dev_too_leave_nothing_to_train_on(folder: Path) -> None:
    into_splits(folder, train="train")
    shutil.copytree(folder / "train", folder / "dev")
    with pytest.raises(PokemonGenError, match="every picture for train is also one for dev or test"):
        load_sprites(f"images:{folder}")


def test_what_was_taken_is_noted(folder: Path) -> None:
    assert load_sprites(f"images:{folder}").notes[0] == "took 16 png, 8 gif"
    into_splits(folder, train="train", dev="val")
    (note,) = [note for note in load_sprites(f"images:{folder}").notes if note.startswith("took")]
    assert "12 for train, 12 for dev" in note


def test_sides_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By their heads alone: a picture of a few bytes may ask for terabytes."""
    files = {}
    for name, size in {"tall.png": (1, 20000), "wide.gif": (9000, 1), "large.jpg": (9400, 9400)}.items():
        files[name] = tmp_path / name
        Image.new("L", size).save(files[name])
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    for name, file in files.items():
        with pytest.raises(PokemonGenError, match=f"{name}: .* pixels; a side has at most 4096"):
            read_images([file])


def test_only_formats_that_are_safe_to_read_are_opened(tmp_path: Path) -> None:
    """A PostScript file would be handed to another program, whatever it is called."""
    (tmp_path / "drawing.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\nshowpage\n")
    with pytest.raises(PokemonGenError, match=r"drawing\.png: no picture of the formats PNG, GIF"):
        read_images([tmp_path / "drawing.png"])


def test_colours_that_the_palette_does_not_have_are_noted(tmp_path: Path) -> None:
    """Learned from train, it has none of the red that the test pictures are full of."""
    generator = np.random.default_rng(0)
    for split, colour in {"train": (0, 0, 200), "dev": (0, 0, 200), "test": (220, 0, 0)}.items():
        (tmp_path / split).mkdir()
        for number in range(3):
            picture = np.where(generator.random((20, 20, 1)) < 0.5, np.array(colour), 255)
            Image.fromarray(picture.astype(np.uint8)).save(tmp_path / split / f"{number}.png")
    (note,) = [note for note in load_sprites(f"images:{tmp_path}").notes if "palette" in note]
    assert "of test" in note
    assert "sprites.palette" in note
