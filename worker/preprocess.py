"""Stage `preprocess`: encoded bytes to the model's input."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InvalidImage
from pipeline.job import ImageInfo


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

    EXIF orientation is applied; grey, palette, CMYK and 16-bit images become 8-bit RGB,
    transparency is dropped, and of animations the first frame is taken.
    Raises InvalidImage when the bytes cannot be decoded.
    """
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        raise InvalidImage(f"the {info.format} cannot be decoded: {error.err}") from error
    if image is None:
        raise InvalidImage(f"the {info.format} cannot be decoded: its data is damaged")
    seen_height, seen_width = image.shape[:2]
    pixels = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return Prepared(np.ascontiguousarray(pixels, dtype=np.uint8), seen_width, seen_height)
