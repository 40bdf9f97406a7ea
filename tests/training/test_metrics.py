"""Figures of the training's evaluation, on cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from training import metrics

PHONE = np.array([[0.0, 0.0, 10.0, 10.0]])
NONE = np.zeros((0, 4))


def test_a_phone_is_found_once() -> None:
    """Of two boxes on one phone the better scored is a hit, the other a false box."""
    one = metrics.match(np.array([0.9, 0.8]), np.vstack([PHONE, PHONE]), PHONE)
    assert one.correct[:, 0].tolist() == [True, False]
    assert one.found.tolist() == [0.9]


def test_overlap_decides() -> None:
    """A box that covers seven tenths counts for the overlaps up to 0.7."""
    one = metrics.match(np.array([0.9]), np.array([[0.0, 0.0, 10.0, 7.01]]), PHONE)
    assert metrics.average_precisions([one]).tolist() == [1.0] * 5 + [0.0] * 5


def test_average_precision_counts_false_boxes_before_hits() -> None:
    """Hit, false box, hit of two phones: precision 1 at the first, 2/3 at the second."""
    first = metrics.match(np.array([0.9]), PHONE, PHONE)
    second = metrics.match(np.array([0.8, 0.7]), np.vstack([PHONE + 50, PHONE]), PHONE)
    assert metrics.average_precisions([first, second])[0] == pytest.approx((1 + 2 / 3) / 2)
    assert metrics.precision_and_recall([first, second], 0.75) == (0.5, 0.5)


def test_the_threshold_for_false_alarms() -> None:
    """With one false box allowed in four images it lies just above the second best."""
    scores = [0.6, 0.5, 0.4, 0.3]
    matches = [metrics.match(np.array([score]), PHONE, NONE) for score in scores]
    threshold = metrics.threshold_for(matches, 0.25)
    assert 0.5 < threshold < 0.501
    assert metrics.false_boxes(matches, threshold) == 0.25


def test_wilson() -> None:
    """The interval of 8 in 10 as textbooks give it."""
    assert metrics.wilson(8, 10) == pytest.approx((0.490, 0.943), abs=1e-3)
