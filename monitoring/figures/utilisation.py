"""How busy the workers are and how many are needed: each formula once, for every view.

A worker is busy while it has an image in hand, from taking it to its last telemetry: what
overlaps (the next image is decoded during an inference) counts once, and an inference of a
batch counts once for all its images.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from monitoring.stores.contract import Labels, Series

#: Share of their time that workers should be busy at most: queues grow long well before 1.
TARGET = 0.8


def utilisation(busy_s: float, workers_s: float) -> float | None:
    """Share of the workers' time in which they were busy, 0..1; None when there were none."""
    return min(1.0, busy_s / workers_s) if workers_s else None


def busy_s_per_image(busy_s: float, images: float) -> float | None:
    """Seconds that one image keeps a worker busy; None when nothing was measured."""
    return busy_s / images if busy_s and images else None


def per_worker_per_s(per_image_s: float | None) -> float | None:
    """Images a second that one worker can do when it never waits."""
    return 1 / per_image_s if per_image_s else None


def workers_needed(per_s: float | None, per_image_s: float | None) -> int | None:
    """Workers that hold `per_s` images a second without being busier than TARGET."""
    if per_s is None or not per_image_s:
        return None
    return math.ceil(per_s * per_image_s / TARGET - 1e-9)


def seconds_there(workers: Iterable[float | None], lengths_s: Iterable[float]) -> float:
    """Seconds of all workers together, from their number in steps of these lengths."""
    steps = zip(workers, lengths_s, strict=True)
    return math.fsum(number * length for number, length in steps if number is not None)


def workers_there(by_state: Mapping[Labels, Series[float | None]]) -> list[float | None]:
    """Workers in each step, from the gauge by state; None where nobody reported any."""
    steps = zip(*(series.values for series in by_state.values()), strict=True)
    return [_sum(values) for values in steps]


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) if known else None
