"""Which boxes are which objects, and average precision: by pycocotools, COCO's own code."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from run.evaluate.classes import Classes
from run.evaluate.dataset import Floats
from run.evaluate.detecting import DETECTIONS_MAX, SeenImage

#: Images times classes above which no interval of AP50 is worked out, and how often images are
#: drawn again for one.
BOOTSTRAP_MAX, BOOTSTRAP_ROUNDS = 20_000, 400


@dataclass(frozen=True, eq=False)
class Precision:
    """COCO's average precisions; NaN where there is no object."""

    #: Overlaps x classes x areas (all, small, medium, large).
    ap: Floats
    #: At an overlap of 0.5, classes x 101: precision at recalls of 0 to 1.
    curves: Floats


@dataclass(frozen=True, eq=False)
class Matches:
    """All boxes and objects of all images, K and N, at one overlap."""

    #: Of each box: image, class, score, whether it is an object, whether it counts at all.
    image: NDArray[np.int64]
    kind: NDArray[np.int64]
    score: Floats
    hit: NDArray[np.bool_]
    counts: NDArray[np.bool_]
    #: K x 4, xyxy pixels.
    box: Floats
    #: Of each object (crowds are none): image, class, box, the score that it was found with or 0.
    object_image: NDArray[np.int64]
    object_kind: NDArray[np.int64]
    object_box: Floats
    found: Floats
    #: Of each object, its longer side as a share of the image's, and its area as COCO has it.
    share: Floats
    area: Floats


class Judge:
    """COCO's evaluation of what was seen."""

    def __init__(self, seen: Sequence[SeenImage], classes: Classes) -> None:
        self._seen, self._classes = seen, classes
        self._truth, self._found = _indexed(*_tables(seen, classes))

    def precision(self) -> Precision:
        """COCO's figures at its ten overlaps and four areas."""
        done = self._evaluated(None, None)
        precision = done.eval["precision"][..., 0]  # overlaps x recalls x classes x areas
        absent = precision < 0
        ap = np.where(absent, np.nan, precision).mean(axis=1)
        curves = np.where(absent, np.nan, precision)[0, :, :, 0].T
        return Precision(ap, curves)

    def interval(self) -> tuple[float, float] | None:
        """95 % of AP50s where images are drawn again at random; None where that takes too long."""
        count, classes = len(self._seen), len(self._classes.names)
        if count * classes > BOOTSTRAP_MAX or count < 2:
            return None
        done = self._evaluated([0.5], [[0, 1e10]])
        rng, results, values = np.random.default_rng(0), list(done.evalImgs), []
        for _ in range(BOOTSTRAP_ROUNDS):
            drawn = rng.integers(count, size=count)
            # One class after the other, the images of each in their order.
            done.evalImgs = [results[kind * count + i] for kind in range(classes) for i in drawn]
            _quietly(done.accumulate)
            found = done.eval["precision"][0, :, :, 0, 0]
            if (found >= 0).any():
                values.append(float(found[found >= 0].mean()))
        if not values:
            return None
        low, high = np.percentile(values, [2.5, 97.5])
        return float(low), float(high)

    def matches(self, overlap: float) -> Matches:
        """Each box and object where they match at `overlap`."""
        done = self._evaluated([overlap], [[0, 1e10]])
        boxes, objects = self._found.anns, self._truth.anns
        rows: list[tuple[int, int, float, bool, bool, int]] = []
        wholes: list[tuple[int, int, float, int]] = []
        for one in done.evalImgs:
            if one is None:
                continue
            image, kind = one["image_id"] - 1, one["category_id"] - 1
            for column, number in enumerate(one["dtIds"]):
                hit, ignored = one["dtMatches"][0, column] > 0, one["dtIgnore"][0, column]
                score = one["dtScores"][column]
                rows.append((image, kind, score, bool(hit and not ignored), not ignored, number))
            for column, number in enumerate(one["gtIds"]):
                if not one["gtIgnore"][column]:
                    by = int(one["gtMatches"][0, column])
                    wholes.append((image, kind, boxes[by]["score"] if by else 0.0, number))
        table = np.array([row[:5] for row in rows], np.float64).reshape(-1, 5)
        whole = np.array([row[:3] for row in wholes], np.float64).reshape(-1, 3)
        object_box = _corners([objects[row[3]]["bbox"] for row in wholes])
        object_image = whole[:, 0].astype(np.int64)
        sizes = np.array([(s.width, s.height) for s in self._seen], np.float64).reshape(-1, 2)
        sides = (object_box[:, 2:] - object_box[:, :2]) / sizes[object_image]
        return Matches(
            image=table[:, 0].astype(np.int64), kind=table[:, 1].astype(np.int64),
            score=table[:, 2], hit=table[:, 3] > 0, counts=table[:, 4] > 0,
            box=_corners([boxes[row[5]]["bbox"] for row in rows]),
            object_image=object_image, object_kind=whole[:, 1].astype(np.int64),
            object_box=object_box, found=whole[:, 2],
            share=sides.max(axis=1, initial=0.0),
            area=np.array([objects[row[3]]["area"] for row in wholes], np.float64),
        )  # fmt: skip

    def _evaluated(self, overlaps: list[float] | None, areas: list[Any] | None) -> Any:
        done = COCOeval(self._truth, self._found, "bbox")
        done.params.maxDets = [DETECTIONS_MAX]
        if overlaps is not None:
            done.params.iouThrs = np.array(overlaps)
        if areas is not None:
            done.params.areaRng, done.params.areaRngLbl = areas, ["all"]
        _quietly(done.evaluate, done.accumulate)
        return done


def _tables(seen: Sequence[SeenImage], classes: Classes) -> tuple[list[Any], ...]:
    """Images, classes, objects and boxes as COCO's code wants them; all count from 1 on."""
    images: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    boxes: list[dict[str, Any]] = []
    for number, one in enumerate(seen, 1):
        images.append({"id": number, "width": one.width, "height": one.height})
        for kind, box, crowd, area in zip(
            one.classes.tolist(), one.boxes, one.crowds.tolist(), one.areas.tolist(), strict=True
        ):
            objects.append(
                {"id": len(objects) + 1, "image_id": number, "category_id": kind + 1,
                 "bbox": _sides(box), "area": area, "iscrowd": int(crowd)}
            )  # fmt: skip
        for kind, box, score in zip(
            one.found_classes.tolist(), one.found_boxes, one.scores.tolist(), strict=True
        ):
            sides = _sides(box)
            boxes.append(
                {"id": len(boxes) + 1, "image_id": number, "category_id": kind + 1, "bbox": sides,
                 "area": sides[2] * sides[3], "iscrowd": 0, "score": score}
            )  # fmt: skip
    kinds = [{"id": number, "name": name} for number, name in enumerate(classes.names, 1)]
    return images, kinds, objects, boxes


def _indexed(
    images: list[Any], kinds: list[Any], objects: list[Any], boxes: list[Any]
) -> tuple[Any, Any]:
    made = []
    for rows in (objects, boxes):
        table = COCO()
        table.dataset = {"images": images, "categories": kinds, "annotations": rows}
        _quietly(table.createIndex)
        made.append(table)
    return made[0], made[1]


def _quietly(*calls: Any) -> None:
    """COCO's code prints what it does."""
    with contextlib.redirect_stdout(io.StringIO()):
        for call in calls:
            call()


def _sides(box: Floats) -> list[float]:
    x1, y1, x2, y2 = box.tolist()
    return [x1, y1, x2 - x1, y2 - y1]


def _corners(boxes: list[list[float]]) -> Floats:
    table = np.array(boxes, np.float64).reshape(-1, 4)
    return np.hstack([table[:, :2], table[:, :2] + table[:, 2:]])
