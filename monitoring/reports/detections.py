"""What was found and for whom: detections by label, requests by client."""

from __future__ import annotations

from monitoring.reports.period import Covered
from monitoring.reports.schema import Client, Label
from monitoring.stores.contract import MetricsStore
from telemetry import catalogue
from telemetry.definitions import Metric

#: Clients listed: the busiest.
CLIENTS = 100


def detections(metrics: MetricsStore, covered: Covered, *, compare: bool) -> list[Label]:
    """Detections by label, the most frequent first."""
    counts = _counts(metrics, catalogue.DETECTIONS, covered, "label")
    before = _counts(metrics, catalogue.DETECTIONS, covered.before, "label") if compare else None
    scores = metrics.histogram(catalogue.DETECTION_SCORE, covered.window, by=("label",))
    total = sum(counts.values())
    return [
        Label(
            label=label,
            count=count,
            share=round(count / total, 6),
            mean_score=_rounded(scores[label,].mean) if (label,) in scores else None,
            before=None if before is None else before.get(label, 0),
        )
        for label, count in sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    ]


def clients(metrics: MetricsStore, covered: Covered, *, compare: bool) -> list[Client]:
    """Requests by client, the busiest first."""
    counts = _counts(metrics, catalogue.CLIENT_REQUESTS, covered, "client")
    before = (
        _counts(metrics, catalogue.CLIENT_REQUESTS, covered.before, "client") if compare else {}
    )
    total = sum(counts.values())
    return [
        Client(
            client=client,
            requests=count,
            share=round(count / total, 6),
            # Without any count the clients were not counted yet, rather than all absent.
            before=before.get(client, 0) if before else None,
        )
        for client, count in sorted(counts.items(), key=lambda each: (-each[1], each[0]))[:CLIENTS]
    ]


def image_bytes(metrics: MetricsStore, covered: Covered) -> float | None:
    """Mean size of the encoded images."""
    sizes = metrics.histogram(catalogue.IMAGE_SIZE, covered.window).get(())
    return None if sizes is None or sizes.mean is None else round(sizes.mean, 1)


def _counts(metrics: MetricsStore, metric: Metric, covered: Covered, by: str) -> dict[str, int]:
    found = metrics.increase(metric, covered.window, by=(by,))
    counts = {labels[0]: round(count) for labels, count in found.items()}
    return {key: count for key, count in counts.items() if count}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
