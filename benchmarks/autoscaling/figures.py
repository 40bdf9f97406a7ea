"""What came of a simulated day: workers, latency, cost."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import quantiles

from benchmarks.autoscaling.service import HOUR, Service

#: The minutes after the cameras were switched on, by which a rule that follows the load is judged.
START_S = 9 * HOUR
FIRST_S = 300.0
SOON_S = 1.0
#: When most of them rest: what was not settled by then, was not at all.
REST_S = 12 * HOUR


@dataclass(frozen=True)
class Outcome:
    """One way to scale, over the day."""

    title: str
    begin_s: float
    step_s: float
    #: By step.
    workers: list[int]
    #: Seconds, by step; None without an image.
    p95_s: list[float | None]
    answered: int
    refused: int
    worker_hours: float
    first_p95_s: float
    day_p95_s: float
    #: After the start, until whatever came was answered within SOON_S again.
    settled_s: float


def outcome(title: str, service: Service, workers: list[int], begin: float, step: float) -> Outcome:
    """Of a service that was run from `begin`, by the moments at which its images came."""
    by_step: list[list[float]] = [[] for _ in workers]
    came = [(done - took, took) for done, took in service.answered]
    for when, took in came:
        by_step[min(int((when - begin) // step), len(by_step) - 1)].append(took)
    first = [took for when, took in came if START_S <= when < START_S + FIRST_S]
    late = [when for when, took in came if took > SOON_S and when < REST_S]
    late += [when for when in service.refused if when < REST_S]
    return Outcome(
        title=title, begin_s=begin, step_s=step, workers=workers,
        p95_s=[p95(each) if each else None for each in by_step],
        answered=len(service.answered), refused=len(service.refused),
        worker_hours=service.worker_s / HOUR,
        first_p95_s=p95(first), day_p95_s=p95([took for _, took in came]),
        settled_s=max(late, default=START_S) - START_S,
    )  # fmt: skip


def p95(durations: list[float]) -> float:
    """Of those that were answered; 0 without any."""
    return quantiles(durations, n=20)[-1] if len(durations) > 1 else sum(durations)
