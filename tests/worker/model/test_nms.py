"""worker.model.nms: against a plain reference, and the properties that users rely on."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.job import Detection, Detections
from worker.model import nms
from worker.model.nms import CANDIDATES_MAX

Row = tuple[int, int, int, int]


def iou(one: Row, other: Row) -> Fraction:
    """Intersection over union of two boxes of whole pixels, exactly; empty ones overlap nothing."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return Fraction(0)
    both = width * height
    return Fraction(both, area(one) + area(other) - both)


def area(box: Row) -> int:
    return max(box[2] - box[0], 0) * max(box[3] - box[1], 0)


def reference(
    boxes: Sequence[Row], classes: Sequence[int], threshold: float, most: int
) -> list[int]:
    """Greedy NMS by its definition: keep a box unless a kept one of its class is too like it."""
    kept: list[int] = []
    for index, box in enumerate(boxes):
        rivals = (boxes[other] for other in kept if classes[other] == classes[index])
        if all(iou(box, rival) <= Fraction(threshold) for rival in rivals):
            kept.append(index)
    return kept[:most]


# Corners on a coarse grid make identical, touching, nested, empty and inverted boxes common.
corners = st.integers(0, 6).map(lambda cell: cell * 4)
rows = st.tuples(corners, corners, corners, corners)
thresholds = st.one_of(st.sampled_from([0.0, 1.0]), st.integers(0, 64).map(lambda n: n / 64))


@settings(max_examples=300, deadline=None)
@given(
    boxes=st.lists(st.tuples(rows, st.integers(0, 2)), max_size=25),
    threshold=thresholds,
    most=st.integers(1, 30),
)
@example(boxes=[((0, 0, 8, 8), 0)] * 3, threshold=1.0, most=9)
@example(boxes=[((0, 0, 8, 8), 0), ((8, 0, 16, 8), 0)], threshold=0.0, most=9)
@example(boxes=[((4, 4, 4, 4), 0)] * 2, threshold=0.0, most=9)
def test_against_the_definition(boxes: list[tuple[Row, int]], threshold: float, most: int) -> None:
    """The boxes kept are those that the definition of class-aware NMS keeps, in its order."""
    plain, classes = [row for row, _ in boxes], [number for _, number in boxes]
    array = np.array(plain, np.float32).reshape(-1, 4)
    kept = nms.nms(array, np.array(classes, np.intp), threshold, most)
    assert kept == reference(plain, classes, threshold, most)


def test_classes_do_not_suppress_each_other() -> None:
    """Two labels on the same box both stay."""
    boxes = np.array([[0, 0, 10, 10]] * 3, np.float32)
    assert nms.nms(boxes, np.array([0, 1, 0]), 0.5, 10) == [0, 1]


def test_no_boxes() -> None:
    """Nothing gives nothing."""
    assert nms.nms(np.empty((0, 4), np.float32), np.empty(0, np.intp), 0.5, 10) == []


# -- candidates ---------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(
    scores=st.lists(st.lists(st.integers(0, 8), min_size=3, max_size=3), min_size=1, max_size=20),
    threshold=st.integers(0, 8),
)
def test_candidates(scores: list[list[int]], threshold: int) -> None:
    """Every class of every row above the threshold is a candidate, best first."""
    array = (np.array(scores) / 8).astype(np.float32)
    found = list(zip(*nms.candidates(array, threshold / 8), strict=True))
    above = [
        (row, column) for row, column in np.ndindex(array.shape) if scores[row][column] > threshold
    ]
    assert sorted(found) == above
    assert [array[at] for at in found] == sorted((array[at] for at in above), reverse=True)


def test_candidates_are_capped() -> None:
    """A threshold of 0 on a full image keeps the best CANDIDATES_MAX only."""
    rng = np.random.default_rng(0)
    scores = rng.permutation(8400 * 2).reshape(8400, 2).astype(np.float32) / 16800
    found, classes = nms.candidates(scores, 0.0)
    assert len(found) == len(classes) == CANDIDATES_MAX
    assert set(scores[found, classes]) == set(np.sort(scores, axis=None)[-CANDIDATES_MAX:])


# -- detections ---------------------------------------------------------------------------


def detect(
    scores: Sequence[Sequence[float]],
    boxes: Sequence[Sequence[float]],
    labels: Sequence[str] = ("phone",),
    **changes: Any,
) -> tuple[Detections, int]:
    arguments: dict[str, Any] = {
        "input_size": (100, 100),
        "image_size": (100, 100),
        "score_threshold": 0.5,
        "iou_threshold": 0.5,
        "most": 100,
    }
    arguments.update(changes)
    return nms.detections(
        np.array(scores, np.float32), np.array(boxes, np.float32), labels, **arguments
    )


def corners_of(found: Detection) -> tuple[float, float, float, float]:
    return (found.box.x1, found.box.y1, found.box.x2, found.box.y2)


def test_scale_back() -> None:
    """Width and height scale separately, from model input to image pixels."""
    found, _ = detect([[0.9]], [[10, 20, 30, 40]], input_size=(100, 200), image_size=(400, 100))
    assert corners_of(found[0]) == (40, 10, 120, 20)


def test_boxes_end_at_the_image() -> None:
    """Boxes that reach beyond the image are cut at its edges; those outside are dropped."""
    boxes = [[-20, -5, 50, 120], [60, 60, 300, 80], [120, 10, 140, 30], [-9, 40, 0, 60]]
    found, candidates = detect([[0.9], [0.8], [0.7], [0.6]], boxes)
    assert [corners_of(item) for item in found] == [(0, 0, 50, 100), (60, 60, 100, 80)]
    assert candidates == 4


@pytest.mark.parametrize("broken", [[30, 30, 10, 10], [10, 10, 10, 50], [np.nan, 0, 9, 9]])
def test_empty_boxes_are_dropped(broken: list[float]) -> None:
    """A box without area, or of no numbers, is no detection and costs no other anything."""
    found, _ = detect([[0.9], [0.8]], [broken, [0, 0, 50, 50]])
    assert [corners_of(item) for item in found] == [(0, 0, 50, 50)]


def test_scores_that_are_no_numbers() -> None:
    """NaN is above no threshold."""
    assert detect([[np.nan], [0.8]], [[0, 0, 9, 9], [0, 0, 50, 50]])[1] == 1


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 40), most=st.integers(1, 50))
def test_what_callers_rely_on(seed: int, count: int, most: int) -> None:
    """Detections are sorted, above the threshold, `most` at most, and inside the image."""
    rng = np.random.default_rng(seed)
    scores = rng.random((count, 3)).tolist()
    boxes = np.sort(rng.uniform(-30, 130, (count, 2, 2)), axis=1).reshape(-1, 4)
    labels = ("a", "b", "c")
    found, candidates = nms.detections(
        np.array(scores, np.float32).reshape(-1, 3),
        boxes.astype(np.float32),
        labels,
        input_size=(100, 100),
        image_size=(333, 77),
        score_threshold=0.3,
        iou_threshold=0.6,
        most=most,
    )
    assert len(found) <= min(most, candidates)
    assert [item.score for item in found] == sorted((d.score for d in found), reverse=True)
    for item in found:
        assert item.score >= 0.3
        assert item.label in labels
        assert 0 <= item.box.x1 < item.box.x2 <= 333
        assert 0 <= item.box.y1 < item.box.y2 <= 77


def test_threshold_is_exclusive() -> None:
    """A score of exactly the threshold is not enough, as upstream has it."""
    found, _ = detect([[0.5], [0.75]], [[0, 0, 9, 9], [50, 50, 90, 90]])
    assert [item.score for item in found] == [0.75]


def test_wanted_labels() -> None:
    """Only the labels asked for come back, under their own names."""
    scores, boxes = [[0.9, 0.8, 0.7]] * 1, [[0, 0, 50, 50]]
    labels = ("person", "phone", "book")
    every, _ = detect(scores, boxes, labels)
    assert [item.label for item in every] == ["person", "phone", "book"]
    some, candidates = detect(scores, boxes, labels, wanted=("book", "phone"))
    assert [(item.label, item.score) for item in some] == [("phone", 0.8), ("book", 0.7)]
    assert candidates == 2
    assert detect(scores, boxes, labels, wanted=("unicorn",)) == (Detections(), 0)
    assert detect(scores, boxes, labels, wanted=()) == (Detections(), 0)


def test_legacy_score_is_unused() -> None:
    """The score beyond the labels, of a legacy checkpoint, detects nothing."""
    found, candidates = detect([[0.6, 0.99]], [[0, 0, 50, 50]])
    assert [(item.label, item.score) for item in found] == [("phone", 0.6)]
    assert candidates == 1


def test_max_detections() -> None:
    """The best `most` are kept."""
    boxes = [[10 * n, 0, 10 * n + 9, 9] for n in range(9)]
    found, candidates = detect([[0.9 - n / 100] for n in range(9)], boxes, most=3)
    assert [item.score for item in found] == [0.9, 0.89, 0.88]
    assert candidates == 9
