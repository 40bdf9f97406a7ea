"""pipeline.images: what an upload is told to be, and how bad ones are refused."""

from __future__ import annotations

import contextlib
import io
import struct
import sys
import zlib
from types import FrameType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline import images
from pipeline.errors import DamoscopeError, ImageTooLarge, InvalidImage, UnsupportedImage
from pipeline.job import ImageInfo
from tests.security import images as hostile

KINDS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")


def inspect(data: bytes, max_bytes: int = 2**24, max_pixels: int = 10**6) -> ImageInfo:
    return images.inspect(data, max_bytes=max_bytes, max_pixels=max_pixels)


def picture(mode: str = "RGB", width: int = 120, height: int = 80) -> Image.Image:
    """Noise, which no format packs into a few bytes."""
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise).convert(mode)


def encode(kind: str, image: Image.Image | None = None, **options: Any) -> bytes:
    buffer = io.BytesIO()
    (image or picture()).save(buffer, kind, **options)
    return buffer.getvalue()


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[274] = orientation
    return exif


def png(width: int, height: int, rows: int) -> bytes:
    """A PNG that promises `height` rows of black and holds `rows`."""

    def chunk(name: bytes, body: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + body))
        return struct.pack(">I", len(body)) + name + body + checksum

    packer = zlib.compressobj(9)
    row = bytes(width * 3 + 1)
    body = b"".join(packer.compress(row) for _ in range(rows)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


# -- what is taken ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_formats(kind: str) -> None:
    """Format, size and number of bytes are told for every format that workers decode."""
    data = encode(kind)
    assert inspect(data) == ImageInfo(width=120, height=80, format=kind, bytes=len(data))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_size_as_a_person_sees_it(kind: str, orientation: int) -> None:
    """Photographs taken with the camera on its side are as high as they look."""
    info = inspect(encode(kind, exif=turned(orientation)))
    expected = (80, 120) if orientation >= 5 else (120, 80)
    assert (info.width, info.height) == expected


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("PNG", "L"),
        ("PNG", "LA"),
        ("PNG", "P"),
        ("PNG", "RGBA"),
        ("PNG", "1"),
        ("PNG", "I;16"),
        ("JPEG", "L"),
        ("JPEG", "CMYK"),
        ("WEBP", "RGBA"),
        ("TIFF", "CMYK"),
        ("GIF", "P"),
    ],
)
def test_modes(kind: str, mode: str) -> None:
    """Grey, palette, transparent, CMYK and 16-bit images are taken."""
    image = picture("L").convert("I;16") if mode == "I;16" else picture(mode)
    assert inspect(encode(kind, image)).format == kind


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "MPO"])
def test_several_frames(kind: str) -> None:
    """Animations and multi-picture files are taken; workers look at the first image."""
    data = encode(kind, save_all=True, append_images=[picture("L").convert("RGB")])
    assert inspect(data).format == kind


def test_progressive_jpeg() -> None:
    """A JPEG of several scans is whole when its end marker is there."""
    assert inspect(encode("JPEG", progressive=True)).format == "JPEG"


def test_what_phones_append_to_a_jpeg() -> None:
    """A film or a depth map behind the end of a JPEG may hold any bytes."""
    assert inspect(encode("JPEG") + b"\x00\x00\x00\x18ftypmp42 \xff\xda \xff").format == "JPEG"


def test_bytes_behind_a_gif() -> None:
    """Padding behind the trailer of a GIF does no harm."""
    assert inspect(encode("GIF") + bytes(512)).format == "GIF"


def test_nothing_is_decoded() -> None:
    """An image of damaged data passes: only workers look further than the header."""
    assert inspect(png(900, 900, rows=3)).width == 900


# -- what is refused ----------------------------------------------------------------------

PDF = b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\n%%EOF\n"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the upload is empty"),
        (b"hello, world\n", "not an image"),
        ("手机".encode() * 50, "not an image"),
        (bytes(5000), "not an image"),
        (PDF, "a PDF"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG"),
        (b"  <?xml version='1.0'?><svg/>", "an SVG"),
        (b"<!doctype html><html></html>", "a web page"),
        (b"PK\x03\x04" + bytes(100), "not an image"),
        (b"\xff\xd8\xff", "cut short"),
        (b"\x89PNG\r\n\x1a\n", "not an image|damaged"),
        (b"GIF89a", "cut short"),
        (b"BM", "not an image|damaged"),
        (b"RIFF\x00\x00\x00\x00WEBP", "not an image|damaged"),
    ],
)
def test_not_an_image(data: bytes, reason: str) -> None:
    """What is not an image is refused with what it is instead, as far as can be told."""
    with pytest.raises(InvalidImage, match=reason):
        inspect(data)


@pytest.mark.parametrize("part", [0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("BMP", {}),
        ("GIF", {}),
    ],
)
def test_cut_short(kind: str, options: dict[str, Any], part: float) -> None:
    """A file that ends early is refused, wherever it ends."""
    data = encode(kind, **options)
    with pytest.raises(InvalidImage):
        inspect(data[: int(len(data) * part)])


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "TIFF", "WEBP"])
def test_reason_of_a_cut(kind: str) -> None:
    """The reason says that the file is cut short, and what is missing."""
    data = encode(kind)
    with pytest.raises(InvalidImage, match=f"the {kind} is cut short: "):
        inspect(data[: len(data) * 2 // 3])


@pytest.mark.parametrize("part", [0.1, 0.3, 0.5, 0.7])
def test_progressive_jpeg_without_its_last_scans(part: float) -> None:
    """A progressive JPEG of which only some scans came is half a picture, whatever its end is."""
    data = encode("JPEG", progressive=True)
    for end in (b"", b"\xff\xd9"):
        with pytest.raises(InvalidImage, match="the JPEG is cut short: "):
            inspect(data[: int(len(data) * part)] + end)


def test_cut_jpeg_with_a_thumbnail() -> None:
    """The end of the thumbnail in a JPEG's header is not the end of the JPEG."""
    thumbnail = encode("JPEG", picture(width=16, height=16))
    segment = b"Exif\x00\x00" + thumbnail
    data = encode("JPEG")
    data = data[:2] + b"\xff\xe2" + struct.pack(">H", len(segment) + 2) + segment + data[2:]
    assert inspect(data).width == 120
    with pytest.raises(InvalidImage, match="cut short"):
        inspect(data[: len(segment)])


def test_too_many_bytes() -> None:
    """A file over the limit of bytes is refused by its size alone."""
    data = encode("PNG")
    assert inspect(data, max_bytes=len(data))
    with pytest.raises(ImageTooLarge, match=f"more than the {len(data) - 1:,} bytes"):
        inspect(data, max_bytes=len(data) - 1)
    with pytest.raises(ImageTooLarge):
        inspect(b"not even an image", max_bytes=5)


@pytest.mark.parametrize("kind", KINDS)
def test_too_many_pixels(kind: str) -> None:
    """An image over the limit of pixels is refused with its size."""
    assert inspect(encode(kind), max_pixels=9600)
    with pytest.raises(ImageTooLarge, match="120 x 80, more than the 9,599 pixels"):
        inspect(encode(kind), max_pixels=9599)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [5_000, 12_000, 30_000, 60_000])
def test_png_bomb(side: int) -> None:
    """A small file of a huge image is refused by its header."""
    bomb = png(side, side, rows=100)
    assert len(bomb) < 100_000
    with pytest.raises(ImageTooLarge, match="1,000,000 pixels allowed"):
        inspect(bomb)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00" + bytes(64), "HEIC"),
        (b"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00" + bytes(64), "HEIC"),
        (b"\x00\x00\x00\x1cftypavif\x00\x00\x00\x00" + bytes(64), "AVIF"),
        (b"\x00\x00\x00\x18ftypisom\x00\x00\x00\x00" + bytes(64), "video"),
        (b"8BPS\x00\x01" + bytes(64), "PSD"),
        (b"\x00\x00\x01\x00\x01\x00" + bytes(64), "ICO"),
        (b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(64), "JPEG 2000"),
        (b"\xff\x0a" + bytes(64), "JPEG XL"),
        (b"\x00\x00\x00\x0cJXL \r\n\x87\n" + bytes(64), "JPEG XL"),
        (b"qoif" + bytes(64), "QOI"),
    ],
)
def test_unsupported_formats(data: bytes, name: str) -> None:
    """Images of formats that we do not take are told from what is no image."""
    with pytest.raises(UnsupportedImage, match=name):
        inspect(data)


def test_avif_of_this_machine() -> None:
    """A real AVIF is unsupported even where Pillow could read it."""
    with pytest.raises(UnsupportedImage, match="AVIF"):
        inspect(encode("AVIF"))


# -- whatever else --------------------------------------------------------------------------

SEEDS = [encode(kind, picture(width=24, height=16)) for kind in KINDS] + [
    encode("JPEG", picture(width=24, height=16), progressive=True, exif=turned(6)),
    encode("PNG", picture("P", 24, 16), exif=turned(8)),
    encode("WEBP", picture(width=24, height=16), exif=turned(3)),
    encode(
        "GIF", picture(width=24, height=16), save_all=True, append_images=[picture("L", 24, 16)]
    ),
    encode("TIFF", picture(width=24, height=16), compression="tiff_lzw", exif=turned(5)),
]
#: What Pillow says aloud of odd headers, while it reads on.
quiet = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")


def assert_told_or_refused(data: bytes) -> None:
    try:
        info = inspect(data)
    except DamoscopeError as error:
        refused = error
    else:
        assert min(info.width, info.height) > 0
        assert info.bytes == len(data)
        return
    assert 400 <= refused.status < 500
    assert str(refused)


@quiet
@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400))
def test_random_bytes(data: bytes) -> None:
    """Any bytes are an image or refused; nothing else can happen."""
    assert_told_or_refused(data)


@quiet
@settings(max_examples=150, deadline=None)
@given(
    magic=st.sampled_from([seed[:size] for seed in SEEDS for size in (4, 12, 30)]),
    data=st.binary(max_size=200),
)
def test_random_bytes_behind_a_magic_number(magic: bytes, data: bytes) -> None:
    """So are bytes that begin like an image."""
    assert_told_or_refused(magic + data)


@quiet
@settings(max_examples=400, deadline=None)
@given(
    seed=st.sampled_from(SEEDS),
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=8),
    cut=st.integers(0, 40),
    insertion=st.tuples(st.integers(0, 300), st.binary(max_size=20)),
)
def test_mutated_images(
    seed: bytes, changes: list[tuple[int, int]], cut: int, insertion: tuple[int, bytes]
) -> None:
    """So are real images with bytes changed, inserted and cut off."""
    data = bytearray(seed)
    for at, value in changes:
        data[at % len(data)] = value
    at, more = insertion
    data[at:at] = more
    assert_told_or_refused(bytes(data[: len(data) - cut]))


class Counted(bytes):
    """Data that counts the bytes which are copied out of it."""

    copied = 0

    def __getitem__(self, where: Any) -> Any:
        found = super().__getitem__(where)
        if isinstance(where, slice):
            self.copied += len(found)
        return found


@pytest.mark.parametrize("name", hostile.HEADERS)
def test_reading_takes_few_steps(name: str) -> None:
    """20 MB of the worst cost as many lines of Python as a second holds, and are not copied.

    A reader that goes from part to part of these takes ten times as many and more.
    """
    data = Counted(hostile.HEADERS[name]()[: 20 * 2**20])
    lines = 0

    def count(_: FrameType, event: str, __: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        assert lines < 4_000_000
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        with contextlib.suppress(DamoscopeError):
            images.read(data)
    finally:
        sys.settrace(before)
    assert data.copied < len(data)
