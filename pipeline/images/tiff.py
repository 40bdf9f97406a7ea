"""The first directory of a TIFF."""

from __future__ import annotations

import numpy as np

from pipeline.errors import ImageTooLarge, UnsupportedImage
from pipeline.images import directory
from pipeline.images.header import Header, cut_short, damaged

SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION = 254, 256, 257, 258, 259
STRIPS, SAMPLES, STRIP_BYTES = 273, 277, 279
TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES, SUBDIRECTORIES = 322, 323, 324, 325, 330
DNG = 50706
#: None, fax, LZW, JPEG, deflate, PackBits: what libtiff has been built with everywhere. Of another
#: it makes up pixels.
COMPRESSIONS = {1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946}
#: Bytes of a pixel that a picture of the most pixels may have: 16 bits of red, green, blue, alpha.
PIXEL_BYTES = 8


def read(data: bytes, max_pixels: int) -> Header:
    """Size and orientation of the first page. Raises InvalidImage and others."""
    if data[8:10] == b"CR" and data[:2] == b"II":
        raise raw("a CR2")
    try:
        found = directory.read(data)
    except directory.Damaged as error:
        raise damaged("TIFF", str(error)) from error
    if DNG in found.tags:
        raise raw("a DNG")
    if SUBDIRECTORIES in found.tags and found.number(SUBFILE, 0) & 1:
        raise raw("a TIFF-based")
    width, height = found.number(WIDTH, 0), found.number(HEIGHT, 0)
    if not (0 < width < 2**31 and 0 < height < 2**31):
        raise damaged("TIFF", f"it is {width} x {height} pixels")
    if (compression := found.number(COMPRESSION, 1)) not in COMPRESSIONS:
        raise UnsupportedImage(
            f"a TIFF of compression {compression} is not supported; save it with LZW or deflate"
        )
    # Each list of values is read into memory: they may not be the same bytes again and again.
    if sum(tag.bytes for tag in found.tags.values()) > len(data):
        raise damaged("TIFF", "its tags hold more than the file")
    _check_memory(found, width, height, max_pixels)
    for starts, lengths in ((STRIPS, STRIP_BYTES), (TILES, TILE_BYTES)):
        _check_parts(found, starts, lengths)
    return Header("TIFF", width, height, _orientation(found))


def raw(kind: str) -> UnsupportedImage:
    """The error of a raw photograph."""
    return UnsupportedImage(f"{kind} raw photograph is not supported; send a JPEG of it")


def _orientation(found: directory.Directory) -> int:
    value = found.number(directory.ORIENTATION, 1)
    return value if 1 <= value <= 8 else 1


def _check_memory(found: directory.Directory, width: int, height: int, max_pixels: int) -> None:
    """What a decoder allocates: a whole picture, or a tile, of so many bytes a pixel."""
    bits = found.number(BITS, 1) * found.number(SAMPLES, 1)
    tile = found.number(TILE_WIDTH, 0) * found.number(TILE_HEIGHT, 0)
    if max(width * height, tile) * bits > max_pixels * PIXEL_BYTES * 8:
        raise ImageTooLarge(
            f"the image is {width} x {height} of {bits} bits, more than the {max_pixels:,} pixels "
            "allowed"
        )


def _check_parts(found: directory.Directory, starts: int, lengths: int) -> None:
    first, size = found.numbers(starts), found.numbers(lengths)
    if not len(first) or len(first) != len(size):
        return  # the decoder tells
    # In floating point, where the sum of two 64-bit numbers is no small one.
    end = float(np.max(first.astype(np.float64) + size.astype(np.float64)))
    if end > len(found.data):
        raise cut_short("TIFF", f"{end - len(found.data):.0f} bytes missing")
