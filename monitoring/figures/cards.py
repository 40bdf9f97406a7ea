"""The cards of the Monitor page: each figure now, in the window before, and over the window."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from pydantic import BaseModel

from monitoring.figures import levels as figures
from monitoring.figures.levels import LevelSeries, percentile_ms
from monitoring.figures.observed import Observed, observed, rate_now
from monitoring.stores.contract import MetricsStore, Series, Window
from monitoring.stores.histogram import Histogram, merged
from telemetry import catalogue
from telemetry.definitions import Good, Metric
from telemetry.outcomes import COUNTED

#: Steps of a sparkline; a window too short for them has as many as were measured.
SPARKLINE_STEPS = 30


class Card(BaseModel):
    """One figure. Of counts and durations `value` is over the window; of levels, and of QPS, it
    is now.

    `before` is the same over the window of the same length before; of what is now, its mean in it.
    None is what was not measured.
    """

    name: str
    #: As UCUM writes it: `1` is a share (0..1), `{...}` a count.
    unit: str
    #: Which way is good: 1 up, -1 down, 0 neither.
    good: Good
    value: float | None
    before: float | None
    #: Up to 30 steps over the window, oldest first.
    sparkline: list[float | None]


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
    gpu_utilization: LevelSeries
    gpu_memory: LevelSeries

    @classmethod
    def read(cls, metrics: MetricsStore, window: Window) -> Levels:
        """Raises Unavailable when the store cannot be read."""

        def reading(level: figures.LevelFigure) -> LevelSeries:
            return LevelSeries.of(level, metrics, window, window.seconds / SPARKLINE_STEPS)

        return cls(
            active=reading(figures.ACTIVE),
            depth=reading(figures.DEPTH),
            oldest_age=reading(figures.OLDEST_AGE),
            busy=reading(figures.BUSY),
            idle=reading(figures.IDLE),
            cpu=reading(figures.CPU),
            memory=reading(figures.MEMORY),
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
    #: Durations in seconds of the requests with outcome `ok`: in the window's steps, and before.
    durations: Sequence[Histogram]
    durations_before: Histogram | None

    @classmethod
    def read(cls, metrics: MetricsStore, window: Window) -> WindowTraffic:
        """Raises Unavailable when the store cannot be read."""
        step_s, ok = window.seconds / SPARKLINE_STEPS, {"outcome": "ok"}
        done = metrics.histogram_series(catalogue.REQUEST_DURATION, window, step_s, where=ok)
        before = metrics.histogram(catalogue.REQUEST_DURATION, window.before, where=ok)
        return cls(
            requests=_counted(metrics, catalogue.REQUESTS, window, "outcome"),
            detections=_counted(metrics, catalogue.DETECTIONS, window, "label"),
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
        cls, metrics: MetricsStore, window: Window, now_s: float, traffic: WindowTraffic
    ) -> Rates:
        """Raises Unavailable when the store cannot be read."""
        both = observed(metrics, Window(window.before.start_s, window.end_s), now_s)
        seen, before = both.of(window), both.of(window.before)
        counted = traffic.requests.values()
        return cls(
            seen=seen,
            now=rate_now(metrics, catalogue.REQUESTS, now_s),
            mean=_mean(_total(counted), seen, window.elapsed_s(now_s)),
            before=_mean(_before(counted), before, window.seconds),
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


def cards(traffic: WindowTraffic, levels: Levels, rates: Rates, now_s: float) -> list[Card]:
    """All of them, in the order of the page."""
    return [
        _qps(traffic, levels, rates, now_s),
        _latency(traffic, "latency_p50_ms", 0.50),
        _latency(traffic, "latency_p95_ms", 0.95),
        _latency(traffic, "latency_p99_ms", 0.99),
        _ratio("success_rate", "1", 1, _ended(traffic, "ok"), _ended(traffic, *COUNTED), 6),
        _level("requests_active", catalogue.REQUESTS_ACTIVE, levels.active),
        _level("queue_depth", catalogue.QUEUE_DEPTH, levels.depth),
        _level("queue_oldest_age_s", catalogue.QUEUE_OLDEST_AGE, levels.oldest_age),
        _level("workers_ready", catalogue.WORKERS, levels.busy.plus(levels.idle)),
        _level("workers_busy", catalogue.WORKERS, levels.busy, good=0),
        _ratio("detections_per_image", catalogue.DETECTIONS.unit, catalogue.DETECTIONS.good,
               traffic.detections.values(), _ended(traffic, "ok"), 4),
        _level("cpu", catalogue.SYSTEM_CPU, levels.cpu),
        _level("memory", catalogue.SYSTEM_MEMORY, levels.memory),
        *_gpu(levels),
    ]  # fmt: skip


def _gpu(levels: Levels) -> list[Card]:
    """Only where there is one."""
    both = [
        _level("gpu_utilization", catalogue.GPU_UTILIZATION, levels.gpu_utilization),
        _level("gpu_memory", catalogue.GPU_MEMORY, levels.gpu_memory),
    ]
    return [card for card in both if card.value is not None or card.before is not None]


def _qps(traffic: WindowTraffic, levels: Levels, rates: Rates, now_s: float) -> Card:
    """No requests are 0 a second only where a frontend was there to count them."""
    idle = [None if depth is None else 0.0 for depth in levels.depth.steps]
    return Card(
        name="qps",
        unit="1/s",
        good=catalogue.REQUESTS.good,
        value=_rounded(rates.now, 4),
        before=_rounded(rates.before, 4),
        sparkline=figures.rates(_summed(traffic.requests.values()), now_s, 4) or idle,
    )


def _latency(traffic: WindowTraffic, name: str, q: float) -> Card:
    return Card(
        name=name,
        unit="ms",
        good=catalogue.REQUEST_DURATION.good,
        value=percentile_ms(traffic.duration, q),
        before=percentile_ms(traffic.durations_before, q),
        sparkline=[percentile_ms(step, q) for step in traffic.durations],
    )


def _level(name: str, metric: Metric, reading: LevelSeries, good: Good | None = None) -> Card:
    return Card(
        name=name,
        unit=metric.unit,
        good=metric.good if good is None else good,
        value=_rounded(reading.now, 4),
        before=_rounded(reading.before, 4),
        sparkline=[_rounded(step, 4) for step in reading.steps],
    )


def _ratio(name: str, unit: str, good: Good, parts: Iterable[Counted], wholes: Iterable[Counted],
           digits: int) -> Card:  # fmt: skip
    """How much of `parts` there is for each of `wholes`."""
    some, of = list(parts), list(wholes)

    def share(part: float, whole: float) -> float | None:
        return round(part / whole, digits) if whole else None

    # The two come from different processes: one may be here before the other is.
    steps = zip_longest(_summed(some).values, _summed(of).values, fillvalue=0.0)
    return Card(
        name=name,
        unit=unit,
        good=good,
        value=share(_total(some), _total(of)),
        before=share(_before(some), _before(of)),
        sparkline=[share(*step) for step in steps],
    )


def _ended(traffic: WindowTraffic, *outcomes: str) -> list[Counted]:
    return [counted for outcome, counted in traffic.requests.items() if outcome in outcomes]


def _total(counted: Iterable[Counted]) -> float:
    return math.fsum(each.total for each in counted)


def _before(counted: Iterable[Counted]) -> float:
    return math.fsum(each.before for each in counted)


def _summed(counted: Iterable[Counted]) -> Series[float]:
    """Their steps together; none when there is nothing."""
    every = [each.steps for each in counted]
    if not every:
        return Series(0.0, 1.0, ())
    columns = zip(*(steps.values for steps in every), strict=True)
    return Series(every[0].start_s, every[0].step_s, tuple(math.fsum(each) for each in columns))


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
