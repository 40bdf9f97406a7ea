"""Stage `preprocess`: encoded bytes to the model's input."""

from __future__ import annotations

import io
import math
import re
from dataclasses import dataclass

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from pipeline import images
from pipeline.errors import InvalidImage
from pipeline.images import Header
from pipeline.tiles import TILES_MOST, Grid, Tile, grid_for

#: By how much an image is averaged before it is fitted to the model's input. A JPEG's decoder does
#: so while it decodes, and leaves out what nobody would see.
REDUCED = (8, 4, 2)
#: So many pixels must be left of it for each that the model takes.
LEFT = 2
#: Shrinking by less than the first takes one sample a pixel, by less than the second two along each
#: axis; by more, a mean of all there is.
ONE_SAMPLE, TWO_SAMPLES = 1.25, 4.0

#: How the stored pixels are turned to be seen, by EXIF orientation: whether rows and columns change
#: places, and what OpenCV calls the mirroring after that.
UPRIGHT = {2: (False, 1), 3: (False, -1), 4: (False, 0), 5: (True, None), 6: (True, 1),
           7: (True, -1), 8: (True, 0)}  # fmt: skip
#: What libjpeg says when there is more before the end marker than the picture takes.
STUFFED = re.compile(r"(\d+) extraneous bytes before marker 0xd9")

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Prepared:
    """An image ready for inference."""

    #: uint8, H x W x 3, RGB, of the model's input size.
    pixels: Pixels
    #: Size in pixels of the image as a person sees it; boxes are scaled back to it.
    width: int
    height: int
    #: The parts of it that are run as well, beside the whole.
    tiles: tuple[PreparedTile, ...] = ()
    grid: Grid | None = None


@dataclass(frozen=True, slots=True)
class PreparedTile:
    """A part of an image, ready for inference."""

    #: As those of `Prepared`.
    pixels: Pixels
    #: Which part, in pixels of the image as a person sees it.
    part: Tile


def preprocess(data: bytes, height: int, width: int, *, reduced: bool = True) -> Prepared:
    """Decode and resize to `height` x `width`, stretched as DAMO-YOLO was trained.

    Shrinking averages areas, in two steps where the image is large: whole blocks of pixels first,
    which the decoder of a JPEG does while it decodes, and then what is left. Every format goes the
    same way, so that one picture gives the same input, whatever its file is. (To
    compare, `reduced` set to False has JPEGs decoded in full.)
    EXIF orientation is applied; grey, palette, CMYK and 16-bit images become 8-bit RGB,
    transparency is dropped, and of animations the first frame is taken.
    Raises InvalidImage when the bytes cannot be decoded, or are those of half a picture.
    """
    image, share, seen_width, seen_height = _decoded(data, height, width, reduced=reduced)
    return Prepared(_fitted(image, height, width, share), seen_width, seen_height)


def preprocess_tiles(data: bytes, height: int, width: int, asked: str) -> Prepared:
    """The same, and the tiles that are `asked` for: each is cut out of the image, which is decoded
    as large as they need it, and fitted to `height` x `width` by itself.

    Raises InvalidImage, or InvalidParameter where the image cannot be cut so.
    """
    header = images.read(data)
    grid = grid_for(asked, *header.size_seen, TILES_MOST)
    if grid is None:
        return preprocess(data, height, width)
    wide, high = grid.cut(*header.size_seen)[0][2:]
    image, share, seen_width, seen_height = _decoded(
        data,
        math.ceil(header.size_seen[1] / high * height),
        math.ceil(header.size_seen[0] / wide * width),
    )
    parts = []
    # Cut where the pixels are, so that boxes are told from there to the whole exactly.
    for x, y, wide, high in grid.cut(image.shape[1], image.shape[0]):
        part = Tile(x * share, y * share, wide * share, high * share)
        cut = image[y : y + high, x : x + wide]
        parts.append(PreparedTile(_fitted(cut, height, width, share), part))
    whole = _fitted(image, height, width, share)
    return Prepared(whole, seen_width, seen_height, tuple(parts), grid)


def _decoded(
    data: bytes, height: int, width: int, *, reduced: bool = True
) -> tuple[Pixels, int, int, int]:
    """An image upright, by how much it is averaged so that height x width are left of it, and its
    width and height as a person sees it."""
    header = images.read(data)
    still = header.still(data)
    jpeg = header.kind in ("JPEG", "MPO")
    if jpeg and reduced:
        share = _share(header.height, header.width, *_turned(header, height, width))
        image = _upright(_decode_jpeg(still, header, share), header)
        seen_width, seen_height = header.size_seen
    else:
        image = _upright(_decode_jpeg(still, header, 1) if jpeg else _decode(still, header), header)
        seen_height, seen_width = image.shape[:2]
        share = _share(seen_height, seen_width, height, width)
        if share > 1:
            image = _resized(image, seen_width // share, seen_height // share, cv2.INTER_AREA)
    return image, share, seen_width, seen_height


def _turned(header: Header, height: int, width: int) -> tuple[int, int]:
    """The model's height and width along those of the stored pixels."""
    return (width, height) if header.orientation in images.SIDEWAYS else (height, width)


def _share(seen_height: int, seen_width: int, height: int, width: int) -> int:
    """The largest of REDUCED, or 1, that leaves enough for a model of height x width.

    It divides the size, as it does that of nearly every camera: a cut block would be stretched.
    """
    for share in REDUCED:
        down, along = seen_height / share / height, seen_width / share / width
        whole = seen_height % share == seen_width % share == 0
        if whole and down >= 1 and along >= 1 and down * along >= LEFT:
            return share
    return 1


def _decode_jpeg(data: bytes, header: Header, share: int) -> Pixels:
    """H x W x 3, RGB, as it is stored, each pixel the mean of share x share.

    By simplejpeg, which tells what libjpeg has to say: OpenCV decodes half a picture in silence.
    """
    size = {"min_height": header.height // share, "min_width": header.width // share}
    whole, said = _strict(data, size)
    if "unknown JFIF revision" in said:  # which says nothing about the picture
        at = data.find(b"JFIF\0") + 5
        data = data[:at] + b"\1\1" + data[at + 2 :]
        whole, said = _strict(data, size)
    if stuffed := STUFFED.search(said):
        # A picture in pieces says so too, if it is the last thing that is wrong with it.
        whole, said = _strict(data[: -2 - int(stuffed[1])] + data[-2:], size)
    if whole is not None:
        return whole
    if "Could not determine subsampling" in said:
        # Rarer samplings than libjpeg-turbo's own interface knows.
        image = _decode(data, header)
        share_size = header.width // share, header.height // share
        return image if share == 1 else _resized(image, *share_size, cv2.INTER_AREA)
    if "remature end" in said:
        raise InvalidImage(f"the {header.kind} is cut short: its last rows are missing")
    raise _undecodable(header.kind)


def _strict(data: bytes, size: dict[str, int]) -> tuple[Pixels | None, str]:
    """The picture, or what libjpeg has to say of it."""
    try:
        return simplejpeg.decode_jpeg(data, "RGB", **size), ""
    except ValueError as error:
        return None, str(error)


def _decode(data: bytes, header: Header) -> Pixels:
    """H x W x 3, RGB, as it is stored; a TIFF upright."""
    if header.kind == "GIF":
        return _decode_gif(data)
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:  # an assertion in C++, of no use to who sent the image
        image = None
    if image is None:
        raise _undecodable(header.kind)
    return image.astype(np.uint8, copy=False)


def _decode_gif(data: bytes) -> Pixels:
    """By Pillow: OpenCV's decoder fails on large even areas, where the table of codes is full."""
    try:
        with Image.open(io.BytesIO(data), formats=["GIF"]) as image:
            return np.asarray(image.convert("RGB"), np.uint8)
    except Exception as error:  # Pillow's plugins raise what their parsers run into
        raise _undecodable("GIF") from error


def _undecodable(kind: str) -> InvalidImage:
    return InvalidImage(f"the {kind} cannot be decoded: its data is damaged or cut short")


def _upright(image: Pixels, header: Header) -> Pixels:
    """Turned as the EXIF orientation says: here, since OpenCV overlooks it in many a file."""
    # A TIFF OpenCV has turned, whatever it is told.
    if header.orientation not in UPRIGHT or header.kind == "TIFF":
        return image
    swapped, mirrored = UPRIGHT[header.orientation]
    if swapped:
        image = np.asarray(cv2.transpose(image), np.uint8)
    return image if mirrored is None else np.asarray(cv2.flip(image, mirrored), np.uint8)


def _fitted(image: Pixels, height: int, width: int, share: int) -> Pixels:
    """Stretched to height x width: interpolated where it grows, averaged where it shrinks.

    Each pixel of `image` is the mean of share x share pixels.
    """
    own_height, own_width = image.shape[:2]
    down, along = own_height / height, own_width / width
    if down < 1 or along < 1:
        least = (min(own_width, width), min(own_height, height))
        return _resized(_resized(image, *least, cv2.INTER_AREA), width, height, cv2.INTER_LINEAR)
    if max(down, along) > TWO_SAMPLES:
        return _resized(image, width, height, cv2.INTER_AREA)
    # Samples, and the means of two or four, take a quarter of the time of INTER_AREA.
    one, kind = ONE_SAMPLE, cv2.INTER_LINEAR
    if share > 1:
        # Means of blocks are soft: cubic samples of them are nearer to the mean of the whole area.
        one, kind = 1.0, cv2.INTER_CUBIC
    fine = (width * (1 + (along > one)), height * (1 + (down > one)))
    return _resized(_resized(image, *fine, kind), width, height, cv2.INTER_AREA)


def _resized(image: Pixels, width: int, height: int, interpolation: int) -> Pixels:
    made = cv2.resize(image, (width, height), interpolation=interpolation)
    return np.ascontiguousarray(made, dtype=np.uint8)
