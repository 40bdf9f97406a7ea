"""The cards of the Monitor page: each figure now, in the window before, and over the window."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import zip_longest

from pydantic import BaseModel

from monitoring.figures import levels as figures
from monitoring.figures.levels import LevelSeries, percentile_ms
from monitoring.figures.window import (
    Counted,
    Levels,
    Rates,
    WindowTraffic,
    before_of,
    total_of,
)
from monitoring.stores.contract import Series
from telemetry import catalogue
from telemetry.definitions import Good, Metric
from telemetry.outcomes import COUNTED


class Card(BaseModel):
    """One figure. Of counts and durations `value` is over the window; of levels, and of QPS, it
    is now, or the mean of a time that is over.

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


def cards(traffic: WindowTraffic, levels: Levels, rates: Rates, now_s: float) -> list[Card]:
    """All of them, in the order of the page."""
    return [
        _qps(traffic, levels, rates, now_s),
        _requests(traffic, rates),
        _seconds(traffic),
        _latency(traffic, "latency_p1_ms", 0.01),
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
        _ratio("score_mean", "1", 0, [traffic.scores], [traffic.scored], 4),
        _level("cpu", catalogue.SYSTEM_CPU, levels.cpu),
        _level("memory", catalogue.SYSTEM_MEMORY, levels.memory),
        _level("process_memory", catalogue.PROCESS_MEMORY, levels.process_memory),
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


def _requests(traffic: WindowTraffic, rates: Rates) -> Card:
    """All of the window, whatever became of them; 0 only where a frontend was there to count."""
    counted = list(traffic.requests.values())
    return Card(
        name="requests",
        unit=catalogue.REQUESTS.unit,
        good=catalogue.REQUESTS.good,
        value=None if rates.mean is None else round(total_of(counted)),
        before=None if rates.before is None else round(before_of(counted)),
        sparkline=[_rounded(step, 2) for step in _summed(counted).values],
    )


def _seconds(traffic: WindowTraffic) -> Card:
    """How long the requests that ended well took, all together."""
    before = traffic.durations_before
    whole = traffic.duration
    return Card(
        name="request_seconds",
        unit=catalogue.REQUEST_DURATION.unit,
        good=0,
        value=None if whole is None else _rounded(whole.sum, 3),
        before=None if before is None else _rounded(before.sum, 3),
        sparkline=[_rounded(step.sum, 3) for step in traffic.durations],
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
        value=share(total_of(some), total_of(of)),
        before=share(before_of(some), before_of(of)),
        sparkline=[share(*step) for step in steps],
    )


def _ended(traffic: WindowTraffic, *outcomes: str) -> list[Counted]:
    return [counted for outcome, counted in traffic.requests.items() if outcome in outcomes]


def _summed(counted: Iterable[Counted]) -> Series[float]:
    """Their steps together; none when there is nothing."""
    every = [each.steps for each in counted]
    if not every:
        return Series(0.0, 1.0, ())
    columns = zip(*(steps.values for steps in every), strict=True)
    return Series(every[0].start_s, every[0].step_s, tuple(math.fsum(each) for each in columns))


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
