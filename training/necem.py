"""The necem photographs: YOLO labels, and which images are near-duplicates across its splits.

"detection" by workspace detection-hfuet,
https://universe.roboflow.com/detection-hfuet/detection-necem, CC BY 4.0.
"""

from pathlib import Path

import cv2
import numpy as np

from training.images import read_rgb

PHONE_CLASS = 1
#: Images whose perceptual hashes (256 bits) differ in at most so many bits show the same moment.
MAX_HASH_DISTANCE = 64


def image_paths(necem: Path, split: str) -> list[Path]:
    """The images of `train`, `valid` or `test`, sorted."""
    return sorted((necem / split / "images").glob("*.jpg"))


def phone_boxes(image: Path, height: int, width: int) -> np.ndarray:
    """The phones in an image of height x width, N x 4 float32, xyxy pixels.

    Wallets and earphone cases get no box: they are what the model must not take for phones.
    """
    labels = image.parent.parent / "labels" / f"{image.stem}.txt"
    rows = [line.split() for line in labels.read_text().splitlines() if line.strip()]
    phones = [[float(value) for value in row[1:5]] for row in rows if int(row[0]) == PHONE_CLASS]
    x, y, w, h = np.array(phones, np.float32).reshape(-1, 4).T
    corners = np.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], axis=1)
    return corners * np.array([width, height, width, height], np.float32)


def perceptual_hash(image: np.ndarray) -> np.ndarray:
    """256 bits from the low frequencies of the image's brightness (a 16 x 16 DCT hash)."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(gray, (64, 64), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(small)[:16, :16].ravel()
    return low > np.median(low)


def without_near_duplicates(candidates: list[Path], kept_apart: list[Path]) -> list[Path]:
    """Those of `candidates` whose hash is far from that of every image of `kept_apart`."""
    apart = np.stack([perceptual_hash(read_rgb(path)) for path in kept_apart])
    return [
        path
        for path in candidates
        if (apart != perceptual_hash(read_rgb(path))).sum(axis=1).min() > MAX_HASH_DISTANCE
    ]
