"""Images as the model takes them."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np


def read_rgb(path: Path) -> np.ndarray:
    """The image in `path` as H x W x 3 uint8, RGB."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"{path} is not an image")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def to_input(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Stretch H x W x 3 uint8 to 3 x `height` x `width` float32, 0..255, as upstream does."""
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(resized.transpose(2, 0, 1), dtype=np.float32)


def read_inputs(paths: Sequence[Path], height: int, width: int) -> np.ndarray:
    """The images in `paths` as one N x 3 x `height` x `width` batch."""
    return np.stack([to_input(read_rgb(path), height, width) for path in paths])
