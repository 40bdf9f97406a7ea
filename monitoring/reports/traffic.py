"""Requests over the period: how many, how they ended, when they came."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from monitoring.figures.observed import Rate, Step, observed, rate, stretches
from monitoring.figures.observed import steps as observed_steps
from monitoring.reports.period import ALIGN_S, Covered
from monitoring.reports.schema import Day, LatencySummary, Peak, Timeline
from monitoring.stores.contract import MetricsStore, Series
from monitoring.stores.histogram import Histogram, merged
from telemetry import catalogue
from telemetry.outcomes import ERRORS, OUTCOMES


@dataclass(frozen=True, slots=True)
class Traffic:
    """Requests of the period, whole and in the finest steps."""

    outcomes: dict[str, int]
    routes: dict[str, int]
    #: Length of the steps, and the requests of each in which any came, by its start.
    step_s: float
    steps: dict[float, int]
    #: Mean and peak over the time in which a frontend was heard of, and how long that is.
    rate: Rate | None
    observed_s: float

    @property
    def total(self) -> int:
        """All requests."""
        return sum(self.outcomes.values())

    @property
    def errors(self) -> int:
        """Requests that ended in an error, the sender's or ours."""
        return sum(self.outcomes.get(outcome, 0) for outcome in ERRORS)


def traffic(metrics: MetricsStore, covered: Covered) -> Traffic:
    """Read the requests of the period."""
    outcomes: Counter[str] = Counter()
    routes: Counter[str] = Counter()
    steps: Counter[float] = Counter()
    step_s = covered.step_s
    seen = observed(metrics, covered.window, covered.now_s)
    every: list[Step] = []
    for window in stretches(covered.window):  # each a question that a store answers quickly
        found = metrics.increase_series(
            catalogue.REQUESTS, window, covered.step_s, by=("outcome", "route")
        )
        count = math.ceil(window.seconds / step_s)
        times_s = Series(window.start_s, step_s, (0.0,) * count).times_s
        for (outcome, route), series in found.items():
            step_s, times_s = series.step_s, series.times_s
            for at, value in zip(series.times_s, series.values, strict=True):
                if count := round(value):
                    outcomes[outcome] += count
                    routes[route] += count
                    steps[at] += count
        counts = tuple(float(steps[at]) for at in times_s)
        counted = Series(times_s[0], step_s, counts)
        every += observed_steps([counted], seen, covered.now_s, window.end_s)
    return Traffic(
        ordered(outcomes),
        dict(sorted(routes.items())),
        step_s,
        dict(steps),
        rate(every, step_s),
        math.fsum(step.observed_s for step in every),
    )


def ordered(outcomes: Mapping[str, int]) -> dict[str, int]:
    """The outcomes that occurred, success first."""
    known = [name for name in OUTCOMES if outcomes.get(name)]
    return {name: outcomes[name] for name in [*known, *sorted(set(outcomes) - set(OUTCOMES))]}


def peak(found: Traffic) -> Peak | None:
    """The busiest stretch of observed time; the first of several alike."""
    rate = found.rate
    if rate is None or not found.steps:
        return None
    return Peak(at=rate.peak_at_s, step_s=round(rate.peak_s, 3), per_s=round(rate.peak_per_s, 6))


def calendar(found: Traffic, covered: Covered, zone: ZoneInfo) -> list[Day]:
    """Requests by day and hour as the zone's clocks show them, for every day of the period."""
    counts: Counter[tuple[str, int]] = Counter()
    for at, count in found.steps.items():
        counts[_hour(at, zone)] += count
    hours = {_hour(at, zone) for at in _each_ten_minutes(covered)}
    return [
        Day(
            date=date,
            hours=[counts[date, hour] if (date, hour) in hours else None for hour in range(24)],
        )
        for date in sorted({date for date, _ in hours})
    ]


def by_hour(days: Iterable[Day]) -> list[int]:
    """Requests by hour of the day, over all days."""
    return [sum(day.hours[hour] or 0 for day in days) for hour in range(24)]


def timeline(metrics: MetricsStore, covered: Covered) -> tuple[Timeline, LatencySummary | None]:
    """The course of requests and latency, and the latency of the whole period."""
    window, step_s = covered.window, covered.plot_step_s
    requests = metrics.increase_series(catalogue.REQUESTS, window, step_s, by=("outcome",))
    durations = metrics.histogram_series(
        catalogue.REQUEST_DURATION, window, step_s, where={"outcome": "ok"}
    ).get(())
    steps: Sequence[Histogram] = durations.values if durations else ()
    counts = {labels[0]: [round(n) for n in each.values] for labels, each in requests.items()}
    found = Timeline(
        start_at=window.start_s,
        step_s=step_s,
        requests={name: counts[name] for name in OUTCOMES if any(counts.get(name, ()))},
        latency_p50_ms=_percentiles(steps, 0.50),
        latency_p95_ms=_percentiles(steps, 0.95),
        latency_p99_ms=_percentiles(steps, 0.99),
    )
    return found, latency(merged(steps))


def latency(histogram: Histogram | None) -> LatencySummary | None:
    """Figures of a histogram of seconds; None when nothing was measured."""
    if histogram is None or not histogram.count:
        return None
    return LatencySummary(count=histogram.count, **milliseconds(histogram))


def milliseconds(histogram: Histogram) -> dict[str, float]:
    """Mean and percentiles of a histogram of seconds that is not empty."""
    seconds = {
        "mean_ms": histogram.mean,
        "p50_ms": histogram.percentile(0.50),
        "p95_ms": histogram.percentile(0.95),
        "p99_ms": histogram.percentile(0.99),
    }
    return {name: round(value * 1e3, 3) for name, value in seconds.items() if value is not None}


def _percentiles(steps: Sequence[Histogram], q: float) -> list[float | None]:
    found = (step.percentile(q) for step in steps)
    return [None if value is None else round(value * 1e3, 3) for value in found]


def _hour(at: float, zone: ZoneInfo) -> tuple[str, int]:
    moment = datetime.fromtimestamp(at, zone)
    return moment.date().isoformat(), moment.hour


def _each_ten_minutes(covered: Covered) -> Iterable[float]:
    """Moments close enough together that each hour of any zone has one."""
    at, end_s = covered.window.start_s, min(covered.window.end_s, covered.now_s)
    while at < end_s:
        yield at
        at += ALIGN_S
