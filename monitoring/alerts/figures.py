"""The figures that a rule can watch: each one here once, for both stores.

`measure` asks a MetricsStore and `promql` says the same to Prometheus; a test requires that
both give the same number over the same traffic. What was not measured is neither above nor
below any threshold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from monitoring.alerts import measures
from monitoring.alerts.measures import Measure, Promql, Taken
from telemetry import catalogue
from telemetry.definitions import Metric
from telemetry.outcomes import FAILURES

#: Which request of the window shows what is wrong.
Example = Literal["slowest", "failed"]
#: `ratio` is 0..1; an empty unit is a plain number.
Unit = Literal["ratio", "s", "1/s", ""]


@dataclass(frozen=True, slots=True)
class RuleFigure:
    """One figure: how it is taken from either store, and where a person sees it."""

    #: What it is taken from; its attributes have their values from there.
    metric: Metric
    unit: Unit
    measure: Measure
    promql: Promql
    #: The card of the Monitor page that shows it or what it belongs to.
    card: str | None = None
    example: Example | None = None
    #: False for a figure of this moment, which takes no window.
    windowed: bool = True
    #: Whether `at_least` images must have come before it says anything.
    counted: bool = False
    #: Attributes that a rule may narrow it down by.
    attributes: tuple[str, ...] = ()


#: Units of the catalogue as figures have them.
_UNITS: dict[str, Unit] = {"1": "ratio", "s": "s"}


def _figure(metric: Metric, taken: Taken, unit: Unit | None = None, **more: Any) -> RuleFigure:
    """A figure in the metric's own unit, where it has no other."""
    return RuleFigure(metric, unit or _UNITS.get(metric.unit, ""), *taken, **more)


_ROUTE = ("route",)
_REQUEST = ("route", "outcome")
_QUEUE = ("queue",)
_REQUESTS, _LATENCY = catalogue.REQUESTS, catalogue.REQUEST_DURATION
_STAGE, _AGE, _WORKERS = catalogue.STAGE_DURATION, catalogue.QUEUE_OLDEST_AGE, catalogue.WORKERS

FIGURES: dict[str, RuleFigure] = {
    "qps": _figure(_REQUESTS, measures.QPS, "1/s", card="qps", attributes=_REQUEST),
    "success_rate": _figure(
        _REQUESTS, measures.share("ok"), "ratio",
        card="success_rate", example="failed", counted=True, attributes=_ROUTE,
    ),
    "failure_rate": _figure(
        _REQUESTS, measures.share(*FAILURES), "ratio",
        card="success_rate", example="failed", counted=True, attributes=_ROUTE,
    ),
    "traffic_share": _figure(
        _REQUESTS, measures.TRAFFIC_SHARE, "ratio", card="qps", counted=True, attributes=_REQUEST
    ),
    "latency_mean_s": _figure(
        _LATENCY, measures.mean(_LATENCY, outcome="ok"),
        card="latency_p50_ms", example="slowest", counted=True, attributes=_ROUTE,
    ),
    **{
        f"latency_p{round(q * 100)}_s": _figure(
            _LATENCY, measures.percentile(q, _LATENCY, outcome="ok"),
            card=f"latency_p{round(q * 100)}_ms", example="slowest", counted=True,
            attributes=_ROUTE,
        )
        for q in (0.5, 0.95, 0.99)
    },
    "stage_p95_s": _figure(
        _STAGE, measures.percentile(0.95, _STAGE),
        card="latency_p95_ms", example="slowest", counted=True, attributes=("stage",),
    ),
    "queue_depth": _figure(
        catalogue.QUEUE_DEPTH, measures.latest_max(catalogue.QUEUE_DEPTH, "queue"),
        card="queue_depth", example="slowest", windowed=False, attributes=_QUEUE,
    ),
    "queue_age_s": _figure(
        _AGE, measures.highest(_AGE),
        card="queue_oldest_age_s", example="slowest", windowed=False, attributes=_QUEUE,
    ),
    "queue_age_growth_s": _figure(
        _AGE, measures.QUEUE_AGE_GROWTH,
        card="queue_oldest_age_s", example="slowest", attributes=_QUEUE,
    ),
    "workers_ready": _figure(
        _WORKERS, measures.WORKERS_READY, card="workers_ready", example="failed", windowed=False
    ),
    "queue_workers": _figure(
        catalogue.QUEUE_WORKERS, measures.fewest(catalogue.QUEUE_WORKERS, "queue"),
        card="workers_ready", example="failed", windowed=False, attributes=_QUEUE,
    ),
    "workers_fallback": _figure(
        catalogue.WORKERS_FALLBACK, measures.highest(catalogue.WORKERS_FALLBACK),
        card="workers_ready", example="slowest", windowed=False,
    ),
    "workers_silent": _figure(
        _WORKERS, measures.WORKERS_SILENT, card="workers_ready", windowed=False
    ),
    "telemetry_losses": _figure(
        catalogue.TELEMETRY_LOSSES, measures.highest(catalogue.TELEMETRY_LOSSES), windowed=False
    ),
    "utilisation": _figure(
        catalogue.WORKER_BUSY, measures.UTILISATION, "ratio", card="workers_busy"
    ),
    "frontends_reporting": _figure(_WORKERS, measures.FRONTENDS, windowed=False),
    "cpu": _figure(
        catalogue.SYSTEM_CPU, measures.BUSIEST_CPU, card="cpu", example="slowest"
    ),
    "memory": _figure(catalogue.SYSTEM_MEMORY, measures.FULLEST_MEMORY, card="memory"),
    "gpu_utilization": _figure(
        catalogue.GPU_UTILIZATION, measures.highest_mean(catalogue.GPU_UTILIZATION),
        card="gpu_utilization", attributes=("gpu",),
    ),
}  # fmt: skip
