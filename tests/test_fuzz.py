"""Properties of the readers on inputs that Hypothesis draws, and inputs on which a fuzzer broke them.

`eval/benchmarks/fuzz.py` throws a million inputs of a coverage-guided fuzzer at the same readers.
"""

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pokemon_gen import submission
from pokemon_gen.palette import Palette, from_picture, to_picture
from pokemon_gen.sprites.pictures import read_pictures
from pokemon_gen.text_rows import read_rows, rows_text
from tests.fuzzing import SEEDS, TARGETS, throw

SECONDS = 1
"""The most that a reader may take for a small input."""
FOUND = {
    "checkpoint": [
        b'{"global_step": 4, "log_history": [{"step": NaN}]}', b'{"global_step": 4, "log_history": [{}]}',
    ],
}  # fmt: skip
"""Inputs of fuzzers that broke a reader once."""
often = settings(
    max_examples=200, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
colours = st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=2, max_size=40, unique=True)
sprites = st.lists(st.integers(0, 166), min_size=400, max_size=400)


@st.composite
def broken(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """Draw a valid input of which a piece was replaced, moved, repeated or cut off, or any bytes."""
    data = draw(st.sampled_from([*seeds, b""]))
    at = draw(st.integers(0, len(data)))
    end = draw(st.integers(at, len(data)))
    between = draw(
        st.one_of(st.binary(max_size=60), st.text(max_size=20).map(str.encode), st.just(data[at:end] * 3))
    )
    return data[:at] + between + data[end:]


@pytest.mark.parametrize("reader", TARGETS)
def test_a_reader_accepts_or_refuses_any_bytes(reader: str, tmp_path: Path) -> None:
    @often
    @given(broken(SEEDS[reader]))
    def try_one(data: bytes) -> None:
        begun = time.process_time()
        throw(TARGETS[reader], data, tmp_path)
        assert time.process_time() - begun < SECONDS

    for seed in SEEDS[reader]:  # imports what the reader needs
        throw(TARGETS[reader], seed, tmp_path)
    try_one()


@pytest.mark.parametrize(
    ("reader", "data"), [(name, data) for name, found in FOUND.items() for data in found]
)
def test_what_a_fuzzer_found_is_mended(reader: str, data: bytes, tmp_path: Path) -> None:
    throw(TARGETS[reader], data, tmp_path)


@pytest.mark.parametrize("reader", SEEDS)
def test_some_of_the_inputs_to_start_from_are_valid(reader: str, tmp_path: Path) -> None:
    assert any(throw(TARGETS[reader], data, tmp_path) for data in SEEDS[reader])


@often
@given(st.lists(st.lists(st.integers(0, 166), min_size=1, max_size=8), min_size=1, max_size=8))
def test_rows_that_were_written_are_read_back(tmp_path: Path, rows: list[list[int]]) -> None:
    file = tmp_path / "rows.txt"
    file.write_text(rows_text(rows))
    assert read_rows(file, 167, range(1, 9)) == rows


@often
@given(colours, st.data())
def test_every_colour_of_a_palette_keeps_its_token(
    rgb: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    palette = Palette(np.array(rgb))
    tokens = np.array(data.draw(st.lists(st.integers(0, len(rgb) - 1), min_size=400, max_size=400)))
    np.testing.assert_array_equal(from_picture(to_picture(tokens, palette), palette), tokens)


@settings(often, max_examples=40)
@given(sprites, st.integers(1, 5), st.sampled_from(["PNG", "BMP"]))
def test_an_enlarged_sprite_is_read_back(tmp_path: Path, row: list[int], factor: int, kind: str) -> None:
    rgb = (
        np.random.default_rng(0).integers(0, 256, (167, 3))[np.array(row)].reshape(20, 20, 3).astype(np.uint8)
    )
    Image.fromarray(rgb.repeat(factor, 0).repeat(factor, 1)).save(tmp_path / "one.png", kind)
    np.testing.assert_array_equal(read_pictures([tmp_path / "one.png"]).rgb[0], rgb)


@settings(often, max_examples=40)
@given(sprites, st.integers(0, 399), st.integers(1, 166))
def test_a_token_that_was_changed_after_the_submission_is_noticed(
    tmp_path: Path, row: list[int], place: int, by: int
) -> None:
    file, rows = tmp_path / "mine.txt", np.array([row] * 3)
    submission.write(file, rows, rows[:, :240], 167, {}, overwrite=True)
    report = submission.check(file)
    assert not report.faults
    assert not report.changed
    rows[1, place] = (rows[1, place] + by) % 167
    file.write_text(rows_text(rows))
    report = submission.check(file)
    assert bool(report.faults) == (place < 240)
    assert report.changed
