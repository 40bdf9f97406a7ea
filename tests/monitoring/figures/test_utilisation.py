"""monitoring.figures.utilisation: the formulas by themselves."""

from __future__ import annotations

import pytest

from monitoring.figures.utilisation import (
    busy_s_per_image,
    per_worker_per_s,
    seconds_there,
    utilisation,
    workers_needed,
)


@pytest.mark.parametrize(
    ("busy_s", "workers_s", "share"),
    [(30, 60, 0.5), (0, 60, 0), (70, 60, 1), (30, 0, None)],
)
def test_utilisation(busy_s: float, workers_s: float, share: float | None) -> None:
    """A share of the workers' time, at most all of it; without workers there is none."""
    assert utilisation(busy_s, workers_s) == share


def test_seconds_there() -> None:
    """Workers times seconds; a step without a report counts for nothing."""
    assert seconds_there([2, None, 1, 0], [60, 60, 30, 60]) == 150


def test_what_one_worker_does() -> None:
    """One image's busy time, and how many of them fit into a second."""
    assert busy_s_per_image(20, 400) == 0.05
    assert per_worker_per_s(0.05) == 20
    assert busy_s_per_image(0, 400) is busy_s_per_image(20, 0) is per_worker_per_s(None) is None


@pytest.mark.parametrize(
    ("per_s", "busy_s", "count"),
    [(10, 0.1, 2), (8, 0.1, 1), (0.001, 0.1, 1), (100, 0.05, 7), (0, 0.1, 0), (None, 0.1, None),
     (5, None, None)],
)  # fmt: skip
def test_workers_needed(per_s: float | None, busy_s: float | None, count: int | None) -> None:
    """As many as hold the rate at 80 % utilisation."""
    assert workers_needed(per_s, busy_s) == count
