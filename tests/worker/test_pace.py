"""worker.pace: how long an image takes a worker."""

from __future__ import annotations

import time

from worker.pace import Pace


def worked(pace: Pace, seconds: float, images: int, *, alone: bool = False) -> float:
    """A batch that took so long; the pace after it."""
    pace._until_ns = 0
    pace.batch(time.perf_counter_ns() - int(seconds * 1e9), images, alone=alone)
    assert pace.seconds is not None
    return pace.seconds


def test_the_time_of_a_batch_is_its_images() -> None:
    """A batch of four that takes a second is a quarter of a second an image."""
    pace = Pace()
    assert pace.seconds is None
    assert 0.25 <= worked(pace, 1.0, 4) < 0.3


def test_a_stall_is_not_the_pace() -> None:
    """One image that took a hundred times as long moves the pace by three times at most, and after
    some seconds of work as before it is forgotten."""
    pace = Pace()
    worked(pace, 0.1, 1)
    assert worked(pace, 10.0, 1) < 0.35
    for _ in range(100):
        worked(pace, 0.1, 1)
    assert pace.seconds is not None
    assert pace.seconds < 0.15


def test_a_lone_image_does_not_count_beside_others() -> None:
    """An image that has all cores is no measure of many; it counts while there is no other."""
    pace = Pace()
    worked(pace, 0.02, 1, alone=True)
    assert worked(pace, 0.1, 1) >= 0.1
    assert worked(pace, 0.02, 1, alone=True) >= 0.1


def test_batches_that_overlap_are_not_counted_twice() -> None:
    """A batch that was taken while the one before was in hand begins where that ended."""
    pace = Pace()
    taken_ns = time.perf_counter_ns() - 10**9
    pace.batch(taken_ns, 1, alone=False)
    assert pace.seconds is not None
    first = pace.seconds
    pace.batch(taken_ns, 1, alone=False)
    assert pace.seconds < first


def test_a_batch_that_ran_nothing_is_no_measure() -> None:
    """Images that had expired or could not be decoded say nothing of those that can."""
    pace = Pace()
    pace.batch(time.perf_counter_ns() - 10**9, 0, alone=False)
    assert pace.seconds is None
