"""The figures that cards, plots and capacity are made of, read from a store once.

Levels that every frontend reports (queue, workers) are one level said several times: their
mean or their largest, never their sum. Requests in flight are each frontend's own: their sum.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from monitoring.figures.observed import SETTLE_S
from monitoring.stores.contract import HOST_ID, Across, Labels, MetricsStore, Series, Window
from monitoring.stores.histogram import Histogram
from telemetry import catalogue
from telemetry.definitions import Level

#: A level now and over time, None where nobody reported it.
Steps = list[float | None]

#: A step that is still going on is told of once so much of it is here.
ENOUGH_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class LevelFigure:
    """How a level becomes one figure: across processes as the catalogue says, then across what
    is kept apart."""

    metric: Level
    by: tuple[str, ...] = ()
    where: Mapping[str, str] | None = None
    join: Callable[[Iterable[float]], float] = max
    #: From what is reported to what is shown.
    shown: Callable[[float], float] = float
    #: How processes are put together for this moment, where it is another way.
    across_now: Across | None = None

    def now(self, metrics: MetricsStore) -> float | None:
        """The level at this moment."""
        across = self.across_now or self.metric.across[0]
        found = metrics.latest(self.metric, across=across, by=self.by, where=self.where)
        return self.shown(self.join(found.values())) if found else None

    def over(self, metrics: MetricsStore, window: Window, step_s: float) -> Series[float | None]:
        """The level step by step; no steps at all when nobody ever reported it."""
        found = metrics.gauge_series(
            self.metric, window, step_s, across=self.metric.across[0], by=self.by, where=self.where
        )
        if not found:
            return Series(window.start_s, step_s, ())
        first = next(iter(found.values()))
        return Series(first.start_s, first.step_s, tuple(map(self._joined, _columns(found))))

    def _joined(self, values: Iterable[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return self.shown(self.join(known)) if known else None


def _columns(found: Mapping[Labels, Series[float | None]]) -> Iterable[tuple[float | None, ...]]:
    return zip(*(series.values for series in found.values()), strict=True)


def _busy_share(idle: float) -> float:
    return min(1.0, max(0.0, 1.0 - idle))


#: Of the host's processors, all of them are asked for what they do when idle: the mean over
#: processors and over the processes that report them. The busiest host is the least idle one.
CPU = LevelFigure(catalogue.SYSTEM_CPU, (HOST_ID,), {"state": "idle"}, min, _busy_share)
MEMORY = LevelFigure(catalogue.SYSTEM_MEMORY, (HOST_ID,), {"state": "used"})
#: Of all our processes, on all hosts.
PROCESS_MEMORY = LevelFigure(catalogue.PROCESS_MEMORY)
GPU_UTILIZATION = LevelFigure(catalogue.GPU_UTILIZATION, (HOST_ID, "gpu"))
GPU_MEMORY = LevelFigure(catalogue.GPU_MEMORY, (HOST_ID, "gpu"))
ACTIVE = LevelFigure(catalogue.REQUESTS_ACTIVE)
DEPTH = LevelFigure(catalogue.QUEUE_DEPTH, ("queue",), join=math.fsum, across_now="max")
OLDEST_AGE = LevelFigure(catalogue.QUEUE_OLDEST_AGE)
BUSY = LevelFigure(catalogue.WORKERS, where={"state": "busy"}, across_now="max")
IDLE = LevelFigure(catalogue.WORKERS, where={"state": "idle"}, across_now="max")


@dataclass(frozen=True, slots=True)
class LevelSeries:
    """A level now, its mean in the window before, and its steps over the window."""

    now: float | None
    before: float | None
    steps: Steps

    @classmethod
    def of(
        cls,
        level: LevelFigure,
        metrics: MetricsStore,
        window: Window,
        step_s: float,
        *,
        is_over: bool = False,
    ) -> LevelSeries:
        """In the place of now, where the window `is_over`, its mean. Raises Unavailable when the
        store cannot be read."""
        both = level.over(metrics, Window(window.before.start_s, window.end_s), step_s)
        early: Steps = []
        steps: Steps = []
        for start_s, value in zip(both.times_s, both.values, strict=True):
            (steps if start_s + both.step_s > window.start_s else early).append(value)
        return cls(mean_of(steps) if is_over else level.now(metrics), mean_of(early), steps)

    def plus(self, other: LevelSeries) -> LevelSeries:
        """Both together, where at least one is known."""
        return LevelSeries(
            _sum(self.now, other.now),
            _sum(self.before, other.before),
            [_sum(a, b) for a, b in zip_longest(self.steps, other.steps)],
        )


def _sum(a: float | None, b: float | None) -> float | None:
    return None if a is None and b is None else (a or 0.0) + (b or 0.0)


def elapsed_s(start_s: float, step_s: float, now_s: float) -> float | None:
    """Seconds of a step by which what was counted in it is divided to give a rate.

    A step that still goes on is as long as it has lasted; None when too little of it is here.
    """
    settled = now_s - SETTLE_S - start_s
    if settled < min(step_s / 2, ENOUGH_S):
        return None
    return min(step_s, now_s - start_s)


def rates(series: Series[float], now_s: float, digits: int) -> Steps:
    """Per second, step by step; None for a step that has hardly begun."""
    seconds = [elapsed_s(start_s, series.step_s, now_s) for start_s in series.times_s]
    return [
        None if length is None else round(value / length, digits)
        for value, length in zip(series.values, seconds, strict=True)
    ]


def percentile_ms(histogram: Histogram | None, q: float) -> float | None:
    """A percentile in milliseconds; None when nothing was measured."""
    value = histogram.percentile(q) if histogram is not None else None
    return None if value is None else round(value * 1e3, 3)


def mean_of(values: Sequence[float | None]) -> float | None:
    """Mean of the values that are known; None when none is."""
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None
