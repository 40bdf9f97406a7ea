"""Stage `preprocess`: encoded bytes to the model's input."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InvalidImage
from pipeline.job import ImageInfo

#: Shares of a JPEG's width and height at which it can be decoded, and OpenCV's flag for each:
#: the decoder then leaves out what the model would not see.
REDUCED = {8: 64, 4: 32, 2: 16}


@dataclass(frozen=True, slots=True)
class Prepared:
    """An image ready for inference."""

    #: uint8, H x W x 3, RGB, of the model's input size.
    pixels: NDArray[np.uint8]
    #: Size in pixels of the image as a person sees it; boxes are scaled back to it.
    width: int
    height: int


def preprocess(data: bytes, info: ImageInfo, height: int, width: int) -> Prepared:
    """Decode and resize to `height` x `width`, stretched as DAMO-YOLO was trained.

    A large JPEG is decoded at the smallest size that is not below the model's input.
    EXIF orientation is applied; grey, palette, CMYK and 16-bit images become 8-bit RGB,
    transparency is dropped, and of animations the first frame is taken.
    Raises InvalidImage when the bytes cannot be decoded.
    """
    share = _share(info, height, width)
    image = _decode(data, info, REDUCED.get(share, 0))
    seen_height, seen_width = image.shape[:2]
    if share > 1:
        if (seen_height, seen_width) == (-(-info.height // share), -(-info.width // share)):
            seen_height, seen_width = info.height, info.width
        else:  # its header says something else than its data: the data counts
            image = _decode(data, info)
            seen_height, seen_width = image.shape[:2]
    pixels = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return Prepared(np.ascontiguousarray(pixels, dtype=np.uint8), seen_width, seen_height)


def _share(info: ImageInfo, height: int, width: int) -> int:
    """The largest of REDUCED, or 1, that leaves at least as many pixels as the model takes."""
    if info.format in ("JPEG", "MPO"):
        for share in REDUCED:
            if info.height >= share * height and info.width >= share * width:
                return share
    return 1


def _decode(data: bytes, info: ImageInfo, flag: int = 0) -> NDArray[np.uint8]:
    """H x W x 3, RGB."""
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | flag)
    except cv2.error as error:
        raise InvalidImage(f"the {info.format} cannot be decoded: {error.err}") from error
    if image is None:
        raise InvalidImage(f"the {info.format} cannot be decoded: its data is damaged")
    return image.astype(np.uint8, copy=False)
