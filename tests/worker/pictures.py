"""Encoded images of known pixels."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]


def gradient(width: int = 90, height: int = 60) -> Pixels:
    """Smooth RGB, different in every corner and every channel."""
    y, x = np.mgrid[0:height, 0:width]
    red, green = x * 255 // (width - 1), y * 255 // (height - 1)
    return np.stack([red, green, 255 - (red + green) // 2], -1).astype(np.uint8)


def encode(image: Image.Image | Pixels, kind: str, **options: Any) -> bytes:
    """The image as a file of Pillow's format `kind`."""
    buffer = io.BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def turned(orientation: int) -> Image.Exif:
    """EXIF data that says how the camera was held."""
    exif = Image.Exif()
    exif[274] = orientation
    return exif


def as_png(example: Path, jpeg: Path, factor: float) -> bytes:
    """The pixels of an example, enlarged, as a PNG; the JPEG that they are of goes to `jpeg`."""
    with Image.open(example) as opened:
        size = (8 * round(opened.width * factor / 8), 8 * round(opened.height * factor / 8))
        opened.resize(size, Image.Resampling.BICUBIC).save(jpeg, "JPEG", quality=90)
    with Image.open(jpeg) as opened:
        return encode(np.asarray(opened.convert("RGB")), "PNG", compress_level=1)
