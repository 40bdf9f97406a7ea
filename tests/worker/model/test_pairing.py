"""worker.model.pairing: which boxes are the same object."""

from __future__ import annotations

import pytest

from pipeline.job import Detections
from worker.model.pairing import overlap, pairs

BOX = [0.0, 0.0, 10.0, 10.0]


def found(*boxes: tuple[str, list[float]]) -> Detections:
    scores = [0.9 - 0.1 * number for number in range(len(boxes))]
    return Detections([label for label, _ in boxes], scores, [corners for _, corners in boxes])


@pytest.mark.parametrize(
    ("other", "share"),
    [
        (BOX, 1.0), ([0.0, 0.0, 10.0, 5.0], 0.5), ([5.0, 0.0, 15.0, 10.0], 1 / 3),
        ([10.0, 0.0, 20.0, 10.0], 0.0), ([20.0, 20.0, 30.0, 30.0], 0.0),
        ([5.0, 5.0, 5.0, 5.0], 0.0),
    ],
)  # fmt: skip
def test_overlap(other: list[float], share: float) -> None:
    """Intersection over union, whichever comes first."""
    assert overlap(BOX, other) == pytest.approx(share)
    assert overlap(other, BOX) == pytest.approx(share)


def test_pairs() -> None:
    """Of the same label, those that overlap most, each once; by half at least."""
    near, far = [0.0, 0.0, 10.0, 9.0], [0.0, 0.0, 10.0, 4.0]
    assert pairs(found(("a", BOX)), found(("a", far), ("a", near))) == [(0, 1)]
    assert pairs(found(("a", BOX), ("a", near)), found(("a", BOX))) == [(0, 0)]
    assert pairs(found(("a", BOX)), found(("b", BOX), ("a", far))) == []
    assert pairs(found(), found(("a", BOX))) == []
