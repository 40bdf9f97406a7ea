"""Stage `nms` of an image that was looked at in tiles: what its views have found, as one.

Each view, a tile or the whole image, has been run by itself. Tiles overlap, so that what is smaller
than the overlap is whole in one of them; but it is seen in several, by halves at a tile's border,
and less sharply in the whole image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.job import Detections
from pipeline.tiles import Tile
from worker.model.nms import BLOCK, CANDIDATES_MAX, Floats, candidates, common, nms, plain

#: Of a tile's side: a box that comes so near to a border inside of the image is cut by it.
BORDER = 0.02
#: Of a cut box, what a box of another view must cover to be the same object seen whole.
COVERED = 0.5
#: IoU of a box of the whole image with one of a tile's from which on it is the same object, seen
#: less sharply: small objects are a few pixels there.
BLURRED = 0.3
#: IoU from which on boxes of two tiles are the same object, if that is less than the request's own.
ACROSS = 0.5


@dataclass(frozen=True, slots=True)
class View:
    """What was found in a part of an image before NMS, the best first."""

    part: Tile
    #: K x 4, xyxy, in pixels of the model's input.
    boxes: Floats
    scores: Floats
    #: K, columns of the model's scores.
    classes: NDArray[np.intp]


def view(scores: Floats, boxes: Floats, part: Tile, columns: Sequence[int],
         score_threshold: float) -> View:  # fmt: skip
    """What one call has found in a part: scores A x C, boxes A x 4. Only these columns count."""
    chosen = scores[:, columns]
    rows, classes = candidates(chosen, score_threshold)
    # Copies of a few, so that the rest of what the call returned is held no longer.
    return View(part, boxes[rows], chosen[rows, classes], np.asarray(columns, np.intp)[classes])


def merged(
    views: Sequence[View],
    labels: Sequence[str],
    *,
    input_size: tuple[int, int],
    image_size: tuple[int, int],
    iou_threshold: float,
    most: int,
) -> tuple[Detections, int]:
    """Detections of one image, and how many candidates they were chosen from.

    The first view is the whole image, the others its tiles. Of several views of one object the
    sharpest whole one gives the box, and the best the score: so no object is lost to a threshold of
    the score that one of its views passes.
    """
    found = [_of_view(each, input_size, image_size, iou_threshold, most) for each in views]
    boxes = np.concatenate([each[0] for each in found])
    scores = np.concatenate([each[1] for each in found])
    classes = np.concatenate([each[2] for each in found])
    cut = np.concatenate([each[3] for each in found])
    numbers = np.repeat(np.arange(len(views)), [len(each[0]) for each in found])
    best = np.argsort(-scores, kind="stable")[:CANDIDATES_MAX]
    boxes, scores, classes = boxes[best], scores[best], classes[best]
    cut, numbers = cut[best], numbers[best]

    sharp, blurred = ~cut & (numbers > 0), ~cut & (numbers == 0)
    gone = _seen_better(boxes, scores, classes, blurred, sharp, of_both=True)
    blurred[gone] = False
    gone |= _seen_better(boxes, scores, classes, cut, sharp, of_both=False)
    gone |= _seen_better(boxes, scores, classes, cut & ~gone, blurred, of_both=False)

    left = np.flatnonzero(~gone)
    left = left[np.argsort(-scores[left], kind="stable")]
    kept = left[
        nms(boxes[left], classes[left], iou_threshold, most,
            apart=(numbers[left], min(ACROSS, iou_threshold)))
    ]  # fmt: skip
    chosen = plain(boxes[kept], scores[kept], classes[kept], labels, image_size)
    return chosen, sum(len(each.scores) for each in views)


def _of_view(
    seen: View,
    input_size: tuple[int, int],
    image_size: tuple[int, int],
    iou_threshold: float,
    most: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.intp], NDArray[np.bool_]]:
    """Boxes in pixels of the image, scores and classes of one view after its own NMS, and which of
    the boxes are cut by the part's border."""
    kept = nms(seen.boxes, seen.classes, iou_threshold, most)
    x, y, width, height = seen.part
    scale = np.array((width, height, width, height)) / np.array((*input_size, *input_size))
    start, end = np.array((x, y)), np.array((x + width, y + height))
    boxes = seen.boxes[kept] * scale + np.array((x, y, x, y))
    boxes = np.clip(boxes, (*start, *start), (*end, *end))
    near = BORDER * np.array((width, height))
    inner_start, inner_end = start > 0, end < np.array(image_size)
    cut = (inner_start & (boxes[:, :2] < start + near)) | (inner_end & (boxes[:, 2:] > end - near))
    return boxes, seen.scores[kept].astype(np.float64), seen.classes[kept], cut.any(axis=1)


def _seen_better(
    boxes: NDArray[np.float64],
    scores: NDArray[np.float64],
    classes: NDArray[np.intp],
    worse: NDArray[np.bool_],
    better: NDArray[np.bool_],
    *,
    of_both: bool,
) -> NDArray[np.bool_]:
    """Which of the `worse` views are of an object that a `better` one shows, which takes over the
    score if it is higher: by IoU (`of_both`), or by how much of the worse one is covered."""
    gone = np.zeros(len(boxes), np.bool_)
    ones, others = np.flatnonzero(worse), np.flatnonzero(better)
    if not len(others):
        return gone
    sizes = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    u1, v1, u2, v2 = boxes[others].T
    threshold = BLURRED if of_both else COVERED
    for begin in range(0, len(ones), BLOCK):
        block = ones[begin : begin + BLOCK]
        x1, y1, x2, y2 = boxes[block].T[:, :, np.newaxis]
        overlap = common(x1, x2, u1, u2) * common(y1, y2, v1, v2)
        own = sizes[block][:, np.newaxis]
        whole = own + sizes[others] - overlap if of_both else own
        share = overlap / np.maximum(whole, 1e-9)
        share[classes[block][:, np.newaxis] != classes[others]] = 0.0
        like = share.argmax(axis=1)
        same = share[np.arange(len(block)), like] > threshold
        gone[block[same]] = True
        np.maximum.at(scores, others[like[same]], scores[block[same]])
    return gone
