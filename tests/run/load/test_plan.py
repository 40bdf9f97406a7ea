"""What the command line may say, and when requests are due."""

from __future__ import annotations

from itertools import pairwise

import pytest

from pipeline.errors import ConfigurationError
from run.load import plan
from run.load.plan import ArrivalRate, Goal


@pytest.mark.parametrize(
    ("text", "seconds"), [("300ms", 0.3), ("10s", 10), ("2m", 120), ("1h", 3600), ("1.5", 1.5)]
)
def test_durations(text: str, seconds: float) -> None:
    """A number with a unit; without one, seconds."""
    assert plan.seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "0", "-1s", "10 s", "1d", "nan", "inf", "1e9", "1000h"])
def test_what_is_no_duration_is_said(text: str) -> None:
    """With an example of what is one."""
    with pytest.raises(ConfigurationError, match="300ms"):
        plan.seconds(text)


@pytest.mark.parametrize("text", ["0", "-5", "nan", "inf", "fast", "1e9"])
def test_what_is_no_rate_is_said(text: str) -> None:
    with pytest.raises(ConfigurationError, match="requests a second"):
        plan.rate(text)


def test_ramps_and_goals() -> None:
    """FROM:TO:DURATION, and a percentile with a duration."""
    assert plan.ramp("10:200:60s") == (ArrivalRate(10, 200), 60)
    assert plan.goal("p99=300ms") == Goal(99, 0.3)
    for text in ("10:200", "10:0:5s", "a:b:c"):
        with pytest.raises(ConfigurationError):
            plan.ramp(text)
    for text in ("p99", "99=1s", "p98=1s", "p100=1s", "p99=0"):
        with pytest.raises(ConfigurationError):
            plan.goal(text)


def test_constant_arrivals_are_even() -> None:
    """One each 20 ms at 50 a second."""
    due = list(ArrivalRate(50, 50).arrivals(2, poisson=False, seed=1))
    assert len(due) == 99
    assert all(b - a == pytest.approx(0.02) for a, b in pairwise(due))


def test_poisson_arrivals_have_the_rate_and_the_scatter_of_independent_clients() -> None:
    """As many as the rate says, and gaps whose deviation is their mean; the same for a seed."""
    due = list(ArrivalRate(100, 100).arrivals(100, poisson=True, seed=5))
    assert len(due) == pytest.approx(10_000, rel=0.05)
    gaps = [b - a for a, b in pairwise(due)]
    mean = sum(gaps) / len(gaps)
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert deviation == pytest.approx(mean, rel=0.1)
    assert due == list(ArrivalRate(100, 100).arrivals(100, poisson=True, seed=5))


@pytest.mark.parametrize(("first", "last"), [(10, 200), (200, 10)])
def test_a_ramp_changes_its_rate_evenly(first: float, last: float) -> None:
    """By its half it has sent what the mean of its rates until then says."""
    due = list(ArrivalRate(first, last).arrivals(60, poisson=False, seed=1))
    assert len(due) == pytest.approx((first + last) / 2 * 60, abs=1)
    half = (first + (first + last) / 2) / 2 * 30
    assert sum(at < 30 for at in due) == pytest.approx(half, abs=1)
    assert due == sorted(due)
