"""How far a model in fewer bits finds what the model that it is made of finds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from pipeline.job import Detections
from worker.model.loading import ModelSpec
from worker.model.nms import detections
from worker.model.pairing import pairs
from worker.model.trial import Outputs, run_on

#: Boxes without which there is no judging, the share of them that has to be found again, and how
#: many new ones there may be, as a share of them.
BOXES_LEAST, AGAIN_LEAST, NEW_MOST = 20, 0.9, 0.1
#: Boxes of an image that count.
BOXES_MAX = 100


@dataclass(frozen=True)
class Agreement:
    """What the two found in the same photographs, at the model's thresholds."""

    photographs: int
    #: Boxes of the original; how many of these the other has too; and what it has beside them.
    boxes: int
    found_again: int
    new: int
    #: Of the scores of boxes that both have.
    score_difference_mean: float
    score_difference_max: float
    #: Milliseconds of inference by one thread, the median of both, which took turns.
    original_ms: float
    converted_ms: float

    @property
    def objection(self) -> str:
        """Why it should not take the original's place; empty when nothing speaks against it."""
        if self.boxes < BOXES_LEAST:
            return (
                f"the original finds {self.boxes} boxes in the {self.photographs} photographs that "
                f"judge: with fewer than {BOXES_LEAST} there is no telling. Take more photographs, "
                "of what the model is to find"
            )
        if self.found_again < AGAIN_LEAST * self.boxes or self.new > NEW_MOST * self.boxes:
            return (
                f"it finds {self.found_again} of the original's {self.boxes} boxes and {self.new} "
                f"others; {AGAIN_LEAST:.0%} of them and {NEW_MOST:.0%} others are bearable"
            )
        return ""

    def __str__(self) -> str:
        return (
            f"on {self.photographs} photographs it finds {self.found_again} of the original's "
            f"{self.boxes} boxes and {self.new} others; scores differ by "
            f"{self.score_difference_mean:.3f} on average and {self.score_difference_max:.3f} at "
            f"most; an image takes one thread {self.converted_ms:.1f} ms here in place of "
            f"{self.original_ms:.1f}"
        )


def compare(
    original: tuple[ort.InferenceSession, onnx.ModelProto],
    converted: tuple[ort.InferenceSession, onnx.ModelProto],
    pictures: Sequence[NDArray[np.uint8]],
    spec: ModelSpec,
) -> Agreement:
    """Run both on each picture, in turns. Raises ModelError when one fails."""
    boxes = again = new = 0
    differences, spent = [0.0], ([0.0], [0.0])
    for number, picture in enumerate(pictures):
        found: list[Detections] = []
        for (session, model), times in zip((original, converted), spent, strict=True):
            began_s = time.perf_counter()
            outputs = run_on(session, model, [picture])
            if number:  # the first call allocates
                times.append(time.perf_counter() - began_s)
            found.append(_found(outputs, spec))
        paired = pairs(*found)
        boxes += len(found[0])
        again += len(paired)
        new += len(found[1]) - len(paired)
        differences += [abs(found[0].scores[one] - found[1].scores[two]) for one, two in paired]
    return Agreement(
        len(pictures), boxes, again, new,
        score_difference_mean=round(sum(differences) / max(1, again), 4),
        score_difference_max=round(max(differences), 4),
        original_ms=round(1000 * statistics.median(spent[0][1:] or [0.0]), 2),
        converted_ms=round(1000 * statistics.median(spent[1][1:] or [0.0]), 2),
    )  # fmt: skip


def _found(outputs: Outputs, spec: ModelSpec) -> Detections:
    size = (spec.width, spec.height)
    found, _ = detections(
        outputs[spec.scores_output][0].astype(np.float32),
        outputs[spec.boxes_output][0].astype(np.float32),
        spec.labels, input_size=size, image_size=size, score_threshold=spec.score_threshold,
        iou_threshold=spec.iou_threshold, most=BOXES_MAX,
    )  # fmt: skip
    return found
