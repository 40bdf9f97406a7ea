"""What is read of a window once, for cards, figures and capacity: levels, traffic, rates."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from monitoring.figures import levels as figures
from monitoring.figures.levels import LevelSeries
from monitoring.figures.observed import Observed, observed, rate_now
from monitoring.stores.contract import Measured, MetricsStore, Series, Window, total
from monitoring.stores.histogram import Histogram, merged
from telemetry import catalogue
from telemetry.definitions import Metric

#: Steps of a sparkline; a window too short for them has as many as were measured.
SPARKLINE_STEPS = 30


@dataclass(frozen=True, slots=True)
class Counted:
    """A count in the window and in its steps; `before` in all of the window before."""

    steps: Series[float]
    before: float

    @property
    def total(self) -> float:
        """In the whole window."""
        return math.fsum(self.steps.values)


@dataclass(frozen=True, slots=True)
class Levels:
    """The gauges, each over the window and the one before."""

    active: LevelSeries
    depth: LevelSeries
    oldest_age: LevelSeries
    busy: LevelSeries
    idle: LevelSeries
    cpu: LevelSeries
    memory: LevelSeries
    process_memory: LevelSeries
    gpu_utilization: LevelSeries
    gpu_memory: LevelSeries

    @classmethod
    def read(cls, metrics: MetricsStore, window: Window, *, is_over: bool = False) -> Levels:
        """Raises Unavailable when the store cannot be read."""

        def reading(level: figures.LevelFigure) -> LevelSeries:
            step_s = window.seconds / SPARKLINE_STEPS
            return LevelSeries.of(level, metrics, window, step_s, is_over=is_over)

        return cls(
            active=reading(figures.ACTIVE),
            depth=reading(figures.DEPTH),
            oldest_age=reading(figures.OLDEST_AGE),
            busy=reading(figures.BUSY),
            idle=reading(figures.IDLE),
            cpu=reading(figures.CPU),
            memory=reading(figures.MEMORY),
            process_memory=reading(figures.PROCESS_MEMORY),
            gpu_utilization=reading(figures.GPU_UTILIZATION),
            gpu_memory=reading(figures.GPU_MEMORY),
        )


@dataclass(frozen=True, slots=True)
class WindowTraffic:
    """What was counted in a window, step by step, and in all of the window before."""

    #: By outcome.
    requests: Mapping[str, Counted]
    #: By label.
    detections: Mapping[str, Counted]
    #: Scores of all boxes added up, and how many boxes that were.
    scores: Counted
    scored: Counted
    #: Durations in seconds of the requests with outcome `ok`: in the window's steps, and before.
    durations: Sequence[Histogram]
    durations_before: Histogram | None

    @classmethod
    def read(cls, metrics: MetricsStore, window: Window) -> WindowTraffic:
        """Raises Unavailable when the store cannot be read."""
        step_s, ok = window.seconds / SPARKLINE_STEPS, {"outcome": "ok"}
        done = metrics.histogram_series(catalogue.REQUEST_DURATION, window, step_s, where=ok)
        before = metrics.histogram(catalogue.REQUEST_DURATION, window.before, where=ok)
        scores = metrics.measured_series(catalogue.DETECTION_SCORE, window, step_s).get(())
        scores_before = metrics.measured_series(
            catalogue.DETECTION_SCORE, window.before, window.seconds
        ).get(())
        return cls(
            requests=_counted(metrics, catalogue.REQUESTS, window, "outcome"),
            detections=_counted(metrics, catalogue.DETECTIONS, window, "label"),
            scores=_measured(scores, scores_before, window, lambda each: each.sum),
            scored=_measured(scores, scores_before, window, lambda each: float(each.count)),
            durations=done[()].values if done else (),
            durations_before=before.get(()),
        )

    @property
    def duration(self) -> Histogram | None:
        """Of the whole window."""
        return merged(self.durations)


@dataclass(frozen=True, slots=True)
class Rates:
    """Requests a second: now, and over the time in which a frontend was heard of, in the window
    and in the one before. None where none was."""

    seen: Observed
    now: float | None
    mean: float | None
    before: float | None

    @classmethod
    def read(
        cls,
        metrics: MetricsStore,
        window: Window,
        now_s: float,
        traffic: WindowTraffic,
        *,
        is_over: bool = False,
    ) -> Rates:
        """Raises Unavailable when the store cannot be read."""
        both = observed(metrics, Window(window.before.start_s, window.end_s), now_s)
        seen, before = both.of(window), both.of(window.before)
        counted = traffic.requests.values()
        mean = _mean(total_of(counted), seen, window.elapsed_s(now_s))
        return cls(
            seen=seen,
            now=mean if is_over else rate_now(metrics, catalogue.REQUESTS, now_s),
            mean=mean,
            before=_mean(before_of(counted), before, window.seconds),
        )


def _mean(count: float, seen: Observed, elapsed_s: float) -> float | None:
    """What was counted while nobody said that it was there is spread over the whole time."""
    if not seen.seconds:
        return count / elapsed_s if count else None
    return count / seen.seconds


def _counted(metrics: MetricsStore, metric: Metric, window: Window, by: str) -> dict[str, Counted]:
    steps = metrics.increase_series(metric, window, window.seconds / SPARKLINE_STEPS, by=(by,))
    before = metrics.increase(metric, window.before, by=(by,))
    any_steps = next(iter(steps.values()), Series(window.start_s, window.seconds, (0.0,)))
    none = Series(any_steps.start_s, any_steps.step_s, (0.0,) * len(any_steps.values))
    return {
        labels[0]: Counted(steps.get(labels, none), before.get(labels, 0.0))
        for labels in sorted({*steps, *before})
    }


def _measured(
    found: Series[Measured] | None,
    before: Series[Measured] | None,
    window: Window,
    what: Callable[[Measured], float],
) -> Counted:
    steps = found or Series(window.start_s, window.seconds, (Measured(),))
    earlier = what(total(before.values)) if before else 0.0
    return Counted(Series(steps.start_s, steps.step_s, tuple(map(what, steps.values))), earlier)


def total_of(counted: Iterable[Counted]) -> float:
    """Of all of them, in the window."""
    return math.fsum(each.total for each in counted)


def before_of(counted: Iterable[Counted]) -> float:
    """Of all of them, in the window before."""
    return math.fsum(each.before for each in counted)
