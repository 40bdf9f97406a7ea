"""Which boxes of two runs over one picture are the same object."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.job import Detections

#: A box is found again where the other run has one of its class that overlaps it so much.
OVERLAP = 0.5


def pairs(ones: Detections, others: Detections) -> list[tuple[int, int]]:
    """Which box is which: each box of the first, best first, with the one of its class that it
    overlaps most, if it does enough and that one is not taken."""
    found, taken = [], set()
    for index, (label, corners) in enumerate(zip(ones.labels, ones.corners, strict=True)):
        overlaps = [
            (overlap(corners, others.corners[other]), other)
            for other in range(len(others)) if others.labels[other] == label and other not in taken
        ]  # fmt: skip
        most, other = max(overlaps, default=(0.0, -1))
        if most >= OVERLAP:
            taken.add(other)
            found.append((index, other))
    return found


def overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of two boxes, xyxy."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(0.0, width) * max(0.0, height)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return common / (areas - common) if areas > common else 0.0
