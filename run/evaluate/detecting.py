"""What the worker's own code finds in the images of a data set."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DamoscopeError
from pipeline.job import DetectOptions
from pipeline.settings import Settings
from run.evaluate.classes import Classes
from run.evaluate.dataset import Floats, LabelledImage
from worker.batch import BatchItem
from worker.detect_files import detect
from worker.model.session import Detector
from worker.stages import Stages

#: What scores less takes no part in average precision, nor does what comes after so many boxes.
SCORE_MIN, DETECTIONS_MAX = 0.01, 100


@dataclass(frozen=True, slots=True, eq=False)
class SeenImage:
    """An image, its N objects of the classes that are judged, and the K that were found."""

    image: LabelledImage
    width: int
    height: int
    #: N classes by their place in `Classes`, N x 4 xyxy pixels, N crowds, N areas.
    classes: NDArray[np.int64]
    boxes: Floats
    crowds: NDArray[np.bool_]
    areas: Floats
    #: K places in `Classes`, K scores, best first, K x 4 xyxy pixels.
    found_classes: NDArray[np.int64]
    scores: Floats
    found_boxes: Floats


@dataclass
class Looked:
    """All images that could be looked at, and why the others could not."""

    seen: list[SeenImage] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    #: Milliseconds by stage, summed over `seen`.
    stages_ms: dict[str, float] = field(default_factory=dict)


def look(
    settings: Settings, detector: Detector, images: Iterable[LabelledImage], classes: Classes,
    each: Callable[[], None],
) -> Looked:  # fmt: skip
    """Detect in each image, one at a time; `each` is called after each."""
    cv2.setNumThreads(settings.inference_threads)
    stages, looked = Stages(detector, settings.inference_threads), Looked()
    options = DetectOptions(
        score_threshold=SCORE_MIN, max_detections=DETECTIONS_MAX, labels=classes.labels
    )
    place = {label: number for number, label in enumerate(classes.labels)}
    try:
        for image in images:
            try:
                item = detect(stages, image.path, settings, options)
                looked.seen.append(_seen(image, item, classes, place))
            except (DamoscopeError, OSError) as error:
                looked.failed.append((image.name, str(error)))
            else:
                for stage in item.stages:
                    spent = looked.stages_ms.get(stage, 0.0) + item.stage_ms(stage)
                    looked.stages_ms[stage] = spent
            each()
    finally:
        stages.close()
    return looked


class OtherSize(DamoscopeError):
    """The labels are for an image of another size."""


def _seen(
    image: LabelledImage, item: BatchItem, classes: Classes, place: dict[str, int]
) -> SeenImage:
    assert item.prepared is not None
    width, height = item.prepared.width, item.prepared.height
    if image.size and image.size != (width, height):
        raise OtherSize(
            f"it is {width} x {height}, and its annotations are for {image.size[0]} x "
            f"{image.size[1]}"
        )
    kept = np.isin(image.classes, list(classes.places))
    boxes = image.pixels(width, height)[kept]
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    found = item.detections
    return SeenImage(
        image, width, height,
        classes=np.array([classes.places[each] for each in image.classes[kept].tolist()], np.int64),
        boxes=boxes,
        crowds=np.zeros(len(boxes), bool) if image.crowds is None else image.crowds[kept],
        areas=areas if image.areas is None else image.areas[kept],
        found_classes=np.array([place[label] for label in found.labels], np.int64),
        scores=np.array(found.scores, np.float64),
        found_boxes=np.array(found.corners, np.float64).reshape(-1, 4),
    )  # fmt: skip
