"""pipeline.job: what travels between frontend and worker."""

from __future__ import annotations

import pytest

from pipeline.job import DetectionResult, Detections, DetectOptions


def found(*scores: float) -> Detections:
    corners = [[0.0, 0.0, score, 1.0] for score in scores]
    return Detections([f"l{score}" for score in scores], list(scores), corners)


@pytest.mark.parametrize(
    ("threshold", "count"), [(0.0, 3), (0.2, 3), (0.21, 2), (0.5, 2), (0.7, 1), (0.9, 1), (0.91, 0)]
)
def test_split(threshold: float, count: int) -> None:
    """A box that scores just as much as the threshold is above it."""
    above, below = found(0.9, 0.5, 0.2).split(threshold)
    assert [*above.scores, *below.scores] == [0.9, 0.5, 0.2]
    assert len(above) == count
    assert [*above.corners, *below.corners] == found(0.9, 0.5, 0.2).corners
    assert [len(each) for each in found().split(threshold)] == [0, 0]


def test_what_nobody_asked_for_is_not_said() -> None:
    """Workers and clients of earlier releases see jobs and results as they know them."""
    assert "weaker_from" not in DetectOptions().model_dump_json()
    assert DetectOptions(weaker_from=0.1).model_dump()["weaker_from"] == 0.1
    assert "weaker" not in result().model_dump()
    assert result(weaker=[]).model_dump()["weaker"] == []


def result(**more: object) -> DetectionResult:
    timings = dict.fromkeys(("upload", "queue_wait", "preprocess", "inference", "nms", "total"), 1)
    image = {"width": 9, "height": 9, "format": "JPEG", "bytes": 1}
    return DetectionResult.model_validate(
        {"job_id": "j", "trace_id": "t", "model": "m", "provider": "cpu", "image": image,
         "detections": [], "timings_ms": timings, "batch_size": 1, "worker": "w"} | more
    )  # fmt: skip
