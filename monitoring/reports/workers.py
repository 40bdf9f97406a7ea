"""What the workers did, how full the machines were, and what it cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from monitoring.figures.utilisation import (
    TARGET,
    busy_s_per_image,
    per_worker_per_s,
    workers_needed,
)
from monitoring.reports.period import Covered, WorkerTime
from monitoring.reports.schema import Cost, Stage, Workers
from monitoring.reports.traffic import milliseconds
from monitoring.stores.contract import HOST_ID, MetricsStore, Series
from monitoring.stores.histogram import Histogram
from pipeline.settings import Settings
from telemetry import catalogue
from telemetry.definitions import Metric


def stages(metrics: MetricsStore, covered: Covered, *, compare: bool) -> list[Stage]:
    """Each stage's share of the time and its percentiles, in an image's order."""
    found = _by_stage(metrics, covered)
    before = _by_stage(metrics, covered.before) if compare else {}
    total_s = math.fsum(each.sum for each in found.values())
    return [
        Stage(
            stage=name,
            count=found[name].count,
            share=round(found[name].sum / total_s, 6) if total_s else 0.0,
            p95_before_ms=_ms(before[name].percentile(0.95)) if name in before else None,
            **milliseconds(found[name]),
        )
        for name in catalogue.STAGES
        if name in found
    ]


def workers(
    metrics: MetricsStore, covered: Covered, time: WorkerTime, peak_per_s: float | None
) -> Workers:
    """What the workers did; `peak_per_s` is what they had to hold at most."""
    window, step_s = covered.window, covered.plot_step_s
    batches = metrics.histogram(catalogue.BATCH_SIZE, window).get(())
    images = batches.sum if batches else 0.0
    per_image = busy_s_per_image(math.fsum(time.busy_s.values()), images)
    per_worker = per_worker_per_s(per_image)

    def highest(metric: Metric) -> float | None:
        return _extreme(max, metrics.gauge_series(metric, window, step_s, across="max").values())

    def of_hosts(metric: Metric, state: str) -> Iterable[Series[float | None]]:
        # Each process reports its host's whole.
        where = {"state": state}
        return metrics.gauge_series(
            metric, window, step_s, across="avg", by=(HOST_ID,), where=where
        ).values()

    # The busiest host is the one that is least idle.
    idle = _extreme(min, of_hosts(catalogue.SYSTEM_CPU, "idle"))
    fallback = highest(catalogue.WORKERS_FALLBACK)
    return Workers(
        mean=round(time.workers_s / time.observed_s, 3) if time.observed_s else None,
        hours=round(time.workers_s / 3600, 4) if time.observed_s else None,
        utilisation=None if time.utilisation is None else round(time.utilisation, 6),
        utilisation_peak=None if time.busiest is None else round(time.busiest, 6),
        busy_s=dict(time.busy_s),
        batch_size_mean=round(batches.mean, 3) if batches and batches.mean else None,
        busy_s_per_image=round(per_image, 6) if per_image else None,
        per_worker_per_s=round(per_worker, 3) if per_worker else None,
        needed_at_peak=workers_needed(peak_per_s, per_image),
        target_utilisation=TARGET,
        fallback=None if fallback is None else round(fallback),
        queue_depth_max=highest(catalogue.QUEUE_DEPTH),
        queue_oldest_age_max_s=highest(catalogue.QUEUE_OLDEST_AGE),
        memory_max=_extreme(max, of_hosts(catalogue.SYSTEM_MEMORY, "used")),
        cpu_max=None if idle is None else round(max(0.0, 1 - idle), 4),
    )


def cost(found: Workers, images: int, settings: Settings) -> Cost:
    """Worker hours at the price that the settings give for their kind."""
    kinds = {"cpu" if provider == "cpu" else "gpu" for provider in found.busy_s}
    price: float | None = None
    reason = ""
    if settings.cpu_worker_price is None and settings.gpu_worker_price is None:
        reason = "no_price"
    elif not found.hours:
        reason = "no_workers"
    elif len(kinds) != 1:
        reason = "mixed" if kinds else "no_inference"
    else:
        gpu = "gpu" in kinds
        price = settings.gpu_worker_price if gpu else settings.cpu_worker_price
        reason = "no_price" if price is None else ""
    total = price * found.hours if price is not None and found.hours else None
    return Cost.model_validate(
        {
            "currency": settings.currency,
            "price_per_hour": price,
            "kind": next(iter(kinds)) if len(kinds) == 1 else None,
            "total": None if total is None else round(total, 4),
            "per_1000_images": _per_1000(total, images),
            "reason": reason,
        }
    )


def _per_1000(total: float | None, images: int) -> float | None:
    return round(1000 * total / images, 4) if total is not None and images else None


def _by_stage(metrics: MetricsStore, covered: Covered) -> dict[str, Histogram]:
    found = metrics.histogram(catalogue.STAGE_DURATION, covered.window, by=("stage",))
    return {labels[0]: each for labels, each in found.items() if each.count}


def _extreme(
    choose: Callable[[list[float]], float], found: Iterable[Series[float | None]]
) -> float | None:
    values = [value for series in found for value in series.values if value is not None]
    return round(choose(values), 4) if values else None


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1e3, 3)
