"""The structure of a WebP: the chunks of its RIFF container."""

from __future__ import annotations

import struct

from pipeline.images import directory
from pipeline.images.header import Header, cut_short, damaged, parts_max, too_many

_CHUNK = struct.Struct("<4sI")


def read(data: bytes) -> Header:
    """Size and orientation. Raises InvalidImage."""
    (size,) = struct.unpack_from("<I", data, 4)
    if len(data) < size + 8:
        raise cut_short("WEBP", f"{size + 8 - len(data)} bytes missing")
    sizes: list[tuple[int, int]] = []
    orientation, position, most = 1, 12, parts_max(data)
    while position + 8 <= size + 8:
        most -= 1
        if most < 0:
            raise too_many("WEBP", "chunks")
        name, length = _CHUNK.unpack_from(data, position)
        start, end = position + 8, position + 8 + length
        if end > len(data):
            raise cut_short("WEBP", f"{end - len(data)} bytes missing")
        if name == b"EXIF":
            orientation = directory.orientation(data[start:end])
        elif name in _SIZES:
            try:
                sizes.append(_SIZES[name](data, start))
            except struct.error:
                raise damaged("WEBP", "its header is too short") from None
        position = end + (length & 1)
    if not sizes:
        raise damaged("WEBP", "it has no picture")
    # Of the canvas and the frame the larger: they may differ only in a file that nobody decodes.
    width, height = (max(lengths) for lengths in zip(*sizes, strict=True))
    return Header("WEBP", width, height, orientation)


def _lossy(data: bytes, start: int) -> tuple[int, int]:
    if data[start + 3 : start + 6] != b"\x9d\x01\x2a":
        raise damaged("WEBP", "its frame has no start code")
    width, height = struct.unpack_from("<HH", data, start + 6)
    return width & 0x3FFF, height & 0x3FFF


def _lossless(data: bytes, start: int) -> tuple[int, int]:
    sign, bits = struct.unpack_from("<BI", data, start)
    if sign != 0x2F:
        raise damaged("WEBP", "its frame has no signature")
    return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1


def _canvas(data: bytes, start: int) -> tuple[int, int]:
    width_low, width_high, height_low, height_high = struct.unpack_from("<4xHBHB", data, start)
    return (width_low | width_high << 16) + 1, (height_low | height_high << 16) + 1


_SIZES = {b"VP8 ": _lossy, b"VP8L": _lossless, b"VP8X": _canvas}
