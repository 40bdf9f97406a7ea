"""The service in figures over a window: what `GET /api/v1/stats` answers.

Counts are exact. Percentiles come from one histogram merged over all processes, never from
averaged percentiles. What was not measured in the window is None, not 0.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from pydantic import BaseModel

from monitoring.figures.capacity import Capacity, capacity
from monitoring.figures.cards import Card, cards
from monitoring.figures.plots import BEFORE_S
from monitoring.figures.window import Counted, Levels, Rates, WindowTraffic
from monitoring.stores.contract import Labels, Measured, MetricsStore, Window, total
from monitoring.stores.histogram import Histogram
from telemetry import catalogue
from telemetry.outcomes import success_rate


class Latency(BaseModel):
    """Milliseconds."""

    mean: float
    p50: float
    p95: float
    p99: float


class Stats(BaseModel):
    """Figures of the last `window_s` seconds; those from `requests_active` to `workers_idle`
    describe this moment, or of a time that is over their mean."""

    window_s: float
    #: Requests by outcome.
    requests: dict[str, int]
    #: Requests per second now: over the last minute. None when no frontend was heard of in it.
    qps: float | None
    #: The same over the time of the window in which a frontend was heard of.
    qps_mean: float | None
    #: Of the requests that ended well or by our fault: telemetry.outcomes.
    success_rate: float | None
    #: From the first byte of a request to its answer, of those with outcome `ok`.
    latency_ms: Latency | None
    #: Each stage of an image's way.
    stages_ms: dict[str, Latency]
    detections: dict[str, int]
    detections_per_image: float | None
    batch_size_mean: float | None
    #: Seconds of the window in which a frontend was heard of.
    observed_s: float
    #: Seconds of inference per second of these, by provider: 1.0 is one worker without a pause.
    inference_busy: dict[str, float]
    requests_active: int | None
    queue_depth: int | None
    queue_oldest_age_s: float | None
    workers_busy: int | None
    workers_idle: int | None
    cards: list[Card]
    capacity: Capacity


def stats(
    metrics: MetricsStore,
    window_s: float,
    now_s: float | None = None,
    *,
    end_s: float | None = None,
) -> Stats:
    """Compute the figures, of the time up to now or of one that is over by `end_s`.

    Raises Unavailable when the store cannot be read.
    """
    now_s = time.time() if now_s is None else now_s
    is_over = end_s is not None
    window = metrics.window(window_s, now_s if end_s is None else end_s - BEFORE_S)
    traffic = WindowTraffic.read(metrics, window)
    levels = Levels.read(metrics, window, is_over=is_over)
    rates = Rates.read(metrics, window, now_s, traffic, is_over=is_over)
    batches = metrics.measured_series(catalogue.BATCH_SIZE, window, window.seconds).get(())
    batch = total(batches.values) if batches else Measured()
    busy = metrics.increase(catalogue.INFERENCE_BUSY, window, by=("provider",))
    requests, detections = _whole_counts(traffic.requests), _whole_counts(traffic.detections)
    succeeded = requests.get("ok", 0)
    observed_s = rates.seen.seconds or window.elapsed_s(now_s)
    return Stats(
        window_s=window_s,
        requests=requests,
        qps=_rounded(rates.now, 4),
        qps_mean=_rounded(rates.mean, 4),
        observed_s=round(rates.seen.seconds, 3),
        success_rate=_rounded(success_rate(requests), 6),
        latency_ms=latency(traffic.duration),
        stages_ms=stages_ms(metrics, window),
        detections=detections,
        detections_per_image=round(sum(detections.values()) / succeeded, 4) if succeeded else None,
        batch_size_mean=batch.mean,
        inference_busy={labels[0]: round(s / observed_s, 4) for labels, s in busy.items() if s},
        requests_active=_whole(levels.active.now),
        queue_depth=_whole(levels.depth.now),
        queue_oldest_age_s=levels.oldest_age.now,
        workers_busy=_whole(levels.busy.now),
        workers_idle=_whole(levels.idle.now),
        cards=cards(traffic, levels, rates, now_s),
        capacity=capacity(metrics, window, now_s, levels, batch, rates.seen),
    )


def stages_ms(metrics: MetricsStore, window: Window) -> dict[str, Latency]:
    """How long each stage took, of those that took place. Raises Unavailable."""
    found = _by_stage(metrics.histogram(catalogue.STAGE_DURATION, window, by=("stage",)))
    return {
        stage: took
        for stage, histogram in found.items()
        if (took := latency(histogram)) is not None
    }


def _whole_counts(counted: Mapping[str, Counted]) -> dict[str, int]:
    found = {name: round(each.total) for name, each in counted.items()}
    return {name: count for name, count in found.items() if count}


def _by_stage(found: Mapping[Labels, Histogram]) -> dict[str, Histogram]:
    return {stage: found[(stage,)] for stage in catalogue.STAGES if (stage,) in found}


def latency(histogram: Histogram | None) -> Latency | None:
    """What a histogram of seconds tells; None where nothing was measured."""
    if histogram is None or not histogram.count:
        return None

    def ms(seconds: float | None) -> float:
        assert seconds is not None, "only an empty histogram has no mean and no percentiles"
        return round(seconds * 1e3, 3)

    return Latency(
        mean=ms(histogram.mean),
        p50=ms(histogram.percentile(0.50)),
        p95=ms(histogram.percentile(0.95)),
        p99=ms(histogram.percentile(0.99)),
    )


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)
