from __future__ import annotations

import numpy as np
import pytest

from pipeline import tiles
from pipeline.errors import InvalidParameter
from pipeline.tiles import AUTO_SIDE, OVERLAP, SIDE_MIN, Grid, grid_for


@pytest.mark.parametrize("size", [(6400, 4800), (4001, 2999), (640, 200), (131, 129)])
@pytest.mark.parametrize("grid", [Grid(2, 1), Grid(2, 2), Grid(7, 5)])
def test_tiles_are_all_of_a_picture_and_overlap(size: tuple[int, int], grid: Grid) -> None:
    """Each pixel is in a tile; all tiles are of one size, and show a fifth of the next one too."""
    cut = grid.cut(*size)
    assert len(cut) == grid.tiles
    assert len({(tile.width, tile.height) for tile in cut}) == 1
    shown = np.zeros(size[::-1], np.int32)
    for x, y, width, height in cut:
        assert x >= 0
        assert y >= 0
        assert x + width <= size[0]
        assert y + height <= size[1]
        shown[y : y + height, x : x + width] += 1
    assert shown.min() == 1
    first, second = cut[0], cut[1]
    assert first.x + first.width - second.x >= OVERLAP * first.width - 2


@pytest.mark.parametrize(
    ("size", "most", "grid"),
    [
        ((6400, 4800), 256, "13x10"),
        ((6400, 4800), 64, "9x7"),
        ((1280, 960), 64, "3x2"),
        ((641, 640), 64, "2x1"),
        ((640, 640), 64, "None"),
        ((20, 30), 64, "None"),
        ((100_000, 10), 64, "63x1"),
    ],
)
def test_auto_takes_as_many_as_it_needs(size: tuple[int, int], most: int, grid: str) -> None:
    """Tiles of 640 pixels a side at most, or larger ones where those would be too many; a small
    picture has none."""
    found = grid_for("auto", *size, most)
    assert str(found) == grid
    if found and most == 256:
        assert all(max(tile.width, tile.height) <= AUTO_SIDE for tile in found.cut(*size))


@pytest.mark.parametrize("asked", ["1x1", "9x8", "65x1", "99x99"])
def test_more_than_is_allowed_is_refused_whatever_the_picture(asked: str) -> None:
    """The refusal says how many there may be."""
    with pytest.raises(InvalidParameter, match="from 2 to 64 tiles"):
        tiles.check(asked, 64)


def test_a_service_may_have_none() -> None:
    """Then it says so; who asks for none is not affected."""
    for asked in ("auto", "2x2"):
        with pytest.raises(InvalidParameter, match="does not cut pictures"):
            tiles.check(asked, 0)
    tiles.check(None, 0)
    assert grid_for(None, 6400, 4800, 64) is None


@pytest.mark.parametrize(
    ("size", "allowed"), [((600, 115), "11x1"), ((300, 300), "5x5"), ((63, 63), "no tiles")]
)
def test_tiles_too_small_to_show_anything_are_refused(size: tuple[int, int], allowed: str) -> None:
    """The refusal says how many this picture may have, and so many it may have."""
    with pytest.raises(InvalidParameter, match=rf"{size[0]} x {size[1]} may have.* {allowed}|no t"):
        grid_for("7x9", *size, 64)
    if "x" in allowed:
        grid = grid_for(allowed, *size, 64)
        assert grid is not None
        assert all(min(tile[2:]) >= min(SIDE_MIN, *size) for tile in grid.cut(*size))


def test_the_work_of_an_image_is_its_tiles_and_the_whole() -> None:
    assert tiles.images_of(None) == 1
    assert tiles.images_of(Grid(4, 3)) == 13


def test_what_can_be_asked_for() -> None:
    """The same as the API takes."""
    assert [tiles.readable(text) for text in ("auto", "1x2", "99x99")] == ["auto", "1x2", "99x99"]
    for text in ("", "4", "0x2", "4x3x2", "AUTO", "100x1", "auto\n"):
        with pytest.raises(InvalidParameter, match="neither auto nor columns and rows"):
            tiles.readable(text)
