"""Detection figures: non-maximum suppression, AP50, precision and recall."""

from dataclasses import dataclass

import numpy as np

#: Detections below this score take no part in AP50.
MIN_SCORE = 0.02
MAX_DETECTIONS = 100


def iou(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of one xyxy box with N others."""
    left_top = np.maximum(box[:2], others[:, :2])
    right_bottom = np.minimum(box[2:], others[:, 2:])
    overlap = np.prod(np.clip(right_bottom - left_top, 0, None), axis=1)
    areas = np.prod(others[:, 2:] - others[:, :2], axis=1)
    return overlap / (np.prod(box[2:] - box[:2]) + areas - overlap + 1e-9)


def suppress(
    scores: np.ndarray, boxes: np.ndarray, iou_threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """Greedy NMS over A scores and A x 4 boxes; what is left is sorted by score."""
    order = np.argsort(-scores)
    order = order[scores[order] >= MIN_SCORE][:1000]
    kept = []
    while len(order) and len(kept) < MAX_DETECTIONS:
        best, order = order[0], order[1:]
        kept.append(best)
        order = order[iou(boxes[best], boxes[order]) <= iou_threshold]
    return scores[kept], boxes[kept]


@dataclass(frozen=True)
class Figures:
    """Figures over a set of images: `threshold` is the score that the last two were taken at."""

    images: int
    phones: int
    ap50: float
    precision: float
    recall: float
    threshold: float

    def __str__(self) -> str:
        return (
            f"{self.images} images, {self.phones} phones: AP50 {self.ap50:.3f}, "
            f"precision {self.precision:.3f} and recall {self.recall:.3f} at {self.threshold:.2f}"
        )


class Matches:
    """Collects detections against the truth, image by image, at an IoU of at least 0.5."""

    def __init__(self) -> None:
        self.scores: list[float] = []
        self.correct: list[bool] = []
        self.phones = 0
        self.images = 0

    def add(self, scores: np.ndarray, boxes: np.ndarray, truth: np.ndarray) -> None:
        """Detections of one image (after NMS, sorted by score) and its phones, same pixels."""
        self.images += 1
        self.phones += len(truth)
        free = np.ones(len(truth), bool)
        for score, box in zip(scores, boxes, strict=True):
            overlap = np.where(free, iou(box, truth), 0.0) if len(truth) else np.zeros(0)
            hit = bool(len(overlap) and overlap.max() >= 0.5)
            if hit:
                free[overlap.argmax()] = False
            self.scores.append(float(score))
            self.correct.append(hit)

    def figures(self, threshold: float | None = None) -> Figures:
        """The figures at `threshold`, or at the score with the best F1 where none is given."""
        order = np.argsort(-np.asarray(self.scores), kind="stable")
        scores = np.asarray(self.scores)[order]
        hits = np.cumsum(np.asarray(self.correct, float)[order])
        recall = hits / max(self.phones, 1)
        precision = hits / np.arange(1, len(hits) + 1)
        envelope = np.maximum.accumulate(precision[::-1])[::-1]
        ap50 = float((np.diff(recall, prepend=0) * envelope).sum())
        if threshold is None:
            f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
            threshold = float(scores[f1.argmax()]) if len(scores) else 0.5
        count = int((scores >= threshold).sum())
        at = (float(precision[count - 1]), float(recall[count - 1])) if count else (1.0, 0.0)
        return Figures(self.images, self.phones, ap50, *at, threshold)
