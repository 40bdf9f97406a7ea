"""Looking for small objects: the overlapping tiles that a picture is cut into.

Each tile is run as if it were a picture, and so is the whole picture, for what is larger than a
tile: slicing aided inference, after Akyon, Altinuc and Temizel, "Slicing Aided Hyper Inference and
Fine-tuning for Small Object Detection" (ICIP 2022, arXiv:2202.06934).
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from pipeline.errors import InvalidParameter

#: Asks for as many tiles as a picture needs.
AUTO = "auto"
#: What a request may ask for, as a pattern of JSON Schema: columns and rows, or AUTO.
PATTERN = "^(auto|[1-9][0-9]?x[1-9][0-9]?)$"
#: How much of a tile's width and height the next one shows as well: what is smaller is whole in
#: one of them.
OVERLAP = 0.2
#: Pixels along a tile's sides where AUTO chooses: what DAMO-YOLO's larger models take.
AUTO_SIDE = 640
#: Pixels that a tile must have along each side.
SIDE_MIN = 64
#: Tiles that any image may have, whatever is asked for.
TILES_MOST = 256


class Tile(NamedTuple):
    """A part of a picture, in its pixels."""

    x: int
    y: int
    width: int
    height: int


class Grid(NamedTuple):
    """So many overlapping tiles."""

    columns: int
    rows: int

    @classmethod
    def read(cls, text: str) -> Grid:
        """Of a text like `4x3`."""
        columns, rows = re.split("x", text)
        return cls(int(columns), int(rows))

    def __str__(self) -> str:
        return f"{self.columns}x{self.rows}"

    @property
    def tiles(self) -> int:
        return self.columns * self.rows

    def cut(self, width: int, height: int) -> list[Tile]:
        """The tiles of a picture of this size, row by row; together they are all of it."""
        along, down = _ranges(width, self.columns), _ranges(height, self.rows)
        return [Tile(x, y, wide, high) for y, high in down for x, wide in along]


def images_of(grid: Grid | None) -> int:
    """How many images' work a picture is: its tiles, and the whole."""
    return 1 if grid is None else grid.tiles + 1


def readable(text: str) -> str:
    """What was asked for, if it can be. Raises InvalidParameter."""
    if not re.fullmatch(PATTERN, text):
        raise InvalidParameter(f"tiles: {text!r} is neither {AUTO} nor columns and rows like 4x3")
    return text


def check(asked: str | None, most: int) -> None:
    """Raise InvalidParameter for more tiles than are allowed, whatever the picture's size."""
    if asked is None:
        return
    if most < 2:
        raise InvalidParameter("tiles: this service does not cut pictures into tiles")
    if asked != AUTO and not 1 < Grid.read(asked).tiles <= most:
        raise InvalidParameter(
            f"tiles: {asked} is not from 2 to {most} tiles; ask for fewer, or for {AUTO}"
        )


def grid_for(asked: str | None, width: int, height: int, most: int) -> Grid | None:
    """The tiles of a picture of this size; None where it is run as a whole.

    Raises InvalidParameter where there are more than `most`, or none that are large enough.
    """
    check(asked, most)
    if asked is None:
        return None
    if asked == AUTO:
        return _auto(width, height, most)
    grid = Grid.read(asked)
    limits = Grid(_count(width, SIDE_MIN, up=False), _count(height, SIDE_MIN, up=False))
    if grid.columns > limits.columns or grid.rows > limits.rows:
        allowed = f"at most {limits} tiles" if limits.tiles > 1 else "no tiles"
        raise InvalidParameter(
            f"tiles: {grid} would be tiles of less than {SIDE_MIN} pixels a side; this image of "
            f"{width} x {height} may have {allowed}"
        )
    return grid


def _auto(width: int, height: int, most: int) -> Grid | None:
    side = float(AUTO_SIDE)
    # Larger ones where there would be too many.
    while (grid := Grid(_count(width, side), _count(height, side))).tiles > most:
        side *= 1.02
    return grid if grid.tiles > 1 else None


def _count(length: int, side: float, *, up: bool = True) -> int:
    """How many tiles of about this side go along a length: none is larger, or none smaller."""
    beyond = (length / side - 1) / (1 - OVERLAP)
    return max(1, 1 + (math.ceil(beyond) if up else math.floor(beyond)))


def _ranges(length: int, count: int) -> list[tuple[int, int]]:
    """Where each of so many tiles along a length begins, and how long it is: all the same."""
    if count == 1:
        return [(0, length)]
    side = min(length, math.ceil(length / (1 + (count - 1) * (1 - OVERLAP))))
    return [(round(at * (length - side) / (count - 1)), side) for at in range(count)]
