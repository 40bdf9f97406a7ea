"""Stage `nms`: raw scores and boxes to detections."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.job import Box, Detection

#: Only so many of the best-scored candidates enter NMS, which bounds its time when a
#: threshold near 0 lets everything through. DAMO-YOLO keeps 500 boxes at most anyway.
CANDIDATES_MAX = 3000
#: Boxes that are compared with each other at once.
BLOCK = 128

Floats = NDArray[np.float32]


def candidates(scores: Floats, score_threshold: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and classes of the scores above the threshold, best first.

    scores: A x C. One row may be a candidate for several classes, as upstream.
    """
    # numpy looks through a row of truth values fifteen times as quickly as through a table.
    above = np.flatnonzero(scores > score_threshold)
    order = np.argsort(-scores.take(above), kind="stable")[:CANDIDATES_MAX]
    rows, classes = np.divmod(above[order], scores.shape[1])
    return rows, classes


def nms(boxes: Floats, classes: NDArray[np.intp], iou_threshold: float, most: int) -> list[int]:
    """Greedy class-aware non-maximum suppression.

    boxes: K x 4, xyxy, sorted by score, best first; classes: K. A box is dropped when its
    IoU with a better one of its class exceeds the threshold. Returns the indices kept, best
    first, `most` at most.
    """
    if len(boxes) < 2:
        return list(range(min(len(boxes), most)))
    left = np.arange(len(boxes))
    kept: list[int] = []
    # A block at a time: pairs are compared by the block, not by the box, and boxes far down the
    # list are often suppressed before their turn comes.
    while left.size and len(kept) < most:
        block, left = left[:BLOCK], left[BLOCK:]
        chosen = block[_greedy(_too_like(boxes, classes, block, block, iou_threshold))]
        kept += chosen.tolist()
        if left.size:
            left = left[~_too_like(boxes, classes, chosen, left, iou_threshold).any(axis=0)]
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


def _too_like(boxes: Floats, classes: NDArray[np.intp], ones: NDArray[np.intp],
              others: NDArray[np.intp], iou_threshold: float) -> NDArray[np.bool_]:  # fmt: skip
    """Of each pair of boxes, N x M: whether they share a class and overlap beyond the threshold."""
    x1, y1, x2, y2 = boxes[ones].T[:, :, np.newaxis]
    u1, v1, u2, v2 = boxes[others].T[:, np.newaxis, :]
    overlap = np.maximum(np.minimum(x2, u2) - np.maximum(x1, u1), 0)
    overlap *= np.maximum(np.minimum(y2, v2) - np.maximum(y1, v1), 0)
    areas = np.maximum(x2 - x1, 0) * np.maximum(y2 - y1, 0)
    union = areas + np.maximum(u2 - u1, 0) * np.maximum(v2 - v1, 0) - overlap
    # overlap / union > threshold, without dividing by the union of empty boxes
    found: NDArray[np.bool_] = overlap > iou_threshold * union
    found &= classes[ones][:, np.newaxis] == classes[others]
    return found


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
) -> tuple[list[Detection], int]:
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
        return [], 0
    chosen = boxes[rows]
    kept = nms(chosen, classes, iou_threshold, most)
    limits = np.array((*image_size, *image_size), np.float64)
    corners = chosen[kept] * (limits / np.array((*input_size, *input_size), np.float64))
    corners = np.minimum(np.maximum(corners, 0.0), limits)
    values, names = scores[rows[kept], classes[kept]].tolist(), classes[kept].tolist()
    found = [
        Detection(labels[name], round(value, 4), Box(x1, y1, x2, y2))
        for (x1, y1, x2, y2), value, name in zip(
            corners.round(2).tolist(), values, names, strict=True
        )
        if x2 > x1 and y2 > y1  # a box wholly outside the image leaves nothing inside it
    ]
    return found, len(rows)
