"""`interpret/pixel_groups.py`: the groups of a sprite that is drawn by hand."""

import numpy as np

from pokemon_gen.interpret.pixel_groups import pixel_groups
from pokemon_gen.palette import Palette

WHITE, BLACK, RED, YELLOW = range(4)
PALETTE = Palette(np.array([[255, 255, 255], [16, 16, 16], [200, 40, 40], [250, 230, 60]]))
CORNER = """
.RRR.
BRRY.
BRYYB
.BBB.
"""


def drawn() -> np.ndarray:
    """Return a sprite with `CORNER` in rows 0 to 3 and columns 0 to 4, (20, 20)."""
    grid = np.zeros((20, 20), dtype=int)
    for row, line in enumerate(CORNER.split()):
        grid[row, :5] = [".BRY".index(letter) for letter in line]
    return grid


def pixels(group: np.ndarray) -> set[tuple[int, int]]:
    """Return the row and the column of each pixel of a group of one sprite."""
    return {(int(pixel) // 20, int(pixel) % 20) for pixel in np.flatnonzero(group[0])}


def test_outline_and_inside_are_what_the_picture_shows() -> None:
    groups = pixel_groups(drawn().reshape(1, 400), PALETTE)
    # Rows and columns 0 touch the frame. (1, 3) and (2, 4) touch the white to their right.
    assert pixels(groups["outline"]) == {
        *((0, column) for column in (1, 2, 3)),
        *((1, column) for column in (0, 3)),
        *((2, column) for column in (0, 4)),
        *((3, column) for column in (1, 2, 3)),
    }
    assert pixels(groups["inside"]) == {(1, 1), (1, 2), (2, 1), (2, 2), (2, 3)}
    assert pixels(groups["ink"]) == {(1, 0), (2, 0), (2, 4), (3, 1), (3, 2), (3, 3)}  # those in black
    assert pixels(groups["new colour"]) == {(0, 0), (0, 1), (1, 0), (1, 3)}
    counts = {name: int(group.sum()) for name, group in groups.items()}
    assert counts["background"] + counts["outline"] + counts["inside"] == 400


def test_mirror_pixels_of_the_right_half_equal_the_left_half() -> None:
    grid = drawn()
    grid[1, 19] = BLACK  # equals (1, 0)
    grid[1, 18] = BLACK  # (1, 1) is red
    mirror = pixels(pixel_groups(grid.reshape(1, 400), PALETTE)["mirror"])
    right_half = {(row, column) for row in range(20) for column in range(10, 20)}
    equal = {(row, column) for row, column in right_half if grid[row, column] == grid[row, 19 - column]}
    assert mirror == {(row, column) for row, column in equal if grid[row, column] != WHITE}
    assert (1, 19) in mirror
    assert (1, 18) not in mirror
    assert (10, 15) not in mirror  # both white


def test_sprites_are_sorted_one_by_one() -> None:
    both = np.stack([drawn().reshape(400), np.full(400, RED)])
    together = pixel_groups(both, PALETTE)
    for row in (0, 1):
        for name, group in pixel_groups(both[row : row + 1], PALETTE).items():
            np.testing.assert_array_equal(together[name][row : row + 1], group, err_msg=name)
    assert int(together["outline"][1].sum()) == 4 * 19  # the frame
    assert int(together["new colour"][1].sum()) == 1
