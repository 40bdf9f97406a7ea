"""The highest rate at which a goal of latency is kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from run.load.figures import Figures, keeps
from run.load.plan import RATE_MAX, Goal

#: Where doubling begins, in requests a second.
FIRST = 4.0
#: Steps at most, and how close the two bounds come to one another before it is enough.
STEPS_MAX, CLOSE = 24, 1.05

Step = Callable[[float], Awaitable[Figures]]


async def search(
    step: Step, goal: Goal, stopped: Callable[[], bool], first: float = FIRST
) -> list[tuple[float, Figures]]:
    """All steps that were run, in order; `passed` of each says whether it kept the goal.

    The rate doubles until the goal is missed, then the two bounds are halved. A rate that fails is
    tried once more, so that one hiccup of the machine is not taken for the limit.
    """
    steps: list[tuple[float, Figures]] = []
    good, bad, rate = 0.0, 0.0, min(first, RATE_MAX)
    while len(steps) < STEPS_MAX and not stopped():
        for _ in range(2):
            found = await step(rate)
            found.passed = keeps(found, goal)
            steps.append((rate, found))
            if found.passed or stopped():
                break
        if stopped():
            break
        if found.passed:
            good = rate
        else:
            bad = rate
        if good >= RATE_MAX or (good and bad and bad / good <= CLOSE) or (bad and bad < 0.2):
            break
        rate = min(good * 2, RATE_MAX) if not bad else (good + bad) / 2 if good else bad / 2
    return steps


def best(steps: list[tuple[float, Figures]]) -> tuple[float, Figures] | None:
    """The highest rate that kept the goal."""
    return max((each for each in steps if each[1].passed), key=lambda each: each[0], default=None)
