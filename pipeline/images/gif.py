"""The structure of a GIF, as far as its first frame."""

from __future__ import annotations

import struct

from pipeline.images.header import PARTS_MAX, Header, cut_short, damaged, too_many

#: A block holds 255 bytes at most, and all but the last of a chain do: one more for so many bytes.
BYTES_A_BLOCK = 100
EXTENSION, IMAGE = 0x21, 0x2C


def read(data: bytes) -> Header:
    """Size, and where the first frame ends; what follows is not looked at. Raises InvalidImage."""
    try:
        width, height, flags = struct.unpack_from("<HHB", data, 6)
        position = 13 + _palette_bytes(flags)
        most = PARTS_MAX + len(data) // BYTES_A_BLOCK
        while data[position] == EXTENSION:
            position, most = _blocks(data, position + 2, most)
        if data[position] != IMAGE:
            raise damaged("GIF", "it has no picture")
        left, top, frame_width, frame_height, flags = struct.unpack_from(
            "<HHHHB", data, position + 1
        )
        position, _ = _blocks(data, position + 11 + _palette_bytes(flags), most)
    except (struct.error, IndexError):
        raise cut_short("GIF", "it ends within its first frame") from None
    # Some writers leave the size of the screen 0: that of the frame is meant.
    width, height = width or left + frame_width, height or top + frame_height
    if not (width and height and frame_width and frame_height):
        raise damaged("GIF", f"it is {width} x {height} pixels")
    return Header("GIF", width, height, pieces=((0, position),), end=b";")


def _blocks(data: bytes, position: int, most: int) -> tuple[int, int]:
    """Where a chain of blocks ends, and how many more there may be."""
    while most > 0:
        most -= 1
        length = data[position]
        position += 1 + length
        if not length:
            return position, most
    raise too_many("GIF", "blocks")


def _palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0
