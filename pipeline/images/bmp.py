"""The header of a BMP."""

from __future__ import annotations

import struct

from pipeline.errors import UnsupportedImage
from pipeline.images.header import Header, cut_short, damaged

#: Compressions whose rows have one length: none, and masks for the channels.
PLAIN = {0, 3, 6}
#: Files in the file.
EMBEDDED = {4: "JPEG", 5: "PNG"}


def read(data: bytes) -> Header:
    """Size. Raises InvalidImage or UnsupportedImage.

    The size of the file that the header names is not believed: many writers leave it 0.
    """
    try:
        start, header = struct.unpack_from("<II", data, 10)
        if header == 12:
            width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
            compression = 0
        else:
            width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    except struct.error:
        raise cut_short("BMP", "it ends within its header") from None
    height = abs(height)
    if not (width > 0 and height) or bits not in (1, 2, 4, 8, 16, 24, 32):
        raise damaged("BMP", f"it is {width} x {height} pixels of {bits} bits")
    if compression in EMBEDDED:
        kind = EMBEDDED[compression]
        raise UnsupportedImage(f"a {kind} inside a BMP is not supported; send the {kind} itself")
    end = start + (width * bits + 31) // 32 * 4 * height if compression in PLAIN else start + 1
    if end > len(data):
        raise cut_short("BMP", f"{end - len(data)} bytes missing")
    return Header("BMP", width, height)
