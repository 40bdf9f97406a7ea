"""All pictures that are trained on, decoded once and kept in one block of memory."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from training.images import read_rgb

#: Pictures are stretched to a square of this side.
SIDE = 512


def read_album(paths: Sequence[Path], file: Path, threads: int) -> np.ndarray:
    """K x 3 x `SIDE` x `SIDE` uint8, RGB, in `file`, which processes can share."""
    album = np.lib.format.open_memmap(file, "w+", np.uint8, (len(paths), 3, SIDE, SIDE))

    def read(number: int) -> None:
        image = read_rgb(paths[number])
        shrinks = min(image.shape[:2]) > SIDE
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        album[number] = cv2.resize(image, (SIDE, SIDE), interpolation=how).transpose(2, 0, 1)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(read, range(len(paths))))
    return album
