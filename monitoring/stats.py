"""The service in figures over a window: what `GET /api/v1/stats` answers.

Counts are exact. Percentiles come from one histogram merged over all processes, never from
averaged percentiles. What was not measured in the window is None, not 0.
"""

from __future__ import annotations

import time

from pydantic import BaseModel

from monitoring.histogram import Histogram
from monitoring.model import MetricsStore, Window
from telemetry import names


class Latency(BaseModel):
    """Milliseconds."""

    mean: float
    p50: float
    p95: float
    p99: float


class Stats(BaseModel):
    """Figures of the last `window_s` seconds; the last five describe this moment."""

    window_s: float
    #: Requests by outcome.
    requests: dict[str, int]
    #: Requests per second, over the whole window.
    qps: float
    #: Share of requests with outcome `ok`.
    success_rate: float | None
    #: From the first byte of a request to its answer, of those with outcome `ok`.
    latency_ms: Latency | None
    #: Each stage of an image's way.
    stages_ms: dict[str, Latency]
    detections: dict[str, int]
    detections_per_image: float | None
    batch_size_mean: float | None
    #: Seconds of inference per second, by provider: 1.0 is one worker without a pause.
    inference_busy: dict[str, float]
    requests_active: int | None
    queue_depth: int | None
    queue_oldest_age_s: float | None
    workers_busy: int | None
    workers_idle: int | None


def stats(metrics: MetricsStore, window_s: float, now_s: float | None = None) -> Stats:
    """Compute the figures. Raises Unavailable when the store cannot be read."""
    window = Window.last(window_s, time.time() if now_s is None else now_s)
    requests = _counts(metrics, names.M_REQUESTS, window, "outcome")
    detections = _counts(metrics, names.M_DETECTIONS, window, "label")
    done = metrics.histogram(names.M_REQUEST_DURATION, window, where={"outcome": "ok"})
    stages = metrics.histogram(names.M_STAGE_DURATION, window, by=("stage",))
    batches = metrics.histogram(names.M_BATCH_SIZE, window).get(())
    busy = metrics.increase(names.M_INFERENCE_BUSY, window, by=("provider",))
    workers = metrics.latest(names.M_WORKERS, across="max", by=("state",))
    total, succeeded = sum(requests.values()), requests.get("ok", 0)
    return Stats(
        window_s=window_s,
        requests=requests,
        qps=round(total / window_s, 4),
        success_rate=round(succeeded / total, 6) if total else None,
        latency_ms=_latency(done.get(())),
        stages_ms={
            stage: found
            for stage in names.STAGES
            if (found := _latency(stages.get((stage,)))) is not None
        },
        detections=detections,
        detections_per_image=round(sum(detections.values()) / succeeded, 4) if succeeded else None,
        batch_size_mean=batches.mean if batches else None,
        inference_busy={labels[0]: round(s / window_s, 4) for labels, s in busy.items() if s},
        requests_active=_whole(
            metrics.latest(names.M_REQUESTS_ACTIVE, across="sum").get(()),
        ),
        queue_depth=_whole(_sum_of_queues(metrics, names.M_QUEUE_DEPTH)),
        queue_oldest_age_s=metrics.latest(names.M_QUEUE_OLDEST_AGE, across="max").get(()),
        workers_busy=_whole(workers.get(("busy",))),
        workers_idle=_whole(workers.get(("idle",))),
    )


def _counts(metrics: MetricsStore, name: str, window: Window, by: str) -> dict[str, int]:
    found = metrics.increase(name, window, by=(by,))
    return {labels[0]: round(count) for labels, count in sorted(found.items()) if count}


def _sum_of_queues(metrics: MetricsStore, name: str) -> float | None:
    """Every frontend reports each queue whole: the largest of them, then the sum of queues."""
    found = metrics.latest(name, across="max", by=("queue",))
    return sum(found.values()) if found else None


def _latency(histogram: Histogram | None) -> Latency | None:
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


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)
