"""worker.shadowing: which images another model looks at as well, and how both compare."""

from __future__ import annotations

from uuid import uuid4

import pytest

from pipeline.job import Detections
from worker.shadowing import BOXES_MAX, compared, sampled


def found(*scores: float, x: float = 0.0) -> Detections:
    """Boxes beside each other."""
    corners = [[x + 20 * n, 0.0, x + 20 * n + 10, 10.0] for n in range(len(scores))]
    return Detections(["phone"] * len(scores), list(scores), corners)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_share(share: float) -> None:
    """As many as are wanted; the same trace always is, or is not, and is at any larger share."""
    traces = [uuid4().hex for _ in range(4000)]
    chosen = [trace for trace in traces if sampled(trace, share)]
    assert len(chosen) / len(traces) == pytest.approx(share, abs=0.05)
    assert chosen == [trace for trace in traces if sampled(trace, share)]
    assert all(sampled(trace, min(1.0, share + 0.2)) for trace in chosen)


def test_comparison() -> None:
    """What both have, what one has, and by how much the scores of the former differ."""
    same = compared(found(0.9, 0.8), found(0.7, 0.8))
    assert (same.both, same.only_answer, same.only_shadow, same.agree) == (2, 0, 0, True)
    assert same.score_differences == pytest.approx(0.2)
    apart = compared(found(0.9), found(0.9, x=500))
    assert (apart.both, apart.only_answer, apart.only_shadow, apart.agree) == (0, 1, 1, False)
    assert compared(found(), found()).agree
    assert not compared(found(), found(0.5)).agree


def test_very_many_boxes() -> None:
    """The best of both are compared."""
    many = compared(found(*[0.5] * 500), found(*[0.5] * 500))
    assert (many.both, many.agree) == (BOXES_MAX, True)
