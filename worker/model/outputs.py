"""What the two outputs of a network are, told from what it gives for a test picture.

Files say little: names and order differ between exports, axes are left open, and nothing says
whether boxes are corners or centres, pixels or fractions. What DAMO-YOLO gives can be told all the
same, however it was trained: each of its A boxes is an anchor point and a distance of at least 0 to
each side of it, so that it holds its point (distance2bbox in upstream's zero_head.py); and each
score is a sigmoid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelError

#: Strides of the three feature maps; A is the number of their cells together.
STRIDES = (8, 16, 32)
#: Of the boxes, how many have to hold their anchor point. All of DAMO-YOLO's do; of boxes that are
#: written in another way, those that happen to. With so few, it must be the reading that fits best.
HOLDING, SURELY = 0.9, 0.98
#: The brightest value in the test picture.
BRIGHTEST = 240

Floats = NDArray[np.float32]


def synthetic(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """H x W x 3: a slope, noise, flat rectangles and a grid. The same seed gives the same one."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    picture = np.stack(
        [rows * BRIGHTEST // height, columns * BRIGHTEST // width, (rows + columns) % BRIGHTEST], -1
    ).astype(np.uint8)
    half = (slice(0, height // 2), slice(width // 2, width))
    picture[half] = rng.integers(0, BRIGHTEST + 1, picture[half].shape, dtype=np.uint8)
    for _ in range(6):
        top, left = rng.integers(0, height), rng.integers(0, width)
        tall, wide = rng.integers(8, height // 2), rng.integers(8, width // 2)
        picture[top : top + tall, left : left + wide] = rng.integers(0, BRIGHTEST + 1, 3)
    picture[3 * height // 4 :: 16, : width // 2] = BRIGHTEST
    picture[: height // 4, : width // 4] = 0
    return picture


def tell(outputs: Sequence[NDArray[Any]], height: int, width: int) -> tuple[int, int]:
    """Index of the scores and of the boxes among the outputs for one image of this size.

    By the last axis (4 are boxes), by values where both have four, and by order. Raises ModelError
    that says what is wrong with them.
    """
    anchors = anchor_count(height, width)
    for output in outputs:
        if output.ndim != 3 or output.shape[1] != anchors:
            raise ModelError(
                f"an output is {_show(output.shape)}, not N x {anchors} x ..., as a DAMO-YOLO of "
                f"{height} x {width} gives before NMS{_turned(output.shape, anchors)}"
            )
    fours = [index for index, output in enumerate(outputs) if output.shape[2] == 4]
    if not fours:
        shapes = " nor ".join(_show(output.shape) for output in outputs)
        raise ModelError(f"neither {shapes} ends in 4 (boxes)")
    refusals = []
    for boxes in reversed(fours):
        scores = 1 - boxes
        try:
            check_scores(outputs[scores])
            check_boxes(outputs[boxes], height, width)
        except ModelError as error:
            refusals.append(error)
            continue
        return scores, boxes
    raise refusals[0]


def check_scores(scores: NDArray[Any]) -> None:
    """Raises ModelError for what no sigmoid gives."""
    _check_finite(scores, "scores")
    least, most = float(scores.min(initial=1)), float(scores.max(initial=0))
    if least < 0 or most > 1:
        raise ModelError(
            f"its scores leave 0..1 ({least:.4g} to {most:.4g}), as logits do; export them after "
            "the sigmoid"
        )
    if scores.size and least >= 0.5:
        raise ModelError(
            f"all its scores are at least 0.5 ({least:.4g} to {most:.4g}), as they are when the "
            "sigmoid is taken twice; export them after one"
        )


def check_boxes(boxes: NDArray[Any], height: int, width: int) -> None:
    """Raises ModelError for boxes that are not x1, y1, x2, y2 in pixels of the input."""
    _check_finite(boxes, "boxes")
    points, strides = anchors_of(height, width)
    boxes = boxes[0].astype(np.float64)
    holding = _holding(boxes, points, strides)
    if holding >= SURELY:
        return
    # Small inputs leave room for chance, and readings are alike: what fits best is right.
    fits = []
    for name, read in _readings(height, width):
        other = read(boxes)
        if other is not None and _holding(other, points, strides) > max(holding, HOLDING):
            fits.append((_holding(other, points, 0 * strides), name))
    if fits:
        raise ModelError(
            f"its boxes are {max(fits)[1]}, not x1, y1, x2, y2 in pixels of the input; export "
            "them as upstream does, decoded"
        )
    if holding < HOLDING:
        raise ModelError(
            "its boxes are not x1, y1, x2, y2 in pixels of the input: each should hold the point "
            f"that it belongs to, and {holding:.0%} do; export them as upstream does, decoded, "
            "in the order of strides 8, 16 and 32"
        )


def anchor_count(height: int, width: int) -> int:
    """A: 8400 at 640 x 640, 3549 at 416 x 416."""
    return sum((height // stride) * (width // stride) for stride in STRIDES)


def anchors_of(height: int, width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points A x 2 (x, y in pixels) that boxes belong to, and the stride A of each."""
    points, strides = [], []
    for stride in STRIDES:
        rows, columns = np.mgrid[0 : height // stride, 0 : width // stride]
        points.append(np.stack([columns, rows], -1).reshape(-1, 2) * float(stride))
        strides.append(np.full(rows.size, float(stride)))
    return np.concatenate(points), np.concatenate(strides)


def _holding(boxes: NDArray[Any], points: NDArray[Any], strides: NDArray[Any]) -> float:
    """The share of boxes (A x 4, xyxy in pixels) that hold their point, give or take a cell, which
    may be taken at its corner or in its middle."""
    low, high = boxes[:, :2] - strides[:, None], boxes[:, 2:] + strides[:, None]
    inside = (low <= points) & (points <= high) & (boxes[:, :2] <= boxes[:, 2:])
    return float(inside.all(axis=1).mean())


Reading = Callable[[NDArray[Any]], "NDArray[Any] | None"]


def _readings(height: int, width: int) -> Iterator[tuple[str, Reading]]:
    """Other ways to write boxes, by name, each with what makes pixels xyxy of it. None: it is not
    written so."""
    size = np.array([width, height, width, height], np.float64)

    def fractions(boxes: NDArray[Any]) -> NDArray[Any] | None:
        return boxes * size if np.abs(boxes).max() <= 4 else None

    def centred(boxes: NDArray[Any]) -> NDArray[Any]:
        middle, half = boxes[:, :2], boxes[:, 2:] / 2
        return np.concatenate([middle - half, middle + half], axis=1)

    def cornered(boxes: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)

    def small(read: Reading) -> Reading:
        return lambda boxes: None if (scaled := fractions(boxes)) is None else read(scaled)

    yield "x1, y1, x2, y2 in fractions of the input", fractions
    yield "centre, width and height in fractions of the input", small(centred)
    yield "corner, width and height in fractions of the input", small(cornered)
    yield "centre, width and height in pixels", centred
    yield "corner, width and height in pixels", cornered
    yield "y1, x1, y2, x2 in pixels", lambda boxes: boxes[:, [1, 0, 3, 2]]


def _check_finite(values: NDArray[Any], what: str) -> None:
    wrong = int(np.count_nonzero(~np.isfinite(values)))
    if wrong:
        raise ModelError(
            f"{wrong:,} of its {values.size:,} numbers of {what} for a test picture are NaN or "
            "infinite; a network in half precision overflows so, and a training that diverged"
        )


def _turned(shape: Sequence[int], anchors: int) -> str:
    """What to say of an output whose axes are in another order."""
    return "; its last two axes are swapped" if len(shape) == 3 and shape[2] == anchors else ""


def _show(axes: Sequence[int]) -> str:
    return " x ".join(map(str, axes)) or "a scalar"
