"""Images to send: of any size, kind and damage, made on the spot."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    """Smooth coloured noise, which looks like nothing in particular."""
    small = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BILINEAR)


def encoded(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@lru_cache(maxsize=256)
def jpeg(width: int = 320, height: int = 240, seed: int = 0) -> bytes:
    return encoded(noise(width, height, seed), "JPEG", quality=85)


@lru_cache(maxsize=1)
def slow() -> bytes:
    """A small file that takes long to decode: a worker can be disturbed in the middle of it."""
    return encoded(Image.new("RGB", (7000, 7000), (40, 90, 120)), "PNG")


def phone(width: int = 640, height: int = 480) -> bytes:
    """A dark, rounded slab with a lit screen on a plain table."""
    from PIL import ImageDraw

    image = Image.new("RGB", (width, height), (166, 140, 110))
    draw = ImageDraw.Draw(image)
    left, top, right, bottom = width * 0.4, height * 0.2, width * 0.6, height * 0.8
    draw.rounded_rectangle((left, top, right, bottom), 18, fill=(18, 18, 20))
    draw.rounded_rectangle((left + 7, top + 9, right - 7, bottom - 9), 10, fill=(70, 120, 190))
    return encoded(image, "JPEG", quality=92)
