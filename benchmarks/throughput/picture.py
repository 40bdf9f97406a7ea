"""The picture that every server is given, made from an example."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
WIDTH, HEIGHT = 1280, 720
#: About what a camera's JPEG of this size has.
BYTES = 257_000
SEED = 5


def pixels(width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """The example at this size, BGR, with the noise of a camera."""
    example = cv2.imread(str(ROOT / "examples" / "exam.jpg"))
    assert example is not None
    image = cv2.resize(example, (width, height), interpolation=cv2.INTER_CUBIC)
    noise = np.random.default_rng(SEED).normal(0, 4.2, image.shape)
    noisy: np.ndarray = np.clip(image + noise, 0, 255).astype(np.uint8)
    return noisy


def encode(image: np.ndarray, wanted_bytes: int) -> bytes:
    """A JPEG of the quality that comes closest to this many bytes."""
    found = [
        cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        for quality in range(50, 99)
    ]
    return min(found, key=lambda data: abs(len(data) - wanted_bytes))


def picture(path: Path) -> bytes:
    """The picture in `path`, which is made when it is not there."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(pixels(), BYTES))
    return path.read_bytes()
