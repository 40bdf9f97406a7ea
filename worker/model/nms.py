"""Stage `nms`: raw scores and boxes to detections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.job import Detections

#: Only so many of the best-scored candidates enter NMS, which bounds its time when a
#: threshold near 0 lets everything through. DAMO-YOLO keeps 500 boxes at most anyway.
CANDIDATES_MAX = 3000
#: Boxes that are compared with each other at once.
BLOCK = 128

Floats = NDArray[np.float32]
F = TypeVar("F", bound="np.floating[Any]")


def candidates(scores: Floats, score_threshold: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and classes of the scores above the threshold, best first.

    scores: A x C. One row may be a candidate for several classes, as upstream.
    """
    # numpy looks through a row of truth values fifteen times as quickly as through a table.
    above = np.flatnonzero(scores > score_threshold)
    order = np.argsort(-scores.take(above), kind="stable")[:CANDIDATES_MAX]
    rows, classes = np.divmod(above[order], scores.shape[1])
    return rows, classes


def nms(
    boxes: NDArray[F],
    classes: NDArray[np.intp],
    iou_threshold: float,
    most: int,
    apart: tuple[NDArray[np.intp], float] | None = None,
) -> list[int]:
    """Greedy class-aware non-maximum suppression.

    boxes: K x 4, xyxy, sorted by score, best first; classes: K. A box is dropped when its
    IoU with a better one of its class exceeds the threshold. Returns the indices kept, best
    first, `most` at most. `apart` has a number for each box, and a lower threshold for those whose
    numbers differ.
    """
    if len(boxes) < 2:
        return list(range(min(len(boxes), most)))
    # Numbers that are compared with each other lie side by side, as few bytes as they need.
    corners = np.ascontiguousarray(boxes.T)
    kinds = classes.astype(np.int32)

    def too_like(ones: NDArray[np.intp], others: NDArray[np.intp]) -> NDArray[np.bool_]:
        found = _too_like(corners, kinds, ones, others, iou_threshold)
        if apart is not None:
            numbers, lower = apart
            differ = numbers[ones][:, np.newaxis] != numbers[others]
            found |= _too_like(corners, kinds, ones, others, lower) & differ
        return found

    left = np.arange(len(boxes))
    kept: list[int] = []
    # A block at a time: pairs are compared by the block, not by the box, and boxes far down the
    # list are often suppressed before their turn comes.
    while left.size and len(kept) < most:
        block, left = left[:BLOCK], left[BLOCK:]
        chosen = block[_greedy(too_like(block, block))]
        kept += chosen.tolist()
        if left.size:
            left = left[~too_like(chosen, left).any(axis=0)]
    return kept[:most]


def _greedy(too_like: NDArray[np.bool_]) -> list[int]:
    """Of boxes sorted best first: those that are not too like a better one that is kept."""
    # A row of bits as one integer: Python compares 128 boxes as quickly as two.
    packed = np.packbits(too_like, axis=1, bitorder="little")
    dropped, kept = 0, []
    for index, row in enumerate(packed):
        if not dropped >> index & 1:
            kept.append(index)
            dropped |= int.from_bytes(row.tobytes(), "little")
    return kept


def _too_like(corners: NDArray[F], kinds: NDArray[np.int32], ones: NDArray[np.intp],
              others: NDArray[np.intp], iou_threshold: float) -> NDArray[np.bool_]:  # fmt: skip
    """Of each pair of boxes, N x M: whether they share a class and overlap beyond the threshold.

    corners: 4 x K; kinds: K; ones: N indices; others: M indices.
    """
    x1, y1, x2, y2 = corners.take(ones, axis=1)[:, :, np.newaxis]
    u1, v1, u2, v2 = corners.take(others, axis=1)[:, np.newaxis, :]
    overlap = common(x1, x2, u1, u2)
    overlap *= common(y1, y2, v1, v2)
    # overlap / (area + other area - overlap) > threshold, with every pair touched the least often,
    # and without dividing by the union of empty boxes
    share = iou_threshold / (1 + iou_threshold)
    areas = np.maximum(x2 - x1, 0) * np.maximum(y2 - y1, 0) * share
    found: NDArray[np.bool_] = overlap > (
        areas + np.maximum(u2 - u1, 0) * np.maximum(v2 - v1, 0) * share
    )
    found &= kinds[ones][:, np.newaxis] == kinds[others]
    return found


def common(start: NDArray[F], end: NDArray[F], other_start: NDArray[F],
           other_end: NDArray[F]) -> NDArray[F]:  # fmt: skip
    """How long the part is that two ranges share; 0 when they share none."""
    length: NDArray[F] = np.minimum(end, other_end)
    length -= np.maximum(start, other_start)
    np.maximum(length, 0, out=length)
    return length


def detections(
    scores: Floats,
    boxes: Floats,
    labels: Sequence[str],
    *,
    input_size: tuple[int, int],
    image_size: tuple[int, int],
    score_threshold: float,
    iou_threshold: float,
    most: int,
    wanted: Sequence[str] | None = None,
) -> tuple[Detections, int]:
    """Detections of one image, and how many candidates NMS chose from.

    scores: A x C, sigmoid; boxes: A x 4, xyxy in input pixels. `input_size` and
    `image_size` are (width, height); boxes come back in image pixels, inside the image.
    `wanted`, when given, keeps only these labels. Columns beyond the labels are unused.
    """
    scores = scores[:, : len(labels)]
    if wanted is not None:
        columns = [index for index, label in enumerate(labels) if label in set(wanted)]
        labels = [labels[index] for index in columns]
        scores = scores[:, columns]
    rows, classes = candidates(scores, score_threshold)
    if not len(rows):
        return Detections(), 0
    chosen = boxes[rows]
    kept = nms(chosen, classes, iou_threshold, most)
    limits = np.array((*image_size, *image_size), np.float64)
    corners = chosen[kept] * (limits / np.array((*input_size, *input_size), np.float64))
    kept_scores = scores[rows[kept], classes[kept]]
    return plain(corners, kept_scores, classes[kept], labels, image_size), len(rows)


def plain(
    corners: NDArray[np.float64],
    scores: NDArray[F],
    classes: NDArray[np.intp],
    labels: Sequence[str],
    image_size: tuple[int, int],
) -> Detections:
    """Boxes as detections: in pixels of the image, inside of it; scores rounded."""
    limits = np.array((*image_size, *image_size), np.float64)
    corners = np.minimum(np.maximum(corners, 0.0), limits).round(2)
    inside = (corners[:, 2:] > corners[:, :2]).all(axis=1)
    if not inside.all():  # a box wholly outside the image leaves nothing inside it
        corners, scores, classes = corners[inside], scores[inside], classes[inside]
    values = scores.astype(np.float64).round(4)
    names = [labels[index] for index in classes.tolist()]
    return Detections(names, values.tolist(), corners.tolist())
