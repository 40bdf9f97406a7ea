"""What the workers can hold, from the time that an image takes of them.

The formulas are those of monitoring.figures.utilisation, over the window.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel

from monitoring.figures.cards import Levels
from monitoring.figures.levels import mean_of
from monitoring.figures.utilisation import (
    TARGET,
    busy_s_per_image,
    per_worker_per_s,
    seconds_there,
    utilisation,
    workers_needed,
)
from monitoring.stores.contract import Measured, MetricsStore, Window
from monitoring.stores.histogram import Histogram
from telemetry import catalogue

Verdict = Literal["idle", "holds", "tight", "grows", "unknown"]


class Capacity(BaseModel):
    """None is what was not measured in the window."""

    #: Seconds that one image keeps a worker busy.
    busy_s_per_image: float | None
    #: Images a second that one worker can do when it never waits.
    per_worker_per_s: float | None
    #: Images a second that came into the queue.
    arriving_per_s: float
    #: Share of their time that the workers were busy, 0..1.
    utilisation: float | None
    #: Workers that are ready now.
    workers: int | None
    #: Workers that would hold what arrives, busy 80 % of their time.
    workers_needed: int | None
    #: `idle`: nothing arrives. `holds`, `tight`: below and above 80 % busy. `grows`: the queue
    #: does, or more arrives than the workers can do.
    verdict: Verdict


def capacity(
    metrics: MetricsStore,
    window: Window,
    now_s: float,
    levels: Levels,
    stages: Mapping[str, Histogram],
    batches: Measured,
) -> Capacity:
    """Raises Unavailable when the store cannot be read."""
    busy_s = math.fsum(metrics.increase(catalogue.WORKER_BUSY, window).values())
    uploads = stages.get("upload")
    arriving = uploads.count / window.elapsed_s(now_s) if uploads else 0.0
    ready = levels.busy.plus(levels.idle)
    per_image = busy_s_per_image(busy_s, batches.sum)
    per_worker = per_worker_per_s(per_image)
    step_s = window.elapsed_s(now_s) / max(1, len(ready.steps))
    busy = utilisation(busy_s, seconds_there(ready.steps, [step_s] * len(ready.steps)))
    workers = None if ready.now is None else round(ready.now)
    return Capacity(
        busy_s_per_image=_rounded(per_image, 6),
        per_worker_per_s=_rounded(per_worker, 3),
        arriving_per_s=round(arriving, 4),
        utilisation=_rounded(busy, 4),
        workers=workers,
        workers_needed=workers_needed(arriving, per_image),
        verdict=verdict(arriving, per_worker, busy, workers, levels.depth.steps),
    )


def verdict(
    arriving: float,
    per_worker: float | None,
    busy: float | None,
    workers: int | None,
    depth: list[float | None],
) -> Verdict:
    """What the figures mean: `depth` is the queue's over the window, oldest first."""
    if workers is None:
        return "unknown"
    if rises(depth, workers) or (arriving and workers == 0):
        return "grows"
    if not arriving:
        return "idle"
    if per_worker is None or busy is None:
        return "unknown"
    if arriving > workers * per_worker:
        return "grows"
    return "holds" if busy <= TARGET else "tight"


def rises(depth: list[float | None], workers: int) -> bool:
    """Whether the last third of the window had more waiting than the first.

    By more than each worker takes in one go: a queue comes and goes a little at any load.
    """
    third = max(1, len(depth) // 3)
    first, last = mean_of(depth[:third]), mean_of(depth[-third:])
    return first is not None and last is not None and last > first + max(1, 2 * workers)


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
