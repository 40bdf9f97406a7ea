"""The search for the highest rate."""

from __future__ import annotations

import asyncio

import pytest

from run.load.clients import Load
from run.load.connection import Target
from run.load.figures import Figures, figures
from run.load.plan import ArrivalRate, Goal, Plan
from run.load.search import best, search

GOAL = Goal(99, 0.3)


def found_with(limit: float, hiccups: int = 0) -> tuple[float, int]:
    """What the search finds where rates up to `limit` are quick, and in how many steps; the first
    `hiccups` steps fail whatever their rate."""
    left = hiccups

    async def step(rate: float) -> Figures:
        nonlocal left
        slow = rate > limit or left > 0
        left -= 1
        load = Load(Target.of("http://h"), [], Plan(duration_s=1, rate=ArrivalRate(rate, rate)))
        load.sending_s = 1.0
        for n in range(100):
            load.record.add("200", n / 100, n / 100, n / 100 + (1.0 if slow else 0.1))
        return figures(load)

    steps = asyncio.run(search(step, GOAL, lambda: False))
    rate, _ = best(steps) or (0.0, None)
    return rate, len(steps)


@pytest.mark.parametrize("limit", [1.5, 37.0, 100.0, 5000.0])
def test_it_finds_the_limit_within_a_twentieth(limit: float) -> None:
    rate, steps = found_with(limit)
    assert limit / 1.06 <= rate <= limit
    assert steps <= 24


def test_one_hiccup_is_not_taken_for_the_limit() -> None:
    """A rate that fails is tried once more."""
    rate, _ = found_with(100.0, hiccups=1)
    assert rate >= 90


def test_a_service_that_keeps_no_rate_ends_the_search() -> None:
    """It says that no rate was found."""
    rate, steps = found_with(0.0)
    assert rate == 0
    assert steps < 20
