"""The main figures of a period, and how they changed against the one before."""

from __future__ import annotations

from dataclasses import dataclass

from monitoring.reports.period import WorkerTime
from monitoring.reports.schema import Figure, LatencySummary, Peak, Period, Unit
from monitoring.reports.traffic import Traffic
from telemetry.outcomes import success_rate

FIGURES: tuple[tuple[str, Unit], ...] = (
    ("requests", "count"),
    ("success_rate", "share"),
    ("qps_mean", "per_s"),
    ("qps_peak", "per_s"),
    ("latency_p50", "ms"),
    ("latency_p95", "ms"),
    ("latency_p99", "ms"),
    ("detections", "count"),
    ("detections_per_image", "number"),
    ("utilisation", "share"),
    ("worker_hours", "hours"),
    ("cost_per_1000", "money"),
)


@dataclass(frozen=True, slots=True)
class Headline:
    """What the main figures of a period are made of."""

    period: Period
    traffic: Traffic
    peak: Peak | None
    latency: LatencySummary | None
    spent: WorkerTime
    detections: int

    @property
    def succeeded(self) -> int:
        """Requests with outcome `ok`."""
        return self.traffic.outcomes.get("ok", 0)

    def value(self, name: str, price_per_hour: float | None) -> float | None:
        """One of FIGURES; None where nothing was measured."""
        hours = self.spent.workers_s / 3600 if self.spent.observed_s else None
        cost = None if hours is None or price_per_hour is None else 1000 * hours * price_per_hour
        values: dict[str, float | None] = {
            "requests": self.traffic.total,
            "success_rate": success_rate(self.traffic.outcomes),
            "qps_mean": self.traffic.rate.mean_per_s if self.traffic.rate else None,
            "qps_peak": self.peak.per_s if self.peak else None,
            "latency_p50": self.latency.p50_ms if self.latency else None,
            "latency_p95": self.latency.p95_ms if self.latency else None,
            "latency_p99": self.latency.p99_ms if self.latency else None,
            "detections": self.detections,
            "detections_per_image": _ratio(self.detections, self.succeeded),
            "utilisation": self.spent.utilisation,
            "worker_hours": hours,
            "cost_per_1000": None if cost is None else _ratio(cost, self.succeeded),
        }
        return values[name]


def figures(now: Headline, before: Headline | None, price_per_hour: float | None) -> list[Figure]:
    """The main figures against those of the period before, at the same price."""
    return [
        _figure(
            name,
            unit,
            now.value(name, price_per_hour),
            before.value(name, price_per_hour)
            if before and _comparable(name, now, before)
            else None,
        )
        for name, unit in FIGURES
    ]


def _comparable(name: str, now: Headline, before: Headline) -> bool:
    """Peaks over steps of different lengths are not; older data lies in longer steps."""
    if name != "qps_peak" or now.peak is None or before.peak is None:
        return True
    return now.traffic.step_s == before.traffic.step_s


def _figure(name: str, unit: Unit, value: float | None, before: float | None) -> Figure:
    change: float | None = None
    if value is not None and before is not None:
        change = value - before if unit == "share" else _ratio(value - before, before)
    return Figure(
        name=name,
        unit=unit,
        value=_rounded(value),
        before=_rounded(before),
        change=_rounded(change),
    )


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
