"""The structure of a PNG: its chunks."""

from __future__ import annotations

import struct

from pipeline.errors import UnsupportedImage
from pipeline.images import directory
from pipeline.images.header import Header, cut_short, damaged, parts_max, too_many

START = b"\x89PNG\r\n\x1a\n"
END = b"\x00\x00\x00\x00IEND\xae\x42\x60\x82"
#: What the picture consists of. All others (texts and colour profiles, which may be packed a
#: thousandfold, and the further frames of an animation) cost a decoder time and give no pixel.
PICTURE = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
_CHUNK = struct.Struct(">I4s")


def read(data: bytes) -> Header:
    """Size, orientation, and where the picture's chunks lie. Raises InvalidImage."""
    width, height = _size(data)
    orientation, whole, pieces = 1, False, [(0, len(START))]
    position, most, has_data, at_end = len(START), parts_max(data), False, False
    while position + 8 <= len(data) and not whole:
        most -= 1
        if most < 0:
            raise too_many("PNG", "chunks")
        length, name = _CHUNK.unpack_from(data, position)
        end = position + 12 + length
        if end > len(data):
            # Nothing but the checksum of the last chunk may be missing.
            at_end = name == b"IEND" and not length
            if at_end:
                break
            raise cut_short("PNG", f"{end - len(data)} bytes missing")
        if name == b"eXIf":
            orientation = directory.orientation(data[position + 8 : end - 4])
        elif name in PICTURE:
            has_data |= name == b"IDAT"
            whole = name == b"IEND"
            if pieces[-1][1] == position:
                pieces[-1] = (pieces[-1][0], end)
            else:
                pieces.append((position, end))
        position = end
    if not has_data:
        raise cut_short("PNG", "no picture")
    if not (whole or at_end) and len(data) - position >= 8:
        raise cut_short("PNG", "no IEND chunk")
    if whole and len(pieces) == 1:
        pieces = []
    return Header("PNG", width, height, orientation, tuple(pieces), b"" if whole else END)


def _size(data: bytes) -> tuple[int, int]:
    if data[12:16] == b"CgBI":
        raise UnsupportedImage("a PNG made for iOS only (CgBI) is not supported; save it as PNG")
    if data[12:16] != b"IHDR" or len(data) < 33:
        raise damaged("PNG", "it has no IHDR chunk")
    width, height = struct.unpack_from(">II", data, 16)
    if not (0 < width < 2**31 and 0 < height < 2**31):
        raise damaged("PNG", f"it is {width} x {height} pixels")
    return width, height
