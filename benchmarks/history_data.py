"""A month of a service at about 10 images a second, from a seeded generator."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from telemetry import catalogue
from telemetry.definitions import Level, Metric

DAY_S = 86400
DAYS = 30
#: The end of the data: a full hour.
NOW_S = 1_800_000_000.0 - 1_800_000_000.0 % 3600
RATE_PER_S = 10.0
LABELS = ("phone", "person", "book", "laptop", "bottle")
OUTCOMES = {"ok": 0.985, "failed": 0.005, "invalid": 0.007, "rejected": 0.002, "timeout": 0.001}
#: Where the stages' medians lie, in seconds.
STAGES_S = {"upload": 0.003, "queue_wait": 0.004, "preprocess": 0.006, "inference": 0.03,
            "nms": 0.0008}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Interval:
    """A stretch of time and how many requests came in it."""

    start_s: float
    end_s: float
    requests: int
    random: np.random.Generator

    @property
    def day(self) -> int:
        """Processes are new every day."""
        return int(self.start_s // DAY_S)


def intervals(begin_s: float, end_s: float, step_s: int) -> Iterator[Interval]:
    """Busier by day than by night."""
    random = np.random.default_rng((7, int(begin_s), step_s))
    for start_s in np.arange(begin_s, end_s, step_s):
        by_day = 1 + 0.8 * math.sin(2 * math.pi * (start_s % DAY_S) / DAY_S)
        yield Interval(
            float(start_s), float(start_s + step_s), random.poisson(RATE_PER_S * by_day * step_s),
            random,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Grown:
    """What was added to one series; `counts` are a histogram's buckets and `value` its sum."""

    metric: Metric
    service: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
    bounds: tuple[float, ...] = ()
    counts: NDArray[np.int64] | None = None

    def exported(self) -> tuple[tuple[str, str], list[tuple[str, dict[str, str], float]]]:
        """Family and kind, and (suffix, labels, growth) of what Prometheus has of it."""
        family = self.metric.exported.removesuffix("_total")
        own = dict(self.labels)
        if self.counts is None:
            return (family, "counter"), [("_total", own, self.value)]
        below = np.cumsum(self.counts).tolist()
        les = [*map(str, map(float, self.bounds)), "+Inf"]
        points = [
            ("_bucket", {**own, "le": le}, float(n)) for le, n in zip(les, below, strict=True)
        ]
        total = float(self.counts.sum())
        points += [("_sum", own, self.value), ("_count", own, total)]
        return (family, "histogram"), points


def series_of(interval: Interval) -> Iterator[Grown]:
    """All that is counted and measured in an interval."""
    frontend, worker = catalogue.SERVICE_FRONTEND, catalogue.SERVICE_WORKER
    split = interval.random.multinomial(interval.requests, list(OUTCOMES.values()))
    for outcome, count in zip(OUTCOMES, split.tolist(), strict=True):
        labels = {"outcome": outcome, "route": "api"}
        yield Grown(catalogue.REQUESTS, frontend, float(count), labels)
        yield _durations(interval, catalogue.REQUEST_DURATION, frontend, 0.06, count, labels)
    done = int(split[0])
    for stage, median_s in STAGES_S.items():
        service = frontend if stage == "upload" else worker
        labels = {"stage": stage}
        yield _durations(interval, catalogue.STAGE_DURATION, service, median_s, done, labels)
    sizes = np.zeros(len(catalogue.BATCH_SIZE.buckets) + 1, dtype=np.int64)
    sizes[0] = done
    bounds = tuple(map(float, catalogue.BATCH_SIZE.buckets))
    yield Grown(catalogue.BATCH_SIZE, worker, float(done), {}, bounds, sizes)
    cpu = {"provider": "cpu"}
    yield Grown(catalogue.INFERENCE_BUSY, worker, done * 0.03, cpu)
    yield Grown(catalogue.WORKER_BUSY, worker, done * 0.04, cpu)
    for label in LABELS:
        found = float(interval.random.poisson(done / 2))
        yield Grown(catalogue.DETECTIONS, worker, found, {"label": label})


def _durations(
    interval: Interval, metric: Metric, service: str, median_s: float, count: int,
    labels: Mapping[str, str],
) -> Grown:  # fmt: skip
    bounds = np.array(catalogue.DURATION_BUCKETS_S)
    # A few hundred values tell the shape of a long interval as well as all of them.
    drawn = interval.random.lognormal(math.log(median_s), 0.6, min(count, 400))
    counts = np.bincount(np.searchsorted(bounds, drawn), minlength=len(bounds) + 1)
    factor = count / max(1, len(drawn))
    scaled = np.floor(counts * factor).astype(np.int64)
    if count:
        scaled[int(np.argmax(scaled))] += count - int(scaled.sum())
    total = float(drawn.sum() * factor)
    return Grown(metric, service, total, labels, tuple(bounds.tolist()), scaled)


def levels(
    interval: Interval,
) -> Iterator[tuple[Level, str, str, dict[str, str], float]]:
    """(metric, service, instance, labels, level) of every process."""
    frontend, worker = catalogue.SERVICE_FRONTEND, catalogue.SERVICE_WORKER
    busy = min(2.0, interval.requests / (interval.end_s - interval.start_s) * 0.04)
    for half in ("1", "2"):
        instance = f"{interval.day}-{frontend}-{half}"
        for queue in ("detections", "detections-high", "detections-low"):
            own = {"queue": queue}
            yield catalogue.QUEUE_DEPTH, frontend, instance, own, 1.0
            yield (catalogue.QUEUE_OLDEST_AGE, frontend,
                   instance, own, 0.05)  # fmt: skip
        for state, number in (("busy", busy), ("idle", 2 - busy)):
            own = {"state": state}
            yield catalogue.WORKERS, frontend, instance, own, number
        yield catalogue.REQUESTS_ACTIVE, frontend, instance, {}, 1.0
    for service in (frontend, worker):
        for half in ("1", "2"):
            instance = f"{interval.day}-{service}-{half}"
            for cpu in ("1", "2"):
                for state, share in (("idle", 0.6), ("user", 0.3), ("system", 0.1), ("irq", 0.0)):
                    own = {"cpu": cpu, "state": state}
                    yield (catalogue.SYSTEM_CPU, service, instance,
                           own, share)  # fmt: skip
            yield (catalogue.SYSTEM_MEMORY, service, instance,
                   {"state": "used"}, 0.4)  # fmt: skip
            yield (catalogue.PROCESS_CPU, service, instance,
                   {}, 0.1)  # fmt: skip
