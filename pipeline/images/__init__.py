"""What an image is, told from its structure; nothing is decoded. Uploads and files alike.

Each format has a reader of its own, whose time is bounded by the length of the file and not by what
it says: 20 MB of the worst cost less than a tenth of a second. That is why no library reads the
headers: Pillow's readers hold Python's lock for seconds over segments, chunks and tags that are
many, empty, or the same bytes again and again, and unpack texts that nobody needs.
"""

from __future__ import annotations

import struct

from pipeline.errors import ImageTooLarge, InvalidImage
from pipeline.images import bmp, gif, jpeg, others, png, tiff, webp
from pipeline.images.header import SIDEWAYS, Header
from pipeline.job import ImageInfo

#: Formats that the workers decode; MPO is a JPEG with further pictures behind the first.
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "BMP", "GIF", "TIFF")
#: What a BMP's own header may begin with: its length. `BM` alone begins many a text.
BMP_HEADERS = {12, 40, 52, 56, 64, 108, 124}

__all__ = ["FORMATS", "SIDEWAYS", "Header", "check_bytes", "inspect", "read"]


def inspect(data: bytes, *, max_bytes: int, max_pixels: int) -> ImageInfo:
    """Format and size of an encoded image, the size as a person sees it.

    Raises InvalidImage, UnsupportedImage or ImageTooLarge saying what is wrong.
    """
    check_bytes(len(data), max_bytes)
    if not data:
        raise InvalidImage("the upload is empty")
    header = read(data, max_pixels)
    if header.width * header.height > max_pixels:
        raise ImageTooLarge(
            f"the image is {header.width} x {header.height}, more than the {max_pixels:,} pixels "
            "allowed"
        )
    width, height = header.size_seen
    return ImageInfo(width=width, height=height, format=header.kind, bytes=len(data))


def check_bytes(size: int, max_bytes: int) -> None:
    """Raise ImageTooLarge for an upload of more than `max_bytes`."""
    if size > max_bytes:
        raise ImageTooLarge(f"the upload has more than the {max_bytes:,} bytes allowed")


def read(data: bytes, max_pixels: int = 2**30) -> Header:
    """Format, size and parts of an encoded image, whatever its size.

    `max_pixels` bounds what decoding a TIFF may allocate. Raises InvalidImage, UnsupportedImage or
    ImageTooLarge.
    """
    if data.startswith(b"\xff\xd8\xff"):
        return jpeg.read(data)
    if data.startswith(png.START):
        return png.read(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return webp.read(data)
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return gif.read(data)
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return tiff.read(data, max_pixels)
    if data[:2] == b"BM" and data[14:18] in _BMP_HEADERS:
        return bmp.read(data)
    raise others.refusal(data)


_BMP_HEADERS = {struct.pack("<I", length) for length in BMP_HEADERS}
