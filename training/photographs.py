"""Photographs with YOLO labels: which are trained on, which are validated on, which only judge.

The folder looks like this (`labels` hold YOLO boxes, one text file an image, class 0 a phone):

    train/images     train/labels      trained and validated on
    heldout/images   heldout/labels    judged by: other rooms, other photographers
    negatives/images                   no phone: negatives/train.txt and judge.txt list the names

Photographs come in series (the file name up to its first underscore), many of them taken seconds
apart. So near-duplicates are kept together, on one side of the split and as one thing to draw from.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from training.images import read_rgb

PHONE_CLASS = 0
#: Images whose perceptual hashes (256 bits) differ in at most so many bits show the same moment.
MAX_HASH_DISTANCE = 64
#: The series that validation takes from, since no two of its photographs show the same room.
VALIDATED_SERIES = "oi"
#: One in so many of its moments, and of the photographs without a phone, is validated on.
VALIDATED_SHARE = 5


@dataclass(frozen=True)
class Sample:
    """An image file and its phones, N x 4 float32, xyxy pixels of the file's image."""

    path: Path
    boxes: np.ndarray
    #: N class numbers; None where there is one class.
    classes: np.ndarray | None = None

    def of_class(self, number: int) -> np.ndarray:
        """The boxes of one class."""
        return self.boxes if self.classes is None else self.boxes[self.classes == number]


@dataclass(frozen=True)
class Photographs:
    """What is trained and validated on: moments, each a list of near-duplicates."""

    train: list[list[Sample]]
    valid: list[Sample]
    train_negatives: list[list[Sample]]
    valid_negatives: list[Sample]


def series(sample: Sample) -> str:
    """Where a photograph comes from, by its name."""
    return sample.path.stem.split("_")[0]


def read_labelled(folder: Path) -> list[Sample]:
    """The images of `folder` (its `images` and `labels`), sorted by name."""
    samples = []
    for path in sorted((folder / "images").glob("*.jpg")):
        height, width = read_rgb(path).shape[:2]
        samples.append(Sample(path, phone_boxes(path, height, width)))
    return samples


def read_negatives(photographs: Path, part: str) -> list[Sample]:
    """The images without a phone that `train` or `judge` lists."""
    folder = photographs / "negatives"
    names = (folder / f"{part}.txt").read_text().split()
    return [Sample(folder / "images" / name, np.zeros((0, 4), np.float32)) for name in names]


def phone_boxes(image: Path, height: int, width: int) -> np.ndarray:
    """The phones in an image of height x width, N x 4 float32, xyxy pixels."""
    labels = image.parent.parent / "labels" / f"{image.stem}.txt"
    rows = [line.split() for line in labels.read_text().splitlines() if line.strip()]
    phones = [[float(value) for value in row[1:5]] for row in rows if int(row[0]) == PHONE_CLASS]
    x, y, w, h = np.array(phones, np.float32).reshape(-1, 4).T
    corners = np.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], axis=1)
    return corners * np.array([width, height, width, height], np.float32)


def perceptual_hashes(image: np.ndarray) -> np.ndarray:
    """8 x 256 bits from the low frequencies of the image's brightness (a 16 x 16 DCT hash).

    The first is the image as it is, the others mirrored and turned: copies come that way, too.
    """
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(gray, (64, 64), interpolation=cv2.INTER_AREA).astype(np.float32)
    turned = [np.rot90(side, turn) for side in (small, small[:, ::-1]) for turn in range(4)]
    low = [cv2.dct(np.ascontiguousarray(one))[:16, :16].ravel() for one in turned]
    return np.stack([one > np.median(one) for one in low])


def moments(samples: Iterable[Sample]) -> list[list[Sample]]:
    """`samples` in groups: an image joins the first group that holds a near-duplicate of it."""
    groups: list[tuple[list[Sample], np.ndarray]] = []
    for sample in samples:
        hashes = perceptual_hashes(read_rgb(sample.path))
        for index, (group, known) in enumerate(groups):
            if (known[:, None] != hashes).sum(axis=2).min() <= MAX_HASH_DISTANCE:
                group.append(sample)
                groups[index] = (group, np.vstack([known, hashes[:1]]))
                break
        else:
            groups.append(([sample], hashes[:1]))
    return [group for group, _ in groups]


def read_photographs(folder: Path) -> Photographs:
    """What is trained and validated on in `folder`; the same each time."""
    found = moments(read_labelled(folder / "train"))
    validated = [group for group in found if series(group[0]) == VALIDATED_SERIES]
    validated = validated[::VALIDATED_SHARE]
    names = {sample.path for group in validated for sample in group}
    negatives = read_negatives(folder, "train")
    ordinary = [sample for sample in negatives if series(sample) == "coco"]
    apart = ordinary[::VALIDATED_SHARE]
    kept = {sample.path for sample in apart}
    return Photographs(
        train=[group for group in found if group[0].path not in names],
        valid=[group[0] for group in validated],
        train_negatives=moments(sample for sample in negatives if sample.path not in kept),
        valid_negatives=apart,
    )
