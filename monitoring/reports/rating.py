"""The rating: each criterion against fixed bounds, and the worst of them for the whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from monitoring.reports.schema import Criterion, Grade, LatencySummary, Rating, Stage, Unit
from telemetry.outcomes import COUNTED, success_rate

GRADES: tuple[Grade, ...] = ("A", "B", "C", "D", "E")
#: Fewer requests than this say nothing of a service.
LEAST_REQUESTS = 30
#: Bounds of A, B, C and D.
SUCCESS = [0.999, 0.995, 0.99, 0.95]
LATENCY_P95_MS = [500.0, 1000.0, 2000.0, 5000.0]
QUEUE_WAIT_P95_MS = [100.0, 500.0, 1000.0, 5000.0]
CRITICAL_SHARE = [0.0, 0.001, 0.01, 0.05]


def rate(
    outcomes: Mapping[str, int],
    latency: LatencySummary | None,
    stages: Sequence[Stage],
    critical_share: float | None,
) -> Rating:
    """Rate a period; `critical_share` is of its time, with a critical alert firing."""
    counted = sum(outcomes.get(outcome, 0) for outcome in COUNTED)
    wait = next((stage.p95_ms for stage in stages if stage.stage == "queue_wait"), None)
    criteria = [
        _criterion("success", "share", success_rate(outcomes), SUCCESS),
        _criterion("latency", "ms", latency.p95_ms if latency else None, LATENCY_P95_MS),
        _criterion("queue_wait", "ms", wait, QUEUE_WAIT_P95_MS),
        _criterion("critical", "share", critical_share, CRITICAL_SHARE),
    ]
    grades = [each.grade for each in criteria if each.grade is not None]
    rated = counted >= LEAST_REQUESTS and bool(grades)
    return Rating(grade=max(grades) if rated else None, least=LEAST_REQUESTS, criteria=criteria)


def grade(value: float, bounds: Sequence[float], *, at_least: bool) -> Grade:
    """The first grade whose bound the value keeps."""
    for letter, bound in zip(GRADES, bounds, strict=False):
        if value >= bound if at_least else value <= bound:
            return letter
    return GRADES[-1]


def _criterion(name: str, unit: Unit, value: float | None, bounds: list[float]) -> Criterion:
    at_least = bounds[0] > bounds[-1]
    return Criterion(
        name=name,
        unit=unit,
        value=value if value is None else round(value, 6),
        better="at_least" if at_least else "at_most",
        bounds=bounds,
        grade=None if value is None else grade(value, bounds, at_least=at_least),
    )
