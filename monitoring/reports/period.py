"""Which time a report covers, and in which steps it is read.

The embedded store keeps minutes for three days and ten minutes for long; a period begins and
ends on ten minutes, so that it and the period before share no bucket and miss none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from monitoring.figures.utilisation import seconds_there, utilisation, workers_there
from monitoring.stores.contract import MetricsStore, Window
from telemetry import catalogue

DAY_S = 86400.0
ALIGN_S = 600.0
#: A report of up to so many days is read by the minute, a longer one by ten minutes.
MINUTES_DAYS = 3
#: Steps of the charts: the shortest that makes no more than so many of the period.
PLOT_STEPS_S = (600.0, 1800.0, 3600.0, 7200.0, 14400.0)
PLOT_STEPS_MAX = 180


@dataclass(frozen=True, slots=True)
class Covered:
    """The time that a report covers; the window may end up to ten minutes after `now_s`."""

    window: Window
    days: int
    now_s: float

    @classmethod
    def last(cls, days: int, now_s: float) -> Covered:
        """The `days` up to now."""
        return cls(Window.last(days * DAY_S, now_s, ALIGN_S), days, now_s)

    @property
    def before(self) -> Covered:
        """The same length just before."""
        return Covered(self.window.before, self.days, self.now_s)

    @property
    def step_s(self) -> float:
        """The finest step in which the whole period can be read from either store."""
        return 60.0 if self.days <= MINUTES_DAYS else ALIGN_S

    @property
    def plot_step_s(self) -> float:
        """Length of the charts' steps."""
        least = self.window.seconds / PLOT_STEPS_MAX
        return next(step for step in PLOT_STEPS_S if step >= least)

    def weeks(self) -> Iterator[Window]:
        """The period in stretches of at most a week."""
        start_s = self.window.start_s
        while start_s < self.window.end_s:
            end_s = min(start_s + 7 * DAY_S, self.window.end_s)
            yield Window(start_s, end_s)
            start_s = end_s

    def parts(self) -> Iterator[tuple[Window, float]]:
        """The period in at most two parts, each with the finest step that it can be read in."""
        cut_s = self.now_s - self.now_s % ALIGN_S + ALIGN_S - MINUTES_DAYS * DAY_S
        start_s, end_s = self.window.start_s, self.window.end_s
        if start_s < cut_s:
            yield Window(start_s, min(cut_s, end_s)), ALIGN_S
        if end_s > cut_s:
            yield Window(max(cut_s, start_s), end_s), 60.0


@dataclass(frozen=True, slots=True)
class WorkerTime:
    """Seconds in which workers were reported, seconds of all workers together, and of these
    the ones in which they had an image in hand, by provider."""

    observed_s: float
    workers_s: float
    busy_s: Mapping[str, float]

    @property
    def utilisation(self) -> float | None:
        """Share of the workers' time in which they had an image in hand."""
        return utilisation(math.fsum(self.busy_s.values()), self.workers_s)


def worker_time(metrics: MetricsStore, covered: Covered) -> WorkerTime:
    """How long there were workers, from the gauge that every frontend reports alike.

    Exact to one step at the beginning and the end of each stretch of time with reports; busy
    seconds are counted by the workers, and exact.
    """
    observed: list[float] = []
    total: list[float] = []
    for window, step_s in covered.parts():
        found = metrics.gauge_series(catalogue.WORKERS, window, step_s, across="avg", by=("state",))
        if not found:
            continue
        there, steps = workers_there(found), next(iter(found.values()))
        lengths = [
            max(0.0, min(steps.step_s, covered.now_s - at, window.end_s - at))
            for at in steps.times_s
        ]
        total.append(seconds_there(there, lengths))
        observed += [
            length for number, length in zip(there, lengths, strict=True) if number is not None
        ]
    busy = metrics.increase(catalogue.WORKER_BUSY, covered.window, by=("provider",))
    return WorkerTime(
        math.fsum(observed),
        math.fsum(total),
        {labels[0]: round(busy_s, 3) for labels, busy_s in sorted(busy.items()) if busy_s > 0},
    )
