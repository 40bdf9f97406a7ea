"""Detection figures: non-maximum suppression, average precision, precision and recall."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: Detections below this score take no part in AP50.
MIN_SCORE = 0.02
MAX_DETECTIONS = 100
#: AP is the mean over these overlaps, AP50 is taken at the first.
OVERLAPS = np.linspace(0.5, 0.95, 10)


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
class Match:
    """The detections of one image against its phones."""

    #: Of each detection, highest first.
    scores: np.ndarray
    #: Detections x overlaps: whether it is a phone that no better detection has taken.
    correct: np.ndarray
    #: Of each phone, the score of the detection that found it (overlap 0.5), 0 where none did.
    found: np.ndarray


def match(scores: np.ndarray, boxes: np.ndarray, truth: np.ndarray) -> Match:
    """Detections of one image (after NMS, sorted by score) and its phones, same pixels."""
    correct = np.zeros((len(scores), len(OVERLAPS)), bool)
    found = np.zeros(len(truth))
    free = np.ones((len(OVERLAPS), len(truth)), bool)
    for index, box in enumerate(boxes if len(truth) else []):
        overlaps = iou(box, truth)
        for level, least in enumerate(OVERLAPS):
            possible = np.where(free[level], overlaps, 0.0)
            if possible.max() >= least:
                best = possible.argmax()
                free[level, best] = False
                correct[index, level] = True
                if level == 0:
                    found[best] = scores[index]
    return Match(scores, correct, found)


def average_precisions(matches: Sequence[Match]) -> np.ndarray:
    """Average precision over `matches` at each of `OVERLAPS`."""
    phones = sum(len(one.found) for one in matches)
    scores = np.concatenate([one.scores for one in matches])
    correct = np.concatenate([one.correct for one in matches])[np.argsort(-scores, kind="stable")]
    hits = np.cumsum(correct, axis=0)
    precision = hits / np.arange(1, len(hits) + 1)[:, None]
    envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    return (correct * envelope).sum(axis=0) / max(phones, 1)


def precision_and_recall(matches: Sequence[Match], threshold: float) -> tuple[float, float]:
    """Both at a score of at least `threshold`; precision is 1 where nothing is detected."""
    detected = sum(int((one.scores >= threshold).sum()) for one in matches)
    hits = sum(int((one.found >= threshold).sum()) for one in matches)
    phones = sum(len(one.found) for one in matches)
    return hits / detected if detected else 1.0, hits / max(phones, 1)


def best_threshold(matches: Sequence[Match]) -> float:
    """The score with the best F1."""

    def f1(threshold: float) -> float:
        precision, recall = precision_and_recall(matches, threshold)
        return 2 * precision * recall / max(precision + recall, 1e-9)

    candidates = np.linspace(0.05, 0.95, 91)
    return float(max(candidates, key=f1))


def false_boxes(matches: Sequence[Match], threshold: float) -> float:
    """Boxes an image at a score of at least `threshold` that are no phone."""
    wrong = sum(int((one.scores[~one.correct[:, 0]] >= threshold).sum()) for one in matches)
    return wrong / max(len(matches), 1)


def threshold_for(matches: Sequence[Match], allowed: float) -> float:
    """The lowest threshold with at most `allowed` false boxes an image."""
    wrong = [one.scores[~one.correct[:, 0]] for one in matches]
    scores = np.sort(np.concatenate([np.zeros(0), *wrong]))[::-1]
    first_refused = int(allowed * len(matches))
    return float(scores[first_refused]) + 1e-4 if len(scores) > first_refused else MIN_SCORE


def wilson(hits: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson's)."""
    if not count:
        return 0.0, 1.0
    z, share = 1.96, hits / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * np.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    half /= 1 + z * z / count
    return float(max(0.0, middle - half)), float(min(1.0, middle + half))


def bootstrap(matches: Sequence[Match], rounds: int = 1000) -> tuple[float, float]:
    """The 95 % interval of AP50: images drawn again at random, with a fixed seed."""
    rng = np.random.default_rng(0)
    figures = [
        average_precisions([matches[i] for i in rng.integers(len(matches), size=len(matches))])[0]
        for _ in range(rounds)
    ]
    low, high = np.percentile(figures, [2.5, 97.5])
    return float(low), float(high)
