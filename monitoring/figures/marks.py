"""What happened to the service itself: what `GET /api/v1/stats/marks` answers."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping

from pydantic import BaseModel

from monitoring.figures.plots import BEFORE_S
from monitoring.stores.contract import (
    SERVICE_INSTANCE,
    SERVICE_NAME,
    Labels,
    MetricsStore,
    Series,
    Window,
)
from telemetry import catalogue

#: Steps of the time that is looked through: a mark is as exact as one of them.
STEPS = 720
#: Longer times have no marks: what is by process is read as it came, which is much.
WINDOW_MAX_S = 7 * 86400.0
#: How long before the time a process must have been silent to count as new in it.
LOOK_BACK_S = 900.0
#: Marks that are told, the newest.
MARKS_MAX = 100


class ProcessMark(BaseModel):
    """Processes of a service that were first heard of `at_s` (Unix time), to a step."""

    at_s: float
    service: str
    count: int


class ModelMark(BaseModel):
    """Workers began to use a model that none used before."""

    at_s: float
    model: str
    version: str


class Marks(BaseModel):
    """In order of time."""

    #: How exact the times are.
    step_s: float
    #: Whether these are all; times of more than 7 days have none.
    complete: bool
    processes: list[ProcessMark]
    models: list[ModelMark]


def marks(
    metrics: MetricsStore,
    window_s: float,
    now_s: float | None = None,
    *,
    end_s: float | None = None,
) -> Marks:
    """Look for them, in the time up to now or in one that is over by `end_s`.

    Raises Unavailable when the store cannot be read.
    """
    now_s = time.time() if now_s is None else now_s
    window = metrics.window(window_s, now_s if end_s is None else end_s - BEFORE_S)
    if window_s > WINDOW_MAX_S:
        return Marks(step_s=0.0, complete=False, processes=[], models=[])
    asked = Window(window.start_s - LOOK_BACK_S, window.end_s)
    step_s = max(float(metrics.resolution_s(asked)), asked.seconds / STEPS)
    memory = metrics.gauge_series(
        catalogue.PROCESS_MEMORY, asked, step_s, across="sum", by=(SERVICE_NAME, SERVICE_INSTANCE)
    )
    loaded = metrics.gauge_series(
        catalogue.WORKER_MODELS, asked, step_s, across="max", by=("model", "version")
    )
    found: Counter[tuple[float, str]] = Counter()
    for (service, _), at_s in _firsts(memory).items():
        if at_s >= window.start_s:
            found[at_s, service] += 1
    processes = [
        ProcessMark(at_s=at_s, service=service, count=count)
        for (at_s, service), count in sorted(found.items())
    ]
    models = sorted(
        (
            ModelMark(at_s=at_s, model=model, version=version)
            for (model, version), at_s in _firsts(loaded).items()
            if at_s >= window.start_s
        ),
        key=lambda each: each.at_s,
    )
    steps = [series.step_s for series in (*memory.values(), *loaded.values())]
    return Marks(
        step_s=max(steps, default=step_s),
        complete=len(processes) <= MARKS_MAX and len(models) <= MARKS_MAX,
        processes=processes[-MARKS_MAX:],
        models=models[-MARKS_MAX:],
    )


def _firsts(found: Mapping[Labels, Series[float | None]]) -> dict[Labels, float]:
    """When each was first heard of."""
    return {
        labels: next(
            at
            for at, value in zip(series.times_s, series.values, strict=True)
            if value is not None and value > 0
        )
        for labels, series in found.items()
        if any(series.values)
    }
