"""Stage `preprocess`: encoded bytes to the model's input."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InvalidImage
from pipeline.job import ImageInfo

#: By how much an image is averaged before it is fitted to the model's input; with each, the flag by
#: which OpenCV has a JPEG's decoder do so, which leaves out what nobody would see.
REDUCED = {8: 64, 4: 32, 2: 16}
#: So many pixels must be left of it for each that the model takes.
LEFT = 2
#: Shrinking by less than the first takes one sample a pixel, by less than the second two along each
#: axis; by more, a mean of all there is.
ONE_SAMPLE, TWO_SAMPLES = 1.25, 4.0

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Prepared:
    """An image ready for inference."""

    #: uint8, H x W x 3, RGB, of the model's input size.
    pixels: Pixels
    #: Size in pixels of the image as a person sees it; boxes are scaled back to it.
    width: int
    height: int


def preprocess(data: bytes, info: ImageInfo, height: int, width: int) -> Prepared:
    """Decode and resize to `height` x `width`, stretched as DAMO-YOLO was trained.

    Shrinking averages areas, in two steps where the image is large: whole blocks of pixels first,
    which the decoder of a JPEG does while it decodes, and then what is left. Every format goes the
    same way, so that one picture gives the same input, whatever its file is.
    EXIF orientation is applied; grey, palette, CMYK and 16-bit images become 8-bit RGB,
    transparency is dropped, and of animations the first frame is taken.
    Raises InvalidImage when the bytes cannot be decoded.
    """
    share = _share(info.height, info.width, height, width)
    if share > 1 and info.format in ("JPEG", "MPO"):
        image = _decode(data, info, REDUCED[share])
        if image.shape[:2] == (info.height // share, info.width // share):
            return Prepared(_fitted(image, height, width, share), info.width, info.height)
        # Its header says something else than its data: the data counts.
    image = _decode(data, info)
    seen_height, seen_width = image.shape[:2]
    share = _share(seen_height, seen_width, height, width)
    if share > 1:
        image = _resized(image, seen_width // share, seen_height // share, cv2.INTER_AREA)
    return Prepared(_fitted(image, height, width, share), seen_width, seen_height)


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


def _decode(data: bytes, info: ImageInfo, flag: int = 0) -> Pixels:
    """H x W x 3, RGB."""
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | flag)
    except cv2.error as error:
        raise InvalidImage(f"the {info.format} cannot be decoded: {error.err}") from error
    if image is None:
        raise InvalidImage(f"the {info.format} cannot be decoded: its data is damaged")
    return image.astype(np.uint8, copy=False)


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
