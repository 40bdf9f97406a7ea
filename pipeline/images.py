"""What an image is, told from its header alone; nothing is decoded. Uploads and files alike."""

from __future__ import annotations

import io
import struct

from PIL import ExifTags, Image, UnidentifiedImageError

from pipeline.errors import ImageTooLarge, InvalidImage, UnsupportedImage
from pipeline.job import ImageInfo

#: Formats that the workers decode, as Pillow names them.
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "BMP", "GIF", "TIFF")
#: The parsers that may see an upload; the one for JPEG opens MPO.
PARSERS = [kind for kind in FORMATS if kind != "MPO"]
#: EXIF orientations that swap width and height.
SIDEWAYS = {5, 6, 7, 8}
#: Images that people try but that we do not take, by what their files start with.
KNOWN_OTHERS = {
    b"%PDF": "a PDF",
    b"<svg": "an SVG drawing",
    b"<?xml": "an SVG drawing or another XML file",
}
#: Formats of images that we do not take, by what their files start with.
UNSUPPORTED = {
    b"8BPS": "PSD",
    b"\x00\x00\x01\x00": "ICO",
    b"\x00\x00\x00\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\x00\x00\x00\x0cJXL ": "JPEG XL",
    b"\xff\x0a": "JPEG XL",
    b"qoif": "QOI",
    b"v/1\x01": "OpenEXR",
}


def warm_up() -> None:
    """Import Pillow's parsers now, rather than during the first request."""
    Image.init()


def inspect(data: bytes, *, max_bytes: int, max_pixels: int) -> ImageInfo:
    """Format and size of an encoded image, the size as a person sees it.

    Raises InvalidImage, UnsupportedImage or ImageTooLarge saying what is wrong.
    """
    check_bytes(len(data), max_bytes)
    if not data:
        raise InvalidImage("the upload is empty")
    try:
        # Opening reads the header only; Pillow's rarer parsers never see it.
        with Image.open(io.BytesIO(data), formats=PARSERS) as image:
            width, height, kind = image.width, image.height, image.format or ""
            sideways = _is_sideways(image)
    except UnidentifiedImageError:
        raise _unidentified(data) from None
    except Image.DecompressionBombError:
        raise ImageTooLarge(f"the image has more than the {max_pixels:,} pixels allowed") from None
    except Exception as error:  # Pillow's plugins raise what their parsers run into
        raise InvalidImage(f"the image's header is damaged: {error}") from error
    if width * height > max_pixels:
        raise ImageTooLarge(
            f"the image is {width} x {height}, more than the {max_pixels:,} pixels allowed"
        )
    if missing := _cut_short(data, kind):
        raise InvalidImage(f"the {kind} is cut short: {missing}")
    if sideways:
        width, height = height, width
    return ImageInfo(width=width, height=height, format=kind, bytes=len(data))


def check_bytes(size: int, max_bytes: int) -> None:
    """Raise ImageTooLarge for an upload of more than `max_bytes`."""
    if size > max_bytes:
        raise ImageTooLarge(f"the upload has more than the {max_bytes:,} bytes allowed")


def _is_sideways(image: Image.Image) -> bool:
    """Whether width and height are those of the image before it is turned upright."""
    if image.format == "TIFF":
        return False  # Pillow has swapped them already
    if image.format == "PNG" and "exif" not in image.info:
        return False  # asking for it would decode the image, to look for it at the end
    return image.getexif().get(ExifTags.Base.Orientation, 1) in SIDEWAYS


def _unidentified(data: bytes) -> InvalidImage | UnsupportedImage:
    start = data[:256].lstrip().lower()
    for magic, what in KNOWN_OTHERS.items():
        if start.startswith(magic.lower()):
            return InvalidImage(f"this is {what}, not a photograph")
    if data[4:8] == b"ftyp":
        brand = data[8:12].decode("latin-1").strip()
        return UnsupportedImage(f"{brand.upper()} files (HEIC, AVIF, video) are not supported")
    for magic, kind in UNSUPPORTED.items():
        if data.startswith(magic):
            return UnsupportedImage(f"{kind} is not supported; send {', '.join(FORMATS)}")
    return InvalidImage("this is not an image of a format that we know")


def _cut_short(data: bytes, kind: str) -> str:
    """What is missing at the end of the file; empty when nothing is.

    Decoders fill up what is missing with grey and say nothing, so it is checked here.
    """
    if kind in ("JPEG", "MPO"):
        return "" if _jpeg_is_whole(data) else "no end of image"
    if kind == "PNG":
        return "" if _png_is_whole(data) else "no IEND chunk"
    if kind == "WEBP":
        (size,) = struct.unpack_from("<I", data, 4)
        return "" if len(data) >= size + 8 else f"{size + 8 - len(data)} bytes missing"
    if kind == "BMP":
        (size,) = struct.unpack_from("<I", data, 2)
        return "" if len(data) >= size else f"{size - len(data)} bytes missing"
    if kind == "GIF":
        return "" if _gif_is_whole(data) else "no trailer"
    return ""  # TIFF: its parts lie anywhere in the file; the decoder tells


def _jpeg_is_whole(data: bytes) -> bool:
    """Whether the end marker follows the first scan.

    Up to there segments are skipped by their lengths, since a thumbnail in one of them has
    an end marker of its own. What phones append after the image (a film, a depth map) may
    hold any bytes. In scan data FF D9 occurs as the end marker only.
    """
    position = 2
    while (position := data.find(b"\xff", position)) >= 0 and position + 4 <= len(data):
        marker = data[position + 1]
        if marker == 0xDA:
            # Nearly every file ends with the marker; only others are searched for it.
            return data.endswith(b"\xff\xd9") or data.find(b"\xff\xd9", position) >= 0
        if marker in (0x00, 0xFF) or 0xD0 <= marker <= 0xD8:  # padding, or without a length
            position += 1
        else:
            (length,) = struct.unpack_from(">H", data, position + 2)
            position += 2 + length
    return False


def _gif_is_whole(data: bytes) -> bool:
    position = 13 + _gif_palette_bytes(data[10])
    while position < len(data):
        block = data[position]
        if block == 0x3B:
            return True
        if block == 0x2C and position + 10 <= len(data):
            position += 11 + _gif_palette_bytes(data[position + 9])
        elif block == 0x21:
            position += 2
        else:
            position += 1
            continue
        while position < len(data) and data[position]:
            position += 1 + data[position]
        position += 1
    return False


def _gif_palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _png_is_whole(data: bytes) -> bool:
    position = 8
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        if data[position + 4 : position + 8] == b"IEND":
            return True
        position += 12 + length
    return False
