"""Hostile and odd images, made on the spot."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

from PIL import Image

from tests.integration import pictures

PNG = b"\x89PNG\r\n\x1a\n"
#: A little under the most that the service takes.
BYTES = 20 * 2**20 - 4096


def phone(kind: str = "JPEG", **options: Any) -> bytes:
    """A picture of a phone, in which the bundled detector finds one."""
    with Image.open(io.BytesIO(pictures.phone())) as image:
        return pictures.encoded(image.convert("RGB"), kind, **options)


def chunk(name: bytes, body: bytes = b"") -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_with(png: bytes, *chunks: bytes) -> bytes:
    """A PNG with these chunks behind its header."""
    return png[:33] + b"".join(chunks) + png[33:]


def webp_with(webp: bytes, name: bytes, body: bytes, *, flag: int) -> bytes:
    """A simple WebP with a chunk of metadata behind its picture, in the extended format."""
    with Image.open(io.BytesIO(webp)) as image:
        width, height = image.size
    canvas = bytes([flag, 0, 0, 0]) + (width - 1).to_bytes(3, "little")
    canvas += (height - 1).to_bytes(3, "little")
    padded = body + bytes(len(body) & 1)
    inner = b"WEBPVP8X" + struct.pack("<I", 10) + canvas + webp[12:]
    inner += name + struct.pack("<I", len(body)) + padded
    return b"RIFF" + struct.pack("<I", len(inner)) + inner


def exif(orientation: int, order: str = ">") -> bytes:
    """EXIF that says nothing but the orientation, without the prefix of a JPEG's."""
    start = b"MM\0*" if order == ">" else b"II*\0"
    return start + struct.pack(f"{order}IHHHIHHI", 8, 1, 0x112, 3, 1, orientation, 0, 0)


def progressive_bomb(scans: int, side: int = 7000) -> bytes:
    """A small JPEG of many scans, each of which costs its decoder a pass over all pixels."""
    data = pictures.encoded(Image.new("RGB", (side, side), (40, 90, 120)), progressive=True)
    last = data[data.rfind(b"\xff\xda") : -2]
    return data[:-2] + last * (scans - data.count(b"\xff\xda")) + b"\xff\xd9"


def tiff_of_overlapping_tags(tags: int) -> bytes:
    """Each tag of this TIFF has nearly the whole file as its text."""
    entries = [struct.pack("<HHII", 256, 3, 1, 100), struct.pack("<HHII", 257, 3, 1, 100)]
    entries += [struct.pack("<HHII", 1000 + n, 2, BYTES - 10**6, 8) for n in range(tags)]
    head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(entries) + bytes(4)
    return head + bytes(BYTES - len(head))


def tiff_of_many_directories() -> bytes:
    """A TIFF of more pages than anybody looks at."""
    entries = [(256, 3, 1, 8), (257, 3, 1, 8), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
               (273, 4, 1, 8), (277, 3, 1, 1), (278, 3, 1, 8), (279, 4, 1, 64)]  # fmt: skip
    body = struct.pack("<H", len(entries))
    body += b"".join(struct.pack("<HHII", *entry) for entry in entries)
    size = len(body) + 4
    first = 8 + 64
    count = (BYTES - first) // size
    pages = b"".join(body + struct.pack("<I", first + (n + 1) * size) for n in range(count - 1))
    return b"II*\0" + struct.pack("<I", first) + bytes(64) + pages + body + bytes(4)


def gif_start() -> bytes:
    """The header of a GIF of 100 x 100 pixels."""
    return b"GIF89a" + struct.pack("<HHBBB", 100, 100, 0, 0, 0)


def jpeg_in_its_scan() -> bytes:
    """A JPEG cut in the middle of its scan."""
    data = phone()
    return data[: len(data) * 2 // 3]


#: What costs a reader that goes from part to part seconds, by name.
HEADERS = {
    "fill bytes": lambda: b"\xff\xd8" + b"\xff" * BYTES,
    "empty segments": lambda: b"\xff\xd8" + b"\xff\xe0\x00\x02" * (BYTES // 4),
    "lone markers": lambda: b"\xff\xd8\xff\xe0\0\2" + b"\xff\x01" * (BYTES // 2),
    "stuffed bytes": lambda: b"\xff\xd8\xff\xe0\0\2" + b"\xff\x00" * (BYTES // 2),
    "fill bytes in a scan": lambda: jpeg_in_its_scan() + b"\xff" * BYTES,
    "stuffed bytes in a scan": lambda: jpeg_in_its_scan() + b"\xff\0" * (BYTES // 2),
    "restarts": lambda: jpeg_in_its_scan() + b"\xff\xd0" * (BYTES // 2),
    "segments after a scan": lambda: jpeg_in_its_scan() + b"\xff\xfe\0\2" * (BYTES // 4),
    "scans": lambda: jpeg_in_its_scan() + b"\xff\xda\0\x08\1\1\0\0\x3f\0" * (BYTES // 10),
    "chunks of a PNG": lambda: phone("PNG")[:33] + chunk(b"tEXt") * (BYTES // 12),
    "empty IDAT chunks": lambda: phone("PNG")[:33] + chunk(b"IDAT") * (BYTES // 12),
    "chunks of a WebP": lambda: b"RIFF" + struct.pack("<I", BYTES - 8) + b"WEBP"
    + b"ABCD\0\0\0\0" * (BYTES // 8),
    "overlapping tags of a TIFF": lambda: tiff_of_overlapping_tags(60_000),
    "some overlapping tags": lambda: tiff_of_overlapping_tags(900),
    "blocks of a GIF": lambda: gif_start() + b"\x21\xfe" + b"\1\1" * (BYTES // 2),
    "blocks of a GIF's frame": lambda: gif_start() + b",\0\0\0\0" + struct.pack("<HHB", 100, 100, 0)
    + b"\2" + b"\1\0" * (BYTES // 2),
    "extensions of a GIF": lambda: gif_start() + b"\x21\xfe\0" * (BYTES // 3),
}  # fmt: skip
