"""Which time a report covers, and in which steps it is read.

The embedded store keeps minutes for three days and ten minutes for long; a period begins and
ends on ten minutes, so that it and the period before share no bucket and miss none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from monitoring.figures.observed import cut, stretches
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
#: The busiest time of the workers is one of so many seconds.
BUSIEST_S = 600.0


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
    #: Share of their time that the workers were busy in the busiest BUSIEST_S, 0..1.
    busiest: float | None = None

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
    #: Seconds there, seconds of all workers, and busy ones, by steps of BUSIEST_S.
    shares: list[tuple[float, float, float]] = []
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
        shares += _by_ten_minutes(metrics, window, steps.times_s, there, lengths)
        observed += [
            length for number, length in zip(there, lengths, strict=True) if number is not None
        ]
    busy = metrics.increase(catalogue.WORKER_BUSY, covered.window, by=("provider",))
    return WorkerTime(
        math.fsum(observed),
        math.fsum(total),
        {labels[0]: round(busy_s, 3) for labels, busy_s in sorted(busy.items()) if busy_s > 0},
        _busiest(shares),
    )


def _by_ten_minutes(
    metrics: MetricsStore,
    window: Window,
    times_s: Sequence[float],
    there: Sequence[float | None],
    lengths: Sequence[float],
) -> Iterator[tuple[float, float, float]]:
    """Seconds in which workers were reported, of all of them, and busy ones, step by step."""
    reported = [
        (start_s, length, number * length)
        for start_s, number, length in zip(times_s, there, lengths, strict=True)
        if number is not None
    ]
    for part in stretches(window):
        series = metrics.increase_series(catalogue.WORKER_BUSY, part, BUSIEST_S).get(())
        if series is None:
            continue
        sums = [[0.0, 0.0, busy_s] for busy_s in series.values]
        for start_s, length, workers_s in reported:
            if part.start_s <= start_s < part.end_s:
                step = sums[int((start_s - series.start_s) / series.step_s + 1e-9)]
                step[0] += length
                step[1] += workers_s
        yield from ((there_s, workers_s, busy_s) for there_s, workers_s, busy_s in sums)


def _busiest(shares: Sequence[tuple[float, float, float]]) -> float | None:
    """Over whole steps; over all there is where that is less."""
    found = [
        utilisation(
            math.fsum(busy_s for _, _, busy_s in shares[part.start : part.stop]),
            math.fsum(workers_s for _, workers_s, _ in shares[part.start : part.stop]),
        )
        for part in cut([length for length, _, _ in shares], BUSIEST_S)
    ]
    return max((share for share in found if share is not None), default=None)
