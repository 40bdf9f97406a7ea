"""The figures that a rule can watch: each one here once, for both stores.

`measure` asks a MetricsStore and `promql` says the same to Prometheus; a test requires that
both give the same number over the same traffic. What was not measured is neither above nor
below any threshold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from monitoring.alerts import measures
from monitoring.alerts.measures import Measure, Promql
from telemetry import catalogue
from telemetry.outcomes import FAILURES

#: Which request of the window shows what is wrong.
Example = Literal["slowest", "failed"]
#: `ratio` is 0..1; an empty unit is a plain number.
Unit = Literal["ratio", "s", "1/s", ""]


@dataclass(frozen=True, slots=True)
class RuleFigure:
    """One figure: how it is taken from either store, and where a person sees it."""

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


_ROUTE = ("route",)
_REQUEST = ("route", "outcome")
_QUEUE = ("queue",)
_LATENCY, _STAGE = catalogue.REQUEST_DURATION, catalogue.STAGE_DURATION

FIGURES: dict[str, RuleFigure] = {
    "qps": RuleFigure("1/s", *measures.QPS, card="qps", attributes=_REQUEST),
    "success_rate": RuleFigure(
        "ratio", *measures.share("ok"),
        card="success_rate", example="failed", counted=True, attributes=_ROUTE,
    ),
    "failure_rate": RuleFigure(
        "ratio", *measures.share(*FAILURES),
        card="success_rate", example="failed", counted=True, attributes=_ROUTE,
    ),
    "traffic_share": RuleFigure(
        "ratio", *measures.TRAFFIC_SHARE, card="qps", counted=True, attributes=_REQUEST
    ),
    "latency_mean_s": RuleFigure(
        "s", *measures.mean(_LATENCY, outcome="ok"),
        card="latency_p50_ms", example="slowest", counted=True, attributes=_ROUTE,
    ),
    **{
        f"latency_p{round(q * 100)}_s": RuleFigure(
            "s", *measures.percentile(q, _LATENCY, outcome="ok"),
            card=f"latency_p{round(q * 100)}_ms", example="slowest", counted=True,
            attributes=_ROUTE,
        )
        for q in (0.5, 0.95, 0.99)
    },
    "stage_p95_s": RuleFigure(
        "s", *measures.percentile(0.95, _STAGE),
        card="latency_p95_ms", example="slowest", counted=True, attributes=("stage",),
    ),
    "queue_depth": RuleFigure(
        "", *measures.latest_max(catalogue.QUEUE_DEPTH, "queue"),
        card="queue_depth", example="slowest", windowed=False, attributes=_QUEUE,
    ),
    "queue_age_s": RuleFigure(
        "s", *measures.highest(catalogue.QUEUE_OLDEST_AGE),
        card="queue_oldest_age_s", example="slowest", windowed=False, attributes=_QUEUE,
    ),
    "queue_age_growth_s": RuleFigure(
        "s", *measures.QUEUE_AGE_GROWTH,
        card="queue_oldest_age_s", example="slowest", attributes=_QUEUE,
    ),
    "workers_ready": RuleFigure(
        "", *measures.WORKERS_READY, card="workers_ready", example="failed", windowed=False
    ),
    "workers_fallback": RuleFigure(
        "", *measures.highest(catalogue.WORKERS_FALLBACK),
        card="workers_ready", example="slowest", windowed=False,
    ),
    "workers_silent": RuleFigure(
        "", *measures.WORKERS_SILENT, card="workers_ready", windowed=False
    ),
    "utilisation": RuleFigure("ratio", *measures.UTILISATION, card="workers_busy"),
    "frontends_reporting": RuleFigure("", *measures.FRONTENDS, windowed=False),
    "cpu": RuleFigure("ratio", *measures.BUSIEST_CPU, card="cpu", example="slowest"),
    "memory": RuleFigure("ratio", *measures.FULLEST_MEMORY, card="memory"),
    "gpu_utilization": RuleFigure(
        "ratio", *measures.highest_mean(catalogue.GPU_UTILIZATION),
        card="gpu_utilization", attributes=("gpu",),
    ),
}  # fmt: skip
