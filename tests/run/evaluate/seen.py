"""What was seen, made by hand: images of 100 x 100 pixels, and boxes in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from run.evaluate.classes import Classes
from run.evaluate.dataset import LabelledImage
from run.evaluate.detecting import SeenImage

PHONE = Classes(("phone",), ("phone",), {0: 0})
BOTH = Classes(("phone", "remote"), ("phone", "remote"), {0: 0, 1: 1})

Box = tuple[float, float, float, float]

#: A box of a hundred square pixels, and one that does not touch it.
HERE: Box = (0.0, 0.0, 10.0, 10.0)
THERE: Box = (50.0, 50.0, 60.0, 60.0)


def seen(
    objects: list[Box], found: list[tuple[float, Box]], kinds: list[int] | None = None,
    found_kinds: list[int] | None = None, crowds: list[bool] | None = None,
) -> SeenImage:  # fmt: skip
    """One image; all of the first class unless told otherwise."""
    boxes = np.array(objects, np.float64).reshape(-1, 4)
    image = LabelledImage(Path("a.jpg"), "a.jpg", np.zeros(len(boxes), np.int64), boxes)
    return SeenImage(
        image, 100, 100,
        classes=np.array(kinds or [0] * len(boxes), np.int64),
        boxes=boxes,
        crowds=np.array(crowds or [False] * len(boxes), bool),
        areas=(boxes[:, 2:] - boxes[:, :2]).prod(axis=1),
        found_classes=np.array(found_kinds or [0] * len(found), np.int64),
        scores=np.array([score for score, _ in found], np.float64),
        found_boxes=np.array([box for _, box in found], np.float64).reshape(-1, 4),
    )  # fmt: skip
