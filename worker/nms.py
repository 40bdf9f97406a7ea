"""Stage `nms`: raw scores and boxes to detections."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.job import Box, Detection

#: Only so many of the best-scored candidates enter NMS, which bounds its time when a
#: threshold near 0 lets everything through. DAMO-YOLO keeps 500 boxes at most anyway.
CANDIDATES_MAX = 3000

Floats = NDArray[np.float32]


def candidates(scores: Floats, score_threshold: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and classes of the scores above the threshold, best first.

    scores: A x C. One row may be a candidate for several classes, as upstream.
    """
    rows, classes = np.nonzero(scores > score_threshold)
    order = np.argsort(-scores[rows, classes], kind="stable")[:CANDIDATES_MAX]
    return rows[order], classes[order]


def nms(boxes: Floats, classes: NDArray[np.intp], iou_threshold: float, most: int) -> list[int]:
    """Greedy class-aware non-maximum suppression.

    boxes: K x 4, xyxy, sorted by score, best first; classes: K. A box is dropped when its
    IoU with a better one of its class exceeds the threshold. Returns the indices kept, best
    first, `most` at most.
    """
    x1, y1, x2, y2 = boxes.T.astype(np.float64)
    areas = np.maximum(x2 - x1, 0) * np.maximum(y2 - y1, 0)
    alive = np.arange(len(boxes))
    kept: list[int] = []
    while alive.size and len(kept) < most:
        best, rest = alive[0], alive[1:]
        kept.append(int(best))
        width = np.minimum(x2[best], x2[rest]) - np.maximum(x1[best], x1[rest])
        height = np.minimum(y2[best], y2[rest]) - np.maximum(y1[best], y1[rest])
        overlap = np.maximum(width, 0) * np.maximum(height, 0)
        union = areas[best] + areas[rest] - overlap
        # overlap / union > threshold, without dividing by the union of empty boxes
        suppressed = (overlap > iou_threshold * union) & (classes[rest] == classes[best])
        alive = rest[~suppressed]
    return kept


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
    chosen = boxes[rows]
    kept = nms(chosen, classes, iou_threshold, most)
    scale = np.array(image_size, np.float64) / np.array(input_size, np.float64)
    corners = chosen[kept].astype(np.float64) * np.tile(scale, 2)
    corners = np.clip(corners, 0, np.tile(np.array(image_size, np.float64), 2))
    found = []
    for corner, index in zip(corners.round(2).tolist(), kept, strict=True):
        x1, y1, x2, y2 = corner
        if x2 > x1 and y2 > y1:  # a box wholly outside the image leaves nothing inside it
            score = round(float(scores[rows[index], classes[index]]), 4)
            box = Box(x1=x1, y1=y1, x2=x2, y2=y2)
            found.append(Detection(label=labels[classes[index]], score=score, box=box))
    return found, len(rows)
