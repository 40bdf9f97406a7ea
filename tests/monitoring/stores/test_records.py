"""monitoring.stores.records: which parts of a window Prometheus' records stand for."""

from __future__ import annotations

from monitoring.stores.contract import Window
from monitoring.stores.records import Records, Steps

EVERY_300_S = Records(300, "5m", 0.0)


def steps(start_s: float, end_s: float, step_s: float) -> Steps:
    return Steps(Window(start_s, end_s), step_s, 300, EVERY_300_S)


def pieces(of: Steps, ends: list[float]) -> list[tuple[int, float, float]]:
    """(step, start, end) of what is left to the samples."""
    return [(step, each.window.start_s, each.window.end_s) for step, each in of.pieces(ends)]


def test_nothing_is_left_of_a_window_full_of_records() -> None:
    """A record stands for the time before it."""
    of = steps(3000, 4200, 600)
    assert pieces(of, [3300, 3600, 3900, 4200]) == []
    assert of.before([3300]) is None


def test_what_was_not_recorded_is_left() -> None:
    """Gaps are cut where steps begin; one over whole steps stays in one piece."""
    of = steps(3000, 6000, 600)
    assert pieces(of, []) == [(0, 3000, 6000)]
    assert pieces(of, [3350, 5750]) == [
        (0, 3000, 3050), (0, 3350, 3600), (1, 3600, 5400), (4, 5400, 5450), (4, 5750, 6000),
    ]  # fmt: skip
    inside = steps(3000, 4200, 1200)
    assert pieces(inside, [3300, 4200]) == [(0, 3300, 3900)]


def test_a_record_that_began_before_the_window() -> None:
    """What of it belongs to the time before is told, to be taken off again."""
    before = steps(3000, 4200, 600).before([3100, 3400])
    assert before is not None
    assert (before.window.start_s, before.window.end_s) == (2800, 3000)


def test_runs() -> None:
    """Steps with a record in them, and those without, one after another."""
    of = steps(3000, 6000, 600)
    assert of.runs([3600, 3700, 6000]) == [(True, 0, 2), (False, 2, 4), (True, 4, 5)]
    assert of.runs([]) == [(False, 0, 5)]
